/* SPDX-License-Identifier: ISC */
/*
 * The clock: a thread that has what is stored found (found.c), and puts it in
 * line when it is due.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "config.h"
#include "dial.h"
#include "log.h"
#include "maildrop.h"
#include "message.h"
#include "queue_internal.h"
#include "route.h"
#include "spool.h"
#include "thread.h"

enum {
	SECOND = 1000,
	MINUTE = 60 * SECOND,
	TROUBLE_PAUSE = MINUTE,  /* for a file that cannot be read now */
	YIELD_PAUSE = 10 * SECOND,
};

void
backlog_plan_next(struct queue *q, const char *id, unsigned hurries,
    int64_t when)
{
	bool hurried;

	q = queue_lock_newest(q);
	hurried = hurries && hurries != q->hurries;
	roster_add(&q->roster, id);
	schedule_add(&q->schedule, id, hurried ? clock_now() : when);
	pthread_cond_signal(&q->tick);
	pthread_mutex_unlock(&q->lock);
}

void
backlog_plan(struct queue *q, const char *id, int64_t when)
{
	backlog_plan_next(q, id, 0, when);
}

void
backlog_forget(struct queue *q, const char *id)
{
	q = queue_lock_newest(q);
	roster_remove(&q->roster, id);
	pthread_mutex_unlock(&q->lock);
}

void
backlog_announce(struct queue *q)
{
	char id[QUEUE_ID_SIZE];

	if (!spool_is_owned(q->spool))
		return;
	while (schedule_take(&q->schedule, INT64_MAX, id))
		maildrop_announce(q->config->queue.directory, id);
}

void
backlog_return(struct queue *q, struct submission *s)
{
	char id[QUEUE_ID_SIZE];

	memcpy(id, s->message->id, sizeof(id));
	submission_free(s); /* with the lock of its file, or it looks busy */
	if (q->heir)
		backlog_plan(q->heir, id, clock_now());
	else
		schedule_add(&q->schedule, id, clock_now());
}

static void
set_bad_aside(struct queue *q, const char *id, enum load_result how)
{
	log_message(LEVEL_ERROR, "%s in the spool %s", id, how == LOAD_FOREIGN
		? "belongs to another user and was set aside in failed/; to "
		  "have it sent, chown it to the owner of queue/ and move it "
		  "back there"
		: "is damaged and was set aside in failed/");
	(void)spool_set_aside(q->spool, id, id);
	backlog_forget(q, id);
}

/* It cannot be opened to be read and marked. What is no trouble of this file
 * alone, as a disk that has become read-only, would be the same with the next
 * ones: they wait as well. The log comes last, or whoever reads it and asks
 * for another try would be overtaken by the pause. */
static void
have_trouble(struct queue *q, const char *id, int error)
{
	int64_t when = clock_now() + TROUBLE_PAUSE;

	backlog_plan(q, id, when);
	if (error == EROFS || dial_is_shortage(error)) {
		pthread_mutex_lock(&q->lock);
		q->disk_opens = when;
		pthread_mutex_unlock(&q->lock);
	}
	log_message(LEVEL_ERROR, "cannot read %s in the spool: %s", id,
	    strerror(error));
}

/* Loads a due message. NULL when there is nothing to attempt, and that has
 * been taken care of. */
static struct submission *
load(struct queue *q, const char *id)
{
	struct submission *s;
	struct message *m = NULL;
	enum load_result result = spool_load(q->spool, id, &m);

	switch (result) {
	case LOADED:
		s = submission_new(m);
		s->tried = ~route_of(q->config, m->sender);
		if (!stored_route(q, m)) {
			submission_free(s);
			backlog_plan(q, id, clock_now() + TROUBLE_PAUSE);
			break;
		}
		s->keeps = s->stored = s->abandoned = true;
		return s;
	case LOAD_BUSY:
		backlog_plan(q, id, clock_now() + TROUBLE_PAUSE);
		break;
	case LOAD_TROUBLE:
		have_trouble(q, id, errno);
		break;
	case LOAD_DAMAGED:
	case LOAD_FOREIGN:
		set_bad_aside(q, id, result);
		break;
	case LOAD_UNKNOWN:
		log_message(LEVEL_ERROR, "%s in the spool is of a version that "
		    "this one does not know, and is left alone", id);
		break;
	case LOAD_GONE:
		backlog_forget(q, id);
		break;
	}
	return NULL;
}

/* Under the lock: whether a courier has it now. If not, *when is its next
 * try, or -1 while it is parked. */
static bool
put_in_line(struct queue *q, struct submission *s, int64_t *when)
{
	struct verdict reason;

	*when = clock_now();
	if (q->stopping || q->heir ||
	    pauses_hold(&q->senders, s->message->sender, *when, when, &reason))
		return false;
	if (schedule_next(&q->schedule) >= 0 &&
	    schedule_next(&q->schedule) <= *when && line_should_yield(q, s)) {
		*when += YIELD_PAUSE;
		return false;
	}
	if (parking_keeps(q, s)) {
		*when = -1;
		return false;
	}
	if (!line_find(q, s))
		return false;
	line_staff(q);
	return true;
}

bool
backlog_hand_over(struct queue *q, struct submission *s)
{
	int64_t when;
	bool taken;

	pthread_mutex_lock(&q->lock);
	s->stored = s->abandoned = true;
	s->tried = ~route_of(q->config, s->message->sender);
	s->reported = false;
	taken = !q->alone && parking_is_passed(q, s) &&
	    put_in_line(q, s, &when);
	pthread_mutex_unlock(&q->lock);
	return taken;
}

/* Whether it has come to its end without another attempt: nobody waits for it
 * any more, since a crash cut its end short, or it has waited too long for
 * somebody to let its sender send. */
static bool
is_over(struct queue *q, struct submission *s)
{
	int64_t until;
	bool held;

	if (!message_is_waiting(s->message))
		return true;
	if (!stored_is_expired(q, s->message))
		return false;
	pthread_mutex_lock(&q->lock);
	held = pauses_hold(&q->senders, s->message->sender, clock_now(),
	    &until, &s->verdict);
	pthread_mutex_unlock(&q->lock);
	return held;
}

/* Takes the next due message and puts it in line, or ends it. */
static void
serve_next(struct queue *q)
{
	char id[QUEUE_ID_SIZE];
	struct submission *s;
	int64_t when;

	if (!parking_take(q, id))
		return;
	pthread_mutex_unlock(&q->lock);
	s = load(q, id);
	if (s && is_over(q, s)) {
		stored_settle(q, s);
		s = NULL;
	}
	pthread_mutex_lock(&q->lock);
	if (!s || put_in_line(q, s, &when))
		return;
	pthread_mutex_unlock(&q->lock);
	submission_free(s);
	if (when >= 0)
		backlog_plan(q, id, when);
	pthread_mutex_lock(&q->lock);
}

/* Under the lock: whether this clock's time is over. */
static bool
is_over_here(const struct queue *q)
{
	return q->stopping || q->heir;
}

/* Ends what has waited too long while no relay can be reached: without an
 * attempt nobody else would see it. One that is not yet over is left for the
 * next time. */
static void
expire_old(struct queue *q, struct schedule *schedule)
{
	int64_t oldest = (int64_t)time(NULL) -
	    q->config->queue.lifetime / SECOND;
	char id[QUEUE_ID_SIZE];
	size_t cursor = 0;

	for (size_t left = schedule->count; left && !is_over_here(q) &&
	     schedule_take_older(schedule, oldest, &cursor, id); left--) {
		struct submission *s;

		pthread_mutex_unlock(&q->lock);
		s = load(q, id);
		if (s && stored_is_expired(q, s->message)) {
			stored_settle(q, s);
		} else if (s) {
			submission_free(s);
			backlog_plan(q, id, clock_now());
		}
		pthread_mutex_lock(&q->lock);
	}
}

static bool
is_any_down(const struct queue *q)
{
	for (size_t i = 0; i < q->config->upstream_count; i++)
		if (q->lines[i].health.down)
			return true;
	return false;
}

/* Whether there is a line that nobody serves, since the system gave no
 * thread. */
static bool
is_any_deserted(const struct queue *q)
{
	for (size_t i = 0; i < q->config->upstream_count; i++)
		if (line_waiting(&q->lines[i]) && !q->lines[i].couriers)
			return true;
	return false;
}

/* What is done once a minute when there is trouble. */
static void
keep_house(struct queue *q)
{
	struct schedule *s;
	bool calm;

	pthread_mutex_unlock(&q->lock);
	stored_mark_again(q);
	calm = stored_is_calm(q);
	pthread_mutex_lock(&q->lock);
	line_staff(q);
	calm = calm && is_any_down(q);
	for (size_t i = 0; calm && (s = parking_each(q, i)); i++)
		expire_old(q, s);
}

static void
serve(struct queue *q)
{
	q->kept_house = clock_now();
	while (!is_over_here(q)) {
		bool now;
		int64_t look = parking_look(q, &now), house = INT64_MAX;

		if (q->unmarked || is_any_down(q) || is_any_deserted(q))
			house = q->kept_house + MINUTE;
		if (clock_now() >= house) {
			q->kept_house = clock_now();
			keep_house(q);
		} else if (now) {
			q->serving = true;
			serve_next(q);
			q->serving = false;
		} else {
			look = look < house ? look : house;
			thread_wait(&q->tick, &q->lock,
			    look == INT64_MAX ? 0 : look);
		}
	}
}

static void *
run_clock(void *argument)
{
	struct queue *q = argument;

	pthread_mutex_lock(&q->lock);
	while (q->unborn && !q->stopping)
		thread_wait(&q->tick, &q->lock, 0);
	while (!is_over_here(q)) {
		bool read;

		pthread_mutex_unlock(&q->lock);
		read = q->once || backlog_search(q, true);
		pthread_mutex_lock(&q->lock);
		if (read)
			serve(q);
		else if (!is_over_here(q))
			thread_wait(&q->tick, &q->lock,
			    clock_now() + TROUBLE_PAUSE);
	}
	pthread_mutex_unlock(&q->lock);
	stored_mark_again(q); /* the last chance */
	pthread_mutex_lock(&q->lock);
	q->present--;
	pthread_cond_signal(&q->left);
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

bool
backlog_start(struct queue *q)
{
	/* For who does not stay, it is the machine's start that counts. */
	q->calm_since = q->once ? 0 : clock_now(); /* an heir is told yet */
	q->clock_offset = (int64_t)time(NULL) - clock_now() / SECOND;
	q->present++;
	if (thread_start(run_clock, q))
		return true;
	q->present--;
	return false;
}
