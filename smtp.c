/* SPDX-License-Identifier: ISC */
/*
 * One SMTP client conversation, in the order of the wire: greet, hello and
 * secure (hello.c), login (login.c), envelope, body and finish
 * (transaction.c), with one address of the relay after the other.
 */
#include "smtp.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "chat.h"
#include "clock.h"
#include "config.h"
#include "conn.h"
#include "dial.h"
#include "hello.h"
#include "login.h"
#include "message.h"
#include "transaction.h"

enum {
	RESET_TIMEOUT = 20000,
	QUIT_TIMEOUT = 2000,
};

struct smtp {
	const struct upstream *upstream;
	const struct tls_trust *trust;
	int stop_fd;
	struct chat chat;
	struct offers offers;
	unsigned transactions; /* that were begun on this connection */
	bool needs_reset;      /* the last one was left open */
	bool stale;
};

struct smtp *
smtp_new(const struct upstream *upstream, const struct tls_trust *trust,
    int stop_fd)
{
	struct smtp *s = xcalloc(1, sizeof(*s));

	s->upstream = upstream;
	s->trust = trust;
	s->stop_fd = stop_fd;
	return s;
}

void
smtp_set_trace(struct smtp *s, bool trace)
{
	s->chat.trace = trace;
}

const char *
smtp_tls(const struct smtp *s)
{
	return s->chat.conn ? conn_tls(s->chat.conn) : NULL;
}

bool
smtp_was_stale(const struct smtp *s)
{
	return s->stale;
}

static void
drop_connection(struct smtp *s)
{
	conn_close(s->chat.conn);
	s->chat.conn = NULL;
	s->transactions = 0;
	s->needs_reset = false;
}

static bool
open_conversation(struct smtp *s, struct verdict *v)
{
	struct hello h = {&s->chat, s->upstream, s->trust, &s->offers};

	s->chat.timeout = s->upstream->timeout;
	if (hello_open(&h, v))
		return true;
	drop_connection(s);
	return false;
}

/* The share of the time left, or of connect_timeout, that the first of so many
 * addresses may use, so that one that never answers does not use it all. */
static int64_t
connect_deadline(const struct smtp *s, const struct addrinfo *address)
{
	int64_t now = clock_now(), limit = now + s->upstream->connect_timeout;
	int64_t left = s->chat.deadline - now;
	int addresses = 0;

	for (; address; address = address->ai_next)
		addresses++;
	if (!s->chat.deadline)
		return now + s->upstream->connect_timeout / addresses;
	return clock_earlier(limit, now + left / addresses);
}

/* No connection: the upstream's fault, unless we have run out of what it
 * takes. Then neither this relay nor another is to be tried now. */
static void
blame(struct verdict *v, int error, const struct buf *why)
{
	bool ours = dial_is_shortage(error);

	verdict_set(v, LATER, ours ? SCOPE_MESSAGE : SCOPE_UPSTREAM,
	    STAGE_CONNECT, "%s", buf_text(why));
	v->cut_short = ours;
}

static bool
open_address(struct smtp *s, const struct addrinfo *address, struct buf *why,
    struct verdict *v)
{
	buf_adds(why, why->len ? "; " : "");
	s->chat.conn = dial_tcp(s->upstream, address,
	    connect_deadline(s, address), s->stop_fd, why);
	if (!s->chat.conn) {
		blame(v, errno, why);
		return false;
	}
	return open_conversation(s, v);
}

static bool
finish_open(struct smtp *s, struct verdict *v)
{
	if (s->upstream->auth == AUTH_NONE ||
	    login(&s->chat, s->upstream, buf_text(&s->offers.auth), v))
		return true;
	drop_connection(s);
	return false;
}

bool
smtp_open(struct smtp *s, int64_t deadline, struct verdict *v)
{
	struct addrinfo *list, *address;
	struct buf why = {0};
	struct verdict each;
	bool open = false;

	if (s->chat.conn)
		drop_connection(s);
	s->chat.deadline = deadline;
	list = dial_resolve(s->upstream, &why);
	blame(v, list ? 0 : errno, &why);
	for (address = list; address && !open && !v->cut_short;
	     address = address->ai_next) {
		open = open_address(s, address, &why, &each);
		/* the one that came furthest */
		if (each.stage >= v->stage || each.cut_short)
			*v = each;
	}
	if (list)
		freeaddrinfo(list);
	buf_free(&why);
	return open && finish_open(s, v);
}

bool
smtp_open_on(struct smtp *s, struct conn *c, int64_t deadline,
    struct verdict *v)
{
	s->chat.conn = c;
	s->chat.deadline = deadline;
	return open_conversation(s, v) && finish_open(s, v);
}

/* The relay wants another connection than this one, which has served before,
 * or has closed it meanwhile: that says nothing about this message. */
static bool
looks_stale(const struct smtp *s, const struct verdict *v)
{
	if (s->transactions == 0 || v->outcome == SENT || v->maybe_delivered)
		return false;
	return v->advice == ADVICE_RECONNECT ||
	    (v->stage == STAGE_MAIL && (v->code == 0 || v->code == 421));
}

/* What must be true before a word of the envelope is said. */
static bool
may_be_sent(const struct message *m, struct verdict *v)
{
	bool sane = !*m->sender ||
	    address_check(m->sender, strlen(m->sender)) == ADDRESS_OK;

	for (size_t i = 0; i < m->recipient_count && sane; i++)
		sane = address_check(m->recipients[i].address,
		    strlen(m->recipients[i].address)) == ADDRESS_OK;
	if (!sane)
		verdict_set(v, NEVER, SCOPE_MESSAGE, STAGE_MAIL,
		    "5.1.3 an address of the envelope cannot be sent");
	return sane;
}

void
smtp_deliver(struct smtp *s, struct message *m, const struct smtp_terms *terms,
    struct verdict *v)
{
	struct transaction t = {
		.chat = &s->chat,
		.offers = &s->offers,
		.message = m,
		.all_or_nothing = terms->all_or_nothing,
		.recipients_max = terms->recipients_max,
	};

	s->stale = false;
	s->chat.deadline = terms->deadline;
	if (!may_be_sent(m, v))
		return;
	transaction_run(&t, v);
	s->needs_reset = t.left_open;
	s->stale = looks_stale(s, v);
	s->transactions++;
}

bool
smtp_is_usable(struct smtp *s)
{
	return s->chat.conn &&
	    s->transactions < s->upstream->messages_per_connection &&
	    !conn_input_waits(s->chat.conn) && !conn_error(s->chat.conn);
}

bool
smtp_rest(struct smtp *s)
{
	struct verdict ignored;
	struct answer a = {0};

	if (s->needs_reset && smtp_is_usable(s)) {
		s->chat.deadline = clock_now() + RESET_TIMEOUT;
		s->needs_reset = !chat_exchange(&s->chat, STAGE_MAIL, &a,
		    &ignored, "RSET");
	}
	buf_free(&a.text);
	return !s->needs_reset && smtp_is_usable(s);
}

void
smtp_close(struct smtp *s)
{
	struct verdict ignored;
	struct answer a = {0};

	if (s->chat.conn && !conn_error(s->chat.conn)) {
		s->chat.deadline = clock_now() + QUIT_TIMEOUT;
		(void)chat_exchange(&s->chat, STAGE_END, &a, &ignored, "QUIT");
	}
	buf_free(&a.text);
	conn_close(s->chat.conn);
	buf_free(&s->offers.auth);
	free(s);
}
