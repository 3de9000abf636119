/* SPDX-License-Identifier: ISC */
/*
 * Addresses of the envelope, by the grammar of RFC 5321 section 4.1.2, with
 * what the world needs beyond it: dots anywhere in an unquoted local part,
 * underscores in domains, a local part alone, and with characters beyond ASCII
 * wherever RFC 6531 section 3.3 has them. An address is judged and passed on
 * as the bytes that it is; nothing is unquoted, completed or mended here.
 */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "utf8.h"

enum {
	LOCAL_MAX = 64,    /* RFC 5321 section 4.5.3.1.1, quotes included */
	DOMAIN_MAX = 255,  /* RFC 5321 section 4.5.3.1.2 */
	LABEL_MAX = 63,    /* RFC 1035 section 2.3.4 */
	MAILBOX_MAX = 254, /* RFC 5321 section 4.5.3.1.3, less the brackets */
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Not isalnum(), which asks the locale. */
static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9');
}

/* A byte of a character that check_bytes() has seen as a whole. */
static bool
is_beyond_ascii(char c)
{
	return (unsigned char)c >= 0x80;
}

/* RFC 5322 section 3.2.3, RFC 6532 section 3.2. */
static bool
is_atext(char c)
{
	return is_alnum(c) || is_beyond_ascii(c) ||
	    (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool
is_label_byte(char c)
{
	return is_alnum(c) || is_beyond_ascii(c) || c == '-' || c == '_';
}

/* The bytes of the quoted string at the start of s; 0 if it has no end. */
static size_t
quoted_length(const char *s, size_t len)
{
	for (size_t i = 1; i < len; i++) {
		if (s[i] == '"')
			return i + 1;
		if (s[i] == '\\')
			i++;
	}
	return 0;
}

/* Dots may stand anywhere: addresses such as a..b@ and a.@ are in use. */
static size_t
dot_atom_length(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len && (is_atext(s[i]) || s[i] == '.'))
		i++;
	return i;
}

/* RFC 5321 section 4.1.3, with its brackets. */
static bool
is_literal(const char *s, size_t len)
{
	static const char tag[] = "IPv6:";
	unsigned char address[sizeof(struct in6_addr)];
	char text[INET6_ADDRSTRLEN];
	size_t skip = 1;
	int family = AF_INET;

	if (len < 2 || s[len - 1] != ']' || memchr(s, '\0', len))
		return false;
	if (len >= sizeof(tag) && !strncasecmp(s + 1, tag, sizeof(tag) - 1)) {
		skip += sizeof(tag) - 1;
		family = AF_INET6;
	}
	if (len - 1 - skip >= sizeof(text))
		return false;
	memcpy(text, s + skip, len - 1 - skip);
	text[len - 1 - skip] = '\0';
	return inet_pton(family, text, address) == 1;
}

static enum address_status
check_domain(const char *s, size_t len)
{
	size_t label = 0;

	if (len > DOMAIN_MAX)
		return ADDRESS_TOO_LONG;
	if (len && s[0] == '[')
		return is_literal(s, len) ? ADDRESS_OK : ADDRESS_SYNTAX;
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '.' ? !label : !is_label_byte(s[i]))
			return ADDRESS_SYNTAX;
		/* Characters: the limit is on the encoded form of a label. */
		label = s[i] == '.' ? 0 : label + ((s[i] & 0xc0) != 0x80);
		if (label > LABEL_MAX)
			return ADDRESS_TOO_LONG;
	}
	return label ? ADDRESS_OK : ADDRESS_SYNTAX;
}

static enum address_status
check_bytes(const char *s, size_t len)
{
	enum address_status status = ADDRESS_OK;
	size_t at = 0, bytes;
	uint32_t c;

	for (; at < len; at += bytes) {
		bytes = utf8_read(s + at, len - at, &c);
		if (!bytes)
			return ADDRESS_NOT_UTF8;
		if (c < ' ' || (c >= 0x7f && c < 0xa0))
			return ADDRESS_SYNTAX;
		if (bytes > 1)
			status = ADDRESS_UTF8;
	}
	return status;
}

bool
address_is_good(enum address_status status)
{
	return status == ADDRESS_OK || status == ADDRESS_UTF8;
}

enum address_status
address_check(const char *s, size_t len)
{
	enum address_status status = check_bytes(s, len);
	enum address_status domain;
	size_t local;

	if (!len)
		return ADDRESS_EMPTY;
	if (!address_is_good(status))
		return status;
	if (s[0] == '-')
		return ADDRESS_OPTION;
	local = s[0] == '"' ? quoted_length(s, len) : dot_atom_length(s, len);
	if (!local || (local < len && s[local] != '@'))
		return ADDRESS_SYNTAX;
	if (local > LOCAL_MAX || len > MAILBOX_MAX)
		return ADDRESS_TOO_LONG;
	if (local == len)
		return status;
	domain = check_domain(s + local + 1, len - local - 1);
	return domain == ADDRESS_OK ? status : domain;
}

/* The colons of an IPv6 literal do not end a route. */
static size_t
route_domain_length(const char *s, size_t len)
{
	const char *bracket = len && s[0] == '[' ? memchr(s, ']', len) : NULL;
	size_t i = bracket ? (size_t)(bracket - s) : 0;

	while (i < len && s[i] != ',' && s[i] != ':')
		i++;
	return i;
}

/* The bytes of a source route "@a,@b:" (RFC 5321 appendix C). 0 also for a
 * wrong one, whose '@' is then found to be no mailbox. */
static size_t
route_length(const char *s, size_t len)
{
	size_t at = 0;

	while (at < len && s[at] == '@') {
		const char *domain = s + at + 1;
		size_t n = route_domain_length(domain, len - at - 1);

		at += 1 + n;
		if (at == len || check_domain(domain, n) != ADDRESS_OK)
			return 0;
		if (s[at++] == ':')
			return at;
	}
	return 0;
}

/* The bytes before the '>', or before the blank behind a bare path; quotes
 * hide both. len if there is none. */
static size_t
path_length(const char *s, size_t len, bool bracketed)
{
	size_t i = 0;

	while (i < len) {
		size_t quoted = s[i] == '"' ? quoted_length(s + i, len - i) : 1;

		if (!quoted)
			return len;
		if (bracketed ? s[i] == '>' : is_blank(s[i]))
			return i;
		i += quoted;
	}
	return len;
}

enum address_status
address_path(const char *s, size_t len, struct buf *mailbox, size_t *used)
{
	enum address_status status;
	size_t at = 0, route = 0, end;
	bool bracketed;

	while (at < len && is_blank(s[at]))
		at++;
	bracketed = at < len && s[at] == '<';
	if (bracketed) {
		at++;
		route = route_length(s + at, len - at);
		at += route;
	}
	end = at + path_length(s + at, len - at, bracketed);
	if (bracketed && end == len)
		return ADDRESS_SYNTAX;
	/* Only the two bytes "<>" are the null path. */
	if (end == at && (!bracketed || route))
		return ADDRESS_SYNTAX;
	status = address_check(s + at, end - at);
	if (address_is_good(status) || status == ADDRESS_EMPTY) {
		buf_add(mailbox, s + at, end - at);
		*used = end + bracketed;
	}
	return status;
}

const char *
address_status_text(enum address_status status)
{
	switch (status) {
	case ADDRESS_OK:
		return "is an address";
	case ADDRESS_EMPTY:
		return "is empty";
	case ADDRESS_TOO_LONG:
		return "is too long";
	case ADDRESS_UTF8:
		return "is not ASCII";
	case ADDRESS_NOT_UTF8:
		return "is neither ASCII nor UTF-8";
	case ADDRESS_OPTION:
		return "begins with '-'";
	case ADDRESS_SYNTAX:
		break;
	}
	return "is not an address";
}

bool
address_is_qualified(const char *mailbox)
{
	size_t quoted = mailbox[0] == '"' ?
	    quoted_length(mailbox, strlen(mailbox)) : 0;

	return strchr(mailbox + quoted, '@');
}
