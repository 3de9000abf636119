/* SPDX-License-Identifier: ISC */
/*
 * What is in the parts of a notice. Addresses, replies and the original come
 * from elsewhere. Whoever has looked at them before, here they are bounded and
 * kept to their line, so that nothing in them can add a field, a part or a
 * line that is too long.
 */
#include "notice_parts.h"

#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "clock.h"
#include "dsn.h"
#include "header.h"
#include "message.h"
#include "notice.h"
#include "utf8.h"

enum {
	FOR_PERSON_MAX = 100,   /* recipients in the first part */
	FOR_PROGRAM_MAX = 1000, /* recipients in the second part */
	ADDRESS_MAX = 320,      /* a sane one has 254, see address.c */
	REPLY_MAX = 512,        /* on one line: below 998 with all around it */
	HEADER_MAX = 50000,
	WHOLE_MAX = HEADER_MAX, /* of an original that is returned whole */
	PIECE = 16 * 1024,
	FOLD_WIDTH = 76,
};

/* One beyond ASCII stays as it is if it is an address, and nothing else. */
static bool
is_utf8_address(const char *address)
{
	return address_check(address, strlen(address)) == ADDRESS_UTF8;
}

void
notice_add_address(struct buf *out, const char *address)
{
	if (is_utf8_address(address))
		buf_adds(out, address);
	else
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
	notice_add_address(out, n->original->sender);
	buf_adds(out, ">,\r\naccepted on ");
	clock_add_date(out, n->original->arrived_at);
	buf_addf(out, ", %s %s is\r\nattached; in the log it has the queue "
	    "ID\r\n%s.\r\n", n->subject->story,
	    n->whole ? "The message" : "The header of the message",
	    n->original->id);
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
	notice_add_address(out, r->address);
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

/* What ORCPT said (RFC 3464 section 2.3.1), without its xtext; in UTF-8 if it
 * came so (RFC 6533 section 3). */
static void
add_original_recipient(struct buf *out, const char *original)
{
	size_t type = strcspn(original, ";"), len = strlen(original);
	struct buf text = {0};

	if (type == len)
		return;
	if (!utf8_is_ascii(original) && dsn_is_original(original, len, true))
		buf_adds(&text, original + type + 1);
	else
		dsn_add_decoded(&text, original + type + 1);
	buf_adds(out, "Original-Recipient: ");
	buf_add_printable(out, original, type, ADDRESS_MAX);
	buf_addf(out, "; %.*s\r\n", REPLY_MAX, buf_text(&text));
	buf_free(&text);
}

/* RFC 3464 section 2.3, with the blank line before it. */
static void
add_for_program(struct notice *n, const struct recipient *r)
{
	bool fits = r->reply && *r->reply == *n->subject->status;
	const char *status = fits ? r->reply : "";
	size_t len = reply_enhanced(status);
	struct buf *out = &n->status;

	buf_adds(out, "\r\n");
	if (r->original)
		add_original_recipient(out, r->original);
	buf_addf(out, "Final-Recipient: %s; ",
	    is_utf8_address(r->address) ? "utf-8" : "rfc822");
	notice_add_address(out, r->address);
	buf_addf(out, "\r\nAction: %s\r\nStatus: %.*s\r\n",
	    n->subject->action, len ? (int)len : 5,
	    len ? status : n->subject->status);
	add_diagnostic(out, r);
	buf_addf(out, "Last-Attempt-Date: %s\r\n", n->now.data);
}

static void
add_recipients(struct notice *n)
{
	const struct message *m = n->original;
	size_t count = 0;

	for (size_t i = 0; i < m->recipient_count; i++) {
		if (!n->subject->concerns(&m->recipients[i]))
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
add_envelope_id(struct buf *out, const char *envelope_id)
{
	struct buf text = {0};

	dsn_add_decoded(&text, envelope_id);
	buf_addf(out, "Original-Envelope-Id: %.*s\r\n", ADDRESS_MAX,
	    buf_text(&text));
	buf_free(&text);
}

void
notice_describe(struct notice *n)
{
	introduce(n);
	/* RFC 3464 section 2.2 */
	if (n->original->envelope_id)
		add_envelope_id(&n->status, n->original->envelope_id);
	buf_addf(&n->status, "Reporting-MTA: dns; %s\r\nArrival-Date: ",
	    n->settings->hostname);
	clock_add_date(&n->status, n->original->arrived_at);
	buf_adds(&n->status, "\r\n");
	add_recipients(n);
}

static void
copy_header(struct notice *n, struct data_reader *reader)
{
	const struct buf *header = &n->original->header;
	struct field field;
	size_t at = 0;

	while (header_next(buf_text(header), header->len, &at, &field) &&
	    n->copy.len + field.len <= HEADER_MAX)
		data_read(reader, field.start, field.len, &n->copy);
}

/* With the blank line before it. False if it cannot be read. */
static bool
copy_body(struct notice *n, struct data_reader *reader)
{
	const struct body *body = &n->original->body;
	char *piece = xmalloc(PIECE);
	uint64_t offset = 0;
	ptrdiff_t got;

	data_read(reader, "\r\n", 2, &n->copy);
	while ((got = body_read(body, offset, piece, PIECE)) > 0) {
		data_read(reader, piece, (size_t)got, &n->copy);
		offset += (uint64_t)got;
	}
	free(piece);
	return got == 0;
}

/* Through a reader, as if it had just come in: what was read from a damaged
 * file gets proper lines again. False if the body cannot be read. */
static bool
copy_original(struct notice *n)
{
	struct buf *out = &n->copy;
	struct data_reader reader;
	bool whole;

	buf_clear(out);
	data_start(&reader, DATA_FROM_STDIN_RAW);
	copy_header(n, &reader);
	whole = !n->whole || copy_body(n, &reader);
	data_finish(&reader, out);
	for (size_t i = 0; i < out->len; i++)
		if (out->data[i] == '\0')
			out->data[i] = '?';
	return whole;
}

void
notice_copy_original(struct notice *n)
{
	n->whole = n->whole && message_size(n->original) <= WHOLE_MAX;
	if (!copy_original(n)) {
		n->whole = false;
		copy_original(n);
	}
}
