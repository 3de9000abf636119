/* SPDX-License-Identifier: ISC */
/*
 * The lines in front of the upstreams: which one a message joins, who serves
 * it, and what an attempt says about the upstream's health.
 */
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "config.h"
#include "message.h"
#include "queue_internal.h"
#include "relay.h"
#include "thread.h"

struct submission *
submission_new(struct message *m)
{
	struct submission *s = xcalloc(1, sizeof(*s));

	s->message = m;
	thread_cond_init(&s->answered);
	return s;
}

void
submission_free(struct submission *s)
{
	pthread_cond_destroy(&s->answered);
	message_free(s->message);
	free(s);
}

void
line_remove(struct line *line, struct submission *s)
{
	struct submission **at = &line->first;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (line->end == &s->next)
		line->end = at;
	line->waiting--;
}

static void
line_append(struct line *line, struct submission *s)
{
	s->next = NULL;
	*line->end = s;
	line->end = &s->next;
	line->waiting++;
	pthread_cond_signal(&line->work);
}

/* Why nothing is tried there. */
static void
explain_pause(const struct health *h, struct verdict *v)
{
	int64_t wait = h->next_probe - clock_now();
	enum outcome outcome = h->refused_logins ? HOLD : LATER;

	if (h->probing || wait < 0)
		verdict_set(v, outcome, SCOPE_UPSTREAM, STAGE_CONNECT,
		    "the relay is away, and is being tried now: %.300s",
		    h->reason);
	else
		verdict_set(v, outcome, SCOPE_UPSTREAM, STAGE_CONNECT,
		    "the relay is away, next try in %lld s: %.300s",
		    (long long)(wait + 999) / 1000, h->reason);
}

bool
line_find(struct queue *q, struct submission *s)
{
	int64_t now = clock_now();

	for (unsigned i = 0; i < q->config->upstream_count; i++) {
		struct line *line = &q->lines[i];

		if (s->tried >> i & 1 || !health_may_try(&line->health, now))
			continue;
		s->state = IN_LINE;
		s->upstream = i;
		s->probe = line->health.down;
		line_append(line, s);
		return true;
	}
	explain_pause(&q->lines[0].health, &s->verdict);
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

	if (line->waiting <= line->idle || q->stopping ||
	    line->couriers >= q->config->upstreams[upstream].connections)
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

	if (!counts(q, s, v))
		return HEALTH_AS_BEFORE;
	identify(s->message, key);
	return health_saw(&q->lines[s->upstream].health, v, key, clock_now());
}
