/* SPDX-License-Identifier: ISC */
/*
 * What a value may look like: one parse function for each type. Each takes
 * the text whole or refuses it with the reason; none guesses. Whether values
 * fit together is not judged here.
 */
#include "config_keys.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "address.h"
#include "buf.h"
#include "pace.h"
#include "provider.h"
#include "secret.h"
#include "tls.h"

/* parse_choice() writes any enum as what the compilers make of it. */
_Static_assert(sizeof(enum tls_mode) == sizeof(int), "an enum is an int");

bool
input_refuse(const struct input *in, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	buf_adds(in->why, text);
	return false;
}

bool
input_take(const struct input *in, char *text)
{
	char **member = in->member;

	free(*member);
	*member = text;
	return true;
}

static bool
has_control(const char *s)
{
	for (; *s; s++)
		if (iscntrl((unsigned char)*s))
			return true;
	return false;
}

bool
parse_text(const struct input *in)
{
	if (has_control(in->text))
		return input_refuse(in, "holds a control character");
	return input_take(in, xstrdup(in->text));
}

bool
parse_path(const struct input *in)
{
	if (*in->text != '/')
		return input_refuse(in, "is not a path that begins with /");
	return parse_text(in);
}

bool
parse_path_or_none(const struct input *in)
{
	if (!strcmp(in->text, "none"))
		return input_take(in, NULL);
	if (*in->text != '/')
		return input_refuse(in, "is neither a path that begins with / "
		    "nor none");
	return parse_text(in);
}

bool
parse_mailbox(const struct input *in)
{
	if (address_check(in->text, strlen(in->text)) != ADDRESS_OK)
		return input_refuse(in, "is not an address such as "
		    "postmaster@example.com");
	if (!address_is_qualified(in->text))
		return input_refuse(in, "has no domain; write one behind an @");
	return input_take(in, xstrdup(in->text));
}

bool
parse_socket(const struct input *in)
{
	const size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (strlen(in->text) > most)
		return input_refuse(in, "is longer than %zu bytes, which is "
		    "the most for a socket", most);
	return parse_path_or_none(in);
}

bool
parse_provider(const struct input *in)
{
	const struct provider *p = provider_find(in->text);
	const struct provider **member = in->member;
	const char *nearest = NULL;

	if (p) {
		*member = p;
		return true;
	}
	for (unsigned i = 0; (p = provider_at(i)); i++)
		keep_nearer(&nearest, p->name, in->text);
	return input_refuse(in, "is none of those in smarthost.conf(5), the "
	    "nearest is %s; for any other relay leave it out and write host",
	    nearest);
}

struct unit {
	const char *suffix;
	int64_t factor;
};

static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
static const struct unit size_units[] = {
	{"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {NULL, 0}};
enum { FIRST_PERIOD = 2, RATE_MAX = 1000000 }; /* seconds */
static const struct unit time_units[] = {
	{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60 * 1000},
	{"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}, {NULL, 0}};

/* Digits and a suffix; false for anything else. What does not fit becomes
 * the largest number there is, which is out of every range. */
static bool
read_quantity(const char *s, const struct unit *unit, int64_t *quantity)
{
	int64_t n = 0;

	if (!isdigit((unsigned char)*s))
		return false;
	for (; isdigit((unsigned char)*s); s++)
		n = n > INT64_MAX / 10 - 1 ? INT64_MAX / 10
		                           : n * 10 + (*s - '0');
	while (unit->suffix && strcmp(unit->suffix, s) != 0)
		unit++;
	if (!unit->suffix)
		return false;
	*quantity = n > INT64_MAX / unit->factor ? INT64_MAX
	                                         : n * unit->factor;
	return true;
}

/* In the largest unit that leaves no rest. */
static void
add_quantity(struct buf *out, int64_t quantity, const struct unit *units)
{
	const struct unit *best = units;

	for (const struct unit *u = units; quantity && u->suffix; u++)
		if (quantity % u->factor == 0 &&
		    (quantity % best->factor || u->factor >= best->factor))
			best = u;
	buf_addf(out, "%lld%s", (long long)(quantity / best->factor),
	    best->suffix);
}

static bool
quantity_in_range(const struct input *in, const struct unit *units,
    const char *kind, int64_t *quantity)
{
	const struct range *range = in->key->detail;

	if (!read_quantity(in->text, units, quantity))
		return input_refuse(in, "is not %s", kind);
	if (*quantity >= range->least && *quantity <= range->most)
		return true;
	buf_adds(in->why, "is not from ");
	add_quantity(in->why, range->least, units);
	buf_adds(in->why, " to ");
	add_quantity(in->why, range->most, units);
	return false;
}

bool
parse_port(const struct input *in)
{
	uint16_t *member = in->member;
	int64_t port;

	if (!read_quantity(in->text, no_units, &port) || port < 1 ||
	    port > UINT16_MAX)
		return input_refuse(in, "is not a port number from 1 to 65535");
	*member = (uint16_t)port;
	return true;
}

bool
parse_count(const struct input *in)
{
	unsigned *member = in->member;
	int64_t count;

	if (!quantity_in_range(in, no_units, "a whole number", &count))
		return false;
	*member = (unsigned)count;
	return true;
}

bool
parse_limit(const struct input *in)
{
	unsigned *member = in->member;

	if (strcmp(in->text, "none") != 0)
		return parse_count(in);
	*member = 0;
	return true;
}

bool
parse_size(const struct input *in)
{
	uint64_t *member = in->member;
	int64_t size;

	if (!quantity_in_range(in, size_units,
	        "a size such as 10240, 50M or 1G", &size))
		return false;
	*member = (uint64_t)size;
	return true;
}

bool
parse_time(const struct input *in)
{
	int64_t *member = in->member;
	int64_t time;

	if (!quantity_in_range(in, time_units,
	        "a time such as 500ms, 8s, 5m, 1h or 5d", &time))
		return false;
	*member = time;
	return true;
}

/* "14/s": so many in one of these. The word is cut. */
static bool
read_rate(char *word, struct rate *rate)
{
	const struct unit *unit = &time_units[FIRST_PERIOD];
	char *slash = strchr(word, '/');
	int64_t most;

	if (!slash)
		return false;
	*slash = '\0';
	while (unit->suffix && strcmp(unit->suffix, slash + 1) != 0)
		unit++;
	if (!unit->suffix || !read_quantity(word, no_units, &most) ||
	    most < 1 || most > RATE_MAX)
		return false;
	*rate = (struct rate){(unsigned)most, unit->factor};
	return true;
}

bool
parse_rates(const struct input *in)
{
	struct rates rates = {0}, *member = in->member;
	const char *s = in->text;
	size_t count = 0;
	bool none = strcmp(s, "none") == 0, good = !none;

	while (good && *(s += strspn(s, ", \t"))) {
		size_t len = strcspn(s, ", \t");
		char *word = xstrndup(s, len);

		good = count < RATES_MAX &&
		    read_rate(word, &rates.list[count++]);
		free(word);
		s += len;
	}
	if (!none && (!good || !count))
		return input_refuse(in, "is not a rate such as 14/s, nor two "
		    "such as 14/s, 10000/d");
	*member = rates;
	return true;
}

/* The value of the word; false with all the words. */
static bool
find_choice(const struct input *in, int *value)
{
	const struct choice *choices = in->key->detail;
	const char *between = "is not one of ";

	for (const struct choice *c = choices; c->word; c++) {
		*value = c->value;
		if (strcmp(c->word, in->text) == 0)
			return true;
	}
	for (const struct choice *c = choices; c->word; c++) {
		buf_addf(in->why, "%s%s", between, c->word);
		between = ", ";
	}
	return false;
}

bool
parse_choice(const struct input *in)
{
	unsigned *member = in->member;
	int value;

	if (!find_choice(in, &value))
		return false;
	*member = (unsigned)value;
	return true;
}

bool
parse_flag(const struct input *in)
{
	bool *member = in->member;
	int value;

	if (!find_choice(in, &value))
		return false;
	*member = value;
	return true;
}

bool
parse_password(const struct input *in)
{
	struct secret *member = in->member;

	secret_free(member);
	member->kind = SECRET_LITERAL;
	member->text = xstrdup(in->text);
	return true;
}

const char *
credential_name(const char *text)
{
	static const char prefix[] = CREDENTIAL_PREFIX;
	const size_t len = sizeof(prefix) - 1;

	return strncmp(text, prefix, len) ? NULL : text + len;
}

bool
parse_file(const struct input *in)
{
	if (*in->text != '/' && !credential_name(in->text))
		return input_refuse(in, "is neither a path that begins with / "
		    "nor " CREDENTIAL_PREFIX "NAME");
	return parse_text(in);
}

/* 0 to 15; -1 for what is no digit. */
static int
hex_digit(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
parse_fingerprint(const struct input *in)
{
	char *bytes = xcalloc(1, TLS_FINGERPRINT_SIZE);
	const char *s = in->text;
	size_t count = 0;

	for (; count < TLS_FINGERPRINT_SIZE && hex_digit(s[0]) >= 0 &&
	    hex_digit(s[1]) >= 0; count++) {
		bytes[count] = (char)(hex_digit(s[0]) << 4 | hex_digit(s[1]));
		s += 2;
		s += *s == ':' && s[1];
	}
	if (count == TLS_FINGERPRINT_SIZE && !*s)
		return input_take(in, bytes);
	free(bytes);
	return input_refuse(in, "is not a SHA-256 of 64 hexadecimal digits, as "
	    "\"openssl x509 -noout -fingerprint -sha256\" prints it behind "
	    "the =");
}

bool
parse_password_file(const struct input *in)
{
	struct secret *member = in->member;

	char *path = NULL;
	struct input file = *in;

	file.member = &path;
	if (!parse_file(&file))
		return false;
	secret_free(member);
	member->kind = SECRET_FILE;
	member->text = path;
	return true;
}

bool
parse_password_command(const struct input *in)
{
	struct secret *member = in->member;
	char **words = secret_split(in->text);

	if (!words)
		return input_refuse(in, "has an open quote or no word");
	secret_free(member);
	member->kind = SECRET_COMMAND;
	member->text = xstrdup(in->text);
	member->words = words;
	return true;
}
