/* SPDX-License-Identifier: ISC */
/*
 * submit() in a process that has no couriers: one message, one attempt, in
 * this thread. Exit status 0 comes behind the commit, so that this process may
 * be killed at any moment.
 */
#include "clock.h"
#include "config.h"
#include "message.h"
#include "queue_internal.h"
#include "relay.h"
#include "report.h"
#include "route.h"
#include "smtp.h"

/* The end of the first of so many equal parts of the time left, so that one
 * upstream that never answers does not use it all. */
static int64_t
share(int64_t deadline, size_t parts)
{
	int64_t now = clock_now();

	return now + (deadline - now) / (int64_t)parts;
}

static struct smtp_terms
terms_of(const struct submission *s, const struct upstream *u)
{
	return (struct smtp_terms){
		.deadline = s->deadline,
		.all_or_nothing = !s->keeps,
		.recipients_max = s->keeps ? u->recipients_per_message : 0,
	};
}

/* One upstream after the other, until one has been reached. */
static void
attempt(struct queue *q, struct submission *s, struct verdict *v)
{
	uint64_t route = ~s->tried;

	*v = s->verdict;
	for (; route && message_is_waiting(s->message); route &= route - 1) {
		unsigned i = route_first(route);
		const struct upstream *u = q->relays[i].upstream;
		struct smtp_terms terms = terms_of(s, u);
		struct delivery *d = delivery_new(&q->relays[i]);
		struct attempt a = {""};

		message_forget_results(s->message);
		if (delivery_prepare(d, share(s->deadline,
			(size_t)__builtin_popcountll(route)), v))
			delivery_send(q, d, s, &terms, v, &a);
		report_results(s->message, u, v, &a);
		delivery_free(d);
		if (v->outcome == SENT || v->scope != SCOPE_UPSTREAM)
			break;
	}
}

static void
finish(struct queue *q, struct submission *s)
{
	owed_confirm(q, s->message);
	submission_free(s);
}

void
alone_submit(struct queue *q, struct submission *s, struct verdict *v)
{
	s->stored = s->keeps && q->config->queue.commit_first &&
	    stored_commit(q, s->message);
	attempt(q, s, v);
	if (s->keeps)
		message_spread(s->message, v);
	if (s->stored)
		stored_keep(q, s, v);
	else if (s->keeps && !message_is_final(s->message))
		queue_keep(q, s, false, v);
	else
		finish(q, s);
	if (q->spool)
		backlog_announce(q);
}
