/* SPDX-License-Identifier: ISC */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct buf;

/* Milliseconds on CLOCK_MONOTONIC: for every wait and deadline. */
int64_t clock_now(void);

/* The earlier of two deadlines, where 0 stands for none. */
int64_t clock_earlier(int64_t a, int64_t b);

/* Microseconds since 1970, for names that sort by arrival. */
uint64_t clock_wall_microseconds(void);

/* Appends day and time in UTC, "2026-11-27T12:54:13" with that character
 * between the two; what zone it is, is for the caller to add. */
void clock_add_utc(struct buf *, time_t, char between);

/* Appends "Fri Nov 27 12:54:13" or, as RFC 3164 has it, the same without the
 * day of the week, in local time. */
void clock_add_stamp(struct buf *, time_t, bool with_day);

/* Appends a date-time of RFC 5322 section 3.3, local time with its offset,
 * in English whatever the locale. */
void clock_add_date(struct buf *, time_t);

/* Reads such a date-time, with or without the day of the week, from the
 * beginning of the text; "UTC" will do for its zone. False if there is none. */
bool clock_read_date(const char *text, time_t *);

#endif
