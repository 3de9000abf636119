/* SPDX-License-Identifier: ISC */
/*
 * The notices about what was refused. Each reader gets some at once; a storm
 * of them is merged into one digest an hour, and the messages that it is about
 * stay in the queue, marked as owed, until then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "config.h"
#include "digest.h"
#include "log.h"
#include "message.h"
#include "notice.h"
#include "queue_internal.h"
#include "spool.h"

enum {
	SECOND = 1000,
	MINUTE = 60 * SECOND,
	HOUR = 60 * MINUTE,
	AT_ONCE_MAX = 10,    /* notices to one reader in an hour */
	READERS_MAX = 1000,  /* who is beyond it gets no digest */
	DIGEST_MAX = 10000,  /* messages */
	NOTICES_MAX = 8,     /* of one message, that wait at the same time */
};

/* Somebody who is told, and what he is still to be told in this hour. */
struct reader {
	struct reader *next;
	char *address;
	int64_t since;
	unsigned told;
	size_t count;
	char (*ids)[QUEUE_ID_SIZE];
};

struct owed {
	struct reader *first;
	size_t count;
};

struct owed *
owed_new(void)
{
	return xcalloc(1, sizeof(struct owed));
}

static void
reader_free(struct reader *r)
{
	free(r->address);
	free(r->ids);
	free(r);
}

void
owed_free(struct owed *o)
{
	struct reader *next;

	for (struct reader *r = o->first; r; r = next) {
		next = r->next;
		reader_free(r);
	}
	free(o);
}

/* Removes who was told nothing in the last hour and is owed nothing. */
static void
forget_readers(struct owed *o, int64_t now)
{
	struct reader **at = &o->first, *gone;

	while ((gone = *at)) {
		if (gone->count || now - gone->since < HOUR) {
			at = &gone->next;
			continue;
		}
		*at = gone->next;
		reader_free(gone);
		o->count--;
	}
}

/* NULL when there are too many already. */
static struct reader *
find_reader(struct owed *o, const char *address, int64_t now)
{
	struct reader *r;

	forget_readers(o, now);
	for (r = o->first; r; r = r->next)
		if (strcmp(r->address, address) == 0)
			return r;
	if (o->count >= READERS_MAX)
		return NULL;
	r = xcalloc(1, sizeof(*r));
	r->address = xstrdup(address);
	r->since = now;
	r->next = o->first;
	o->first = r;
	o->count++;
	return r;
}

/* A message that has somebody left to try comes more than once. */
static void
put_on_list(struct reader *r, const char *id)
{
	size_t n = r->count;

	for (size_t i = 0; i < n; i++)
		if (memcmp(r->ids[i], id, QUEUE_ID_SIZE) == 0)
			return;
	if (n == DIGEST_MAX)
		return; /* it will come again, and be on the next one */
	if ((n & (n - 1)) == 0) /* grow at each power of two */
		r->ids = xrealloc(r->ids, n ? 2 * n : 1, sizeof(*r->ids));
	memcpy(r->ids[r->count++], id, QUEUE_ID_SIZE);
}

/* Whether the reader may be told now; then *list has what else he is owed, to
 * be freed. If not, the message is on his list, and *pause says how long. */
static bool
may_tell(struct queue *q, const char *address, const char *id,
    struct reader *list, int64_t *pause)
{
	int64_t now = clock_now();
	struct reader *r;
	bool may = true;

	*list = (struct reader){0};
	pthread_mutex_lock(&q->lock);
	r = find_reader(q->owed, address, now);
	if (r && now - r->since >= HOUR) {
		*list = *r;
		r->ids = NULL;
		r->count = 0;
		r->told = 0;
		r->since = now;
	}
	if (r && r->told++ >= AT_ONCE_MAX) {
		put_on_list(r, id);
		*pause = r->since + HOUR - now + SECOND;
		may = false;
	}
	pthread_mutex_unlock(&q->lock);
	return may;
}

/* It could not be told: that does not count. */
static void
take_back(struct queue *q, const char *address)
{
	struct reader *r;

	pthread_mutex_lock(&q->lock);
	r = find_reader(q->owed, address, clock_now());
	if (r && r->told)
		r->told--;
	pthread_mutex_unlock(&q->lock);
}

/* note is for those of whose failure the sender wants to hear. */
static void
report_failed(const struct message *m, const char *note)
{
	for (size_t i = 0; i < m->recipient_count; i++) {
		const struct recipient *r = &m->recipients[i];

		if (r->outcome == NEVER)
			log_event(LEVEL_ERROR, "bounced", "id", m->id, "from",
			    *m->sender ? m->sender : "<>", "to", r->address,
			    "reply", r->reply, "hint",
			    r->reply ? reply_hint(r->code, r->reply) : NULL,
			    "note", recipient_wants(r, NOTIFY_FAILURE) ? note :
			    "its sender did not want to be told", NULL);
	}
}

static void
set_reported(struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == NEVER)
			m->recipients[i].outcome = REPORTED;
}

/* Of these nobody wants to hear, so all is said. */
static void
set_silent_reported(struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == NEVER &&
		    !recipient_wants(&m->recipients[i], NOTIFY_FAILURE))
			m->recipients[i].outcome = REPORTED;
}

static bool
has(const struct message *m, enum outcome outcome)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == outcome)
			return true;
	return false;
}

/* The same for recipients of whose failure the sender wants to hear. */
static bool
has_wanted(const struct message *m, enum outcome outcome)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == outcome &&
		    recipient_wants(&m->recipients[i], NOTIFY_FAILURE))
			return true;
	return false;
}

/* The ID of the number-th notice about a message: made from its own, so that
 * after a crash the notice is found that was about to be recorded. */
static void
notice_id(const char *original, unsigned number, char id[QUEUE_ID_SIZE])
{
	uint64_t random = strtoull(original + 16, NULL, 16);

	random ^= UINT64_C(0x6e6f746963650000) + number;
	snprintf(id, QUEUE_ID_SIZE, "%.16s%016llx", original,
	    (unsigned long long)random);
}

bool
owed_find_notice(struct queue *q, const char *original, char id[QUEUE_ID_SIZE])
{
	for (unsigned i = 0; i < NOTICES_MAX; i++) {
		notice_id(original, i, id);
		if (spool_has(q->spool, id))
			return true;
	}
	return false;
}

/* Gives the notice an ID. False if it is there already: the crash came behind
 * its commit, and ahead of the marks. */
static bool
name_notice(struct queue *q, const struct message *m, struct message *notice)
{
	unsigned number = 0;

	do
		notice_id(m->id, number, notice->id);
	while (spool_has(q->spool, notice->id) && has_wanted(m, REPORTED) &&
	    ++number < NOTICES_MAX);
	return !spool_has(q->spool, notice->id);
}

static bool
store(struct queue *q, struct message *notice, const char *about)
{
	if (stored_commit(q, notice))
		return true;
	log_message(LEVEL_ERROR, "cannot store the notice about %s: %s", about,
	    strerror(errno));
	return false;
}

/* A notice about this message alone. */
static bool
tell(struct queue *q, struct message *m, const struct notice_settings *settings,
    struct told *told)
{
	struct message *notice = notice_make(m, settings);
	bool stored;

	told->fresh = name_notice(q, m, notice);
	stored = !told->fresh || store(q, notice, m->id);
	if (stored) {
		report_failed(m, "its sender is told");
		set_reported(m);
		memcpy(told->name, notice->id, QUEUE_ID_SIZE);
	}
	message_free(notice);
	return stored;
}

/* Adds what else the reader is owed, unless it is gone, or somebody is still
 * waiting for a relay's answer. Returns those it has added at the front. */
static size_t
add_others(struct queue *q, struct digest *d, struct reader *list)
{
	size_t added = 0;

	for (size_t i = 0; i < list->count; i++) {
		struct message *m = NULL;

		if (spool_load(q->spool, list->ids[i], &m) != LOADED)
			continue;
		if (has(m, NEVER) && !has(m, WAITING)) {
			digest_add(d, m);
			report_failed(m, "its sender is told, in a digest");
			memmove(list->ids[added++], list->ids[i],
			    QUEUE_ID_SIZE);
		}
		message_free(m);
	}
	return added;
}

/* Moves those who are told in a digest to failed/, under its name and a number
 * each, without a gap; who is in somebody's hand now is told by him. Returns
 * how many there were. */
static unsigned
set_others_aside(struct queue *q, const char *digest,
    const struct reader *list, size_t count)
{
	char name[sizeof(((struct told *)0)->name)];
	unsigned number = 0;

	for (size_t i = 0; i < count; i++) {
		struct message *m = NULL;

		if (spool_load(q->spool, list->ids[i], &m) != LOADED)
			continue;
		snprintf(name, sizeof(name), "%s.%u", digest, number + 1);
		if (spool_set_aside(q->spool, m->id, name)) {
			backlog_forget(q, m->id);
			number++;
		}
		message_free(m);
	}
	return number;
}

/* One notice about this message and the others on the list. */
static bool
tell_together(struct queue *q, struct message *m,
    const struct notice_settings *settings, struct reader *list,
    struct told *told)
{
	struct digest *d = digest_new(settings, list->address);
	struct message *notice;
	unsigned others;
	size_t count;

	digest_add(d, m);
	count = add_others(q, d, list);
	notice = digest_finish(d);
	if (!store(q, notice, m->id)) {
		message_free(notice);
		return false;
	}
	report_failed(m, "its sender is told, in a digest");
	set_reported(m);
	others = set_others_aside(q, notice->id, list, count);
	snprintf(told->name, sizeof(told->name), "%s.%u", notice->id,
	    others + 1);
	told->fresh = true;
	message_free(notice);
	return true;
}

static struct notice_settings
settings_of(const struct queue *q)
{
	return (struct notice_settings){.hostname = q->config->hostname,
		.bounce_to = q->config->queue.bounce_to,
		.bounce_from = q->config->queue.bounce_from};
}

bool
owed_notify(struct queue *q, struct message *m, struct told *told)
{
	struct notice_settings settings = settings_of(q);
	const char *reader = notice_reader(m, &settings);
	struct reader list;
	bool done;

	told->name[0] = '\0';
	told->fresh = false;
	if (!reader || !has_wanted(m, NEVER)) {
		report_failed(m, "nobody can be told, see failed/");
		set_silent_reported(m);
		return true;
	}
	if (!may_tell(q, reader, m->id, &list, &told->pause))
		return false;
	if (list.count)
		done = tell_together(q, m, &settings, &list, told);
	else
		done = tell(q, m, &settings, told);
	if (!done)
		take_back(q, reader);
	free(list.ids);
	return done;
}

void
owed_release(struct queue *q, const struct told *told)
{
	char id[QUEUE_ID_SIZE];

	snprintf(id, sizeof(id), "%.*s", QUEUE_ID_SIZE - 1, told->name);
	if (told->fresh)
		backlog_plan(q, id, clock_now());
}

void
owed_confirm(struct queue *q, struct message *m)
{
	struct notice_settings settings = settings_of(q);
	struct message *notice = NULL;
	char id[QUEUE_ID_SIZE];
	bool stored;

	if (q->spool)
		notice = notice_make_relayed(m, &settings);
	for (size_t i = 0; i < m->recipient_count; i++)
		m->recipients[i].relayed = false;
	if (!notice)
		return;
	stored = store(q, notice, m->id);
	memcpy(id, notice->id, QUEUE_ID_SIZE);
	message_free(notice);
	if (stored)
		backlog_plan(q, id, clock_now());
}
