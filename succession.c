/* SPDX-License-Identifier: ISC */
/*
 * A reload puts a new queue, with the new configuration, in the place of the
 * old one. Whoever still uses the old one, a session or a courier, ends there
 * what he has in hand; what is stored belongs to the heir from that moment on,
 * so that a message is never planned, and never attempted, twice.
 */
#include <string.h>

#include "config.h"
#include "message.h"
#include "queue.h"
#include "queue_internal.h"

struct queue *
queue_lock_newest(struct queue *q)
{
	struct queue *heir;

	pthread_mutex_lock(&q->lock);
	while ((heir = q->heir)) {
		pthread_mutex_unlock(&q->lock);
		pthread_mutex_lock(&heir->lock);
		q = heir;
	}
	return q;
}

struct queue *
queue_newest(struct queue *q)
{
	q = queue_lock_newest(q);
	pthread_mutex_unlock(&q->lock);
	return q;
}

/* Under the lock: what is stored and stands in a line goes back to the disk;
 * sessions that wait there are served by the couriers of the old queue. */
static void
clear_lines(struct queue *q)
{
	for (size_t i = 0; i < q->config->upstream_count; i++) {
		struct line *line = &q->lines[i];
		struct submission *s;

		while ((s = line->lanes[LANE_STORED].first)) {
			line_remove(line, s);
			line_end_probe(q, s);
			backlog_return(q, s);
		}
	}
}

/* An upstream that keeps its name has used what it has used of its rates. */
static void
hand_over_paces(const struct queue *old, struct queue *heir)
{
	for (size_t i = 0; i < heir->config->upstream_count; i++) {
		const struct upstream *u = &heir->config->upstreams[i];

		for (size_t j = 0; j < old->config->upstream_count; j++) {
			const struct upstream *before =
			    &old->config->upstreams[j];

			if (strcmp(u->name, before->name) == 0)
				pace_inherit(&heir->lines[i].pace, &u->rates,
				    &old->lines[j].pace, &before->rates);
		}
	}
}

bool
queue_succeed(struct queue *old, struct queue *heir)
{
	heir->unborn = true;
	if (heir->spool && !backlog_start(heir))
		return false;
	pthread_mutex_lock(&old->lock);
	pthread_mutex_lock(&heir->lock);
	clear_lines(old);
	hand_over_paces(old, heir);
	heir->roster = old->roster;
	heir->schedule = old->schedule;
	parking_clear(old, heir);
	heir->unmarked = old->unmarked;
	heir->nudged = old->nudged;
	heir->hurries = old->hurries;
	heir->calm_since = old->calm_since;
	heir->clock_offset = old->clock_offset;
	heir->unborn = false;
	old->roster = (struct roster){0};
	old->schedule = (struct schedule){0};
	old->unmarked = NULL;
	old->heir = heir;
	pthread_cond_signal(&old->tick);
	pthread_cond_signal(&heir->tick);
	pthread_mutex_unlock(&heir->lock);
	pthread_mutex_unlock(&old->lock);
	return true;
}
