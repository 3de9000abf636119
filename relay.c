/* SPDX-License-Identifier: ISC */
/*
 * Couriers: one thread, one connection. A courier takes messages for its
 * upstream from the queue, offers each to the relay and hands the verdict
 * back; it never touches a client.
 */
#include "relay.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "buf.h"
#include "capture.h"
#include "clock.h"
#include "config.h"
#include "message.h"
#include "queue.h"
#include "smtp.h"
#include "thread.h"

struct delivery {
	const struct relay *relay;
	struct smtp *smtp; /* NULL while there is no connection */
};

struct delivery *
delivery_new(const struct relay *relay)
{
	struct delivery *d = xcalloc(1, sizeof(*d));

	d->relay = relay;
	return d;
}

static void
hang_up(struct delivery *d)
{
	if (d->smtp)
		smtp_close(d->smtp);
	d->smtp = NULL;
}

bool
delivery_prepare(struct delivery *d, int64_t deadline, struct verdict *v)
{
	const struct relay *r = d->relay;

	if (provider_is_capture(r->upstream->provider))
		return true;
	if (d->smtp && smtp_is_usable(d->smtp))
		return true;
	hang_up(d);
	d->smtp = smtp_new(r->upstream, r->trust, r->stop_fd);
	smtp_set_trace(d->smtp, r->trace);
	smtp_set_others(d->smtp, r->favourite, r->another);
	if (smtp_open(d->smtp, deadline, v))
		return true;
	hang_up(d);
	return false;
}

/* What was cut off because the submitter could not wait is not held against
 * the relay. */
static void
excuse(struct verdict *v, int64_t deadline)
{
	if (v->code == 0 && v->outcome == LATER && !v->maybe_delivered &&
	    deadline && clock_now() >= deadline) {
		enum stage stage = v->stage;

		verdict_set(v, LATER, SCOPE_MESSAGE, stage, "the relay has not "
		    "taken the message in direct_wait (it was at %s)",
		    stage_name(stage));
		v->cut_short = true;
	}
}

static void
send_by_smtp(struct delivery *d, struct message *m,
    const struct smtp_terms *terms, struct verdict *v, struct attempt *a)
{
	smtp_deliver(d->smtp, m, terms, v);
	if (smtp_was_stale(d->smtp)) {
		hang_up(d);
		message_forget_results(m);
		if (delivery_prepare(d, terms->deadline, v))
			smtp_deliver(d->smtp, m, terms, v);
	}
	if (d->smtp && smtp_tls(d->smtp))
		snprintf(a->tls, sizeof(a->tls), "%s", smtp_tls(d->smtp));
	excuse(v, terms->deadline);
}

static void
send_once(struct delivery *d, struct message *m,
    const struct smtp_terms *terms, struct verdict *v, struct attempt *a)
{
	const struct relay *r = d->relay;
	struct outgoing out;
	struct message *shown = identity_render(&r->identity, m, &out);

	a->tls[0] = '\0';
	if (provider_is_capture(r->upstream->provider))
		capture_deliver(r->upstream, shown, v);
	else
		send_by_smtp(d, shown, terms, v, a);
	outgoing_free(&out);
}

void
delivery_rest(struct delivery *d)
{
	if (d->smtp && !smtp_rest(d->smtp))
		hang_up(d);
}

void
delivery_free(struct delivery *d)
{
	hang_up(d);
	free(d);
}

struct courier {
	struct queue *queue;
	unsigned upstream;
};

/* Whoever had no place in the last transaction is sent the message in the
 * next, at once, as long as each brings it further. What became of the others
 * is on the disk first (rule 8 of the forwarder). */
static void
send_rest(struct queue *q, struct delivery *d, struct submission *s,
    const struct smtp_terms *terms, struct verdict *v, struct attempt *a)
{
	struct message *m = queue_message(s);
	size_t left = m->recipient_count, waiting;

	if (terms->all_or_nothing)
		return;
	while ((waiting = message_count_waiting(m)) && waiting < left &&
	    (v->outcome == SENT || v->scope == SCOPE_RECIPIENT)) {
		left = waiting;
		if (!queue_mark(q, s)) {
			verdict_set(v, LATER, SCOPE_MESSAGE, STAGE_MAIL,
			    "cannot mark in the spool who has the message");
			v->cut_short = true;
			return;
		}
		delivery_rest(d);
		if (!delivery_prepare(d, terms->deadline, v))
			return;
		send_once(d, m, terms, v, a);
	}
	for (size_t i = 0; waiting && i < m->recipient_count; i++)
		if (v->outcome == SENT &&
		    m->recipients[i].outcome == WAITING)
			recipient_set(&m->recipients[i], LATER, 0,
			    "the relay took no more recipients for now");
}

void
delivery_send(struct queue *q, struct delivery *d, struct submission *s,
    const struct smtp_terms *terms, struct verdict *v, struct attempt *a)
{
	send_once(d, queue_message(s), terms, v, a);
	send_rest(q, d, s, terms, v, a);
}

/* The connection is made on the upstream's own time, so that a submitter's
 * impatience does not look like a relay that is away; the submitter may have
 * gone when it stands, and then nobody is sent anything. False if the relay
 * has no place for one more courier. */
static bool
carry(struct courier *c, struct delivery *d, struct submission *s)
{
	struct attempt a = {""};
	struct smtp_terms terms;
	struct verdict v;

	if (delivery_prepare(d, 0, &v)) {
		if (!queue_begin(c->queue, s, &terms))
			return true;
		delivery_send(c->queue, d, s, &terms, &v, &a);
	} else if (queue_give_back(c->queue, s, &v)) {
		return false;
	}
	queue_settle(c->queue, s, &v, &a);
	return true;
}

static void *
run_courier(void *argument)
{
	struct courier *c = argument;
	struct delivery *d = delivery_new(queue_relay(c->queue, c->upstream));
	struct submission *s;

	while ((s = queue_take(c->queue, c->upstream)) && carry(c, d, s))
		delivery_rest(d);
	delivery_free(d);
	queue_courier_left(c->queue);
	free(c);
	return NULL;
}

bool
relay_start_courier(struct queue *q, unsigned upstream)
{
	struct courier *c = xcalloc(1, sizeof(*c));

	*c = (struct courier){.queue = q, .upstream = upstream};
	if (thread_start(run_courier, c))
		return true;
	free(c);
	return false;
}
