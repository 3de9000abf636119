/* SPDX-License-Identifier: ISC */
/*
 * The values of the DSN parameters. They end up in commands to the relay, in
 * the spool and in notices, so what they decode to is judged as well: nothing
 * but printable ASCII, never a line end (CVE-2020-28026).
 */
#include "dsn.h"

#include <string.h>
#include <strings.h>

#include "buf.h"
#include "message.h"
#include "utf8.h"

enum {
	ENVELOPE_ID_MAX = 100, /* RFC 3461 section 4.4 */
	ORIGINAL_MAX = 500,    /* RFC 3461 section 4.2 */
};

static const struct {
	const char *word;
	unsigned bit;
} conditions[] = {
	{"NEVER", NOTIFY_NEVER},
	{"SUCCESS", NOTIFY_SUCCESS},
	{"FAILURE", NOTIFY_FAILURE},
	{"DELAY", NOTIFY_DELAY},
};

enum { CONDITIONS = sizeof(conditions) / sizeof(conditions[0]) };

static bool
is_word(const char *word, const char *s, size_t len)
{
	return strlen(word) == len && strncasecmp(word, s, len) == 0;
}

static unsigned
condition(const char *word, size_t len)
{
	for (size_t i = 0; i < CONDITIONS; i++)
		if (is_word(conditions[i].word, word, len))
			return conditions[i].bit;
	return 0;
}

unsigned
dsn_notify(const char *value, size_t len)
{
	unsigned all = 0;

	for (size_t at = 0, end; len && at <= len; at = end + 1) {
		unsigned bit;

		for (end = at; end < len && value[end] != ',';)
			end++;
		bit = condition(value + at, end - at);
		if (!bit)
			return 0;
		all |= bit;
	}
	return all & NOTIFY_NEVER && all != NOTIFY_NEVER ? 0 : all;
}

void
dsn_add_notify(struct buf *out, unsigned notify)
{
	const char *comma = "";

	for (size_t i = 0; i < CONDITIONS; i++)
		if (notify & conditions[i].bit) {
			buf_addf(out, "%s%s", comma, conditions[i].word);
			comma = ",";
		}
}

char
dsn_returns(const char *value, size_t len)
{
	if (is_word("FULL", value, len))
		return 'F';
	return is_word("HDRS", value, len) ? 'H' : '\0';
}

/* The number of an upper-case hexadecimal digit; -1 if it is none. */
static int
digit(char c)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* The byte that "+XX" stands for; -1 if that is no xtext. */
static int
hexchar(const char *s, size_t len)
{
	if (len < 3 || digit(s[1]) < 0 || digit(s[2]) < 0)
		return -1;
	return digit(s[1]) * 16 + digit(s[2]);
}

/* RFC 3461 section 4, and what it stands for is printable. */
static bool
is_xtext(const char *s, size_t len, bool utf8)
{
	size_t at = 0, bytes;
	uint32_t c;

	for (; at < len; at += bytes) {
		bytes = utf8_read(s + at, len - at, &c);
		if (!bytes || c <= ' ' || c == '=' || (c >= 0x7f && c < 0xa0) ||
		    (bytes > 1 && !utf8))
			return false;
		if (c != '+')
			continue;
		if (hexchar(s + at, len - at) < ' ' ||
		    hexchar(s + at, len - at) > '~')
			return false;
		bytes = 3;
	}
	return len > 0;
}

bool
dsn_is_envelope_id(const char *value, size_t len)
{
	return len <= ENVELOPE_ID_MAX && is_xtext(value, len, false);
}

bool
dsn_is_original(const char *value, size_t len, bool utf8)
{
	static const char type_bytes[] = "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
	size_t type = 0;

	while (type < len && value[type] && strchr(type_bytes, value[type]))
		type++;
	if (!type || type == len || value[type] != ';' || len > ORIGINAL_MAX)
		return false;
	return is_xtext(value + type + 1, len - type - 1,
	    utf8 && is_word("utf-8", value, type));
}

void
dsn_add_xtext(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("+= ", *text))
			buf_addf(out, "+%02X", (unsigned char)*text);
		else
			buf_addc(out, *text);
	}
}

void
dsn_add_decoded(struct buf *out, const char *xtext)
{
	size_t left = strlen(xtext);

	while (left) {
		int byte = *xtext == '+' ? hexchar(xtext, left) : -1;
		char c = byte < 0 ? *xtext : (char)byte;
		size_t used = byte < 0 ? 1 : 3;

		buf_add_printable(out, &c, 1, 1);
		xtext += used;
		left -= used;
	}
}
