/* SPDX-License-Identifier: ISC */
#ifndef JSON_H
#define JSON_H

#include <stdint.h>
#include <time.h>

struct buf;

/* Pieces of JSON (RFC 8259) in ASCII, each appended to a buffer. */

/* One character of a string; what is not printable ASCII is escaped. */
void json_add_character(struct buf *, uint32_t);

/* A string, or null for NULL. Bytes that are no UTF-8 become U+FFFD. */
void json_add_string(struct buf *, const char *);

/* A time as RFC 3339 has it, in UTC; null if no calendar has it. */
void json_add_time(struct buf *, time_t);

#endif
