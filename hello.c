/* SPDX-License-Identifier: ISC */
/*
 * The start of a conversation: greet, hello, secure. Nothing that is said
 * here can be final for a message.
 */
#include "hello.h"

#include <string.h>
#include <strings.h>

#include "chat.h"
#include "clock.h"
#include "config.h"
#include "conn.h"
#include "dial.h"

static const char hint_silence[] =
    "a port that waits for TLS at once says nothing: set tls = implicit if "
    "this is one";

/* Forgets all that was learnt from an EHLO answer (RFC 3207 section 4.2). */
static void
forget_features(struct hello *h)
{
	h->offers->features = 0;
	buf_clear(&h->offers->auth);
}

static bool
greet(struct hello *h, struct verdict *v)
{
	struct answer a = {0};
	bool ok = chat_answer(h->chat, &a);

	if (ok)
		ok = chat_judge(v, STAGE_BANNER, &a);
	else
		chat_lost(h->chat, STAGE_BANNER, v);
	if (!ok && conn_timed_out(h->chat->conn) &&
	    h->upstream->tls == TLS_MODE_STARTTLS)
		v->hint = hint_silence;
	if (ok)
		chat_passed(h->chat, STAGE_BANNER, buf_text(&a.text));
	buf_free(&a.text);
	return ok;
}

/* One line of the EHLO answer: a keyword and what is behind it. "AUTH=" is
 * the form of old servers. */
static void
learn_feature(struct hello *h, const char *line)
{
	static const struct {
		const char *name;
		enum feature feature;
	} known[] = {
		{"STARTTLS", HAS_STARTTLS},
		{"PIPELINING", HAS_PIPELINING},
		{"8BITMIME", HAS_8BITMIME},
		{"DSN", HAS_DSN},
		{"SMTPUTF8", HAS_SMTPUTF8},
		{"SIZE", HAS_SIZE},
		{"CHUNKING", HAS_CHUNKING},
	};
	size_t len = strcspn(line, " =");
	const char *value = line + len + (line[len] != '\0');

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == len &&
		    strncasecmp(line, known[i].name, len) == 0)
			h->offers->features |= known[i].feature;
	if (len == 4 && strncasecmp(line, "AUTH", 4) == 0)
		buf_addf(&h->offers->auth, "%s%s",
		    h->offers->auth.len ? " " : "", value);
}

static void
learn_features(struct hello *h, char *answer)
{
	char *line;

	/* The first line should be the relay's name alone; if it is a keyword
	 * it does no harm to know it. */
	forget_features(h);
	while ((line = strsep(&answer, "\n")))
		learn_feature(h, line);
	if (!h->upstream->pipelining)
		h->offers->features &= ~(unsigned)HAS_PIPELINING;
	if (h->upstream->chunking == CHUNKING_OFF)
		h->offers->features &= ~(unsigned)HAS_CHUNKING;
}

static bool
say_hello(struct hello *h, const char *verb, struct answer *a,
    struct verdict *v)
{
	struct buf command = {0};
	bool ok;

	buf_addf(&command, "%s ", verb);
	if (h->upstream->ehlo)
		buf_adds(&command, h->upstream->ehlo);
	else
		dial_add_local_literal(&command, h->chat->conn);
	ok = chat_exchange(h->chat, STAGE_HELLO, a, v, command.data);
	if (ok && !chat_fits(STAGE_HELLO, a->code)) {
		conn_fail(h->chat->conn, "out of step: %d is no answer to this",
		    a->code);
		chat_lost(h->chat, STAGE_HELLO, v);
		ok = false;
	}
	if (ok)
		chat_passed(h->chat, STAGE_HELLO, buf_text(&a->text));
	buf_free(&command);
	return ok;
}

/* HELO only where neither TLS nor a login is wanted: it can offer neither. */
static bool
hello(struct hello *h, struct verdict *v)
{
	struct answer a = {0};
	bool ok = say_hello(h, "EHLO", &a, v);

	if (ok && a.text.len)
		learn_features(h, a.text.data);
	else
		forget_features(h);
	if (!ok && v->code >= 500 && h->upstream->tls == TLS_MODE_NONE &&
	    h->upstream->auth == AUTH_NONE)
		ok = say_hello(h, "HELO", &a, v);
	buf_free(&a.text);
	return ok;
}

static bool
start_tls(struct hello *h, struct verdict *v)
{
	struct conn *c = h->chat->conn;

	conn_set_deadline(c, clock_earlier(h->chat->deadline,
	    clock_now() + h->chat->timeout));
	if (conn_start_tls(c, h->trust, h->upstream->tls_name)) {
		chat_passed(h->chat, STAGE_TLS, conn_tls(c));
		return true;
	}
	chat_lost(h->chat, STAGE_TLS, v);
	return false;
}

/* STARTTLS (RFC 3207). Bytes that wait before the handshake were not said
 * under it, so they end the connection. */
static bool
secure(struct hello *h, struct verdict *v)
{
	struct answer a = {0};
	bool ok;

	if (!(h->offers->features & HAS_STARTTLS)) {
		verdict_set(v, LATER, SCOPE_UPSTREAM, STAGE_TLS,
		    "the relay does not offer STARTTLS, which tls = starttls "
		    "demands; check host and port");
		return false;
	}
	ok = chat_exchange(h->chat, STAGE_TLS, &a, v, "STARTTLS");
	if (ok && a.code != 220)
		verdict_set(v, LATER, SCOPE_UPSTREAM, STAGE_TLS,
		    "the relay answers STARTTLS with %d and not 220", a.code);
	buf_free(&a.text);
	if (!ok || v->outcome != SENT)
		return false;
	if (!chat_in_step(h->chat)) {
		chat_lost(h->chat, STAGE_TLS, v);
		return false;
	}
	return start_tls(h, v) && hello(h, v);
}

bool
hello_open(struct hello *h, struct verdict *v)
{
	enum tls_mode tls = h->upstream->tls;

	if (tls == TLS_MODE_IMPLICIT && !start_tls(h, v))
		return false;
	if (!greet(h, v) || !hello(h, v))
		return false;
	return tls != TLS_MODE_STARTTLS || secure(h, v);
}
