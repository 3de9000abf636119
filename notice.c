/* SPDX-License-Identifier: ISC */
/*
 * A delivery status notification as a new message, a multipart/report
 * (RFC 6522) of
 *
 *     text/plain                for a person
 *     message/delivery-status   for a program (RFC 3464)
 *     text/rfc822-headers       the header of the original, not its body
 *
 * Addresses, replies and that header come from elsewhere. Whoever has looked
 * at them before, here they are bounded and kept to their line, so that
 * nothing in them can add a field, a part or a line that is too long.
 */
#include "notice.h"

#include <string.h>
#include <strings.h>

#include "clock.h"
#include "header.h"
#include "message.h"

enum {
	FOR_PERSON_MAX = 100,   /* recipients in the first part */
	FOR_PROGRAM_MAX = 1000, /* recipients in the second part */
	ADDRESS_MAX = 320,      /* a sane one has 254, see address.c */
	REPLY_MAX = 512,        /* on one line: below 998 with all around it */
	HEADER_MAX = 50000,
	FOLD_WIDTH = 76,
};

/* What a notice is made of. */
struct notice {
	const struct message *failed;
	const struct notice_settings *settings;
	struct message *message;
	struct buf text, status, header; /* the three parts */
	struct buf boundary;
	struct buf now;
};

static size_t
count_refused(const struct message *m)
{
	size_t count = 0;

	for (size_t i = 0; i < m->recipient_count; i++)
		count += m->recipients[i].outcome == NEVER;
	return count;
}

/* Whether the keyword of an Auto-Submitted field (RFC 3834 section 5) is
 * auto-replied; parameters and comments may stand behind it. */
static bool
is_auto_replied(const struct field *field)
{
	static const char keyword[] = "auto-replied";
	const size_t len = sizeof(keyword) - 1;
	size_t at = 0;

	while (at < field->value_len && strchr(" \t\r\n", field->value[at]))
		at++;
	if (field->value_len - at < len ||
	    strncasecmp(field->value + at, keyword, len) != 0)
		return false;
	return field->value_len - at == len ||
	    strchr(" \t\r\n;(", field->value[at + len]);
}

/* Whether it is one of our notices. Nothing but the mark tells ours from
 * another program's automatic reply, so all of those count: nobody wrote
 * them and nobody waits for them, and a mistake to this side is one report
 * too few, to the other side a loop. The sender alone proves nothing: people
 * may use bounce_from, and programs the null sender, for ordinary mail. */
static bool
is_notice(const struct message *m, const char *bounce_from)
{
	struct field field;
	size_t at = 0;
	bool found = false;

	if (*m->sender && (!bounce_from || strcmp(m->sender, bounce_from) != 0))
		return false;
	while (!found &&
	    header_next(buf_text(&m->header), m->header.len, &at, &field))
		found = field_is(&field, "Auto-Submitted") &&
		    is_auto_replied(&field);
	return found;
}

const char *
notice_reader(const struct message *failed, const struct notice_settings *s)
{
	const char *reader = s->bounce_to ? s->bounce_to : failed->sender;

	return *reader && !is_notice(failed, s->bounce_from) ? reader : NULL;
}

static void
add_address(struct buf *out, const char *address)
{
	buf_add_printable(out, address, strlen(address), ADDRESS_MAX);
}

/* What was said last about a recipient, "550 5.1.1 Who?"; nothing if nothing
 * was. No blank at its end, which could become a folded line of its own. */
static void
add_reply(struct buf *out, const struct recipient *r)
{
	const char *text = r->reply ? r->reply : "";
	size_t len = strnlen(text, REPLY_MAX);

	while (len && text[len - 1] == ' ')
		len--;
	if (r->code > 0)
		buf_addf(out, "%d%s", r->code, len ? " " : "");
	buf_add_printable(out, text, len, len);
}

static void
introduce(struct notice *n)
{
	struct buf *out = &n->text;

	buf_addf(out, "This is the mail system at %s. A message from\r\n<",
	    n->settings->hostname);
	add_address(out, n->failed->sender);
	buf_adds(out, ">,\r\naccepted on ");
	clock_add_date(out, n->failed->arrived_at);
	buf_addf(out, ", could not be delivered to\r\n"
	    "the recipients below and will not be tried again for them. Under "
	    "each\r\naddress stands the last reply about it. The header of the "
	    "message is\r\nattached; in the log it has the queue ID\r\n%s.\r\n",
	    n->failed->id);
}

/* Words, each with the blanks before it, folded where these are; without an
 * indent, unfolding gives the same text again. */
static void
add_folded(struct buf *out, const char *name, const char *indent,
    const char *words)
{
	size_t start = out->len;

	buf_adds(out, name);
	while (*words) {
		size_t len = strspn(words, " ");

		len += strcspn(words + len, " ");
		if (out->len - start + len > FOLD_WIDTH) {
			buf_adds(out, "\r\n");
			start = out->len;
			buf_adds(out, indent);
		}
		buf_add(out, words, len);
		words += len;
	}
	buf_adds(out, "\r\n");
}

void
notice_add_hint(struct buf *out, const char *indent, const struct recipient *r)
{
	const char *hint = reply_hint(r->code, r->reply ? r->reply : "");
	struct buf name = {0}, words = {0};

	if (!hint)
		return;
	buf_addf(&name, "%s Hint:", indent);
	buf_addf(&words, " %s", hint);
	add_folded(out, name.data, indent, words.data);
	buf_free(&name);
	buf_free(&words);
}

static void
add_for_person(struct notice *n, const struct recipient *r)
{
	struct buf *out = &n->text, reply = {0};

	add_reply(&reply, r);
	buf_adds(out, "\r\n<");
	add_address(out, r->address);
	buf_addf(out, ">\r\n    %s\r\n",
	    reply.len ? reply.data : "(no reply is known)");
	notice_add_hint(out, "   ", r);
	buf_free(&reply);
}

/* RFC 3464 section 2.3.6: what no SMTP reply stands behind is not of type
 * smtp. */
static void
add_diagnostic(struct buf *out, const struct recipient *r)
{
	struct buf words = {0};

	buf_addc(&words, ' ');
	add_reply(&words, r);
	if (words.len > 1)
		add_folded(out, r->code > 0 ? "Diagnostic-Code: smtp;"
					    : "Diagnostic-Code: X-smarthost;",
		    "", words.data);
	buf_free(&words);
}

/* RFC 3464 section 2.3, with the blank line before it. */
static void
add_for_program(struct notice *n, const struct recipient *r)
{
	const char *status = r->reply && *r->reply == '5' ? r->reply : "";
	size_t len = reply_enhanced(status);
	struct buf *out = &n->status;

	buf_adds(out, "\r\nFinal-Recipient: rfc822; ");
	add_address(out, r->address);
	buf_addf(out, "\r\nAction: failed\r\nStatus: %.*s\r\n",
	    len ? (int)len : 5, len ? status : "5.0.0");
	add_diagnostic(out, r);
	buf_addf(out, "Last-Attempt-Date: %s\r\n", n->now.data);
}

static void
add_recipients(struct notice *n)
{
	const struct message *m = n->failed;
	size_t count = 0;

	for (size_t i = 0; i < m->recipient_count; i++) {
		if (m->recipients[i].outcome != NEVER)
			continue;
		if (count < FOR_PERSON_MAX)
			add_for_person(n, &m->recipients[i]);
		if (count < FOR_PROGRAM_MAX)
			add_for_program(n, &m->recipients[i]);
		count++;
	}
	if (count > FOR_PERSON_MAX)
		buf_addf(&n->text, "\r\nThese are the first %d of %zu "
		    "recipients; the attached delivery status\r\nnames %zu "
		    "of them.\r\n", FOR_PERSON_MAX, count,
		    count < FOR_PROGRAM_MAX ? count : FOR_PROGRAM_MAX);
}

static void
describe(struct notice *n)
{
	introduce(n);
	/* RFC 3464 section 2.2 */
	buf_addf(&n->status, "Reporting-MTA: dns; %s\r\nArrival-Date: ",
	    n->settings->hostname);
	clock_add_date(&n->status, n->failed->arrived_at);
	buf_adds(&n->status, "\r\n");
	add_recipients(n);
}

/* Through a reader, as if it had just come in: a header that was read from a
 * damaged file gets proper lines again. True if it has 8-bit bytes. */
static bool
copy_header(struct notice *n)
{
	const struct buf *header = &n->failed->header;
	struct buf *out = &n->header;
	struct data_reader reader;
	struct field field;
	size_t at = 0;

	data_start(&reader, DATA_FROM_STDIN_RAW);
	while (header_next(buf_text(header), header->len, &at, &field) &&
	    out->len + field.len <= HEADER_MAX)
		data_read(&reader, field.start, field.len, out);
	data_finish(&reader, out);
	for (size_t i = 0; i < out->len; i++)
		if (out->data[i] == '\0')
			out->data[i] = '?';
	return reader.eight_bit;
}

static bool
contains(const struct buf *part, const struct buf *text)
{
	return memmem(buf_text(part), part->len, text->data, text->len);
}

/* RFC 2046 section 5.1.1: it must not occur in a part. So it is looked for,
 * and another one taken, as often as it takes. */
static void
choose_boundary(struct notice *n)
{
	struct buf *b = &n->boundary;
	unsigned number = 0;

	do {
		buf_clear(b);
		buf_addf(b, "=_%s_%u", n->failed->id, number++);
	} while (contains(&n->text, b) || contains(&n->status, b) ||
	    contains(&n->header, b));
}

static void
add_part(struct notice *n, const char *fields, const struct buf *content)
{
	struct buf *out = &n->message->body.memory;

	buf_addf(out, "--%s\r\n%s\r\n", n->boundary.data, fields);
	buf_add(out, content->data, content->len);
	buf_adds(out, "\r\n"); /* belongs to the boundary */
}

/* In memory, whatever its size (below 1 MB): writing to a file could fail,
 * and then nobody would be told. */
static void
add_body(struct notice *n)
{
	struct body *body = &n->message->body;

	add_part(n, "Content-Type: text/plain; charset=us-ascii\r\n",
	    &n->text);
	add_part(n, "Content-Type: message/delivery-status\r\n", &n->status);
	add_part(n, n->message->eight_bit
		? "Content-Type: text/rfc822-headers\r\n"
		  "Content-Transfer-Encoding: 8bit\r\n"
		: "Content-Type: text/rfc822-headers\r\n", &n->header);
	buf_addf(&body->memory, "--%s--\r\n", n->boundary.data);
	body->size = body->memory.len;
}

void
notice_address(struct message *m, const struct notice_settings *s,
    const char *reader)
{
	message_set_sender(m, s->bounce_from ? s->bounce_from : "");
	message_add_recipient(m, reader);
	buf_addf(&m->header, "From: \"Mail Delivery System\" "
	    "<MAILER-DAEMON@%s>\r\nTo: ", s->hostname);
	add_address(&m->header, reader);
	buf_adds(&m->header, "\r\n");
}

void
notice_mark(struct message *m, const struct notice_settings *s)
{
	buf_adds(&m->header, "Date: ");
	clock_add_date(&m->header, m->arrived_at);
	buf_adds(&m->header, "\r\n");
	message_complete(m, s->hostname, NULL); /* Message-ID */
	buf_adds(&m->header, "Auto-Submitted: auto-replied\r\n");
}

static void
add_header(struct notice *n, const char *reader)
{
	struct message *m = n->message;

	notice_address(m, n->settings, reader);
	buf_adds(&m->header,
	    "Subject: Undelivered Mail Returned to Sender\r\n");
	notice_mark(m, n->settings);
	buf_addf(&m->header, "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    "\tboundary=\"%s\"\r\n%s", n->boundary.data,
	    m->eight_bit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

struct message *
notice_make(const struct message *failed,
    const struct notice_settings *settings)
{
	const char *reader = notice_reader(failed, settings);
	struct notice n = {.failed = failed, .settings = settings};

	if (!reader || !count_refused(failed))
		return NULL;
	n.message = message_new(NULL, UINT64_MAX);
	clock_add_date(&n.now, n.message->arrived_at);
	describe(&n);
	n.message->eight_bit = copy_header(&n);
	choose_boundary(&n);
	add_header(&n, reader);
	add_body(&n);
	buf_free(&n.text);
	buf_free(&n.status);
	buf_free(&n.header);
	buf_free(&n.boundary);
	buf_free(&n.now);
	return n.message;
}
