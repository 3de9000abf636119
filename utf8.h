/* SPDX-License-Identifier: ISC */
#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* Reads the character at the start of s (RFC 3629). Returns its bytes, 1 to 4;
 * 0 where there is none: the end of s, an overlong form, half a character, a
 * surrogate, a number beyond U+10FFFF. */
size_t utf8_read(const char *s, size_t len, uint32_t *character);

/* Whether a text that comes in pieces is UTF-8. A zeroed struct begins it. */
struct utf8_watch {
	char held[4]; /* a character's beginning */
	size_t held_len;
	bool beyond;  /* a byte over 127 was in it */
	bool broken;  /* it is not UTF-8 */
};

void utf8_watch(struct utf8_watch *, const char *s, size_t len);

/* Appends text for a terminal, at most max bytes of it: what is no character,
 * moves the cursor or turns the direction of writing becomes a question
 * mark. */
void utf8_add_visible(struct buf *, const char *text, size_t max);

/* Whether all bytes are ASCII. */
bool utf8_is_ascii(const char *s);

#endif
