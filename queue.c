/* SPDX-License-Identifier: ISC */
/*
 * submit(): the sessions' side of the place where they and the couriers meet.
 * No lock is held over input or output; what is logged is logged outside it.
 */
#include "queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "clock.h"
#include "config.h"
#include "forwards.h"
#include "message.h"
#include "queue_internal.h"
#include "relay.h"
#include "report.h"
#include "route.h"
#include "smtp.h"
#include "spool.h"
#include "staging.h"
#include "thread.h"

#define ROOM_PLENTY (UINT64_C(1) << 30) /* bytes */
enum { ROOM_LOOK = 200 };              /* ms */

struct queue *
queue_new(const struct config *config, const struct relay *relays,
    struct spool *spool, bool alone)
{
	struct queue *q = xcalloc(1, sizeof(*q));

	q->config = config;
	q->relays = relays;
	q->spool = spool;
	q->alone = alone;
	q->hurries = 1;
	q->lines = xcalloc(config->upstream_count, sizeof(*q->lines));
	q->owed = owed_new();
	q->forwards = forwards_new(config);
	pthread_mutex_init(&q->lock, NULL);
	thread_cond_init(&q->left);
	thread_cond_init(&q->tick);
	for (size_t i = 0; i < ANSWERS; i++)
		thread_cond_init(&q->answers[i]);
	for (size_t i = 0; i < config->upstream_count; i++) {
		line_init(&q->lines[i]);
		health_init(&q->lines[i].health,
		    config->queue.directory != NULL);
	}
	return q;
}

void
queue_free(struct queue *q)
{
	for (size_t i = 0; i < q->config->upstream_count; i++) {
		struct submission *s;

		while ((s = line_take(&q->lines[i])))
			submission_free(s);
		pthread_cond_destroy(&q->lines[i].work);
	}
	pthread_cond_destroy(&q->left);
	pthread_cond_destroy(&q->tick);
	for (size_t i = 0; i < ANSWERS; i++)
		pthread_cond_destroy(&q->answers[i]);
	for (struct submission *s = q->unmarked, *next; s; s = next) {
		next = s->next;
		submission_free(s);
	}
	parking_free(q);
	roster_free(&q->roster);
	pauses_clear(&q->senders);
	owed_free(q->owed);
	forwards_free(q->forwards);
	pthread_mutex_destroy(&q->lock);
	free(q->lines);
	free(q);
}

bool
queue_start(struct queue *q, struct buf *why)
{
	if (q->spool && !spool_has_room(q->spool, q->config->queue.min_free))
		log_message(LEVEL_WARNING, "the disk of %s has less room than "
		    "[queue] min_free (%llu bytes): until there is more, no "
		    "message is stored there", q->config->queue.directory,
		    (unsigned long long)q->config->queue.min_free);
	if (!q->spool || backlog_start(q))
		return true;
	buf_addf(why, "cannot start: %s", strerror(errno));
	return false;
}

struct body_budget *
queue_budget(struct queue *q)
{
	return &q->budget;
}

const struct relay *
queue_relay(const struct queue *q, unsigned upstream)
{
	return &q->relays[upstream];
}

struct message *
queue_message(struct submission *s)
{
	return s->message;
}

/* Whether a message could be handed to an upstream right now. */
static bool
may_try_now(struct queue *q)
{
	bool open = false;
	int64_t now = clock_now();

	pthread_mutex_lock(&q->lock);
	for (unsigned i = 0; i < q->config->upstream_count; i++)
		open |= line_opens(q, i, now) <= now;
	pthread_mutex_unlock(&q->lock);
	return open && !q->config->queue.commit_first;
}

/* As spool_has_room(). Where there is plenty it is not looked at for each
 * message: it takes longer than this to fill a disk. */
static bool
has_room(struct queue *q, uint64_t need)
{
	int64_t now = clock_now();
	uint64_t room;

	if (now < atomic_load(&q->plenty_until) && need < ROOM_PLENTY)
		return true;
	room = spool_room(q->spool);
	atomic_store(&q->plenty_until,
	    room >= 2 * ROOM_PLENTY ? now + ROOM_LOOK : 0);
	return room && room >= need;
}

enum queue_room
queue_room(struct queue *q, uint64_t size)
{
	uint64_t need = q->config->queue.min_free;

	if (!q->spool)
		return ROOM_DIRECT;
	if (has_room(q, size < UINT64_MAX - need ? need + size : UINT64_MAX))
		return ROOM_KEEP;
	return may_try_now(q) ? ROOM_DIRECT : ROOM_NONE;
}

int
queue_make_file(struct queue *q, struct message *m, uint64_t *base)
{
	return spool_begin(q->spool, m, base);
}

unsigned
queue_recipient_limit(const struct queue *q, const struct message *m,
    bool local)
{
	unsigned limit = q->config->listen.max_recipients;
	uint64_t route = route_of(q->config, m->sender ? m->sender : "");

	if (local && !m->direct_only && limit < QUEUE_LOCAL_RECIPIENTS)
		return QUEUE_LOCAL_RECIPIENTS;
	for (size_t i = 0; m->direct_only && i < q->config->upstream_count;
	     i++) {
		const struct upstream *u = &q->config->upstreams[i];

		if (route >> i & 1 && u->recipients_per_message < limit)
			limit = u->recipients_per_message;
	}
	if (m->direct_only && q->config->identity.archive_to && limit > 1)
		limit--; /* it has a place in the same transaction */
	return limit;
}

/* The session's time is over, or the process stops: takes the submission
 * back. With a spool it stays with the courier that has it; without one, that
 * is too late when the envelope has begun. False if it has to wait. */
static bool
withdraw(struct queue *q, struct submission *s)
{
	if (s->state == SENDING && !s->keeps)
		return false;
	verdict_set(&s->verdict, LATER, SCOPE_MESSAGE, STAGE_CONNECT,
	    q->stopping ? "smarthost is stopping"
	    : s->state == SENDING
		? "the relay has not taken the message in direct_wait"
		: "the relay has not been reached in direct_wait");
	s->verdict.cut_short = true;
	if (s->state == IN_LINE) {
		line_remove(&q->lines[s->upstream], s);
		line_end_probe(q, s);
		s->state = SETTLED;
	} else if (!s->keeps) {
		s->abandoned = true;
	}
	return true;
}

/* Waits, under the lock, until there is a verdict. */
static void
await_verdict(struct queue *q, struct submission *s)
{
	while (s->state != SETTLED) {
		bool over = clock_now() >= s->deadline || q->stopping;

		if (over && withdraw(q, s))
			break;
		thread_wait(s->answered, &q->lock, over ? 0 : s->deadline);
	}
}

static void
join_waiting(struct queue *q, struct submission *s)
{
	s->older = q->newest;
	if (s->older)
		s->older->newer = s;
	q->newest = s;
}

static void
leave_waiting(struct queue *q, struct submission *s)
{
	if (s->older)
		s->older->newer = s->newer;
	if (s->newer)
		s->newer->older = s->older;
	else
		q->newest = s->older;
}

/* Hands it to a courier and waits. */
static void
try_directly(struct queue *q, struct submission *s)
{
	if (q->stopping)
		verdict_set(&s->verdict, LATER, SCOPE_MESSAGE, STAGE_CONNECT,
		    "smarthost is stopping");
	if (q->stopping || q->config->queue.commit_first ||
	    !message_is_waiting(s->message) || !line_find(q, s))
		return;
	join_waiting(q, s);
	line_staff(q);
	await_verdict(q, s);
	leave_waiting(q, s);
}

/* The commit took its time, and the verdict may have come meanwhile. True if
 * not, and then the courier has the message and its file from here on. What
 * could not be stored has to wait for the verdict. */
static bool
leave_to_courier(struct queue *q, struct submission *s, bool stored)
{
	bool left;

	pthread_mutex_lock(&q->lock);
	s->committing = false;
	pthread_cond_broadcast(s->answered); /* a courier that has to mark */
	while (!stored && s->state != SETTLED)
		thread_wait(s->answered, &q->lock, 0);
	left = s->state != SETTLED;
	if (left)
		s->stored = s->abandoned = true;
	pthread_mutex_unlock(&q->lock);
	return left;
}

/* [queue] held = refuse: who sends as somebody that the relay does not know
 * hears it at once, as long as nobody has got the message. */
static bool
refuses_held(const struct queue *q, const struct submission *s, bool shared,
    struct verdict *v)
{
	const struct message *m = s->message;

	if (!q->config->queue.refuse_held || shared || v->outcome != HOLD ||
	    v->scope != SCOPE_SENDER)
		return false;
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == SENT)
			return false;
	v->outcome = NEVER;
	return true;
}

/* It could not be stored; what the relay had against it is still true. */
static void
refuse_unkept(struct verdict *v, int error)
{
	const struct verdict before = *v;

	verdict_set(v, LATER, SCOPE_MESSAGE, STAGE_CONNECT,
	    "4.3.1 cannot keep the message: %s%s%s", strerror(error),
	    *before.text ? "; " : "", before.text);
}

void
queue_keep(struct queue *q, struct submission *s, bool shared,
    struct verdict *v)
{
	bool stored;
	int error;

	if (refuses_held(q, s, shared, v)) {
		if (!s->reported)
			report_results(s->message, NULL, v, NULL);
		submission_free(s);
		return;
	}
	if (!shared)
		message_know_results(s->message);
	stored = stored_commit(q, s->message);
	error = errno;
	if (shared && leave_to_courier(q, s, stored)) {
		v->kept = true;
		return;
	}
	if (shared)
		*v = s->verdict;
	if (!stored) {
		if (!message_is_final(s->message))
			refuse_unkept(v, error);
		owed_confirm(q, s->message);
		submission_free(s);
	} else if (message_is_final(s->message)) {
		owed_confirm(q, s->message);
		stored_drop(q, s);
	} else {
		stored_keep(q, s, v);
	}
}

/* What nobody has tried is reported here, everything else by the courier. */
static void
submit_and_wait(struct queue *q, struct submission *s, struct verdict *v)
{
	bool abandoned, shared;

	pthread_mutex_lock(&q->lock);
	s->state = SETTLED;
	s->answered = &q->answers[q->answers_used++ % ANSWERS];
	try_directly(q, s);
	*v = s->verdict;
	abandoned = s->abandoned;
	shared = s->committing = s->state != SETTLED;
	pthread_mutex_unlock(&q->lock);
	if (abandoned)
		return;
	if (!s->keeps && !s->reported)
		report_results(s->message, NULL, v, NULL);
	if (s->keeps && (shared || !message_is_final(s->message))) {
		queue_keep(q, s, shared, v);
		return;
	}
	owed_confirm(q, s->message);
	submission_free(s);
}

bool
queue_readdress(struct queue *q, struct message *m)
{
	bool changed = forwards_apply(q->forwards, m);

	return staging_apply(q->config, m) || changed;
}

/* [identity] archive_to is a recipient like the others: if the relay refuses
 * him, the sender hears of that too. */
static void
add_archive(const struct queue *q, struct message *m)
{
	const char *archive = q->config->identity.archive_to;

	for (size_t i = 0; archive && i < m->recipient_count; i++)
		if (!strcasecmp(m->recipients[i].address, archive))
			archive = NULL;
	if (archive)
		message_add_recipient(m, archive);
}

void
queue_route(struct queue *q, struct message *m)
{
	if (!m->routed) {
		(void)forwards_apply(q->forwards, m);
		add_archive(q, m);
		(void)staging_apply(q->config, m);
	}
	m->routed = true;
}

/* Whether there is nothing to try: there is no relay to ask about names of this
 * host that nothing is said about, and whom [staging] does not allow. Who else
 * is in the message waits for them only where all get it or nobody. */
static bool
is_settled(const struct submission *s, struct verdict *v)
{
	const struct message *m = s->message;
	size_t waiting = message_count_waiting(m);

	if (waiting == m->recipient_count || (s->keeps && waiting))
		return false;
	forwards_explain(m, v);
	return true;
}

void
queue_submit(struct queue *q, struct message *m, struct verdict *v)
{
	struct submission *s = submission_new(m);

	s->tried = ~route_of(q->config, m->sender);
	s->keeps = q->spool && !m->direct_only;
	s->deadline = clock_now() + q->config->queue.direct_wait;
	verdict_set(&s->verdict, LATER, SCOPE_MESSAGE, STAGE_CONNECT,
	    "it waits for its turn");
	queue_route(q, m);
	if (is_settled(s, &s->verdict) && (!s->keeps || message_is_final(m))) {
		*v = s->verdict;
		report_results(m, NULL, v, NULL);
		submission_free(s);
	} else if (q->alone)
		alone_submit(q, s, v);
	else
		submit_and_wait(q, s, v);
}

void
queue_courier_left(struct queue *q)
{
	bool others = false;

	pthread_mutex_lock(&q->lock);
	for (size_t i = 0; i < q->config->upstream_count; i++)
		others |= q->lines[i].couriers > 0;
	pthread_mutex_unlock(&q->lock);
	if (!others && q->spool)
		spool_rest(q->spool);
	pthread_mutex_lock(&q->lock);
	q->present--;
	pthread_cond_signal(&q->left);
	pthread_mutex_unlock(&q->lock);
}

bool
queue_is_alive(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	pthread_mutex_unlock(&q->lock);
	return true;
}

void
queue_stop(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->stopping = true;
	pthread_cond_signal(&q->tick);
	for (size_t i = 0; i < q->config->upstream_count; i++)
		pthread_cond_broadcast(&q->lines[i].work);
	for (struct submission *s = q->newest; s; s = s->older)
		pthread_cond_broadcast(s->answered);
	pthread_mutex_unlock(&q->lock);
}

bool
queue_wait_for_couriers(struct queue *q, int64_t deadline)
{
	bool all;

	pthread_mutex_lock(&q->lock);
	while (q->present && thread_wait(&q->left, &q->lock, deadline))
		;
	all = q->present == 0;
	pthread_mutex_unlock(&q->lock);
	return all;
}
