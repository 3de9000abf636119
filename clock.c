/* SPDX-License-Identifier: ISC */
/*
 * Time: monotonic for waiting, wall clock only for what people read.
 */
#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

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
clock_add_date(struct buf *out, time_t when)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm local;
	long offset;

	if (!localtime_r(&when, &local))
		memset(&local, 0, sizeof(local));
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

bool
clock_read_date(const char *text, time_t *when)
{
	struct tm tm = {0};
	const char *zone = strptime(text, "%a, %d %b %Y %T ", &tm);
	int offset;

	if (!zone)
		zone = strptime(text, "%d %b %Y %T ", &tm);
	if (!zone || !read_zone(zone, &offset))
		return false;
	*when = timegm(&tm) - offset;
	return true;
}
