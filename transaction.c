/* SPDX-License-Identifier: ISC */
/*
 * One mail transaction: envelope, body, finish. Half of the forwarder's rules
 * live here: a group of commands (MAIL, RCPTs, DATA) is written only when no
 * input waits, and none of its replies counts before the last one is read,
 * fits its command, and nothing follows; nothing is sent behind the final dot
 * before its answer; a broken body never gets a dot.
 */
#include "transaction.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "clock.h"
#include "conn.h"
#include "envelope.h"
#include "hello.h"
#include "message.h"

enum {
	GROUP_MAX = 100,           /* RCPTs in one write */
	PIECE = 16 * 1024,         /* of the body, between looks at the input */
	END_TIMEOUT = 10 * 60000,  /* RFC 5321 section 4.5.3.2.6 */
	LAST_WORDS_TIMEOUT = 5000, /* for a reply to what could not be sent */
};

static enum stage
stage_of(const struct transaction *t, size_t command)
{
	if (command == 0)
		return STAGE_MAIL;
	return command <= t->count ? STAGE_RCPT : STAGE_DATA;
}

static void
put_command(const struct transaction *t, size_t command)
{
	unsigned features = t->offers->features;
	struct buf line = {0};

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
	chat_command(t->chat, "%s", line.data);
	buf_free(&line);
}

/* Whether this is an answer that the command can have. */
static bool
fits(enum stage stage, int code)
{
	if (code >= 400)
		return true;
	return stage == STAGE_DATA ? code / 100 == 3 : code / 100 == 2;
}

/* Reads one answer of a group. A 421 ends the dialogue, so nothing is
 * expected behind it. */
static bool
read_answer(struct transaction *t, size_t command, struct verdict *v)
{
	struct answer *a = &t->answers[command];
	enum stage stage = stage_of(t, command);
	bool answered = chat_answer(t->chat, a);

	if (answered && a->code == 421) {
		chat_judge(v, stage, a);
		conn_fail(t->chat->conn, "closed by the relay (421)");
		return false;
	}
	if (answered && fits(stage, a->code)) {
		if (a->code < 400)
			chat_passed(t->chat, stage, buf_text(&a->text));
		return true;
	}
	conn_fail(t->chat->conn, "out of step: %d is no answer to this",
	    a->code);
	chat_lost(t->chat, stage, v);
	return false;
}

/* Says commands first to last in one write and hears all the answers. */
static bool
run_group(struct transaction *t, size_t first, size_t last, struct verdict *v)
{
	if (!chat_in_step(t->chat)) {
		chat_lost(t->chat, stage_of(t, first), v);
		return false;
	}
	for (size_t i = first; i <= last; i++)
		put_command(t, i);
	for (size_t i = first; i <= last; i++)
		if (!read_answer(t, i, v))
			return false;
	if (chat_in_step(t->chat))
		return true;
	chat_lost(t->chat, stage_of(t, last), v);
	return false;
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

/* MAIL, RCPTs and, where that may be, DATA: not when the message must go to
 * everybody or nobody, since then it depends on all the replies. */
static bool
envelope(struct transaction *t, struct verdict *v)
{
	size_t end, last;

	t->data_asked = t->offers->features & HAS_PIPELINING &&
	    !t->envelope_only &&
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

/* The relay speaks while we are sending, or could not be written to: what it
 * says may be the reason. The rest of the body is dropped, and no dot is ever
 * sent. */
static void
hear_last_words(struct transaction *t, struct verdict *v)
{
	int64_t timeout = t->chat->timeout;
	struct answer a = {0};

	conn_discard_output(t->chat->conn);
	t->chat->timeout = LAST_WORDS_TIMEOUT;
	if (!chat_answer(t->chat, &a))
		chat_lost(t->chat, STAGE_BODY, v);
	else if (a.code >= 400)
		chat_judge(v, STAGE_BODY, &a);
	else
		verdict_set(v, LATER, SCOPE_MESSAGE, STAGE_BODY,
		    "out of step: %d before the end of the message", a.code);
	t->chat->timeout = timeout;
	conn_fail(t->chat->conn, "the message was cut off");
	buf_free(&a.text);
}

/* Sends what is buffered; false when the relay speaks first or it fails. */
static bool
push(struct transaction *t, struct verdict *v)
{
	struct conn *c = t->chat->conn;

	conn_set_deadline(c,
	    clock_earlier(t->chat->deadline, clock_now() + t->chat->timeout));
	if (!conn_input_waits(c) && conn_flush_unless_input(c))
		return true;
	hear_last_words(t, v);
	return false;
}

/* Buffers the next piece of the body, dots doubled; as body_read(). */
static ptrdiff_t
put_piece(struct transaction *t, uint64_t offset, bool *line_start)
{
	char *piece = xmalloc(PIECE);
	ptrdiff_t got = body_read(&t->message->body, offset, piece, PIECE);
	struct buf stuffed = {0};

	if (got > 0) {
		data_stuff(line_start, piece, (size_t)got, &stuffed);
		conn_write(t->chat->conn, stuffed.data, stuffed.len);
	}
	buf_free(&stuffed);
	free(piece);
	return got;
}

/* Everything between the 354 and the dot; the last piece stays buffered. */
static bool
send_content(struct transaction *t, struct verdict *v)
{
	const struct message *m = t->message;
	struct buf header = {0};
	bool line_start = true;
	uint64_t offset = 0;
	ptrdiff_t got;

	data_stuff(&line_start, buf_text(&m->header), m->header.len, &header);
	buf_adds(&header, "\r\n");
	conn_write(t->chat->conn, header.data, header.len);
	buf_free(&header);
	while ((got = put_piece(t, offset, &line_start)) > 0) {
		offset += (uint64_t)got;
		if (offset < m->body.size && !push(t, v))
			return false;
	}
	if (got == 0)
		return true;
	conn_fail(t->chat->conn, "cannot read the stored message");
	chat_lost(t->chat, STAGE_BODY, v);
	return false;
}

/* The dot's answer. From here on, whatever goes wrong, the relay may have the
 * message; so we wait as long as RFC 5321 says, whoever is in a hurry. */
static void
await_end(struct transaction *t, struct verdict *v)
{
	int64_t timeout = t->chat->timeout;
	struct answer a = {0};

	conn_heed_stop(t->chat->conn, false);
	t->chat->deadline = 0;
	if (timeout < END_TIMEOUT)
		t->chat->timeout = END_TIMEOUT;
	if (chat_answer(t->chat, &a) && fits(STAGE_END, a.code)) {
		if (chat_judge(v, STAGE_END, &a))
			chat_passed(t->chat, STAGE_END, buf_text(&a.text));
	} else {
		conn_fail(t->chat->conn, "out of step: %d is no answer to this",
		    a.code);
		chat_lost(t->chat, STAGE_END, v);
		v->maybe_delivered = true;
	}
	t->chat->timeout = timeout;
	conn_heed_stop(t->chat->conn, true);
	buf_free(&a.text);
}

/* The dot goes alone, when everything before it is out and the relay has said
 * nothing yet: in a buffer with the rest it could follow an early answer. */
static void
finish(struct transaction *t, struct verdict *v)
{
	struct conn *c = t->chat->conn;

	if (!push(t, v))
		return;
	if (conn_input_waits(c)) {
		hear_last_words(t, v);
		return;
	}
	conn_write(c, ".\r\n", 3);
	if (conn_flush(c))
		await_end(t, v);
	else
		hear_last_words(t, v);
	/* Under TLS the dot may have gone with the news that failed us. */
	if (conn_tls(c) && v->code == 0)
		v->maybe_delivered = true;
}

static void
body(struct transaction *t, struct verdict *v)
{
	size_t data = t->count + 1;

	if (!t->data_asked && !run_group(t, data, data, v))
		return;
	if (!chat_judge(v, STAGE_DATA, &t->answers[data]))
		t->left_open = true;
	else if (send_content(t, v))
		finish(t, v);
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

static void
run_dialogue(struct transaction *t, struct verdict *v)
{
	bool accepted = envelope(t, v);

	if (accepted && !t->envelope_only) {
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
