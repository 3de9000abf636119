/* SPDX-License-Identifier: ISC */
/*
 * A delivery status notification as a new message, a multipart/report
 * (RFC 6522) of
 *
 *     text/plain                for a person
 *     message/delivery-status   for a program (RFC 3464)
 *     text/rfc822-headers       the header of the original, or
 *     message/rfc822            all of it
 *
 * or the types that RFC 6533 has instead of the last three where addresses are
 * in UTF-8.
 */
#include "notice.h"

#include <string.h>
#include <strings.h>

#include "clock.h"
#include "header.h"
#include "message.h"
#include "notice_parts.h"
#include "utf8.h"

static bool
is_failure(const struct recipient *r)
{
	return r->outcome == NEVER && recipient_wants(r, NOTIFY_FAILURE);
}

static const struct subject failure = {
	is_failure, "Undelivered Mail Returned to Sender",
	"could not be delivered to\r\nthe recipients below and will not be "
	"tried again for them. Under each\r\naddress stands the last reply "
	"about it.", "failed", "5.0.0",
};

static bool
is_relayed(const struct recipient *r)
{
	return r->relayed;
}

static const struct subject success = {
	is_relayed, "Mail Handed to the Relay",
	"was handed to the relay for\r\nthe recipients below. The relay does "
	"not report success, so nothing more\r\nis heard of them, unless they "
	"cannot be reached. Under each address\r\nstands the relay's reply.",
	"relayed", "2.0.0",
};

static bool
concerns_anybody(const struct subject *subject, const struct message *m)
{
	bool found = false;

	for (size_t i = 0; i < m->recipient_count; i++)
		found = found || subject->concerns(&m->recipients[i]);
	return found;
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
		buf_addf(b, "=_%s_%u", n->original->id, number++);
	} while (contains(&n->text, b) || contains(&n->status, b) ||
	    contains(&n->copy, b));
}

static bool
is_ascii(const struct buf *part)
{
	return utf8_is_ascii(buf_text(part));
}

static void
add_part(struct notice *n, const char *type, const struct buf *content)
{
	struct buf *out = &n->message->body.memory;

	buf_addf(out, "--%s\r\nContent-Type: %s\r\n%s\r\n", n->boundary.data,
	    type, is_ascii(content) ? ""
				    : "Content-Transfer-Encoding: 8bit\r\n");
	buf_add(out, content->data, content->len);
	buf_adds(out, "\r\n"); /* belongs to the boundary */
}

/* The header of a message that came without SMTPUTF8 is what its sender made
 * it, UTF-8 or not, and bears the old name. */
static const char *
type_of_copy(const struct notice *n)
{
	if (n->original->utf8 && !is_ascii(&n->copy))
		return n->whole ? "message/global" : "message/global-headers";
	return n->whole ? "message/rfc822" : "text/rfc822-headers";
}

/* In memory, whatever its size (below 1 MB): writing to a file could fail,
 * and then nobody would be told. */
static void
add_body(struct notice *n)
{
	struct body *body = &n->message->body;

	add_part(n, is_ascii(&n->text) ? "text/plain; charset=us-ascii"
				       : "text/plain; charset=utf-8", &n->text);
	add_part(n, is_ascii(&n->status) ? "message/delivery-status"
					 : "message/global-delivery-status",
	    &n->status);
	add_part(n, type_of_copy(n), &n->copy);
	buf_addf(&body->memory, "--%s--\r\n", n->boundary.data);
	body->size = body->memory.len;
}

void
notice_address(struct message *m, const struct notice_settings *s,
    const char *reader)
{
	struct buf *out = &m->header;

	message_set_sender(m, s->bounce_from ? s->bounce_from : "");
	message_add_recipient(m, reader);
	m->utf8 = !utf8_is_ascii(reader);
	buf_adds(out, "From: \"Mail Delivery System\" <");
	if (s->bounce_from)
		notice_add_address(out, s->bounce_from);
	else
		buf_addf(out, "MAILER-DAEMON@%s", s->hostname);
	buf_adds(out, ">\r\nTo: ");
	notice_add_address(out, reader);
	buf_adds(out, "\r\n");
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
	buf_addf(&m->header, "Subject: %s\r\n", n->subject->title);
	notice_mark(m, n->settings);
	buf_addf(&m->header, "MIME-Version: 1.0\r\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    "\tboundary=\"%s\"\r\n%s", n->boundary.data,
	    m->eight_bit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
}

static struct message *
make(struct notice *n, const char *reader)
{
	n->message = message_new(NULL, UINT64_MAX);
	clock_add_date(&n->now, n->message->arrived_at);
	notice_copy_original(n);
	notice_describe(n);
	n->message->eight_bit = !is_ascii(&n->text) ||
	    !is_ascii(&n->status) || !is_ascii(&n->copy);
	choose_boundary(n);
	add_header(n, reader);
	add_body(n);
	buf_free(&n->text);
	buf_free(&n->status);
	buf_free(&n->copy);
	buf_free(&n->boundary);
	buf_free(&n->now);
	return n->message;
}

struct message *
notice_make(const struct message *failed, const struct notice_settings *s)
{
	const char *reader = notice_reader(failed, s);
	struct notice n = {.subject = &failure, .original = failed,
		.settings = s, .whole = failed->returns == 'F'};

	return reader && concerns_anybody(&failure, failed) ? make(&n, reader)
							    : NULL;
}

struct message *
notice_make_relayed(const struct message *sent,
    const struct notice_settings *s)
{
	struct notice n = {.subject = &success, .original = sent,
		.settings = s};

	return *sent->sender && concerns_anybody(&success, sent)
	    ? make(&n, sent->sender) : NULL;
}
