/* SPDX-License-Identifier: ISC */
/*
 * A message of an SMTP session: from MAIL to the answer to the dot.
 */
#include <ctype.h>
#include <string.h>

#include "clock.h"
#include "command.h"
#include "config.h"
#include "conn.h"
#include "message.h"
#include "queue.h"
#include "repair.h"
#include "reply.h"
#include "report.h"
#include "session.h"
#include "session_internal.h"

enum { RECIPIENTS_SHOWN = 400 }; /* bytes of them in the log */

/* What the client called itself, fit for a header: a name or an address
 * literal has no other characters. */
static void
add_helo(struct buf *out, const char *helo)
{
	for (; *helo; helo++)
		buf_addc(out, isalnum((unsigned char)*helo) ||
				strchr("-._:[]", *helo) ? *helo : '?');
}

/* RFC 3848 and RFC 6531 section 4.3. */
static void
add_protocol(struct buf *out, const struct session *s)
{
	if (!s->extended)
		buf_adds(out, "SMTP");
	else
		buf_addf(out, "%s%s%s",
		    s->message->utf8 ? "UTF8SMTP" : "ESMTP",
		    conn_tls(s->conn) ? "S" : "", s->account.user ? "A" : "");
}

static void
add_received(struct session *s)
{
	struct message *m = s->message;
	struct buf from = {0}, protocol = {0};
	struct origin origin;

	add_helo(&from, s->helo);
	buf_addf(&from, " (%s)", s->client->name);
	if (s->account.user)
		buf_addf(&from, "\r\n\t(authenticated as %s)",
		    s->account.user);
	add_protocol(&protocol, s);
	origin = (struct origin){from.data, protocol.data};
	message_add_received(m, &origin, s->config->hostname);
	buf_free(&from);
	buf_free(&protocol);
}

/* Gives the header what is missing, and the Received field; once. */
static void
complete_message(struct session *s)
{
	struct message *m = s->message;
	size_t before = m->header.len;

	if (s->completed)
		return;
	if (s->queue)
		queue_route(s->queue, m);
	message_complete(m, s->config->hostname, NULL);
	if (s->queue)
		add_received(s);
	m->limit = m->limit + m->header.len - before; /* may be shorter */
	s->completed = true;
}

/* The body is too large for the memory. */
static int
make_file(void *context, uint64_t *base)
{
	struct session *s = context;

	complete_message(s);
	return queue_make_file(s->queue, s->message, base);
}

static char *
take_or_null(struct buf *b)
{
	return b->len ? buf_take(b) : NULL;
}

void
receive_start(struct session *s, struct command *c)
{
	enum queue_room room = s->queue ? queue_room(s->queue, c->size)
					: ROOM_KEEP;
	struct message *m;

	if (room == ROOM_NONE) {
		session_say(s, "452 4.3.1 Not enough room in the spool, try "
			       "again later");
		return;
	}
	m = message_new(s->queue ? queue_budget(s->queue) : NULL,
	    c->max_message);
	message_set_sender(m, buf_text(&c->mailbox));
	m->utf8 = c->utf8;
	m->returns = c->returns;
	m->envelope_id = take_or_null(&c->envelope_id);
	m->owner = s->client->uid;
	m->direct_only = room == ROOM_DIRECT;
	if (room == ROOM_KEEP && s->queue) {
		m->body.make_file = make_file;
		m->body.context = s;
	}
	s->message = m;
	s->completed = false;
	session_say(s, "250 2.1.0 Sender ok");
}

void
receive_recipient(struct session *s, struct command *c)
{
	struct message *m = s->message;
	struct recipient *r;

	message_add_recipient(m, c->mailbox.data);
	r = &m->recipients[m->recipient_count - 1];
	r->notify = c->notify;
	r->original = take_or_null(&c->original);
	session_say(s, "250 2.1.5 Recipient ok");
}

static bool
ended(const struct data_reader *reader, uint64_t left)
{
	return left == 0 || (reader && data_ended(reader));
}

/* A client may be slow, but each byte buys it a millisecond only, and never
 * more than session_timeout ahead. */
bool
receive_bytes(struct session *s, struct data_reader *reader, uint64_t left)
{
	int64_t timeout = s->config->listen.session_timeout;
	int64_t deadline = clock_now() + timeout;
	const char *data;
	size_t len;

	conn_heed_stop(s->conn, false);
	while (!ended(reader, left)) {
		conn_set_deadline(s->conn, deadline);
		if (!conn_peek(s->conn, &data, &len))
			break;
		len = len < left ? len : (size_t)left;
		if (reader)
			len = message_read(s->message, reader, data, len);
		conn_consume(s->conn, len);
		left -= len;
		if (reader && !s->message->fault) /* else no credit */
			deadline = clock_earlier(deadline + (int64_t)len,
			    clock_now() + timeout);
	}
	conn_heed_stop(s->conn, true);
	return ended(reader, left);
}

/* Hands the message over and turns the verdict into the reply. */
static void
submit_to_queue(struct session *s)
{
	struct message *m = s->message;
	uint64_t size = message_size(m);
	struct buf recipients = {0}, sender = {0}, id = {0};
	const struct report_source source = {
		.client = s->client->name, .tls = conn_tls(s->conn),
		.user = s->account.user};
	struct verdict v;

	message_add_recipients_text(m, &recipients, RECIPIENTS_SHOWN);
	buf_adds(&sender, m->sender);
	buf_adds(&id, m->id);
	s->message = NULL;
	queue_submit(s->queue, m, &v);
	reply_to_client(&s->reply, &v, id.data);
	if (v.kept && v.outcome != SENT)
		report_kept(id.data, buf_text(&sender), &v);
	if (v.kept || v.outcome == SENT)
		report_accepted(id.data, buf_text(&sender), recipients.data,
		    size, &source);
	buf_free(&recipients);
	buf_free(&sender);
	buf_free(&id);
}

static void
submit(struct session *s)
{
	struct message *m = s->message;

	if (s->queue) {
		submit_to_queue(s);
		return;
	}
	s->message = NULL;
	buf_clear(&s->reply);
	s->client->submit(s->client->context, m, &s->reply);
}

/* fault is the reply. */
static void
refuse(struct session *s, const char *fault)
{
	const struct message *m = s->message;
	struct buf recipients = {0}, code = {0};

	session_say(s, fault);
	message_add_recipients_text(m, &recipients, RECIPIENTS_SHOWN);
	buf_add(&code, fault, 3);
	log_event(LEVEL_WARNING, "refused", "id", m->id, "from",
	    *m->sender ? m->sender : "<>", "to", recipients.data, "code",
	    code.data, "reply", fault + 4, "client", s->client->name, NULL);
	buf_free(&recipients);
	buf_free(&code);
}

void
receive_finish(struct session *s, struct data_reader *reader)
{
	const char *fault = message_finish(s->message, reader);

	s->junk = 0;
	s->quiet_since = clock_now();
	if (!fault && reader->bare_newline &&
	    s->config->listen.reject_bare_newline)
		fault = "550 5.6.0 Bare CR or LF in the message";
	if (!fault)
		fault = repair_find_loop(s->message, s->config->hostname);
	if (fault) {
		refuse(s, fault);
	} else {
		complete_message(s);
		if (s->queue)
			repair_report(s->message);
		submit(s);
	}
	session_reset(s);
}

bool
receive_message(struct session *s)
{
	struct data_reader reader;

	s->receiving = false;
	data_start(&reader, DATA_FROM_SMTP);
	if (!receive_bytes(s, &reader, UINT64_MAX)) {
		session_reset(s);
		return false;
	}
	receive_finish(s, &reader);
	return true;
}
