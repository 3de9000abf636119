/* SPDX-License-Identifier: ISC */
/*
 * How often something may be done.
 */
#include "pace.h"

#include <stddef.h>

/* Fifteen of them are no shorter than the period, whatever its rest. */
static int64_t
slot_length(const struct rate *r)
{
	return r->period / (PACE_SLOTS - 1) + 1;
}

/* What is remembered of that slot: later ones are still empty, and there is
 * none from before the clock began. */
static unsigned
used_in(const struct pace *p, size_t which, int64_t slot)
{
	if (slot < 0 || slot > p->windows[which].slot ||
	    slot <= p->windows[which].slot - PACE_SLOTS)
		return 0;
	return p->windows[which].used[slot % PACE_SLOTS];
}

static int64_t
opens_by(const struct pace *p, size_t which, const struct rate *r, int64_t now)
{
	int64_t length = slot_length(r), present = now / length;
	int64_t oldest = present - PACE_SLOTS + 1;
	unsigned total = 0;

	for (int64_t slot = oldest; slot <= present; slot++)
		total += used_in(p, which, slot);
	if (total < r->most)
		return now;
	while (total >= r->most)
		total -= used_in(p, which, oldest++);
	return (oldest - 1 + PACE_SLOTS) * length;
}

int64_t
pace_opens(const struct pace *p, const struct rates *rates, int64_t now)
{
	int64_t last = now;

	for (size_t i = 0; i < RATES_MAX; i++) {
		const struct rate *r = &rates->list[i];
		int64_t opens = r->most ? opens_by(p, i, r, now) : now;

		if (opens > last)
			last = opens;
	}
	return last;
}

void
pace_count(struct pace *p, const struct rates *rates, unsigned count,
    int64_t now)
{
	for (size_t i = 0; i < RATES_MAX; i++) {
		int64_t present;

		if (!rates->list[i].most)
			continue;
		present = now / slot_length(&rates->list[i]);
		if (present - p->windows[i].slot > PACE_SLOTS)
			p->windows[i].slot = present - PACE_SLOTS;
		while (p->windows[i].slot < present)
			p->windows[i].used[++p->windows[i].slot % PACE_SLOTS] =
			    0;
		p->windows[i].used[present % PACE_SLOTS] += count;
	}
}

void
pace_inherit(struct pace *p, const struct rates *rates, const struct pace *old,
    const struct rates *old_rates)
{
	for (size_t i = 0; i < RATES_MAX; i++)
		for (size_t j = 0; j < RATES_MAX; j++)
			if (rates->list[i].most && old_rates->list[j].most &&
			    rates->list[i].period == old_rates->list[j].period)
				p->windows[i] = old->windows[j];
}
