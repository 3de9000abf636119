/* SPDX-License-Identifier: ISC */
#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the character at the start of s (RFC 3629). Returns its bytes, 1 to 4;
 * 0 where there is none: the end of s, an overlong form, half a character, a
 * surrogate, a number beyond U+10FFFF. */
size_t utf8_read(const char *s, size_t len, uint32_t *character);

/* Whether all bytes are ASCII. */
bool utf8_is_ascii(const char *s);

#endif
