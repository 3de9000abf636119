/* SPDX-License-Identifier: ISC */
#ifndef PACE_H
#define PACE_H

#include <stdint.h>

/* How much in how long: never more than that in any such time. */
struct rate {
	unsigned most; /* 0: as much as there is */
	int64_t period; /* ms, at least a second */
};

enum { RATES_MAX = 2, PACE_SLOTS = 16 };

struct rates {
	struct rate list[RATES_MAX];
};

/*
 * What was used of these rates: counts in slices of the period, of which one
 * more is remembered than fit into it. Zero it to start; it forgets with the
 * process. Pure state: the caller holds the lock and brings the time
 * (clock_now()).
 */
struct pace {
	struct {
		int64_t slot; /* the last one that was counted in */
		unsigned used[PACE_SLOTS];
	} windows[RATES_MAX];
};

/* From when on there is room for more: now, or later. */
int64_t pace_opens(const struct pace *, const struct rates *, int64_t now);

/* So much is used now, even where that is more than there was room for. */
void pace_count(struct pace *, const struct rates *, unsigned, int64_t now);

/* After a change of the rates: what was used of those that are for the same
 * time is used of the new ones. */
void pace_inherit(struct pace *, const struct rates *, const struct pace *old,
    const struct rates *old_rates);

#endif
