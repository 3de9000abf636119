/* SPDX-License-Identifier: ISC */
#ifndef HEALTH_H
#define HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "message.h"

/*
 * Whether an upstream is worth trying. While it is away, one message at a
 * time is tried after 1, 2, 4, 8, then every 10 minutes; two refused logins in
 * a row mean 15 minutes, doubling, because providers ban hosts that hammer.
 * What it says may ask for another pause (struct verdict). Pure state: the
 * caller holds the lock and brings the time.
 */
struct health {
	bool down;
	bool probing;            /* somebody is trying it right now */
	unsigned failures;       /* in a row */
	unsigned refused_logins; /* in a row */
	unsigned refused_hellos; /* by 421, in a row */
	unsigned repeated;       /* how often this was asked for, in a row: */
	int64_t asked;           /* ms */
	int64_t next_probe;      /* on clock_now() */
	int64_t login_pause_max; /* ms */
	char suspect[QUEUE_ID_SIZE]; /* the last message that lost its
	                              * connection behind MAIL */

	char failed_last[QUEUE_ID_SIZE]; /* what it was down for */

	/* Why it is down: HOLD if a person has to see to it, else LATER. */
	enum outcome outcome;
	const char *hint;
	char reason[512];
};

/* keeps_mail: whether there is a spool; without one a login is retried every
 * 15 minutes at least. */
void health_init(struct health *, bool keeps_mail);

/* Whether a message may be tried now; while the upstream is down, a yes makes
 * this message the probe until health_saw() or health_probe_ended(). */
bool health_may_try(struct health *, int64_t now);

/* Whether another message would tell more: the upstream is down, and this is
 * the one that found it so. */
bool health_knows(const struct health *, const char *id);

/* From when on health_may_try() would say yes; INT64_MAX while a probe is on
 * its way. */
int64_t health_opens(const struct health *, int64_t now);
void health_probe_ended(struct health *);

/* Somebody says that it is worth trying: the next probe may be made at once,
 * and what went before counts no longer. */
void health_hurry(struct health *);

/* A client asks for that: it can have the next probe at once, but not against
 * what the relay asks for, nor before somebody has changed what has to be. */
void health_nudge(struct health *, int64_t now);

enum health_change { HEALTH_AS_BEFORE, HEALTH_WENT_DOWN, HEALTH_CAME_UP };

/* Learns from what the message with that ID met. */
enum health_change health_saw(struct health *, const struct verdict *,
    const char *id, int64_t now);

#endif
