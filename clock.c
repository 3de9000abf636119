/* SPDX-License-Identifier: ISC */
/*
 * Time: monotonic for waiting, wall clock only for what people read.
 */
#include "clock.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buf.h"

/* In English, whatever the locale. */
static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

int64_t
clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
clock_earlier(int64_t a, int64_t b)
{
	if (!a || !b)
		return a ? a : b;
	return a < b ? a : b;
}

uint64_t
clock_wall_microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void
clock_add_utc(struct buf *out, time_t when, char between)
{
	struct tm utc;

	if (!gmtime_r(&when, &utc))
		memset(&utc, 0, sizeof(utc));
	buf_addf(out, "%04d-%02d-%02d%c%02d:%02d:%02d", utc.tm_year + 1900,
	    utc.tm_mon + 1, utc.tm_mday, between, utc.tm_hour, utc.tm_min,
	    utc.tm_sec);
}

static void
local_time(time_t when, struct tm *local)
{
	if (!localtime_r(&when, local))
		memset(local, 0, sizeof(*local));
}

void
clock_add_stamp(struct buf *out, time_t when, bool with_day)
{
	struct tm local;

	local_time(when, &local);
	if (with_day)
		buf_addf(out, "%.3s ", days + 3 * local.tm_wday);
	buf_addf(out, "%.3s %2d %02d:%02d:%02d", months + 3 * local.tm_mon,
	    local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec);
}

void
clock_add_date(struct buf *out, time_t when)
{
	struct tm local;
	long offset;

	local_time(when, &local);
	offset = labs(local.tm_gmtoff) / 60;
	buf_addf(out, "%.3s, %d %.3s %d %02d:%02d:%02d %c%02ld%02ld",
	    days + 3 * local.tm_wday, local.tm_mday, months + 3 * local.tm_mon,
	    local.tm_year + 1900, local.tm_hour, local.tm_min, local.tm_sec,
	    local.tm_gmtoff < 0 ? '-' : '+', offset / 60, offset % 60);
}

/* The zone of a date, "GMT" or "+0100", in seconds. */
static bool
read_zone(const char *zone, int *offset)
{
	int digits;

	*offset = 0;
	if (strncmp(zone, "GMT", 3) == 0 || strncmp(zone, "UTC", 3) == 0)
		return true;
	if ((*zone != '+' && *zone != '-') ||
	    strspn(zone + 1, "0123456789") != 4)
		return false;
	digits = atoi(zone + 1);
	*offset = (digits / 100 * 60 + digits % 100) *
	    (*zone == '-' ? -60 : 60);
	return true;
}

/* Steps behind a number and what stands behind it; false if it is not one from
 * least to most. */
static bool
take_number(const char **at, int least, int most, char behind, int *number)
{
	char *end;
	long n = strtol(*at, &end, 10);

	if (end == *at || *end != behind || n < least || n > most)
		return false;
	*at = end + 1;
	*number = (int)n;
	return true;
}

/* The same with one of these names of three letters. */
static bool
take_name(const char **at, const char *names, const char *behind, int *which)
{
	for (*which = 0; names[3 * *which]; ++*which)
		if (strncasecmp(*at, names + 3 * *which, 3) == 0 &&
		    strncmp(*at + 3, behind, strlen(behind)) == 0) {
			*at += 3 + strlen(behind);
			return true;
		}
	return false;
}

bool
clock_read_date(const char *text, time_t *when)
{
	struct tm tm = {0};
	int offset;

	(void)take_name(&text, days, ", ", &tm.tm_wday);
	if (!take_number(&text, 1, 31, ' ', &tm.tm_mday) ||
	    !take_name(&text, months, " ", &tm.tm_mon) ||
	    !take_number(&text, 1970, 9999, ' ', &tm.tm_year) ||
	    !take_number(&text, 0, 23, ':', &tm.tm_hour) ||
	    !take_number(&text, 0, 59, ':', &tm.tm_min) ||
	    !take_number(&text, 0, 60, ' ', &tm.tm_sec) ||
	    !read_zone(text, &offset))
		return false;
	tm.tm_year -= 1900;
	*when = timegm(&tm) - offset;
	return true;
}
