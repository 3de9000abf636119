/* SPDX-License-Identifier: ISC */
/*
 * The lines in front of the upstreams: which one a message joins, who serves
 * it, and what an attempt says about the upstream and about the sender.
 */
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "config.h"
#include "message.h"
#include "queue_internal.h"
#include "relay.h"
#include "route.h"
#include "thread.h"

enum { LINE_FEW = 8 }; /* messages for each connection */

struct submission *
submission_new(struct message *m)
{
	struct submission *s = xcalloc(1, sizeof(*s));

	s->message = m;
	return s;
}

void
submission_free(struct submission *s)
{
	message_free(s->message);
	free(s);
}

void
line_init(struct line *line)
{
	for (size_t i = 0; i < LANES; i++)
		line->lanes[i].end = &line->lanes[i].first;
	thread_cond_init(&line->work);
	line->counted_since = clock_now();
}

void
line_remove(struct line *line, struct submission *s)
{
	struct submission **at = &line->lanes[s->lane].first;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (line->lanes[s->lane].end == &s->next)
		line->lanes[s->lane].end = at;
	line->lanes[s->lane].waiting--;
}

static void
line_append(struct line *line, struct submission *s)
{
	s->lane = s->stored ? LANE_STORED : LANE_SESSIONS;
	s->next = NULL;
	*line->lanes[s->lane].end = s;
	line->lanes[s->lane].end = &s->next;
	line->lanes[s->lane].waiting++;
	pthread_cond_signal(&line->work);
}

void
line_put_back(struct line *line, struct submission *s)
{
	s->state = IN_LINE;
	s->next = line->lanes[s->lane].first;
	line->lanes[s->lane].first = s;
	if (!s->next)
		line->lanes[s->lane].end = &s->next;
	line->lanes[s->lane].waiting++;
	pthread_cond_signal(&line->work);
}

struct submission *
line_take(struct line *line)
{
	struct submission *s = line->lanes[line->turn].first;

	if (!s)
		s = line->lanes[!line->turn].first;
	if (s) {
		line_remove(line, s);
		line->turn = !s->lane;
	}
	return s;
}

struct submission *
line_serve(struct queue *q, unsigned upstream)
{
	const struct rates *rates = &q->config->upstreams[upstream].rates;
	struct line *line = &q->lines[upstream];
	int64_t now = clock_now();
	struct submission *s = NULL;

	if (pace_opens(&line->pace, rates, now) <= now)
		s = line_take(line);
	if (s)
		pace_count(&line->pace, rates,
		    (unsigned)message_count_waiting(s->message), now);
	return s;
}

int64_t
line_rate_opens(const struct queue *q, unsigned upstream, int64_t now)
{
	const struct upstream *u = &q->config->upstreams[upstream];
	int64_t opens = pace_opens(&q->lines[upstream].pace, &u->rates, now);

	return opens - now > u->idle ? opens : now;
}

int64_t
line_opens(const struct queue *q, unsigned upstream, int64_t now)
{
	int64_t opens = line_rate_opens(q, upstream, now);
	int64_t healthy = health_opens(&q->lines[upstream].health, now);

	return healthy > opens ? healthy : opens;
}

unsigned
line_waiting(const struct line *line)
{
	return line->lanes[LANE_SESSIONS].waiting +
	    line->lanes[LANE_STORED].waiting;
}

/* Counts attempts in the present direct_wait and remembers the one before. */
static void
turn_page(struct line *line, int64_t direct_wait)
{
	int64_t now = clock_now();

	if (now - line->counted_since < direct_wait)
		return;
	line->finished_before =
	    now - line->counted_since < 2 * direct_wait ? line->finished : 0;
	line->finished = 0;
	line->counted_since = now;
}

/* Whether a session that joined this line would wait in vain: there are more
 * ahead of it than were served in the last direct_wait. A few may always wait,
 * or a burst after a quiet night would go to the disk. */
static bool
is_long(struct queue *q, unsigned upstream)
{
	struct line *line = &q->lines[upstream];
	unsigned few = LINE_FEW * q->config->upstreams[upstream].connections;
	unsigned ahead = line->lanes[LANE_SESSIONS].waiting;

	turn_page(line, q->config->queue.direct_wait);
	return ahead >= few && ahead > line->finished &&
	    ahead > line->finished_before;
}

/* Why nothing is tried there. */
static void
explain_pause(const struct health *h, struct verdict *v)
{
	int64_t wait = h->next_probe - clock_now();

	if (h->probing || wait < 0)
		verdict_set(v, h->outcome, SCOPE_UPSTREAM, STAGE_CONNECT,
		    "the relay is away, and is being tried now: %.300s",
		    h->reason);
	else
		verdict_set(v, h->outcome, SCOPE_UPSTREAM, STAGE_CONNECT,
		    "the relay is away, next try in %lld s: %.300s",
		    (long long)(wait + 999) / 1000, h->reason);
	v->hint = h->hint;
}

/* The same where the relay is well. */
static void
explain_rate(int64_t opens, int64_t now, struct verdict *v)
{
	verdict_set(v, LATER, SCOPE_UPSTREAM, STAGE_CONNECT,
	    "the rate that is set for this relay is used up, the next message "
	    "can go in %lld s", (long long)(opens - now + 999) / 1000);
}

/* Why its session need not wait. */
static void
explain_length(const struct line *line, struct verdict *v)
{
	verdict_set(v, LATER, SCOPE_MESSAGE, STAGE_CONNECT,
	    "%u messages wait already for their turn",
	    line->lanes[LANE_SESSIONS].waiting);
	v->cut_short = true;
}

bool
line_find(struct queue *q, struct submission *s)
{
	int64_t until, now = clock_now();
	unsigned first;

	if (!s->stored && pauses_hold(&q->senders, s->message->sender, now,
			      &until, &s->verdict))
		return false;
	for (unsigned i = 0; i < q->config->upstream_count; i++) {
		struct line *line = &q->lines[i];

		if (s->tried >> i & 1)
			continue;
		if (s->keeps && !s->stored && is_long(q, i)) {
			explain_length(line, &s->verdict);
			return false;
		}
		if (line_rate_opens(q, i, now) > now ||
		    !health_may_try(&line->health, now))
			continue;
		s->state = IN_LINE;
		s->upstream = i;
		s->probe = line->health.down;
		line_append(line, s);
		return true;
	}
	first = route_first(route_of(q->config, s->message->sender));
	until = line_rate_opens(q, first, now);
	if (until > now && !q->lines[first].health.down)
		explain_rate(until, now, &s->verdict);
	else
		explain_pause(&q->lines[first].health, &s->verdict);
	return false;
}

void
line_end_probe(struct queue *q, struct submission *s)
{
	if (s->probe)
		health_probe_ended(&q->lines[s->upstream].health);
	s->probe = false;
}

/* Whether one more courier should serve that line; it is counted at once. */
static bool
reserve_courier(struct queue *q, unsigned upstream)
{
	struct line *line = &q->lines[upstream];

	if (line_waiting(line) <= line->idle || q->stopping ||
	    line->couriers >= q->config->upstreams[upstream].connections ||
	    (line->couriers && clock_now() < line->crowded_until))
		return false;
	line->couriers++;
	q->present++;
	return true;
}

/* When the system gives no thread, those who wait are served by the couriers
 * there are, or run out of time. */
void
line_staff(struct queue *q)
{
	for (unsigned i = 0; i < q->config->upstream_count; i++) {
		bool started;

		if (!reserve_courier(q, i))
			continue;
		pthread_mutex_unlock(&q->lock);
		started = relay_start_courier(q, i);
		pthread_mutex_lock(&q->lock);
		q->lines[i].couriers -= !started;
		q->present -= !started;
	}
}

/* What stays the same when a client submits the same message again, which then
 * has another queue ID. */
static void
identify(const struct message *m, char key[QUEUE_ID_SIZE])
{
	uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

	for (size_t i = 0; i <= m->recipient_count; i++) {
		const char *text = i ? m->recipients[i - 1].address : m->sender;

		for (; *text; text++)
			hash = (hash ^ (unsigned char)*text) *
			    UINT64_C(1099511628211);
	}
	snprintf(key, QUEUE_ID_SIZE, "%016llx%llu", (unsigned long long)hash,
	    (unsigned long long)m->body.size % 1000000000000000);
}

bool
line_should_yield(const struct queue *q, const struct submission *s)
{
	char key[QUEUE_ID_SIZE];

	identify(s->message, key);
	for (size_t i = 0; i < q->config->upstream_count; i++)
		if (health_knows(&q->lines[i].health, key))
			return true;
	return false;
}

/* Whether the upstream's health has something to learn from it: while it is
 * down, only the probe's failure is news. */
static bool
counts(const struct queue *q, const struct submission *s,
    const struct verdict *v)
{
	return !q->stopping && (s->probe || v->outcome == SENT ||
				   !q->lines[s->upstream].health.down);
}

enum health_change
line_learn(struct queue *q, struct submission *s, const struct verdict *v)
{
	char key[QUEUE_ID_SIZE];

	q->lines[s->upstream].finished++;
	q->lines[s->upstream].met = true;
	if (v->outcome == SENT)
		pauses_end(&q->senders, s->message->sender);
	else if (v->scope == SCOPE_SENDER)
		pauses_add(&q->senders, s->message->sender, v, clock_now());
	if (!counts(q, s, v))
		return HEALTH_AS_BEFORE;
	identify(s->message, key);
	return health_saw(&q->lines[s->upstream].health, v, key, clock_now());
}
