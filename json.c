/* SPDX-License-Identifier: ISC */
/*
 * Pieces of JSON, in ASCII so that they survive every terminal and pipe.
 */
#include "json.h"

#include <stdint.h>
#include <string.h>

#include "buf.h"

/* Reads the character at the start of s (RFC 3629, strictly) and returns its
 * bytes; 0 if there is none. */
static size_t
read_character(const unsigned char *s, uint32_t *character)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2
	    : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;
	uint32_t c = len < 2 ? *s : *s & (0x7fu >> len);

	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (!len || c < least[len] || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*character = c;
	return len;
}

static void
add_character(struct buf *out, uint32_t c)
{
	if (c == '"' || c == '\\')
		buf_addf(out, "\\%c", (char)c);
	else if (c >= ' ' && c <= '~')
		buf_addc(out, (char)c);
	else if (c < 0x10000)
		buf_addf(out, "\\u%04x", (unsigned)c);
	else
		buf_addf(out, "\\u%04x\\u%04x",
		    (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
		    (unsigned)(0xdc00 + ((c - 0x10000) & 0x3ff)));
}

void
json_add_string(struct buf *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	if (!text) {
		buf_adds(out, "null");
		return;
	}
	buf_addc(out, '"');
	while (*s) {
		uint32_t c = 0xfffd;
		size_t len = read_character(s, &c);

		add_character(out, c);
		s += len ? len : 1;
	}
	buf_addc(out, '"');
}

void
json_add_time(struct buf *out, time_t when)
{
	char text[40];
	struct tm utc;

	if (when >= 0 && gmtime_r(&when, &utc) && utc.tm_year < 8100 &&
	    strftime(text, sizeof(text), "\"%Y-%m-%dT%H:%M:%SZ\"", &utc))
		buf_adds(out, text);
	else
		buf_adds(out, "null");
}
