/* SPDX-License-Identifier: ISC */
/*
 * The values that name a machine or a network: host names, addresses and
 * lists of them. Only their form is judged; nothing is looked up.
 */
#include "config_keys.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "access.h"
#include "buf.h"
#include "config.h"

enum { NAME_MAX_BYTES = 253, LABEL_MAX_BYTES = 63 };

bool
read_ip(const char *s, struct sockaddr_storage *address)
{
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, s, &ipv4.sin_addr) == 1)
		memcpy(address, &ipv4, sizeof(ipv4));
	else if (inet_pton(AF_INET6, s, &ipv6.sin6_addr) == 1)
		memcpy(address, &ipv6, sizeof(ipv6));
	else
		return false;
	return true;
}

static bool
is_label(const char *s, size_t len, bool underscore)
{
	if (!len || len > LABEL_MAX_BYTES || *s == '-' || s[len - 1] == '-')
		return false;
	for (; len; s++, len--)
		if (!isalnum((unsigned char)*s) && *s != '-' &&
		    !(underscore && *s == '_'))
			return false;
	return true;
}

/* A name whose last label is a number would be taken for an address. */
static bool
is_name(const char *s, bool underscore)
{
	size_t len;

	if (strlen(s) > NAME_MAX_BYTES)
		return false;
	for (;; s += len + 1) {
		len = strcspn(s, ".");
		if (!is_label(s, len, underscore))
			return false;
		if (!s[len])
			return strspn(s, "0123456789") != len;
	}
}

bool
is_host_name(const char *s)
{
	return is_name(s, false);
}

bool
is_localhost(const char *s)
{
	return !strncasecmp(s, "localhost", 9) && (!s[9] || s[9] == '.');
}

/* A dot at the end says that a name is whole, which it is anyway here. */
static char *
without_last_dot(const char *s)
{
	size_t len = strlen(s);

	return xstrndup(s, len && s[len - 1] == '.' ? len - 1 : len);
}

bool
parse_hostname(const struct input *in)
{
	char *name = without_last_dot(in->text);

	if (is_host_name(name))
		return input_take(in, name);
	free(name);
	return input_refuse(in, "is not a host name of letters, digits, "
	    "hyphens and dots");
}

/* [192.0.2.1] or [IPv6:2001:db8::1] (RFC 5321 section 4.1.3). */
static bool
is_literal(const char *s)
{
	struct sockaddr_storage address;
	size_t len = strlen(s);
	char text[INET6_ADDRSTRLEN];
	bool ipv6 = !strncasecmp(s, "[IPv6:", 6);
	size_t start = ipv6 ? 6 : 1;

	if (*s != '[' || s[len - 1] != ']' || len < start + 2 ||
	    len - start > sizeof(text))
		return false;
	memcpy(text, s + start, len - start - 1);
	text[len - start - 1] = '\0';
	return read_ip(text, &address) &&
	    address.ss_family == (ipv6 ? AF_INET6 : AF_INET);
}

bool
parse_ehlo(const struct input *in)
{
	if (is_literal(in->text))
		return input_take(in, xstrdup(in->text));
	if (*in->text == '[')
		return input_refuse(in, "is not an address literal such as "
		    "[192.0.2.1] or [IPv6:2001:db8::1]");
	if (is_localhost(in->text))
		return input_refuse(in, "means nothing to a relay: write the "
		    "name that it knows this host by");
	return parse_hostname(in);
}

/* "[::1]" without its brackets, "name." without its dot. */
static char *
bare_host(const char *s)
{
	size_t len = strlen(s);

	if (len > 2 && *s == '[' && s[len - 1] == ']' && strchr(s, ':'))
		return xstrndup(s + 1, len - 2);
	return without_last_dot(s);
}

bool
parse_host(const struct input *in)
{
	struct sockaddr_storage address;
	char *host = bare_host(in->text);

	/* Container networks have underscores in names. */
	if (read_ip(host, &address) || is_name(host, true))
		return input_take(in, host);
	free(host);
	if (strchr(in->text, ':'))
		return input_refuse(in, "holds a colon: host takes the name or "
		    "address alone, the port goes into port");
	return input_refuse(in, "is neither a host name nor an address");
}

bool
parse_address(const struct input *in)
{
	struct sockaddr_storage address;

	if (!read_ip(in->text, &address))
		return input_refuse(in, "is not an address");
	return input_take(in, xstrdup(in->text));
}

/* [a-z]{2}(-[a-z]+)+-[0-9]: there are more regions each year. */
bool
is_region(const char *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
	unsigned words = 0;

	if (strspn(s, letters) != 2)
		return false;
	for (s += 2; *s == '-' && strspn(s + 1, letters); words++)
		s += 1 + strspn(s + 1, letters);
	return words && *s == '-' && isdigit((unsigned char)s[1]) && !s[2];
}

bool
parse_region(const struct input *in)
{
	if (!is_host_name(in->text))
		return input_refuse(in, "is not a region such as eu-west-1");
	return input_take(in, xstrdup(in->text));
}

/* Port 0 is one that the kernel picks. */
static bool
is_port(const char *s)
{
	size_t len = strlen(s);

	return len > 0 && len < 6 && strspn(s, "0123456789") == len &&
	    strtol(s, NULL, 10) <= UINT16_MAX;
}

/* An IPv4-mapped address stands for the IPv4 one: whoever wrote it means that,
 * and no socket for IPv6 alone can be bound to it. */
static void
set_port(struct endpoint *e, uint16_t port)
{
	bool is_ipv6 = e->address.ss_family == AF_INET6;
	struct sockaddr_in6 ipv6;
	struct sockaddr_in ipv4;

	memcpy(&ipv4, &e->address, sizeof(ipv4));
	memcpy(&ipv6, &e->address, sizeof(ipv6));
	if (is_ipv6 && IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
		ipv4 = (struct sockaddr_in){.sin_family = AF_INET};
		memcpy(&ipv4.sin_addr, ipv6.sin6_addr.s6_addr + 12,
		    sizeof(ipv4.sin_addr));
		is_ipv6 = false;
	}
	ipv4.sin_port = ipv6.sin6_port = htons(port);
	e->size = is_ipv6 ? sizeof(ipv6) : sizeof(ipv4);
	memset(&e->address, 0, sizeof(e->address));
	memcpy(&e->address, is_ipv6 ? (void *)&ipv6 : &ipv4, e->size);
}

/* All of the endpoint but its text. */
static bool
read_listener(const char *s, struct endpoint *e)
{
	const char *colon = strrchr(s, ':');
	bool brackets = *s == '[';
	char host[INET6_ADDRSTRLEN];
	size_t len;

	if (!colon || !is_port(colon + 1) || (brackets && colon[-1] != ']'))
		return false;
	len = (size_t)(colon - s) - (brackets ? 2 : 0);
	if (len >= sizeof(host))
		return false;
	memcpy(host, s + brackets, len);
	host[len] = '\0';
	if (!read_ip(host, &e->address) ||
	    (e->address.ss_family == AF_INET6) != brackets)
		return false;
	set_port(e, (uint16_t)strtol(colon + 1, NULL, 10));
	return true;
}

void
endpoints_free(struct endpoints *endpoints)
{
	for (size_t i = 0; i < endpoints->count; i++)
		free(endpoints->list[i].text);
	free(endpoints->list);
	*endpoints = (struct endpoints){0};
}

/* A list, split on commas and blanks. */
struct words {
	char **word;
	size_t count;
};

static void
words_free(struct words *words)
{
	for (size_t i = 0; i < words->count; i++)
		free(words->word[i]);
	free(words->word);
}

static struct words
split_words(const char *s)
{
	struct words words = {0};

	for (;;) {
		size_t len;

		s += strspn(s, ", \t");
		len = strcspn(s, ", \t");
		if (!len)
			return words;
		words.word = xrealloc(words.word, words.count + 1,
		    sizeof(*words.word));
		words.word[words.count++] = xstrndup(s, len);
		s += len;
	}
}

/* Each word into access; or what is wrong with the first that will not go. */
static bool
add_networks(struct access *access, const struct words *words,
    struct buf *why)
{
	struct buf reason = {0};
	size_t i = 0;

	while (i < words->count && access_add(access, words->word[i], &reason))
		i++;
	if (i < words->count)
		buf_addf(why, "has %.60s in it, which %s", words->word[i],
		    buf_text(&reason));
	buf_free(&reason);
	return i == words->count;
}

bool
parse_allow(const struct input *in)
{
	struct words words = split_words(in->text);
	struct access *member = in->member;
	struct access access = {0};
	bool good = words.count ? add_networks(&access, &words, in->why)
	                        : input_refuse(in, "is an empty list");

	words_free(&words);
	access_free(good ? member : &access);
	if (good)
		*member = access;
	return good;
}

/* With something for a local part and for a domain, or for both; of bytes that
 * an address can have. */
static bool
is_pattern(const char *s)
{
	bool whole = !strcmp(s, "*") || !strcmp(s, "<>");
	const char *at = strchr(s, '@');

	for (const char *c = s; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 127)
			return false;
	return whole || (at && at > s && at[1] && !strpbrk(s, "<>"));
}

bool
parse_patterns(const struct input *in)
{
	struct words words = split_words(in->text);
	struct buf list = {0};
	bool good = words.count > 0;

	for (size_t i = 0; good && i < words.count; i++) {
		buf_addf(&list, "%s%s", i ? " " : "", words.word[i]);
		good = is_pattern(words.word[i]);
	}
	if (good)
		good = input_take(in, buf_take(&list));
	else
		good = input_refuse(in, "is not a list of addresses such as "
		    "*@example.com, root@*, <> for notices, or * for all");
	words_free(&words);
	buf_free(&list);
	return good;
}

/* Each word; or what is wrong with the first that is none. */
static bool
add_listeners(struct endpoints *endpoints, const struct words *words,
    struct buf *why)
{
	struct endpoint e = {0};
	size_t i = 0;

	endpoints->list = xcalloc(words->count + 1, sizeof(e));
	for (; i < words->count && read_listener(words->word[i], &e); i++) {
		e.text = xstrdup(words->word[i]);
		endpoints->list[endpoints->count++] = e;
	}
	if (i < words->count)
		buf_addf(why, "has %.60s in it, which is not an address and "
		    "a port such as 127.0.0.1:25, [::1]:25 or, for every "
		    "interface, 0.0.0.0:25 or [::]:25", words->word[i]);
	return i == words->count;
}

bool
parse_listeners(const struct input *in)
{
	bool none = !strcmp(in->text, "none");
	struct words words = split_words(none ? "" : in->text);
	struct endpoints *member = in->member, endpoints = {0};
	bool good = words.count || none
	    ? add_listeners(&endpoints, &words, in->why)
	    : input_refuse(in, "is an empty list");

	words_free(&words);
	endpoints_free(good ? member : &endpoints);
	if (good)
		*member = endpoints;
	return good;
}
