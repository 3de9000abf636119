/* SPDX-License-Identifier: ISC */
/*
 * What an administrator asks of the queue: how the upstreams stand, what is to
 * be tried now, and one run through what is stored.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "config.h"
#include "message.h"
#include "queue.h"
#include "queue_id.h"
#include "queue_internal.h"

enum { NUDGES_APART = 60 * 1000 };

void
queue_upstream_state(struct queue *q, unsigned upstream,
    struct pause_state *state)
{
	const struct health *h = &q->lines[upstream].health;

	*state = (struct pause_state){0};
	pthread_mutex_lock(&q->lock);
	state->paused = h->down;
	if (h->down) {
		int64_t wait = h->next_probe - clock_now();

		state->hold = h->outcome == HOLD;
		state->hint = h->hint;
		state->wait = h->probing || wait < 0 ? 0 : wait;
		snprintf(state->reason, sizeof(state->reason), "%s",
		    h->reason);
	}
	pthread_mutex_unlock(&q->lock);
}

void
queue_sender_state(struct queue *q, const char *sender,
    struct pause_state *state)
{
	int64_t now = clock_now(), until = now;
	struct verdict v;

	*state = (struct pause_state){0};
	pthread_mutex_lock(&q->lock);
	state->paused = pauses_hold(&q->senders, sender, now, &until, &v);
	pthread_mutex_unlock(&q->lock);
	if (!state->paused)
		return;
	state->hold = true;
	state->wait = until - now;
	state->hint = v.hint;
	snprintf(state->reason, sizeof(state->reason), "%d %.500s", v.code,
	    v.text);
}

/* Under the lock. */
static void
end_pauses(struct queue *q)
{
	for (size_t i = 0; i < q->config->upstream_count; i++)
		health_hurry(&q->lines[i].health);
	pauses_clear(&q->senders);
	q->disk_opens = q->kept_house = 0;
}

size_t
queue_wake(struct queue *q)
{
	return queue_retry(q, NULL, 0, true);
}

size_t
queue_retry(struct queue *q, const struct queue_id *ids, size_t count,
    bool with_pauses)
{
	size_t found;

	q = queue_lock_newest(q);
	if (with_pauses)
		end_pauses(q);
	found = parking_hurry(q, ids, count);
	q->hurries++;
	pthread_cond_signal(&q->tick);
	pthread_mutex_unlock(&q->lock);
	return found;
}

bool
queue_nudge(struct queue *q)
{
	int64_t now = clock_now();
	bool due;

	q = queue_lock_newest(q);
	due = !q->nudged || now - q->nudged >= NUDGES_APART;
	if (due) {
		q->nudged = now;
		for (size_t i = 0; i < q->config->upstream_count; i++)
			health_nudge(&q->lines[i].health, now);
		parking_hurry(q, NULL, 0);
		pthread_cond_signal(&q->tick);
	}
	pthread_mutex_unlock(&q->lock);
	return due;
}

struct spool *
queue_spool(const struct queue *q)
{
	return q->spool;
}

bool
queue_start_once(struct queue *q, const struct queue_id *ids, size_t count,
    struct buf *why)
{
	int64_t now = clock_now();
	char id[QUEUE_ID_SIZE];

	q->once = true;
	for (size_t i = 0; i < count; i++) {
		queue_id_write(&ids[i], id);
		roster_add(&q->roster, id);
		schedule_add(&q->schedule, id, now);
	}
	if (backlog_start(q))
		return true;
	buf_addf(why, "cannot start a thread: %s", strerror(errno));
	return false;
}

/* Under the lock: how many wait in the lines or are with couriers. */
static size_t
in_hand(const struct queue *q)
{
	size_t count = q->serving;

	for (size_t i = 0; i < q->config->upstream_count; i++) {
		const struct line *line = &q->lines[i];

		count += line_waiting(line) + (line->couriers - line->idle);
	}
	return count;
}

size_t
queue_left(struct queue *q)
{
	size_t left;
	bool now;

	pthread_mutex_lock(&q->lock);
	(void)parking_look(q, &now);
	left = in_hand(q);
	if (left || now)
		left += parking_count(q);
	pthread_mutex_unlock(&q->lock);
	return left;
}
