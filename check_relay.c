/* SPDX-License-Identifier: ISC */
/*
 * Is a relay well? The conversation is the one of a delivery (smtp.h),
 * watched: each stage that is passed becomes a line, and the verdict on the
 * one that was not becomes the last, with what a person can do about it.
 */
#include "check_relay.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>

#include "capture.h"
#include "chat.h"
#include "check_hint.h"
#include "clock.h"
#include "compose.h"
#include "config.h"
#include "dial.h"
#include "identity.h"
#include "message.h"
#include "smtp.h"
#include "tls.h"
#include "utf8.h"

enum {
	DAY = 24 * 60 * 60,
	SOON = 7, /* days: whoever renews by himself has done so by then */
};

/* One upstream. */
struct trial {
	struct observer observer;
	struct check *check;
	const struct upstream *upstream;
	const struct tls_trust *trust;
	const struct smtp *smtp; /* the conversation at hand */
	struct message *message; /* while it is being offered, or NULL */
	int64_t since;           /* when the last stage was passed */
	bool v6;                 /* the address at hand is one of IPv6 */
};

static const char *
step_of(enum stage stage)
{
	static const char *const names[] = {"connect", "greeting", "ehlo",
		"tls", "auth", "mail", "rcpt", "data", "message", "message"};

	return names[stage];
}

static int64_t
lap(struct trial *t)
{
	int64_t since = t->since;

	t->since = clock_now();
	return t->since - since;
}

/* What was said of itself by the stage: the relay's words, but for EHLO its
 * extensions in a row, and with the address that a command was about. */
static void
describe(const struct trial *t, enum stage stage, const char *text,
    struct buf *out)
{
	const char *extensions = strchr(text, '\n');

	if (stage == STAGE_CONNECT)
		buf_adds(out, t->check->report.address);
	if (stage == STAGE_MAIL || stage == STAGE_RCPT)
		buf_addf(out, "<%s> ", stage == STAGE_MAIL
			? t->message->sender
			: t->message->recipients[0].address);
	if (stage == STAGE_AUTH)
		buf_addf(out, "%s as %s", text, t->upstream->user);
	else if (stage != STAGE_HELLO)
		buf_adds(out, text);
	else if (!extensions)
		buf_addf(out, "%s (no extensions)", text);
	while (stage == STAGE_HELLO && extensions) {
		size_t len = strcspn(extensions + 1, "\n");

		buf_addf(out, "%s%.*s", out->len ? ", " : "", (int)len,
		    extensions + 1);
		extensions = strchr(extensions + 1, '\n');
	}
}

/* What the relay's certificate says; whether it ends soon. */
static bool
describe_peer(const struct trial *t, struct buf *out)
{
	struct tls_peer peer = {0};
	bool soon = false;

	if (smtp_peer(t->smtp, &peer)) {
		int64_t left = (int64_t)peer.not_after - time(NULL);

		buf_addf(out, "; for %s; from %s; %lld days left",
		    buf_text(&peer.names), buf_text(&peer.issuer),
		    (long long)(left / DAY));
		soon = left < SOON * DAY;
	}
	tls_peer_free(&peer);
	return soon;
}

static void
passed(struct observer *observer, enum stage stage, const char *text)
{
	struct trial *t = (struct trial *)observer;
	struct check_line line = {.step = step_of(stage), .ms = lap(t)};
	struct buf shown = {0};

	describe(t, stage, text, &shown);
	if (stage == STAGE_TLS && describe_peer(t, &shown)) {
		line.mark = CHECK_WARNING;
		line.hint = "mail stops when the certificate ends: if the "
		    "relay is yours, see why it has not been renewed";
	}
	line.text = buf_text(&shown);
	check_report_line(&t->check->report, &line);
	buf_free(&shown);
}

static void
skip(struct trial *t, const char *step, const char *why)
{
	check_report_line(&t->check->report,
	    &(struct check_line){CHECK_SKIPPED, step, -1, why, NULL});
}

/* What exit status tells of it: what a person has to mend is not the same as
 * what may pass. */
static int
status_of(const struct verdict *v)
{
	if (v->outcome == HOLD)
		return EX_NOPERM;
	if (v->outcome == LATER && v->code == 0 && v->stage <= STAGE_TLS &&
	    !v->cut_short)
		return EX_UNAVAILABLE;
	return verdict_status(v);
}

/* A verdict on a lost connection begins with the stage, which the line does
 * already. */
static void
add_text(struct buf *out, const struct verdict *v)
{
	const char *stage = stage_name(v->stage);
	size_t len = strlen(stage);

	if (v->code)
		buf_addf(out, "%d ", v->code);
	if (v->code || strncmp(v->text, stage, len) != 0 ||
	    v->text[len] != ':')
		len = 0;
	buf_adds(out, v->text + len + (len ? strspn(v->text + len, ": ") : 0));
}

/* Shows the verdict that ended it. */
static void
fail(struct trial *t, const struct verdict *v, enum check_mark mark)
{
	struct buf text = {0}, hint = {0};

	add_text(&text, v);
	if (mark == CHECK_WARNING && v->stage == STAGE_RCPT)
		buf_adds(&hint, "that was asked of the sender's own address; "
		    "name a recipient with --to");
	else
		check_hint(&hint, t->upstream, v, t->v6);
	check_report_line(&t->check->report, &(struct check_line){mark,
		step_of(v->stage), lap(t), buf_text(&text), buf_text(&hint)});
	if (mark == CHECK_FAILED && t->check->status == EX_OK)
		t->check->status = status_of(v);
	buf_free(&text);
	buf_free(&hint);
}

static void
add_domain(struct buf *address, const struct identity *id)
{
	if (!strchr(buf_text(address), '@'))
		buf_addf(address, "@%s", id->domain);
}

/* The message that is sent, or whose envelope is tried: from the upstream's
 * from, or from whom sendmail would send it. */
static struct message *
make_message(const struct trial *t, const struct identity *id)
{
	const char *hostname = t->check->config->hostname;
	struct message *m = message_new(NULL, UINT64_MAX);
	struct buf from = {0}, to = {0};

	if (id->from)
		buf_adds(&from, id->from);
	else
		compose_add_user(&from);
	add_domain(&from, id);
	buf_adds(&to, t->check->to ? t->check->to : from.data);
	add_domain(&to, id);
	message_set_sender(m, from.data);
	message_add_recipient(m, to.data);
	m->eight_bit = m->utf8 = !utf8_is_ascii(to.data);
	buf_addf(&m->header, "To: %s\r\nSubject: smarthost check: %s by way of "
	    "%s\r\n", to.data, hostname, t->upstream->name);
	message_complete(m, hostname, NULL);
	buf_addf(&m->body.memory, "This is a test message of smarthost on %s."
	    "\r\nThat you read it means that its mail arrives.\r\n", hostname);
	m->body.size = m->body.memory.len;
	buf_free(&from);
	buf_free(&to);
	return m;
}

/* Without --to the sender himself is asked for as the recipient, and that
 * there is no such mailbox proves nothing. */
static enum check_mark
mark_of(const struct trial *t, const struct verdict *v)
{
	bool of_policy = strncmp(v->text, "5.7.", 4) == 0;

	return !t->check->to && v->outcome == NEVER && !of_policy &&
		v->stage == STAGE_RCPT && v->scope == SCOPE_RECIPIENT
	    ? CHECK_WARNING : CHECK_FAILED;
}

/* Envelope, and the content if it is wanted, on an open connection. */
static void
offer_message(struct trial *t, struct smtp *s)
{
	struct smtp_terms terms = {
		.all_or_nothing = true,
		.envelope_only = !t->check->send,
	};
	struct identity id = identity_of(t->check->config, t->upstream);
	struct message *m = make_message(t, &id);
	struct outgoing out;
	struct verdict v;

	t->message = identity_render(&id, m, &out);
	smtp_deliver(s, t->message, &terms, &v);
	if (v.outcome != SENT)
		fail(t, &v, mark_of(t, &v));
	smtp_rest(s);
	t->message = NULL;
	outgoing_free(&out);
	message_free(m);
}

static void
go_on(struct trial *t, struct smtp *s)
{
	struct verdict v;

	if (t->upstream->auth == AUTH_NONE) {
		skip(t, "auth", "no user is configured");
	} else if (!smtp_login(s, &v)) {
		fail(t, &v, CHECK_FAILED);
		return;
	}
	offer_message(t, s);
}

/* One address as far as EHLO under TLS; the first that comes so far is used
 * for all the rest. The others are no trouble while there is one. */
static bool
try_address(struct trial *t, const struct addrinfo *address, bool reached)
{
	struct smtp *s = smtp_new(t->upstream, t->trust, -1);
	struct buf name = {0};
	struct verdict v;

	dial_add_address(&name, address->ai_addr);
	t->check->report.address = buf_text(&name);
	t->smtp = s;
	t->v6 = address->ai_family == AF_INET6;
	smtp_set_observer(s, &t->observer);
	smtp_set_others(s, NULL, true); /* nobody waits here for minutes */
	t->since = clock_now();
	if (!smtp_open_address(s, address, &v))
		fail(t, &v, reached || address->ai_next ? CHECK_WARNING
							: CHECK_FAILED);
	else if (!reached)
		go_on(t, s);
	reached = reached || smtp_is_usable(s);
	smtp_close(s);
	t->check->report.address = NULL;
	buf_free(&name);
	return reached;
}

static struct addrinfo *
resolve(struct trial *t)
{
	struct buf text = {0}, hint = {0};
	struct addrinfo *list;

	t->since = clock_now();
	list = dial_resolve(t->upstream, &text);
	for (struct addrinfo *a = list; a; a = a->ai_next) {
		buf_adds(&text, a == list ? "" : ", ");
		dial_add_address(&text, a->ai_addr);
	}
	if (!list)
		check_hint_resolve(&hint, t->upstream);
	check_report_line(&t->check->report, &(struct check_line){
		list ? CHECK_OK : CHECK_FAILED, "resolve", lap(t),
		buf_text(&text), buf_text(&hint)});
	if (!list && t->check->status == EX_OK)
		t->check->status = EX_UNAVAILABLE;
	buf_free(&text);
	buf_free(&hint);
	return list;
}

/* provider = capture: there is nobody to talk to. */
static void
try_capture(struct trial *t)
{
	struct identity id = identity_of(t->check->config, t->upstream);
	struct message *m = make_message(t, &id);
	struct verdict v;

	if (!t->check->send) {
		skip(t, "message", "messages are written to files and never "
		    "sent: provider = capture");
	} else {
		t->since = clock_now();
		capture_deliver(t->upstream, m, &v);
		if (v.outcome == SENT)
			passed(&t->observer, STAGE_END, v.text);
		else
			fail(t, &v, CHECK_FAILED);
	}
	message_free(m);
}

/* What is about to be tried. */
static void
introduce(const struct trial *t)
{
	static const char *const modes[] = {"starttls", "implicit", "none"};
	const struct upstream *u = t->upstream;
	struct buf line = {0};

	buf_addf(&line, "upstream %s: ", u->name);
	if (u->provider)
		buf_addf(&line, "provider = %s, ", u->provider->name);
	if (u->host)
		buf_addf(&line, "host = %s, port = %u, tls = %s", u->host,
		    (unsigned)u->port, modes[u->tls]);
	else
		buf_addf(&line, "directory = %s", u->directory);
	if (u->user)
		buf_addf(&line, ", user = %s", u->user);
	check_report_note(&t->check->report, buf_text(&line));
	buf_free(&line);
}

void
check_relay(struct check *check, const struct upstream *u,
    const struct tls_trust *trust)
{
	struct trial t = {.observer = {passed}, .check = check, .upstream = u,
		.trust = trust};
	struct addrinfo *list;
	bool reached = false;

	check->report.upstream = u->name;
	introduce(&t);
	if (provider_is_capture(u->provider)) {
		try_capture(&t);
		return;
	}
	list = resolve(&t);
	for (struct addrinfo *a = list; a; a = a->ai_next)
		reached = try_address(&t, a, reached);
	if (list)
		freeaddrinfo(list);
}
