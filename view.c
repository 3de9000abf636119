/* SPDX-License-Identifier: ISC */
/*
 * A stored message as people and programs see it. What others have written
 * (addresses, replies) is made printable in text and escaped in JSON.
 */
#include "view.h"

#include <stdint.h>
#include <string.h>

#include "catalog.h"
#include "clock.h"
#include "json.h"
#include "message.h"
#include "utf8.h"

enum { ADDRESS_SHOWN = 320, REPLY_SHOWN = 600 };

static bool
is_done(const struct recipient *r)
{
	return r->outcome == SENT || r->outcome >= NEVER;
}

/* Whether it waits for the upstream and was told nothing of its own. */
static bool
waits_for_upstream(const struct recipient *r, const struct standing *s)
{
	return !is_done(r) && s->paused && !(r->reply && *r->reply);
}

static const char *
state_of(const struct recipient *r)
{
	if (!is_done(r))
		return "waiting";
	return r->outcome == SENT ? "sent" : "refused";
}

/* What the relay said of it, as it said it, or why nothing is tried. */
static void
add_reply(struct buf *out, const struct recipient *r,
    const struct standing *s)
{
	if (waits_for_upstream(r, s)) {
		buf_adds(out, s->reason);
		return;
	}
	if (r->code)
		buf_addf(out, "%03d", r->code);
	if (r->reply && *r->reply)
		buf_addf(out, "%s%s", r->code ? " " : "", r->reply);
}

const char *
view_outcome(const struct entry *e, const struct standing *s)
{
	const struct message *m = e->message;

	if (e->failed)
		return "failed";
	if (!m)
		return "hold";
	for (size_t i = 0; i < m->recipient_count; i++) {
		const struct recipient *r = &m->recipients[i];

		if (!is_done(r) && r->held)
			return "hold";
		if (waits_for_upstream(r, s) && s->hold)
			return "hold";
	}
	return "later";
}

/* What is wrong with the file; or what a person can do about a recipient that
 * waits, or, when it is over, was refused; or NULL. */
static const char *
hint_of(const struct entry *e, const struct standing *s)
{
	const struct message *m = e->message;
	const char *hint = e->trouble;

	for (size_t i = 0; m && i < m->recipient_count && !hint; i++) {
		const struct recipient *r = &m->recipients[i];

		if (waits_for_upstream(r, s))
			hint = s->hint;
		else if (r->reply && is_done(r) == e->failed &&
		    r->outcome != SENT)
			hint = reply_hint(r->code, r->reply);
	}
	return hint;
}

static time_t
next_attempt(const struct entry *e, const struct standing *s)
{
	time_t next = e->file.st_mtim.tv_sec;

	return s->paused && s->until > next ? s->until : next;
}

static uint64_t
size_of(const struct entry *e)
{
	return e->message ? message_size(e->message)
			  : (uint64_t)e->file.st_size;
}

/* The notice about it, while that is on its way; or NULL. */
static const char *
notice_of(const struct entry *e)
{
	return e->failed && e->message &&
		strcmp(e->message->id, e->name) != 0
	    ? e->name
	    : NULL;
}

/* The ID that the log knows it by. */
static const char *
id_of(const struct entry *e)
{
	return e->message ? e->message->id : e->name;
}

/* --- For people ---------------------------------------------------------- */

static void
add_address(struct buf *out, const char *address)
{
	if (*address)
		utf8_add_visible(out, address, ADDRESS_SHOWN);
	else
		buf_adds(out, "MAILER-DAEMON");
}

/* "(450 4.2.1 busy)", in front of the recipients that it is about. */
static void
add_reason(struct buf *out, const struct recipient *r,
    const struct standing *s, struct buf *last)
{
	struct buf reason = {0};

	if (is_done(r))
		buf_addf(&reason, "%s: ", state_of(r));
	add_reply(&reason, r, s);
	if (reason.len && strcmp(reason.data, buf_text(last)) != 0) {
		buf_adds(out, "        (");
		buf_add_printable(out, reason.data, reason.len, REPLY_SHOWN);
		buf_adds(out, ")\n");
	}
	buf_free(last);
	*last = reason;
}

static void
add_next(struct buf *out, const struct entry *e, const struct standing *s)
{
	time_t next = next_attempt(e, s);

	if (next <= time(NULL)) {
		buf_adds(out, "due now");
		return;
	}
	buf_adds(out, "next try ");
	clock_add_stamp(out, next, true);
}

static void
add_recipients(struct buf *out, const struct entry *e,
    const struct standing *s)
{
	struct buf last = {0};

	for (size_t i = 0; i < e->message->recipient_count; i++) {
		const struct recipient *r = &e->message->recipients[i];

		add_reason(out, r, s, &last);
		buf_adds(out, "                ");
		add_address(out, r->address);
		buf_addc(out, '\n');
	}
	buf_free(&last);
}

void
view_add_text(struct buf *out, const struct entry *e,
    const struct standing *s)
{
	const char *outcome = view_outcome(e, s), *hint = hint_of(e, s);

	buf_addf(out, "%s%c%9llu ", id_of(e), *outcome == 'h' ? '!' : ' ',
	    (unsigned long long)size_of(e));
	clock_add_stamp(out, e->message ? e->message->arrived_at
	    : e->file.st_ctim.tv_sec, true);
	buf_adds(out, "  ");
	if (e->message)
		add_address(out, e->message->sender);
	buf_addc(out, '\n');
	if (e->message)
		add_recipients(out, e, s);
	if (notice_of(e))
		buf_addf(out, "        (its notice is %.32s)\n", notice_of(e));
	if (e->message && !e->failed) {
		buf_adds(out, "        (");
		add_next(out, e, s);
		buf_adds(out, ")\n");
	}
	if (hint)
		buf_addf(out, "        (%s)\n", hint);
	buf_addc(out, '\n');
}

static void
add_envelope_recipients(struct buf *out, const struct message *m,
    const struct standing *s)
{
	for (size_t i = 0; i < m->recipient_count; i++) {
		const struct recipient *r = &m->recipients[i];
		struct buf reply = {0};

		buf_adds(out, "Recipient: <");
		utf8_add_visible(out, r->address, ADDRESS_SHOWN);
		buf_addf(out, "> %s", state_of(r));
		add_reply(&reply, r, s);
		if (reply.len) {
			buf_adds(out, " (");
			buf_add_printable(out, reply.data, reply.len,
			    REPLY_SHOWN);
			buf_addc(out, ')');
		}
		buf_addc(out, '\n');
		buf_free(&reply);
	}
}

void
view_add_envelope(struct buf *out, const struct entry *e,
    const struct standing *s)
{
	const struct message *m = e->message;
	const char *hint = hint_of(e, s);

	buf_addf(out, "ID: %s\n", id_of(e));
	if (notice_of(e))
		buf_addf(out, "Notice: %.32s\n", notice_of(e));
	buf_addf(out, "State: %s\n", view_outcome(e, s));
	if (m) {
		buf_adds(out, "Arrived: ");
		clock_add_date(out, m->arrived_at);
		buf_addf(out, m->owner == NO_OWNER ? "\nOwner: nobody\n"
						   : "\nOwner: uid %u\n",
		    (unsigned)m->owner);
		buf_adds(out, "Sender: <");
		utf8_add_visible(out, m->sender, ADDRESS_SHOWN);
		buf_adds(out, ">\n");
		add_envelope_recipients(out, m, s);
	}
	if (m && !e->failed) {
		buf_adds(out, "Plan: ");
		add_next(out, e, s);
		buf_addc(out, '\n');
	}
	if (hint)
		buf_addf(out, "Hint: %s\n", hint);
}

/* --- For programs -------------------------------------------------------- */

static void
add_json_recipients(struct buf *out, const struct message *m,
    const struct standing *s)
{
	for (size_t i = 0; i < m->recipient_count; i++) {
		const struct recipient *r = &m->recipients[i];
		struct buf reply = {0};

		buf_adds(out, i ? ",\n{\"address\":" : "\n{\"address\":");
		json_add_string(out, r->address);
		buf_addf(out, ",\"state\":\"%s\",\"reply\":", state_of(r));
		add_reply(&reply, r, s);
		json_add_string(out, reply.data);
		buf_addc(out, '}');
		buf_free(&reply);
	}
}

/* No line of it is longer than two addresses can make it. */
void
view_add_json(struct buf *out, const struct entry *e,
    const struct standing *s)
{
	const struct message *m = e->message;

	buf_addf(out, "{\"id\":\"%s\",\"arrived\":", id_of(e));
	if (m)
		json_add_time(out, m->arrived_at);
	else
		buf_adds(out, "null");
	buf_addf(out, ",\"size\":%llu,\"sender\":",
	    (unsigned long long)size_of(e));
	json_add_string(out, m ? m->sender : NULL);
	buf_adds(out, ",\"recipients\":[");
	if (m)
		add_json_recipients(out, m, s);
	buf_adds(out, "],\n\"next_attempt\":");
	if (m && !e->failed)
		json_add_time(out, next_attempt(e, s));
	else
		buf_adds(out, "null");
	buf_addf(out, ",\"outcome\":\"%s\",\"hint\":", view_outcome(e, s));
	json_add_string(out, hint_of(e, s));
	buf_adds(out, ",\"upstream\":");
	json_add_string(out, e->failed ? NULL : s->upstream);
	if (notice_of(e))
		buf_addf(out, ",\"notice\":\"%.32s\"", notice_of(e));
	buf_addc(out, '}');
}
