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

struct submission *
queue_take(struct queue *q, unsigned upstream)
{
	struct line *line = &q->lines[upstream];
	int64_t until = clock_now() + q->config->upstreams[upstream].idle;
	struct submission *s = NULL;
	bool patient = true;

	pthread_mutex_lock(&q->lock);
	while (!q->stopping && !(s = line_take(line)) && patient) {
		line->idle++;
		patient = thread_wait(&line->work, &q->lock, until);
		line->idle--;
	}
	if (s)
		s->state = TRIED;
	else
		line->couriers--;
	pthread_mutex_unlock(&q->lock);
	return s;
}

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
		thread_wait(&s->answered, &q->lock, 0);
	message_know_results(s->message);
	stored = s->stored;
	pthread_mutex_unlock(&q->lock);
	if (!stored || spool_mark(s->message))
		return true;
	log_message(LEVEL_ERROR, "cannot mark %s in the spool: %s",
	    s->message->id, strerror(errno));
	return false;
}

/* The rest of a line whose upstream has gone down, each to the next upstream
 * or back to its session. */
static void
clear_line(struct queue *q, unsigned upstream)
{
	struct line *line = &q->lines[upstream];
	struct submission *s;

	while ((s = line_take(line))) {
		s->tried |= UINT64_C(1) << upstream;
		if (line_find(q, s))
			continue;
		if (s->stored) {
			backlog_return(q, s);
			continue;
		}
		s->state = SETTLED;
		pthread_cond_signal(&s->answered);
	}
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

static void
answer(struct queue *q, struct submission *s, const struct verdict *v)
{
	bool abandoned, stored;

	pthread_mutex_lock(&q->lock);
	s->verdict = *v;
	s->state = SETTLED;
	s->reported = true;
	abandoned = s->abandoned;
	stored = s->stored;
	pthread_cond_signal(&s->answered);
	pthread_mutex_unlock(&q->lock);
	if (abandoned && stored)
		stored_settle(q, s);
	else if (abandoned)
		submission_free(s);
}

void
queue_settle(struct queue *q, struct submission *s, const struct verdict *v,
    const struct attempt *a)
{
	unsigned from = s->upstream;
	const struct upstream *u = q->relays[from].upstream;
	enum health_change change;
	bool passed, quiet;

	message_spread(s->message, v);
	pthread_mutex_lock(&q->lock);
	/* A queued message's file says nothing of upstream trouble, and neither
	 * does the log for each of a thousand. */
	quiet = s->stored && v->outcome != SENT && v->scope == SCOPE_UPSTREAM;
	change = line_learn(q, s, v);
	passed = pass_on(q, s, v);
	if (change == HEALTH_WENT_DOWN)
		clear_line(q, from);
	line_staff(q); /* who has passed may be with another courier now */
	if (parking_count(q)) /* a place in line may be free for one of them */
		pthread_cond_signal(&q->tick);
	pthread_mutex_unlock(&q->lock);
	report_health(change, u, v);
	if (passed)
		return;
	if (!quiet)
		report_results(s->message, u, v, a);
	answer(q, s, v);
}
