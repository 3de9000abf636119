/* SPDX-License-Identifier: ISC */
/*
 * The stored messages: when they are due, what an attempt makes of them, and
 * the clock that puts them in line. The files are touched outside the lock;
 * whoever has a submission in hand has its file to itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "config.h"
#include "message.h"
#include "notice.h"
#include "queue_internal.h"
#include "report.h"
#include "spool.h"
#include "thread.h"

enum {
	SECOND = 1000,
	MINUTE = 60 * SECOND,
	HOUR = 60 * MINUTE,
	TROUBLE_PAUSE = MINUTE, /* for a file that cannot be read now */
};

/* In seconds, by the wall clock; never negative. */
static int64_t
age_of(const struct message *m)
{
	int64_t age = (int64_t)time(NULL) - m->arrived_at;

	return age > 0 ? age : 0;
}

/* Half its age, between a minute and retry_max, and a fifth either way so that
 * messages of the same moment do not stay together. In ms. */
static int64_t
pause_of(const struct queue *q, const struct message *m)
{
	unsigned random = (unsigned)strtoul(m->id + 24, NULL, 16) ^
	    (unsigned)clock_now();
	int64_t pause = q->config->queue.retry_max;

	if (age_of(m) < 2 * pause / SECOND)
		pause = age_of(m) * SECOND / 2;
	if (pause < MINUTE)
		pause = MINUTE;
	return pause - pause / 5 + random % (pause * 2 / 5);
}

static void
plan(struct queue *q, const char *id, int64_t when)
{
	pthread_mutex_lock(&q->lock);
	schedule_add(&q->schedule, id, when);
	pthread_cond_signal(&q->tick);
	pthread_mutex_unlock(&q->lock);
}

/* The file's mtime as a time on clock_now(). One further ahead than the
 * longest pause comes from a clock that was wrong, and is due. */
static void
found(void *context, const char *id, time_t next_try)
{
	struct queue *q = context;
	int64_t longest = q->config->queue.retry_max * 6 / 5 + MINUTE;
	int64_t now = time(NULL), wait = 0;

	if (next_try > now && next_try <= now + longest / SECOND)
		wait = (next_try - now) * SECOND;
	schedule_add(&q->schedule, id, clock_now() + wait);
}

bool
backlog_read(struct queue *q)
{
	long foreign = spool_list(q->spool, found, q);

	if (foreign > 0)
		log_message(LEVEL_WARNING, "%ld files in the spool's queue "
		    "directory are none of smarthost's and are left alone",
		    foreign);
	return foreign >= 0;
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

/* Nothing expires in the first hour after a start: the wall clock may have
 * been wrong until then. */
static bool
is_expired(const struct queue *q, const struct message *m)
{
	return age_of(m) > q->config->queue.lifetime / SECOND &&
	    clock_now() - q->started > HOUR;
}

static void
report_failed(const struct message *m, const char *note)
{
	for (size_t i = 0; i < m->recipient_count; i++) {
		const struct recipient *r = &m->recipients[i];

		if (r->outcome == NEVER)
			log_event(LEVEL_ERROR, "bounced", "id", m->id, "from",
			    *m->sender ? m->sender : "<>", "to", r->address,
			    "reply", r->reply, "note", note, NULL);
	}
}

/* Writes a notice about the refused recipients and has it on stable storage
 * before they are marked. Its ID goes to id; "" if nobody may be told. False
 * if it is still owed. */
static bool
notify(struct queue *q, struct message *m, char id[QUEUE_ID_SIZE])
{
	struct notice_settings settings = {.hostname = q->config->hostname};
	struct message *notice = notice_make(m, &settings);

	id[0] = '\0';
	if (notice && !spool_commit(q->spool, notice)) {
		log_message(LEVEL_ERROR, "cannot store the notice about %s: %s",
		    m->id, strerror(errno));
		message_free(notice);
		return false;
	}
	report_failed(m, notice ? "its sender is told"
				: "nobody can be told, see failed/");
	if (notice) {
		memcpy(id, notice->id, QUEUE_ID_SIZE);
		message_free(notice);
		plan(q, id, clock_now());
	}
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == NEVER)
			m->recipients[i].outcome = REPORTED;
	return true;
}

bool
backlog_commit(struct queue *q, struct message *m)
{
	return spool_commit(q->spool, m);
}

void
backlog_drop(struct queue *q, struct message *m)
{
	if (m->file >= 0 && !spool_remove(q->spool, m))
		log_message(LEVEL_ERROR, "cannot remove %s, which is done, "
		    "from the spool: %s", m->id, strerror(errno));
}

/* The message is over. Where somebody was not reached it stays in failed/,
 * under the ID of its notice, until that notice is delivered. */
static void
finish(struct queue *q, struct message *m, const char *notice)
{
	if (count(m, SENT, SENT) == m->recipient_count) {
		backlog_drop(q, m);
		spool_forget_failed(q->spool, m->id);
	} else if (spool_put_off(m, time(NULL)) &&
	    spool_set_aside(q->spool, m->id, *notice ? notice : m->id)) {
		return;
	} else if (errno == EEXIST) {
		/* It is a notice, and what it is about has that name there. */
		backlog_drop(q, m);
	} else {
		log_message(LEVEL_ERROR, "cannot move %s to failed/: %s",
		    m->id, strerror(errno));
	}
}

/* Marks the results. Its next try is this much later. */
static int64_t
put_off(struct queue *q, struct message *m)
{
	int64_t pause = pause_of(q, m);

	if (!spool_put_off(m, time(NULL) + pause / SECOND))
		log_message(LEVEL_ERROR, "cannot mark %s in the spool: %s",
		    m->id, strerror(errno));
	return pause;
}

/* Gives up the message, and with it its file's lock, and plans its next try:
 * in this order, or the clock would find it locked. */
static void
plan_and_free(struct queue *q, struct submission *s, int64_t pause)
{
	char id[QUEUE_ID_SIZE];

	memcpy(id, s->message->id, sizeof(id));
	submission_free(s);
	plan(q, id, clock_now() + pause);
}

/* After an attempt: notices, marks, and the next try or the end. Frees it. */
static void
conclude(struct queue *q, struct submission *s)
{
	struct message *m = s->message;
	char notice[QUEUE_ID_SIZE] = "";
	bool owed = count(m, NEVER, NEVER) && !notify(q, m, notice);

	if (owed || count(m, LATER, HOLD)) {
		plan_and_free(q, s, put_off(q, m));
	} else {
		finish(q, m, notice);
		submission_free(s);
	}
}

void
backlog_put_off(struct queue *q, struct submission *s, struct verdict *v)
{
	v->kept = true;
	v->outcome = v->outcome == NEVER ? LATER : v->outcome;
	if (count(s->message, WAITING, WAITING))
		plan_and_free(q, s, 0); /* nobody has tried it */
	else
		conclude(q, s);
}

void
backlog_return(struct queue *q, struct submission *s)
{
	schedule_add(&q->schedule, s->message->id, clock_now());
	submission_free(s);
}

/* What has waited too long is refused in the end. */
static void
expire(struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];

		if (r->outcome == SENT || r->outcome >= NEVER)
			continue;
		if (r->reply && *r->reply)
			r->outcome = NEVER;
		else
			recipient_set(r, NEVER, 0, "5.4.7 the relay could not "
			    "be reached in the lifetime of the message");
	}
}

void
backlog_settle(struct queue *q, struct submission *s)
{
	if (is_expired(q, s->message))
		expire(s->message);
	/* Trouble with the upstream is not this message's: its file does not
	 * change, and the upstream's pause keeps it waiting. */
	if (count(s->message, WAITING, WAITING))
		plan_and_free(q, s, 0);
	else
		conclude(q, s);
}

/* Loads a due message. NULL when there is nothing to attempt, and that has
 * been taken care of. */
static struct submission *
load(struct queue *q, const char *id)
{
	struct submission *s;
	struct message *m = NULL;

	switch (spool_load(q->spool, id, &m)) {
	case LOADED:
		s = submission_new(m);
		s->stored = s->abandoned = true;
		return s;
	case LOAD_BUSY:
		plan(q, id, clock_now() + TROUBLE_PAUSE);
		break;
	case LOAD_TROUBLE:
		log_message(LEVEL_ERROR, "cannot read %s in the spool: %s", id,
		    strerror(errno));
		plan(q, id, clock_now() + TROUBLE_PAUSE);
		break;
	case LOAD_DAMAGED:
		log_message(LEVEL_ERROR, "%s in the spool is damaged and was "
		    "set aside in failed/", id);
		(void)spool_set_aside(q->spool, id, id);
		break;
	case LOAD_UNKNOWN:
		log_message(LEVEL_ERROR, "%s in the spool is of a version that "
		    "this one does not know, and is left alone", id);
		break;
	case LOAD_GONE:
		break;
	}
	return NULL;
}

/* Under the lock: when the clock has to look again; -1: when it is told to.
 * *now is set when a stored message can be put in line at once. */
static int64_t
next_look(const struct queue *q, bool *now)
{
	int64_t next = schedule_next(&q->schedule), time_now = clock_now();
	int64_t open = INT64_MAX;

	*now = false;
	if (next < 0)
		return -1;
	for (size_t i = 0; i < q->config->upstream_count; i++) {
		const struct line *line = &q->lines[i];
		int64_t opens = health_opens(&line->health, time_now);

		if (line->waiting < q->config->upstreams[i].connections &&
		    opens < open)
			open = opens;
	}
	*now = next <= time_now && open <= time_now;
	return next > open ? next : open;
}

/* Takes the next due message and puts it in line. */
static void
serve_next(struct queue *q)
{
	char id[QUEUE_ID_SIZE];
	struct submission *s;

	if (!schedule_take(&q->schedule, clock_now(), id))
		return;
	pthread_mutex_unlock(&q->lock);
	s = load(q, id);
	pthread_mutex_lock(&q->lock);
	if (!s)
		return;
	if (!q->stopping && line_find(q, s)) {
		line_staff(q);
		return;
	}
	pthread_mutex_unlock(&q->lock);
	submission_free(s);
	plan(q, id, clock_now());
	pthread_mutex_lock(&q->lock);
}

static void *
run_clock(void *argument)
{
	struct queue *q = argument;

	pthread_mutex_lock(&q->lock);
	while (!q->stopping) {
		bool now;
		int64_t look = next_look(q, &now);

		if (now)
			serve_next(q);
		else
			thread_wait(&q->tick, &q->lock,
			    look < 0 || look == INT64_MAX ? 0 : look);
	}
	q->present--;
	pthread_cond_signal(&q->left);
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

bool
backlog_start(struct queue *q)
{
	q->started = clock_now();
	q->present++;
	if (thread_start(run_clock, q))
		return true;
	q->present--;
	return false;
}
