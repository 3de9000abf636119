/* SPDX-License-Identifier: ISC */
/*
 * Pieces of JSON, in ASCII so that they survive every terminal and pipe.
 */
#include "json.h"

#include <string.h>

#include "buf.h"
#include "clock.h"
#include "utf8.h"

/* In seconds since 1970; RFC 3339 has four digits for a year. */
#define YEAR_10000 INT64_C(253402300800)

void
json_add_character(struct buf *out, uint32_t c)
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
	if (!text) {
		buf_adds(out, "null");
		return;
	}
	buf_addc(out, '"');
	while (*text) {
		uint32_t c = 0xfffd;
		size_t len = utf8_read(text, strnlen(text, 4), &c);

		json_add_character(out, c);
		text += len ? len : 1;
	}
	buf_addc(out, '"');
}

void
json_add_time(struct buf *out, time_t when)
{
	if (when < 0 || when >= YEAR_10000) {
		buf_adds(out, "null");
		return;
	}
	buf_addc(out, '"');
	clock_add_utc(out, when, 'T');
	buf_adds(out, "Z\"");
}
