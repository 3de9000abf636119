/* SPDX-License-Identifier: ISC */
/*
 * One mail transaction: the envelope, and what becomes of everybody in it.
 * Half of the forwarder's rules live here and in cargo.c: a group of commands
 * (MAIL, RCPTs, DATA) is written only when no input waits, and none of its
 * replies counts before the last one is read, fits its command, and nothing
 * follows; nothing is sent behind the end of the content before its answer; a
 * broken body never gets an end.
 */
#include "transaction.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cargo.h"
#include "chat.h"
#include "conn.h"
#include "envelope.h"
#include "hello.h"
#include "message.h"

enum {
	GROUP_MAX = 100,        /* RCPTs in one write */
	EAGER_MAX = 64 * 1024,  /* bytes of content that go with them */
};

static enum stage
stage_of(const struct transaction *t, size_t command)
{
	if (command == 0)
		return STAGE_MAIL;
	if (command <= t->count)
		return STAGE_RCPT;
	return t->chunk_asked ? STAGE_END : STAGE_DATA;
}

static void
put_command(const struct transaction *t, size_t command)
{
	unsigned features = t->offers->features;
	struct buf line = {0};

	if (stage_of(t, command) == STAGE_END) {
		cargo_put_chunk(t->chat, t->message);
		return;
	}
	switch (stage_of(t, command)) {
	case STAGE_MAIL:
		envelope_add_mail(&line, t->message, features, t->utf8);
		break;
	case STAGE_RCPT:
		envelope_add_rcpt(&line, t->recipients[command - 1], features,
		    t->utf8);
		break;
	default:
		buf_adds(&line, "DATA");
	}
	chat_secret(t->chat, line.data, line.data);
	buf_free(&line);
}

/* Reads one answer of a group. A 421 ends the dialogue, so nothing is
 * expected behind it. */
static bool
read_answer(struct transaction *t, size_t command, struct verdict *v)
{
	struct answer *a = &t->answers[command];
	enum stage stage = stage_of(t, command);
	bool answered = stage == STAGE_END ? cargo_await(t->chat, a)
					   : chat_answer(t->chat, a);

	if (answered && a->code == 421) {
		chat_judge(v, stage, a);
		conn_fail(t->chat->conn, "closed by the relay (421)");
		return false;
	}
	if (answered && chat_fits(stage, a->code)) {
		if (a->code < 400)
			chat_passed(t->chat, stage, buf_text(&a->text));
		return true;
	}
	conn_fail(t->chat->conn, "out of step: %d is no answer to this",
	    a->code);
	chat_lost(t->chat, stage, v);
	return false;
}

/* Buffers commands first to last, which go in one write. */
static bool
put_group(struct transaction *t, size_t first, size_t last, struct verdict *v)
{
	if (!chat_in_step(t->chat)) {
		chat_lost(t->chat, stage_of(t, first), v);
		return false;
	}
	for (size_t i = first; i <= last; i++)
		put_command(t, i);
	return true;
}

/* Sends them and hears all the answers. */
static bool
hear_group(struct transaction *t, size_t first, size_t last, struct verdict *v)
{
	for (size_t i = first; i <= last; i++)
		if (!read_answer(t, i, v))
			return false;
	if (chat_in_step(t->chat))
		return true;
	chat_lost(t->chat, stage_of(t, last), v);
	return false;
}

static bool
run_group(struct transaction *t, size_t first, size_t last, struct verdict *v)
{
	return put_group(t, first, last, v) && hear_group(t, first, last, v);
}

/* Which refusal of a recipient speaks for all: the heaviest does. What the
 * relay says of itself or of the sender comes before what is permanent for one,
 * so that the others wait; but whoever brings a message for all or nobody hears
 * what is permanent first. */
static int
weight(const struct transaction *t, const struct verdict *v)
{
	if (v->outcome == NEVER)
		return t->all_or_nothing ? SCOPE_UPSTREAM + 2 : 1;
	return v->scope == SCOPE_RECIPIENT ? 0 : v->scope + 1;
}

/* The refusal that speaks for all, with the recipient's name in it if it is
 * his and the relay has not named him. */
static void
sum_up(const struct transaction *t, struct verdict *v)
{
	const struct recipient *worst = NULL;
	struct verdict each;
	int heaviest = -1;
	struct buf text = {0}, line = {0};
	size_t code;

	for (size_t i = 0; i < t->count; i++) {
		const struct recipient *r = t->recipients[i];

		if (!r || r->outcome == WAITING)
			continue;
		reply_judge(&each, STAGE_RCPT, r->code, r->reply);
		if (weight(t, &each) > heaviest) {
			heaviest = weight(t, &each);
			worst = r;
		}
	}
	if (!worst)
		return;
	reply_judge(v, STAGE_RCPT, worst->code, worst->reply);
	code = reply_enhanced(worst->reply);
	if (v->scope == SCOPE_RECIPIENT &&
	    !strstr(worst->reply, worst->address))
		buf_addf(&text, "%.*s%s<%s>:%s", (int)code, worst->reply,
		    code ? " " : "", worst->address, code ? "" : " ");
	else
		code = 0;
	buf_adds(&text, worst->reply + code);
	buf_add_printable(&line, buf_text(&text), text.len, sizeof(v->text));
	snprintf(v->text, sizeof(v->text), "%s", buf_text(&line));
	buf_free(&text);
	buf_free(&line);
}

static size_t
count_accepted(const struct transaction *t)
{
	size_t accepted = 0;

	for (size_t i = 0; i < t->count; i++)
		accepted += t->answers[i + 1].code < 300;
	return accepted;
}

/* Takes over what was said to MAIL and RCPT. Who has merely no place in this
 * transaction leaves it and goes on waiting (RFC 5321 section 4.5.3.1.10).
 * False if there is nobody to send to, or not everybody where that is
 * demanded. */
static bool
judge_envelope(struct transaction *t, struct verdict *v)
{
	size_t accepted = count_accepted(t);
	struct verdict each;

	if (!chat_judge(v, STAGE_MAIL, &t->answers[0]))
		return false;
	for (size_t i = 0; i < t->count; i++) {
		if (chat_judge(&each, STAGE_RCPT, &t->answers[i + 1]))
			continue;
		if (each.advice == ADVICE_SPLIT && accepted &&
		    !t->all_or_nothing)
			t->recipients[i] = NULL;
		else
			recipient_set(t->recipients[i], each.outcome,
			    each.code, each.text);
	}
	if (accepted == t->count)
		return true;
	sum_up(t, v);
	return accepted > 0 && !t->all_or_nothing;
}

/* The last command of the group that begins with this one. Without PIPELINING
 * each command is a group of its own. */
static size_t
group_end(const struct transaction *t, size_t first, size_t end)
{
	size_t last = first + GROUP_MAX;

	if (!(t->offers->features & HAS_PIPELINING))
		return first;
	return last >= t->count ? end : last;
}

/* MAIL, RCPTs and, where that may be, DATA: not where BDAT takes its place, nor
 * when the message must go to everybody or nobody, since then it depends on all
 * the replies. */
static bool
envelope(struct transaction *t, struct verdict *v)
{
	size_t end, last;

	t->data_asked = t->offers->features & HAS_PIPELINING &&
	    !(t->offers->features & HAS_CHUNKING) && !t->envelope_only &&
	    (t->count == 1 || !t->all_or_nothing);
	end = t->count + (t->data_asked ? 1 : 0);
	for (size_t first = 0; first <= end; first = last + 1) {
		last = group_end(t, first, end);
		if (!run_group(t, first, last, v))
			return false;
		if (t->answers[0].code >= 400)
			break;
	}
	return judge_envelope(t, v);
}

static void
body(struct transaction *t, struct verdict *v)
{
	size_t data = t->count + 1;

	if (t->offers->features & HAS_CHUNKING)
		t->left_open = !cargo_send_chunk(t->chat, t->message, v);
	else if (!t->data_asked && !run_group(t, data, data, v))
		return;
	else if (!chat_judge(v, STAGE_DATA, &t->answers[data]))
		t->left_open = true;
	else
		cargo_send(t->chat, t->message, v);
}

/* The envelope failed, but DATA had gone with it and was granted: an empty
 * message to nobody gets the dialogue back in step (RFC 2920 section 3.1). */
static void
send_nothing(struct transaction *t)
{
	struct verdict ignored;
	struct answer a = {0};

	if (t->data_asked && !conn_error(t->chat->conn) &&
	    t->answers[t->count + 1].code / 100 == 3)
		(void)chat_exchange(t->chat, STAGE_END, &a, &ignored, ".");
	buf_free(&a.text);
}

static void
collect_waiting(struct transaction *t)
{
	struct message *m = t->message;
	size_t max = t->recipients_max ? t->recipients_max
				       : m->recipient_count;

	t->recipients = xcalloc(m->recipient_count, sizeof(*t->recipients));
	for (size_t i = 0; i < m->recipient_count && t->count < max; i++)
		if (m->recipients[i].outcome == WAITING)
			t->recipients[t->count++] = &m->recipients[i];
	t->answers = xcalloc(t->count + 2, sizeof(*t->answers));
}

/* Drops the recipients who cannot be named to this relay. False if nobody is
 * left, or not everybody where that is demanded; nothing has been said then. */
static bool
drop_unspeakable(struct transaction *t, struct verdict *v)
{
	size_t left = 0;

	for (size_t i = 0; i < t->count; i++)
		if (!envelope_can_be_said(t->message, t->recipients[i],
			t->offers->features))
			recipient_set(t->recipients[i], NEVER, 553,
			    "5.6.7 the relay does not offer SMTPUTF8, and an "
			    "address of the envelope is not ASCII");
	sum_up(t, v);
	for (size_t i = 0; i < t->count; i++)
		if (t->recipients[i]->outcome == WAITING)
			t->recipients[left++] = t->recipients[i];
	if (left < t->count && (left == 0 || t->all_or_nothing))
		return false;
	t->count = left;
	t->utf8 = envelope_is_utf8(t->message, t->recipients, t->count,
	    t->offers->features);
	return true;
}

/* The verdict on the body is that of everybody the envelope let through. A
 * relay without DSN tells nobody of its success (RFC 3461 section 6.2). */
static void
settle_accepted(struct transaction *t, const struct verdict *v)
{
	bool silent = !(t->offers->features & HAS_DSN);

	for (size_t i = 0; i < t->count; i++) {
		struct recipient *r = t->recipients[i];

		if (!r || r->outcome != WAITING)
			continue;
		recipient_set(r, v->outcome, v->code, v->text);
		r->relayed = silent && v->outcome == SENT &&
		    recipient_wants(r, NOTIFY_SUCCESS);
	}
}

/* Whether envelope and content can go in one write: if no refusal, of one
 * recipient among several, would have to stop the content. */
static bool
may_be_eager(const struct transaction *t)
{
	unsigned needed = HAS_PIPELINING | HAS_CHUNKING;

	return t->eager && !t->envelope_only &&
	    (t->offers->features & needed) == needed &&
	    t->count <= GROUP_MAX && (t->count == 1 || !t->all_or_nothing) &&
	    cargo_size(t->message) <= EAGER_MAX;
}

/* Whether the last answer can be the content's: a yes cannot, if nobody was to
 * get it. */
static bool
is_answer_to_chunk(const struct transaction *t)
{
	const struct answer *a = &t->answers[t->count + 1];

	return a->code >= 400 || (t->answers[0].code < 400 &&
	    count_accepted(t) > 0 && cargo_fits_chunk(a));
}

/* All of it in one write. From there on the relay may have the message,
 * whatever goes wrong, up to the last answer. */
static bool
hear_everything(struct transaction *t, struct verdict *v)
{
	struct conn *c = t->chat->conn;
	bool heard;

	t->chat->deadline = 0;
	conn_heed_stop(c, false);
	heard = hear_group(t, 0, t->count + 1, v);
	conn_heed_stop(c, true);
	if (heard && is_answer_to_chunk(t))
		return true;
	if (heard) {
		conn_fail(c, "out of step: this is no answer to BDAT: %.100s",
		    buf_text(&t->answers[t->count + 1].text));
		chat_lost(t->chat, STAGE_END, v);
	}
	v->maybe_delivered = v->code == 0;
	return false;
}

static void
run_eagerly(struct transaction *t, struct verdict *v)
{
	size_t chunk = t->count + 1;

	t->chunk_asked = true;
	if (!put_group(t, 0, chunk, v))
		return;
	if (conn_error(t->chat->conn)) {
		chat_lost(t->chat, STAGE_BODY, v);
		return;
	}
	t->left_open = true;
	if (!hear_everything(t, v) || !judge_envelope(t, v))
		return;
	t->left_open = !chat_judge(v, STAGE_END, &t->answers[chunk]);
	cargo_excuse_chunk(v);
	settle_accepted(t, v);
}

static void
run_dialogue(struct transaction *t, struct verdict *v)
{
	if (may_be_eager(t)) {
		run_eagerly(t, v);
	} else if (envelope(t, v) && !t->envelope_only) {
		body(t, v);
		settle_accepted(t, v);
	} else {
		send_nothing(t);
		t->left_open = true;
	}
}

/* Whether the relay speaks of itself, of a quota for example. That is nobody's
 * result: whoever has no final one waits, and nothing is marked. */
static bool
speaks_of_itself(const struct verdict *v)
{
	return v->outcome != SENT && v->scope == SCOPE_UPSTREAM;
}

void
transaction_run(struct transaction *t, struct verdict *v)
{
	collect_waiting(t);
	if (t->count == 0 ||
	    (t->all_or_nothing && t->count < t->message->recipient_count)) {
		/* Our own bug; the message must not be taken for sent. */
		verdict_set(v, LATER, SCOPE_MESSAGE, STAGE_MAIL,
		    "not all recipients are waiting");
		v->cut_short = true; /* the relay is not to blame */
	} else if (drop_unspeakable(t, v)) {
		run_dialogue(t, v);
	}
	if (speaks_of_itself(v))
		message_forget_results(t->message);
	for (size_t i = 0; i < t->count + 2; i++)
		buf_free(&t->answers[i].text);
	free(t->answers);
	free(t->recipients);
}
