/* SPDX-License-Identifier: ISC */
/*
 * What becomes of a stored message after an attempt: its marks, the notice
 * about whom it did not reach, the next try or the end. The files are touched
 * outside the lock; whoever has a submission in hand has its file to itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "clock.h"
#include "config.h"
#include "log.h"
#include "message.h"
#include "queue_internal.h"
#include "spool.h"

enum {
	SECOND = 1000,
	MINUTE = 60 * SECOND,
	HOUR = 60 * MINUTE,
	CLOCK_STEP = 60, /* seconds: smaller corrections are no step */
};

/* In seconds, by the wall clock; never negative. */
static int64_t
age_of(const struct message *m)
{
	int64_t age = (int64_t)time(NULL) - m->arrived_at;

	return age > 0 ? age : 0;
}

static size_t
count(const struct message *m, enum outcome a, enum outcome b)
{
	size_t n = 0;

	for (size_t i = 0; i < m->recipient_count; i++)
		n += m->recipients[i].outcome == a ||
		    m->recipients[i].outcome == b;
	return n;
}

/* Whether asking the relay again serves nothing. To look again whether a name
 * of this host has somebody by now asks nobody. */
static bool
is_held(const struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == HOLD &&
		    !m->recipients[i].unrouted)
			return true;
	return false;
}

/* Half its age, between a minute and retry_max; what a person has to cure is
 * tried after the longest pause only. A fifth either way, so that messages of
 * the same moment do not stay together. In ms. */
static int64_t
pause_of(const struct queue *q, const struct message *m)
{
	unsigned random = (unsigned)strtoul(m->id + 24, NULL, 16) ^
	    (unsigned)clock_now();
	int64_t pause = q->config->queue.retry_max;

	if (age_of(m) < 2 * pause / SECOND && !is_held(m))
		pause = age_of(m) * SECOND / 2;
	if (pause < MINUTE)
		pause = MINUTE;
	return pause - pause / 5 + random % (pause * 2 / 5);
}

/* How long it waits after an attempt: as its age has it, or longer if the
 * relay's words ask for that. Whoever merely waits for the upstream is held up
 * by that one's pause. */
static int64_t
next_pause(const struct queue *q, const struct submission *s)
{
	int64_t pause = pause_of(q, s->message), asked = s->verdict.pause;

	if (!count(s->message, LATER, HOLD) && !count(s->message, NEVER, NEVER))
		return 0;
	if (s->verdict.scope == SCOPE_UPSTREAM)
		return pause;
	if (asked > q->config->queue.retry_max)
		asked = q->config->queue.retry_max;
	return asked > pause ? asked : pause;
}

bool
stored_is_calm(struct queue *q)
{
	int64_t now = clock_now();
	int64_t offset = (int64_t)time(NULL) - now / SECOND;
	bool calm;

	pthread_mutex_lock(&q->lock);
	if (llabs(offset - q->clock_offset) > CLOCK_STEP)
		q->calm_since = now;
	q->clock_offset = offset;
	calm = now - q->calm_since > HOUR;
	pthread_mutex_unlock(&q->lock);
	return calm;
}

bool
stored_is_expired(struct queue *q, const struct message *m)
{
	return stored_is_calm(q) &&
	    age_of(m) > q->config->queue.lifetime / SECOND;
}

bool
stored_route(struct queue *q, struct message *m)
{
	if (!queue_readdress(q, m) || spool_rewrite(q->spool, m))
		return true;
	log_message(LEVEL_ERROR, "cannot write %s in the spool with its new "
	    "recipients: %s", m->id, strerror(errno));
	return false;
}

bool
stored_commit(struct queue *q, struct message *m)
{
	struct queue *newest = queue_lock_newest(q);
	int error;

	/* Known before it is there, so that nobody finds it as a stranger. */
	roster_add(&newest->roster, m->id);
	pthread_mutex_unlock(&newest->lock);
	if (spool_commit(q->spool, m))
		return true;
	error = errno;
	backlog_forget(q, m->id);
	errno = error;
	return false;
}

/* Removes a message that is done. */
static bool
drop(struct queue *q, struct message *m)
{
	if (!spool_complete(q->spool, m))
		return false;
	backlog_forget(q, m->id);
	return true;
}

/* Moves it to failed/ under that name. If the name is taken, it is a notice,
 * and what it is about is there, which says more. If there is no file any more,
 * somebody has removed it. */
static bool
set_aside(struct queue *q, struct message *m, const char *name)
{
	if (!spool_put_off(m, time(NULL)))
		return false;
	if (!spool_set_aside(q->spool, m->id, name) && errno != ENOENT &&
	    (errno != EEXIST || !spool_remove(q->spool, m)))
		return false;
	backlog_forget(q, m->id);
	return true;
}

/* Whether its file has a name. */
static bool
is_there(const struct message *m)
{
	struct stat file;

	return fstat(m->file, &file) == 0 && file.st_nlink > 0;
}

/* The message is over. Where somebody was not reached it stays in failed/,
 * under the ID of the notice about that until the notice is delivered, or
 * under its own when nobody can be told. */
static bool
finish(struct queue *q, struct message *m, const char *notice)
{
	char live[QUEUE_ID_SIZE];

	if (count(m, NEVER, NEVER))
		return set_aside(q, m, m->id);
	if (*notice)
		return set_aside(q, m, notice);
	if (!count(m, REPORTED, REPORTED) || !owed_find_notice(q, m->id, live))
		return drop(q, m);
	if (!set_aside(q, m, live))
		return false;
	/* After a crash another thread may have delivered it meanwhile. Or it
	 * was refused, and is there itself instead of this one. */
	if (!spool_has(q->spool, live) && is_there(m))
		spool_forget_failed(q->spool, live);
	return true;
}

/* Gives up the message, and with it its file's lock, and plans its next try:
 * in this order, or the clock would find it locked. */
static void
plan_and_free(struct queue *q, struct submission *s, int64_t pause)
{
	char id[QUEUE_ID_SIZE];
	unsigned hurries = s->hurries;

	memcpy(id, s->message->id, sizeof(id));
	submission_free(s);
	if (!q->once)
		backlog_plan_next(q, id, hurries, clock_now() + pause);
}

/* The disk does not take what has happened. The message stays in hand, or it
 * would be sent again to those who have it. */
static void
keep_unmarked(struct queue *q, struct submission *s)
{
	if (!s->unmarked)
		log_message(LEVEL_ERROR, "cannot mark in the spool what became "
		    "of %s: %s; it is not tried again before that is done",
		    s->message->id, strerror(errno));
	s->unmarked = true;
	for (size_t i = 0; i < s->message->recipient_count; i++)
		/* of a configuration that may go before it */
		s->message->recipients[i].domain = NULL;
	q = queue_lock_newest(q);
	s->next = q->unmarked;
	q->unmarked = s;
	pthread_cond_signal(&q->tick);
	pthread_mutex_unlock(&q->lock);
}

/* After an attempt: marks, notices, and the next try or the end. Frees it.
 * Whoever was refused is marked as such before anybody is told, so that the
 * relay is not asked again, and there is no second notice, after a crash. */
static void
conclude(struct queue *q, struct submission *s)
{
	struct message *m = s->message;
	int64_t pause = next_pause(q, s);
	struct told told = {.pause = pause};
	size_t refused = count(m, NEVER, NEVER);
	size_t left = count(m, LATER, HOLD) + count(m, WAITING, WAITING);
	bool done, owed;

	/* After a crash it comes before its notice, which is found then. */
	if ((refused || left) &&
	    !spool_put_off(m, refused ? 0 : time(NULL) + pause / SECOND)) {
		keep_unmarked(q, s);
		return;
	}
	owed = refused && !owed_notify(q, m, &told);
	if (owed && (!left || told.pause < pause))
		pause = told.pause;
	if (owed || left)
		done = !refused ||
		    spool_put_off(m, time(NULL) + pause / SECOND);
	else
		done = finish(q, m, told.name);
	owed_release(q, &told);
	if (done)
		owed_confirm(q, m);
	if (!done)
		keep_unmarked(q, s);
	else if (owed || left)
		plan_and_free(q, s, pause);
	else
		submission_free(s);
}

void
stored_mark_again(struct queue *q)
{
	struct submission *list, *next;

	pthread_mutex_lock(&q->lock);
	list = q->unmarked;
	q->unmarked = NULL;
	pthread_mutex_unlock(&q->lock);
	for (; list; list = next) {
		next = list->next;
		conclude(q, list);
	}
}

void
stored_keep(struct queue *q, struct submission *s, struct verdict *v)
{
	v->kept = true;
	v->outcome = v->outcome == NEVER ? LATER : v->outcome;
	if (count(s->message, WAITING, WAITING) != s->message->recipient_count)
		conclude(q, s);
	else if (!backlog_hand_over(q, s)) /* nothing was said of it */
		plan_and_free(q, s, 0);
}

void
stored_drop(struct queue *q, struct submission *s)
{
	struct message *m = s->message;

	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == NEVER)
			m->recipients[i].outcome = REPORTED;
	if (drop(q, m))
		submission_free(s);
	else
		keep_unmarked(q, s);
}

/* What has waited too long is refused in the end, with the last thing that was
 * said: of the upstream, if that stood in the way, else of the recipient. */
static void
expire(struct message *m, const struct verdict *v)
{
	for (size_t i = 0; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];

		if (r->outcome == SENT || r->outcome >= NEVER)
			continue;
		if (r->outcome == WAITING && v->code)
			recipient_set(r, NEVER, v->code, v->text);
		else if (r->reply && *r->reply)
			r->outcome = NEVER;
		else
			recipient_set(r, NEVER, 0, "5.4.7 the relay could not "
			    "be reached in the lifetime of the message");
	}
}

void
stored_settle(struct queue *q, struct submission *s)
{
	if (stored_is_expired(q, s->message))
		expire(s->message, &s->verdict);
	/* Trouble with the upstream is not this message's: its file does not
	 * change, and the upstream's pause keeps it waiting. But others may
	 * have got a result that is final. */
	if (count(s->message, WAITING, WAITING) &&
	    !count(s->message, SENT, NEVER))
		plan_and_free(q, s, 0);
	else
		conclude(q, s);
}
