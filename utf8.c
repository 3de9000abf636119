/* SPDX-License-Identifier: ISC */
/*
 * Characters beyond ASCII, strictly: what two readers could take for two
 * different things is no character.
 */
#include "utf8.h"

#include <string.h>

#include "buf.h"

size_t
utf8_read(const char *s, size_t len, uint32_t *character)
{
	/* The least number that needs so many bytes. */
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = len ? (unsigned char)*s : 0x80;
	size_t bytes = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2
	    : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
	uint32_t c = bytes < 2 ? first : first & (0x7f >> bytes);

	if (bytes > len)
		return 0;
	for (size_t i = 1; i < bytes; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (!bytes || c < least[bytes] || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*character = c;
	return bytes;
}

void
utf8_watch(struct utf8_watch *w, const char *s, size_t len)
{
	uint32_t character;

	for (size_t i = 0; i < len && !w->broken; i++) {
		if (!w->held_len && !(s[i] & 0x80))
			continue;
		w->beyond = true;
		w->held[w->held_len++] = s[i];
		if (utf8_read(w->held, w->held_len, &character))
			w->held_len = 0;
		else
			w->broken = w->held_len == sizeof(w->held);
	}
}

static bool
is_visible(uint32_t c)
{
	/* Controls; marks, lines and the embedding of directions; isolates. */
	return c >= ' ' && (c < 0x7f || c > 0x9f) && c != 0x61c &&
	    (c < 0x200b || c > 0x200f) && (c < 0x2028 || c > 0x202e) &&
	    (c < 0x2060 || c > 0x206f) && c != 0xfeff;
}

void
utf8_add_visible(struct buf *out, const char *text, size_t max)
{
	size_t len = strlen(text);
	size_t end = len < max ? len : max;

	for (size_t at = 0; at < end;) {
		uint32_t c = 0;
		size_t bytes = utf8_read(text + at, end - at, &c);

		if (bytes && is_visible(c))
			buf_add(out, text + at, bytes);
		else
			buf_addc(out, '?');
		at += bytes ? bytes : 1;
	}
}

bool
utf8_is_ascii(const char *s)
{
	while (*s && (unsigned char)*s < 0x80)
		s++;
	return !*s;
}
