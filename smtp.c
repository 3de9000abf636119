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
#include "favourite.h"
#include "hello.h"
#include "login.h"
#include "message.h"
#include "transaction.h"

enum {
	/* For connecting to an address and up to the login, while there is
	 * somebody else to ask: a relay that is well needs a second or two,
	 * and those who make clients wait for their greeting stay below it.
	 * Five minutes for each answer (RFC 5321 section 4.5.3.2) are for the
	 * last one. */
	OPENING_TIMEOUT = 30000,
	/* So many addresses have connect_timeout each; more have together as
	 * much as these. */
	PATIENT_ADDRESSES = 6,
	RESET_TIMEOUT = 2000, /* another message may wait, and a new
	                       * connection costs it less than more patience */
	QUIT_TIMEOUT = 2000,
};

struct smtp {
	const struct upstream *upstream;
	const struct tls_trust *trust;
	int stop_fd;
	struct favourite *favourite; /* or NULL */
	bool another_relay;          /* to ask when this one is slow */
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

void
smtp_set_observer(struct smtp *s, struct observer *observer)
{
	s->chat.observer = observer;
}

void
smtp_set_others(struct smtp *s, struct favourite *favourite,
    bool another_relay)
{
	s->favourite = favourite;
	s->another_relay = another_relay;
}

const char *
smtp_tls(const struct smtp *s)
{
	return s->chat.conn ? conn_tls(s->chat.conn) : NULL;
}

bool
smtp_peer(const struct smtp *s, struct tls_peer *peer)
{
	return s->chat.conn && conn_peer(s->chat.conn, peer);
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

/* Until when the first of so many addresses is to be open, so that one
 * that never answers does not use all of the time; 0: as long as it takes. */
static int64_t
opening_deadline(const struct smtp *s, int64_t deadline, int addresses)
{
	int64_t now = clock_now();
	int64_t share = deadline ? now + (deadline - now) / addresses : 0;

	if (addresses == 1 && !s->another_relay)
		return share;
	return clock_earlier(now + OPENING_TIMEOUT, share);
}

/* One attempt to get in: what is known of the addresses, and of why. */
struct way {
	int64_t deadline; /* for all of it; 0: none */
	int count;        /* addresses */
	int left;         /* of them, not yet tried */
	struct buf why;   /* those that could not be connected to */
};

static bool
open_address(struct smtp *s, const struct addrinfo *address, struct way *w,
    struct verdict *v)
{
	int64_t patience = s->upstream->connect_timeout;

	if (w->count > PATIENT_ADDRESSES)
		patience = patience * PATIENT_ADDRESSES / w->count;
	s->chat.deadline = opening_deadline(s, w->deadline, w->left);
	w->left--;
	buf_adds(&w->why, w->why.len ? "; " : "");
	s->chat.conn = dial_tcp(s->upstream, address,
	    clock_earlier(clock_now() + patience, s->chat.deadline),
	    s->stop_fd, &w->why);
	if (s->chat.conn) {
		chat_passed(&s->chat, STAGE_CONNECT, "");
		return open_conversation(s, v);
	}
	dial_blame(v, STAGE_CONNECT, errno, &w->why);
	return false;
}

/* The verdict of those that fail is that of the one that came furthest. */
static bool
try_address(struct smtp *s, const struct addrinfo *address, struct way *w,
    struct verdict *v)
{
	struct verdict each;

	if (v->cut_short)
		return false;
	if (open_address(s, address, w, &each))
		return true;
	if (each.stage >= v->stage || each.cut_short)
		*v = each;
	return false;
}

/* The address that was opened, or NULL. */
static const struct addrinfo *
open_any(struct smtp *s, const struct addrinfo *list, struct way *w,
    struct verdict *v)
{
	const struct addrinfo *address, *first = NULL;

	if (s->favourite)
		first = favourite_of(s->favourite, list);
	for (address = list; address; address = address->ai_next)
		w->count++;
	w->left = w->count;
	if (first && try_address(s, first, w, v))
		return first;
	for (address = list; address; address = address->ai_next)
		if (address != first && try_address(s, address, w, v))
			return address;
	return NULL;
}

bool
smtp_open_address(struct smtp *s, const struct addrinfo *address,
    struct verdict *v)
{
	struct way w = {.left = 1};
	bool open;

	if (s->chat.conn)
		drop_connection(s);
	open = open_address(s, address, &w, v);
	s->chat.deadline = 0;
	buf_free(&w.why);
	return open;
}

bool
smtp_login(struct smtp *s, struct verdict *v)
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
	struct way w = {.deadline = deadline};
	const struct addrinfo *address;
	struct addrinfo *list;
	bool open;

	if (s->chat.conn)
		drop_connection(s);
	list = dial_resolve(s->upstream, &w.why);
	dial_blame(v, STAGE_CONNECT, list ? 0 : errno, &w.why);
	address = open_any(s, list, &w, v);
	s->chat.deadline = deadline;
	open = address && smtp_login(s, v);
	/* Not before the login: an address that lets nobody in would keep us
	 * from the others for good. */
	if (open && s->favourite)
		favourite_set(s->favourite, address);
	if (list)
		freeaddrinfo(list);
	buf_free(&w.why);
	return open;
}

bool
smtp_open_on(struct smtp *s, struct conn *c, int64_t deadline,
    struct verdict *v)
{
	s->chat.conn = c;
	s->chat.deadline = deadline;
	return open_conversation(s, v) && smtp_login(s, v);
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

static bool
is_address(const char *text)
{
	return address_is_good(address_check(text, strlen(text)));
}

/* What must be true before a word of the envelope is said. */
static bool
may_be_sent(const struct message *m, struct verdict *v)
{
	bool sane = !*m->sender || is_address(m->sender);

	for (size_t i = 0; i < m->recipient_count && sane; i++)
		sane = is_address(m->recipients[i].address);
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
		.envelope_only = terms->envelope_only,
		.eager = s->upstream->chunking == CHUNKING_EAGER,
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
