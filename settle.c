/* SPDX-License-Identifier: ISC */
/*
 * settle(): the couriers' side of the place where they and the sessions meet.
 */
#include <errno.h>
#include <string.h>

#include "clock.h"
#include "config.h"
#include "message.h"
#include "queue.h"
#include "queue_internal.h"
#include "relay.h"
#include "report.h"
#include "smtp.h"
#include "spool.h"
#include "thread.h"

enum { CROWDED_PAUSE = 30 * 1000 };

bool
queue_begin(struct queue *q, struct submission *s, struct smtp_terms *terms)
{
	const struct upstream *u = q->relays[s->upstream].upstream;
	bool wanted;

	pthread_mutex_lock(&q->lock);
	wanted = !s->abandoned || s->stored;
	s->state = SENDING;
	if (!wanted)
		line_end_probe(q, s);
	pthread_mutex_unlock(&q->lock);
	*terms = (struct smtp_terms){
		.deadline = s->keeps ? 0 : s->deadline,
		.all_or_nothing = !s->keeps,
		.recipients_max = s->keeps ? u->recipients_per_message : 0,
	};
	if (!wanted) {
		report_results(s->message, u, &s->verdict, NULL);
		submission_free(s);
	}
	return wanted;
}

bool
queue_give_back(struct queue *q, struct submission *s, const struct verdict *v)
{
	struct line *line = &q->lines[s->upstream];
	bool crowded;

	pthread_mutex_lock(&q->lock);
	crowded = v->code == 421 && v->stage <= STAGE_HELLO &&
	    line->couriers > 1 && !line->health.down && !q->stopping &&
	    (!s->abandoned || s->stored);
	if (crowded) {
		line->couriers--;
		line->crowded_until = clock_now() + CROWDED_PAUSE;
		line_put_back(line, s);
	}
	pthread_mutex_unlock(&q->lock);
	return crowded;
}

bool
queue_mark(struct queue *q, struct submission *s)
{
	bool stored;

	pthread_mutex_lock(&q->lock);
	while (s->committing)
		thread_wait(s->answered, &q->lock, 0);
	message_know_results(s->message);
	stored = s->stored;
	pthread_mutex_unlock(&q->lock);
	if (!stored || spool_mark(s->message))
		return true;
	log_message(LEVEL_ERROR, "cannot mark %s in the spool: %s",
	    s->message->id, strerror(errno));
	return false;
}

/* The rest of a line whose upstream has gone down, or has used up its rate:
 * each to the next upstream or back to its session. */
static void
clear_line(struct queue *q, unsigned upstream)
{
	struct line *line = &q->lines[upstream];
	struct submission *s;

	while ((s = line_take(line))) {
		line_end_probe(q, s);
		s->tried |= UINT64_C(1) << upstream;
		if (line_find(q, s))
			continue;
		if (s->stored) {
			backlog_return(q, s);
			continue;
		}
		s->state = SETTLED;
		pthread_cond_broadcast(s->answered);
	}
}

/* Until when a courier may sleep: until his patience ends, or there is room for
 * whoever waits. Those whom that would take too long are sent away. */
static int64_t
sleep_until(struct queue *q, unsigned upstream, int64_t patience)
{
	struct line *line = &q->lines[upstream];
	int64_t now = clock_now();

	if (!line_waiting(line))
		return patience;
	if (line_rate_opens(q, upstream, now) > now)
		clear_line(q, upstream);
	return line_waiting(line) ? pace_opens(&line->pace,
	    &q->config->upstreams[upstream].rates, now) : patience;
}

struct submission *
queue_take(struct queue *q, unsigned upstream)
{
	struct line *line = &q->lines[upstream];
	int64_t patience = clock_now() + q->config->upstreams[upstream].idle;
	struct submission *s = NULL;

	pthread_mutex_lock(&q->lock);
	while (!q->stopping && !(s = line_serve(q, upstream))) {
		int64_t until = sleep_until(q, upstream, patience);

		if (until == patience && clock_now() >= until)
			break;
		line->idle++;
		if (!line->met) /* who was to ask has left: another may */
			pthread_cond_signal(&q->tick);
		thread_wait(&line->work, &q->lock, until);
		line->idle--;
	}
	if (s)
		s->state = TRIED;
	else
		line->couriers--;
	pthread_mutex_unlock(&q->lock);
	return s;
}

/* Under the lock. True if another upstream gets the message now. */
static bool
pass_on(struct queue *q, struct submission *s, const struct verdict *v)
{
	if (v->outcome == SENT || v->scope != SCOPE_UPSTREAM || q->stopping)
		return false;
	if (!s->stored && (s->abandoned || clock_now() >= s->deadline))
		return false;
	s->tried |= UINT64_C(1) << s->upstream;
	message_forget_results(s->message);
	return line_find(q, s);
}

/* Under the lock: the verdict is there. Whom to tell when it has been given up
 * (the submission may be gone by then), and whether nobody waits for it any
 * more. */
struct answer_to {
	pthread_cond_t *waiter;
	bool abandoned, stored;
};

static struct answer_to
settle(struct submission *s, const struct verdict *v)
{
	s->verdict = *v;
	s->state = SETTLED;
	s->reported = true;
	return (struct answer_to){s->answered, s->abandoned, s->stored};
}

static void
answer(struct queue *q, struct submission *s, const struct answer_to *to)
{
	if (to->abandoned && to->stored)
		stored_settle(q, s);
	else if (to->abandoned)
		submission_free(s);
	else
		pthread_cond_broadcast(to->waiter);
}

/* What an attempt means for others, under the lock. */
struct lesson {
	enum health_change change;
	bool passed; /* another upstream gets the message now */
};

/* Whether the clock should put stored messages in line: several at once. */
static bool
has_places(const struct queue *q)
{
	for (size_t i = 0; i < q->config->upstream_count; i++)
		if (q->lines[i].lanes[LANE_STORED].waiting <=
		    q->config->upstreams[i].connections / 2)
			return true;
	return false;
}

static struct lesson
learn(struct queue *q, struct submission *s, const struct verdict *v)
{
	unsigned from = s->upstream;
	struct lesson l = {.change = line_learn(q, s, v)};

	l.passed = pass_on(q, s, v);
	if (l.change == HEALTH_WENT_DOWN)
		clear_line(q, from);
	line_staff(q); /* who has passed may be with another courier now */
	if (parking_count(q) && has_places(q))
		pthread_cond_signal(&q->tick);
	return l;
}

/* Before the log says what has become of it: whoever has read that and asks for
 * another try gets one. */
static void
note_hurries(struct queue *q, struct submission *s)
{
	q = queue_lock_newest(q);
	s->hurries = q->hurries;
	pthread_mutex_unlock(&q->lock);
}

/* Nobody else has a say in it then: what the log says of the message comes
 * first, and the lock is taken once. */
static void
settle_sent(struct queue *q, struct submission *s, const struct verdict *v,
    const struct attempt *a)
{
	const struct upstream *u = q->relays[s->upstream].upstream;
	struct answer_to to;
	struct lesson l;

	report_results(s->message, u, v, a);
	pthread_mutex_lock(&q->lock);
	l = learn(q, s, v);
	to = settle(s, v);
	pthread_mutex_unlock(&q->lock);
	answer(q, s, &to);
	report_health(l.change, u, v);
}

void
queue_settle(struct queue *q, struct submission *s, const struct verdict *v,
    const struct attempt *a)
{
	const struct upstream *u = q->relays[s->upstream].upstream;
	struct answer_to to;
	struct lesson l;
	bool quiet;

	message_spread(s->message, v);
	if (!message_is_final(s->message))
		note_hurries(q, s);
	if (v->outcome == SENT) {
		settle_sent(q, s, v, a);
		return;
	}
	report_final(s->message, u, v, a); /* who has it next may change it */
	pthread_mutex_lock(&q->lock);
	/* A queued message's file says nothing of upstream trouble, and neither
	 * does the log for each of a thousand. */
	quiet = s->stored && v->scope == SCOPE_UPSTREAM;
	l = learn(q, s, v);
	pthread_mutex_unlock(&q->lock);
	report_health(l.change, u, v);
	if (l.passed)
		return;
	if (!quiet)
		report_results(s->message, u, v, a);
	pthread_mutex_lock(&q->lock);
	to = settle(s, v);
	pthread_mutex_unlock(&q->lock);
	answer(q, s, &to);
}
