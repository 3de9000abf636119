/* SPDX-License-Identifier: ISC */
/*
 * What is stored, as it is found: at the start, when somebody says so, and by
 * a look once a minute.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "config.h"
#include "log.h"
#include "queue_internal.h"
#include "spool.h"

enum {
	SECOND = 1000,
	MINUTE = 60 * SECOND,
	LOOK_MAX = 100000, /* messages; to list more takes too long */
	FOUND_MAX = 512,   /* files, between two looks at the lock */
};

/* The file's mtime as a time on clock_now(); what is overdue keeps its order.
 * One further ahead than the longest pause comes from a clock that was wrong,
 * and is due. */
static int64_t
due_time(const struct queue *q, time_t next_try)
{
	int64_t longest = q->config->queue.retry_max * 6 / 5 + MINUTE;
	int64_t wait = (int64_t)next_try - (int64_t)time(NULL);
	int64_t now = clock_now();

	if (wait > longest / SECOND)
		return now;
	if (wait < -(now / SECOND))
		return 0;
	return now + wait * SECOND;
}

bool
backlog_add_found(struct queue *q, const struct found *found, size_t count)
{
	struct queue *newest = queue_lock_newest(q);
	bool stopping = newest->stopping || newest != q;

	for (size_t i = 0; i < count; i++)
		if (roster_add(&newest->roster, found[i].id))
			schedule_add(&newest->schedule, found[i].id,
			    due_time(newest, found[i].next_try));
	pthread_cond_signal(&newest->tick);
	pthread_mutex_unlock(&newest->lock);
	return !stopping; /* an heir looks for himself */
}

void
backlog_notice(struct queue *q, const char *id)
{
	struct found found;

	memcpy(found.id, id, sizeof(found.id));
	if (spool_next_try(q->spool, id, &found.next_try))
		backlog_add_found(q, &found, 1);
}

/* Files as they are found, to be added many at a time: sessions and couriers
 * want the lock as well. */
struct search {
	struct queue *queue;
	struct found *found;
	size_t count;
};

static bool
remember(void *context, const char *id, time_t next_try)
{
	struct search *s = context;
	struct found *f = &s->found[s->count++];

	memcpy(f->id, id, sizeof(f->id));
	f->next_try = next_try;
	if (s->count < FOUND_MAX)
		return true;
	s->count = 0;
	return backlog_add_found(s->queue, s->found, FOUND_MAX);
}

bool
backlog_search(struct queue *q, bool first)
{
	struct search s = {
		.queue = q,
		.found = xcalloc(FOUND_MAX, sizeof(*s.found)),
	};
	long foreign = spool_list(q->spool, remember, &s);

	backlog_add_found(q, s.found, s.count);
	free(s.found);
	if (foreign > 0 && first)
		log_message(LEVEL_WARNING, "%ld files in the spool's queue "
		    "directory are none of smarthost's and are left alone",
		    foreign);
	if (foreign < 0)
		log_message(LEVEL_ERROR, "cannot read the spool: %s",
		    strerror(errno));
	return foreign >= 0;
}

void
backlog_look_again(struct queue *q, int64_t *seen)
{
	int64_t changed = spool_changed(q->spool);
	size_t count;

	pthread_mutex_lock(&q->lock);
	count = q->roster.count;
	pthread_mutex_unlock(&q->lock);
	if (changed == *seen || count > LOOK_MAX)
		return;
	*seen = changed;
	(void)backlog_search(q, false);
}
