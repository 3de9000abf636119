/* SPDX-License-Identifier: ISC */
/*
 * Delivery status notifications: who is told (UX-49, UX-50), what of (UX-51),
 * as the sender has asked for it (RFC 3461), and that nothing that comes from
 * elsewhere (CL-38, CL-40) breaks their form.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clock.h"
#include "digest.h"
#include "header.h"
#include "message.h"
#include "notice.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(s) s, sizeof(s) - 1

enum { LINE_MAX_LEN = 998, HEADER_CAP = 50000, PARTS = 3 };

static const char host[] = "host.example";
static const struct notice_settings plain = {.hostname = host};

/* --- Making one ---------------------------------------------------------- */

static struct message *
message_from(const char *sender, const char *header, size_t len)
{
	struct message *m = message_new(NULL, UINT64_MAX);

	message_set_sender(m, sender);
	buf_add(&m->header, header, len);
	assert_true(body_write(&m->body, BYTES("SECRET BODY\r\n")));
	m->arrived_at = 1700000000;
	return m;
}

static struct message *
usual_message(void)
{
	return message_from("app@host.example", BYTES("Subject: x\r\n"));
}

static void
add_result(struct message *m, const char *address, enum outcome outcome,
    int code, const char *reply)
{
	message_add_recipient(m, address);
	recipient_set(&m->recipients[m->recipient_count - 1], outcome, code,
	    reply);
}

static void
add_refused(struct message *m, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *address = xasprintf("r%zu@x.example", i);

		add_result(m, address, NEVER, 550, "5.1.1 Who?");
		free(address);
	}
}

/* --- Taking it apart ----------------------------------------------------- */

struct part {
	const char *start; /* its header, in the notice's text */
	size_t len;
	const char *content;
	size_t content_len;
};

/* What is not the same in every notice. */
struct form {
	const char *from, *subject, *types[PARTS];
};

static const struct form usual = {
	"\"Mail Delivery System\" <MAILER-DAEMON@host.example>",
	"Undelivered Mail Returned to Sender",
	{"text/plain; charset=us-ascii", "message/delivery-status",
	    "text/rfc822-headers"},
};

struct parsed {
	struct buf text; /* header, blank line and body, as on the wire */
	struct buf boundary;
	struct part parts[PARTS];
};

static void
parsed_free(struct parsed *p)
{
	buf_free(&p->text);
	buf_free(&p->boundary);
}

/* CRLF and nothing else ends a line, none is too long, no NUL. */
static void
check_lines(const char *s, size_t len, bool eight_bit)
{
	size_t line = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		assert_int_not_equal(c, '\0');
		assert_true(c < 0x80 || eight_bit);
		assert_int_equal(c == '\r', i + 1 < len && s[i + 1] == '\n');
		line = c == '\n' ? 0 : line + 1;
		assert_true(line <= LINE_MAX_LEN + 1); /* the CR */
	}
	assert_int_equal(line, 0);
}

/* Lines that begin a field, or go on with one and say something: what a
 * strict reader takes for a header. */
static void
check_fields(const char *s, size_t len)
{
	const char *end = s + len;

	while (s < end) {
		const char *next = (const char *)memchr(s, '\n',
		    (size_t)(end - s)) + 1;
		size_t line = (size_t)(next - s) - 2;

		if (*s == ' ' || *s == '\t')
			assert_true(strspn(s, " \t") < line);
		else if (!header_line_is_field(s, line))
			fail_msg("no field: %.*s", (int)line, s);
		s = next;
	}
}

/* The unfolded value of the only field of that name; the caller frees. */
static char *
value_of(const char *header, size_t len, const char *name)
{
	struct buf value = {0};
	struct field field;

	if (header_count(header, len, name) != 1)
		fail_msg("%zu times %s", header_count(header, len, name), name);
	assert_true(header_find(header, len, name, &field));
	for (size_t i = 0; i < field.value_len; i++)
		if (field.value[i] != '\r' && field.value[i] != '\n')
			buf_addc(&value, field.value[i]);
	assert_int_equal(value.data[0], ' ');
	memmove(value.data, value.data + 1, value.len);
	return buf_take(&value);
}

static void
check_value(const char *header, size_t len, const char *name,
    const char *expected)
{
	char *value = value_of(header, len, name);

	assert_string_equal(value, expected);
	free(value);
}

/* The place of a delimiter at the start of a line; NULL if there is none. */
static const char *
find_delimiter(const struct parsed *p, const char *from)
{
	const char *end = p->text.data + p->text.len;
	const char *at = from;

	while ((at = memmem(at, (size_t)(end - at), p->boundary.data,
		    p->boundary.len)) && at[-1] != '\n')
		at++;
	return at;
}

static void
read_boundary(struct parsed *p, const struct message *n)
{
	static const char before[] =
	    "multipart/report; report-type=delivery-status;\tboundary=\"";
	char *type = value_of(n->header.data, n->header.len, "Content-Type");
	size_t len = strlen(type);

	assert_memory_equal(type, before, sizeof(before) - 1);
	assert_true(len > sizeof(before) && len < sizeof(before) + 70);
	assert_int_equal(type[len - 1], '"');
	buf_adds(&p->boundary, "--");
	buf_add(&p->boundary, type + sizeof(before) - 1,
	    len - sizeof(before));
	free(type);
}

/* A part begins behind its delimiter and ends before the CRLF that belongs to
 * the next one. */
static const char *
read_part(struct parsed *p, struct part *part, const char *at)
{
	const char *next, *blank;

	at += p->boundary.len;
	assert_memory_equal(at, "\r\n", 2);
	part->start = at + 2;
	next = find_delimiter(p, at);
	assert_non_null(next);
	blank = strstr(at, "\r\n\r\n");
	assert_true(blank && blank < next);
	part->len = (size_t)(blank + 2 - part->start);
	part->content = blank + 4;
	part->content_len = (size_t)(next - 2 - part->content);
	assert_memory_equal(next - 2, "\r\n", 2);
	return next;
}

static void
parse_body(struct parsed *p, size_t header)
{
	const char *body = p->text.data + header + 2, *at = body;
	size_t found = 0;

	assert_ptr_equal(find_delimiter(p, body), body);
	for (size_t i = 0; i < PARTS; i++)
		at = read_part(p, &p->parts[i], at);
	at += p->boundary.len;
	assert_string_equal(at, "--\r\n");
	/* And nowhere else, at the start of a line or not. */
	for (at = body; (at = strstr(at, p->boundary.data + 2)); at++)
		found++;
	assert_int_equal(found, PARTS + 1);
}

static void
add_whole(const struct message *n, struct buf *out)
{
	size_t before;
	char piece[1000];
	ptrdiff_t got;

	buf_add(out, n->header.data, n->header.len);
	buf_adds(out, "\r\n");
	before = out->len;
	while ((got = body_read(&n->body, out->len - before, piece,
		    sizeof(piece))) > 0)
		buf_add(out, piece, (size_t)got);
	assert_int_equal(got, 0);
	assert_int_equal(message_size(n), out->len);
}

static bool
has_eight_bit(const struct part *part)
{
	for (size_t i = 0; i < part->content_len; i++)
		if ((unsigned char)part->content[i] >= 0x80)
			return true;
	return false;
}

/* 8-bit parts are declared as that, and so is the whole. */
static void
check_types(const struct parsed *p, const char *const types[PARTS],
    bool eight_bit)
{
	bool any = false;

	for (size_t i = 0; i < PARTS; i++) {
		const struct part *part = &p->parts[i];
		bool declared = has_eight_bit(part);

		any = any || declared;
		check_value(part->start, part->len, "Content-Type", types[i]);
		assert_int_equal(header_count(part->start, part->len,
		    "Content-Transfer-Encoding"), declared);
		if (declared)
			check_value(part->start, part->len,
			    "Content-Transfer-Encoding", "8bit");
		check_fields(part->start, part->len);
		check_lines(part->content, part->content_len, declared);
	}
	assert_int_equal(any, eight_bit);
}

/* Whatever it is about, a notice has this form. */
static void
parse_as(struct parsed *p, const struct message *n, const struct form *form)
{
	const struct buf *h = &n->header;
	char *id = xasprintf("<%s@%s>", n->id, host);

	*p = (struct parsed){0};
	assert_non_null(n);
	add_whole(n, &p->text);
	check_lines(p->text.data, p->text.len, n->eight_bit);
	check_lines(h->data, h->len, n->utf8);
	check_fields(h->data, h->len);
	check_value(h->data, h->len, "From", form->from);
	check_value(h->data, h->len, "Subject", form->subject);
	check_value(h->data, h->len, "Message-ID", id);
	check_value(h->data, h->len, "Auto-Submitted", "auto-replied");
	check_value(h->data, h->len, "MIME-Version", "1.0");
	assert_int_equal(header_count(h->data, h->len, "Date"), 1);
	assert_int_equal(header_count(h->data, h->len,
	    "Content-Transfer-Encoding"), n->eight_bit);
	read_boundary(p, n);
	parse_body(p, h->len);
	check_types(p, form->types, n->eight_bit);
	free(id);
}

static void
parse(struct parsed *p, const struct message *n)
{
	parse_as(p, n, &usual);
}

/* The groups of fields of the second part: 0 is about the message, the others
 * about one recipient each. The count of groups. */
static size_t
find_group(const struct parsed *p, size_t number, const char **start,
    size_t *len)
{
	const char *at = p->parts[1].content;
	const char *end = at + p->parts[1].content_len;
	size_t count = 0;

	*start = NULL;
	while (at < end) {
		const char *blank = memmem(at, (size_t)(end - at),
		    BYTES("\r\n\r\n"));
		const char *next = blank ? blank + 2 : end;

		if (count++ == number) {
			*start = at;
			*len = (size_t)(next - at);
			check_fields(*start, *len);
		}
		at = blank ? blank + 4 : end;
	}
	return count;
}

static void
check_group(const struct parsed *p, size_t number, const char *name,
    const char *expected)
{
	const char *start;
	size_t len = 0;

	find_group(p, number, &start, &len);
	assert_non_null(start);
	if (expected)
		check_value(start, len, name, expected);
	else
		assert_int_equal(header_count(start, len, name), 0);
}

static size_t
count_lines(const struct part *part, const char *start)
{
	size_t count = 0, at = 0, len = strlen(start);

	while (at < part->content_len) {
		const char *line = part->content + at;

		count += strncmp(line, start, len) == 0;
		at += (size_t)(strchr(line, '\n') - line) + 1;
	}
	return count;
}

/* --- One notice, whole --------------------------------------------------- */

static const char whole[] =
    "From: \"Mail Delivery System\" <MAILER-DAEMON@host.example>\r\n"
    "To: app@host.example\r\n"
    "Subject: Undelivered Mail Returned to Sender\r\n"
    "Date: NOW\r\n"
    "Message-ID: <ID@host.example>\r\n"
    "Auto-Submitted: auto-replied\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    "\tboundary=\"=_0123_0\"\r\n"
    "\r\n"
    "--=_0123_0\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n"
    "This is the mail system at host.example. A message from\r\n"
    "<app@host.example>,\r\n"
    "accepted on ARRIVED, could not be delivered to\r\n"
    "the recipients below and will not be tried again for them. Under each\r\n"
    "address stands the last reply about it. The header of the message is\r\n"
    "attached; in the log it has the queue ID\r\n"
    "0123.\r\n"
    "\r\n"
    "<a@x.example>\r\n"
    "    550 5.1.1 No such user here\r\n"
    "    Hint: the recipient's address does not exist; check its spelling\r\n"
    "\r\n"
    "<d@x.example>\r\n"
    "    554 Refused\r\n"
    "\r\n"
    "--=_0123_0\r\n"
    "Content-Type: message/delivery-status\r\n"
    "\r\n"
    "Reporting-MTA: dns; host.example\r\n"
    "Arrival-Date: ARRIVED\r\n"
    "\r\n"
    "Final-Recipient: rfc822; a@x.example\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 No such user here\r\n"
    "Last-Attempt-Date: NOW\r\n"
    "\r\n"
    "Final-Recipient: rfc822; d@x.example\r\n"
    "Action: failed\r\n"
    "Status: 5.0.0\r\n"
    "Diagnostic-Code: smtp; 554 Refused\r\n"
    "Last-Attempt-Date: NOW\r\n"
    "\r\n"
    "--=_0123_0\r\n"
    "Content-Type: text/rfc822-headers\r\n"
    "\r\n"
    "Received: from here\r\n"
    "\tby there\r\n"
    "Subject: Hello\r\n"
    "\r\n"
    "--=_0123_0--\r\n";

/* The text with words replaced that differ from run to run. */
static void
add_template(struct buf *out, const char *text, const struct message *failed,
    const struct message *n)
{
	static const char *const words[] = {"NOW", "ARRIVED", "<ID"};

	while (*text) {
		size_t word = 0;

		while (word < COUNT(words) &&
		    strncmp(text, words[word], strlen(words[word])) != 0)
			word++;
		if (word == 2)
			buf_addf(out, "<%s", n->id);
		else if (word < COUNT(words))
			clock_add_date(out,
			    word ? failed->arrived_at : n->arrived_at);
		else
			buf_addc(out, *text);
		text += word < COUNT(words) ? strlen(words[word]) : 1;
	}
}

static void
test_whole(void **state)
{
	struct message *n, *m = message_from("app@host.example",
	    BYTES("Received: from here\r\n\tby there\r\nSubject: Hello\r\n"));
	struct buf expected = {0};
	struct parsed p;

	(void)state;
	strcpy(m->id, "0123");
	add_result(m, "a@x.example", NEVER, 550, "5.1.1 No such user here");
	add_result(m, "b@x.example", SENT, 250, "2.0.0 Thanks");
	add_result(m, "c@x.example", LATER, 451, "4.2.0 Come back");
	add_result(m, "d@x.example", NEVER, 554, "Refused");
	add_result(m, "e@x.example", HOLD, 535, "5.7.8 Who are you?");
	add_result(m, "f@x.example", WAITING, 0, "");
	n = notice_make(m, &plain);
	parse(&p, n);
	add_template(&expected, whole, m, n);
	assert_string_equal(p.text.data, expected.data);
	assert_string_equal(n->sender, "");
	assert_int_equal(n->recipient_count, 1);
	assert_string_equal(n->recipients[0].address, "app@host.example");
	assert_int_equal(n->recipients[0].outcome, WAITING);
	assert_true(strcmp(n->id, m->id) != 0);
	assert_false(n->eight_bit);
	assert_null(n->fault);
	assert_int_equal(n->file, -1);
	parsed_free(&p);
	buf_free(&expected);
	message_free(n);
	message_free(m);
}

/* --- Who is told --------------------------------------------------------- */

#define AUTO "Subject: x\r\nAuto-Submitted: auto-replied\r\nX: y\r\n"

struct reader_case {
	const char *sender, *header, *bounce_to, *bounce_from;
	const char *reader; /* NULL: no notice */
};

static const struct reader_case reader_cases[] = {
	{"s@x", "Subject: x\r\n", NULL, NULL, "s@x"},
	{"s@x", "Subject: x\r\n", "ops@x", NULL, "ops@x"},
	{"s@x", "Subject: x\r\n", NULL, "b@x", "s@x"},
	{"s@x", "Subject: x\r\n", "ops@x", "b@x", "ops@x"},
	{"\"a >,b\\\"\"@x", "", NULL, NULL, "\"a >,b\\\"\"@x"},
	/* the null sender */
	{"", "Subject: x\r\n", NULL, NULL, NULL},
	{"", "Subject: x\r\n", NULL, "b@x", NULL},
	{"", "Subject: x\r\n", "ops@x", NULL, "ops@x"},
	{"", "Subject: x\r\n", "ops@x", "b@x", "ops@x"},
	{"", "", "ops@x", NULL, "ops@x"},
	{"", AUTO, NULL, NULL, NULL},
	{"", AUTO, "ops@x", NULL, NULL},
	{"", AUTO, "ops@x", "b@x", NULL},
	/* bounce_from, which is nobody's alone */
	{"b@x", "Subject: x\r\n", NULL, "b@x", "b@x"},
	{"b@x", "Subject: x\r\n", "ops@x", "b@x", "ops@x"},
	{"b@x", AUTO, NULL, "b@x", NULL},
	{"b@x", AUTO, "ops@x", "b@x", NULL},
	{"b@x", AUTO, NULL, NULL, "b@x"},
	{"b@xy", AUTO, NULL, "b@x", "b@xy"},
	{"s@x", AUTO, NULL, NULL, "s@x"},
	{"s@x", AUTO, "ops@x", "b@x", "ops@x"},
	/* how the field may look */
	{"", "auto-submitted:AUTO-Replied\r\n", "ops@x", NULL, NULL},
	{"", "Auto-Submitted :\r\n\tauto-replied\r\n", "ops@x", NULL, NULL},
	{"", "Auto-Submitted: auto-replied; a=b\r\n", "ops@x", NULL, NULL},
	{"", "Auto-Submitted: auto-replied;a=b\r\n", "ops@x", NULL, NULL},
	{"", "Auto-Submitted: auto-replied (x)\r\n", "ops@x", NULL, NULL},
	{"", "Auto-Submitted: auto-replied(x)\r\n", "ops@x", NULL, NULL},
	{"", "Auto-Submitted: auto-replied", "ops@x", NULL, NULL},
	{"", "Auto-Submitted: no\r\nAuto-Submitted: auto-replied\r\n",
	    "ops@x", NULL, NULL},
	{"", "Auto-Submitted: auto-generated\r\n", "ops@x", NULL, "ops@x"},
	{"", "Auto-Submitted: no\r\n", "ops@x", NULL, "ops@x"},
	{"", "Auto-Submitted: \r\n", "ops@x", NULL, "ops@x"},
	{"", "Auto-Submitted:", "ops@x", NULL, "ops@x"},
	{"", "Auto-Submitted: auto-replie\r\n", "ops@x", NULL, "ops@x"},
	{"", "Auto-Submitted: auto-replied-to\r\n", "ops@x", NULL, "ops@x"},
	{"", "Auto-Submitted: not auto-replied\r\n", "ops@x", NULL, "ops@x"},
	{"", "X-Auto-Submitted: auto-replied\r\n", "ops@x", NULL, "ops@x"},
	{"", "X: y\r\n Auto-Submitted: auto-replied\r\n", "ops@x", NULL,
	    "ops@x"},
};

static void
check_reader(const struct reader_case *t, size_t number)
{
	const struct notice_settings s = {host, t->bounce_to, t->bounce_from};
	struct message *n, *m = message_from(t->sender, t->header,
	    strlen(t->header));
	struct parsed p;

	add_refused(m, 1);
	n = notice_make(m, &s);
	if (!n != !t->reader)
		fail_msg("case %zu: %s notice", number, n ? "a" : "no");
	if (n) {
		char *from = xasprintf("\"Mail Delivery System\" <%s>",
		    t->bounce_from ? t->bounce_from
				   : "MAILER-DAEMON@host.example");
		struct form form = usual;

		form.from = from;
		parse_as(&p, n, &form);
		free(from);
		assert_int_equal(n->recipient_count, 1);
		assert_string_equal(n->recipients[0].address, t->reader);
		check_value(n->header.data, n->header.len, "To", t->reader);
		assert_string_equal(n->sender,
		    t->bounce_from ? t->bounce_from : "");
		parsed_free(&p);
	}
	message_free(n);
	message_free(m);
}

static void
test_reader(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(reader_cases); i++)
		check_reader(&reader_cases[i], i);
}

/* Under all settings, a notice that fails is the end of it. */
static void
test_no_notice_about_a_notice(void **state)
{
	static const struct notice_settings cases[] = {
		{host, NULL, NULL},
		{host, "ops@x", NULL},
		{host, NULL, "b@x"},
		{host, "ops@x", "b@x"},
		{host, "ops@x", "ops@x"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct message *m = usual_message(), *n;

		add_refused(m, 2);
		n = notice_make(m, &cases[i]);
		assert_non_null(n);
		recipient_set(&n->recipients[0], NEVER, 550, "5.1.1 Who?");
		assert_null(notice_make(n, &cases[i]));
		message_free(n);
		message_free(m);
	}
}

static void
test_nothing_to_tell(void **state)
{
	static const enum outcome others[] = {WAITING, SENT, LATER, HOLD};
	struct message *m = usual_message();

	(void)state;
	assert_null(notice_make(m, &plain));
	for (size_t i = 0; i < COUNT(others); i++) {
		add_result(m, "a@x", others[i], 550, "5.1.1 Who?");
		assert_null(notice_make(m, &plain));
	}
	message_free(m);
}

/* --- What about each recipient ------------------------------------------- */

#define TEN "          "
#define FAR TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

struct result_case {
	int code;
	const char *reply;
	const char *status, *diagnostic, *person;
};

static const struct result_case result_cases[] = {
	{550, "5.1.1 Who?", "5.1.1", "smtp; 550 5.1.1 Who?",
	    "550 5.1.1 Who?"},
	{554, "5.123.456 x", "5.123.456", "smtp; 554 5.123.456 x",
	    "554 5.123.456 x"},
	{550, "5.7.1", "5.7.1", "smtp; 550 5.7.1", "550 5.7.1"},
	{550, "", "5.0.0", "smtp; 550", "550"},
	{550, NULL, "5.0.0", "smtp; 550", "550"},
	{550, "Who?", "5.0.0", "smtp; 550 Who?", "550 Who?"},
	{550, "5 apples", "5.0.0", "smtp; 550 5 apples", "550 5 apples"},
	{550, "5.1.1.1 x", "5.0.0", "smtp; 550 5.1.1.1 x", "550 5.1.1.1 x"},
	{550, "5.1.1x", "5.0.0", "smtp; 550 5.1.1x", "550 5.1.1x"},
	{550, "x 5.1.1", "5.0.0", "smtp; 550 x 5.1.1", "550 x 5.1.1"},
	/* given up after waiting; of another class than failed */
	{451, "4.2.0 Later", "5.0.0", "smtp; 451 4.2.0 Later",
	    "451 4.2.0 Later"},
	{550, "2.0.0 Fine", "5.0.0", "smtp; 550 2.0.0 Fine",
	    "550 2.0.0 Fine"},
	/* no reply stands behind it */
	{0, "5.1.3 cannot be sent", "5.1.3",
	    "X-smarthost; 5.1.3 cannot be sent", "5.1.3 cannot be sent"},
	{0, "connect: refused", "5.0.0", "X-smarthost; connect: refused",
	    "connect: refused"},
	{0, "", "5.0.0", NULL, "(no reply is known)"},
	{0, NULL, "5.0.0", NULL, "(no reply is known)"},
	{0, "   ", "5.0.0", NULL, "(no reply is known)"},
	{-1, "", "5.0.0", NULL, "(no reply is known)"},
	/* harmless */
	{550, "a\r\nAction: delivered\r\n\r\n.\r\n", "5.0.0",
	    "smtp; 550 a??Action: delivered????.??",
	    "550 a??Action: delivered????.??"},
	{550, "(\x1b[1m\t\x7f\xc3\xa4", "5.0.0", "smtp; 550 (?[1m????",
	    "550 (?[1m????"},
	{550, "  two  blanks  ", "5.0.0", "smtp; 550   two  blanks",
	    "550   two  blanks"},
	{550, "far" FAR "apart", "5.0.0",
	    "smtp; 550 far" FAR "apart", "550 far" FAR "apart"},
	{550, "%s%n%100000d", "5.0.0", "smtp; 550 %s%n%100000d",
	    "550 %s%n%100000d"},
};

static void
check_result(const struct result_case *t)
{
	struct message *n, *m = usual_message();
	char *person = xasprintf("    %s\r\n", t->person);
	struct parsed p;

	add_result(m, "a@x", NEVER, t->code, t->reply ? t->reply : "");
	if (!t->reply) {
		free(m->recipients[0].reply);
		m->recipients[0].reply = NULL;
	}
	n = notice_make(m, &plain);
	parse(&p, n);
	check_group(&p, 0, "Reporting-MTA", "dns; host.example");
	check_group(&p, 1, "Final-Recipient", "rfc822; a@x");
	check_group(&p, 1, "Action", "failed");
	check_group(&p, 1, "Status", t->status);
	check_group(&p, 1, "Diagnostic-Code", t->diagnostic);
	assert_int_equal(count_lines(&p.parts[0], person), 1);
	parsed_free(&p);
	free(person);
	message_free(n);
	message_free(m);
}

/* A hint of several lines, whose words are those of reply_hint(). */
static void
test_hint(void **state)
{
	const char *reply = "5.7.8 Username and Password not accepted.";
	struct message *n, *m = usual_message();
	struct buf hint = {0}, wanted = {0};
	struct parsed p;
	const char *at;

	(void)state;
	add_result(m, "a@x", NEVER, 535, reply);
	add_result(m, "b@x", NEVER, 550, "5.7.1 no");
	n = notice_make(m, &plain);
	parse(&p, n);
	at = memmem(p.parts[0].content, p.parts[0].content_len,
	    BYTES("\r\n    Hint: "));
	assert_non_null(at);
	buf_addf(&wanted, "Hint: %s", reply_hint(535, reply));
	for (at += 6; memcmp(at, "\r\n\r\n", 4) != 0; at++)
		if (memcmp(at, "\r\n    ", 6) == 0)
			at += 5, buf_addc(&hint, ' ');
		else
			buf_addc(&hint, *at);
	assert_string_equal(hint.data, wanted.data);
	assert_int_equal(count_lines(&p.parts[0], "    550 5.7.1 no\r\n"), 1);
	assert_null(memmem(at, (size_t)(p.parts[0].content +
	    p.parts[0].content_len - at), BYTES("Hint")));
	parsed_free(&p);
	message_free(n);
	message_free(m);
	buf_free(&hint);
	buf_free(&wanted);
}

static void
test_results(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(result_cases); i++)
		check_result(&result_cases[i]);
}

/* The longest line of the second part. */
static size_t
widest_line(const struct part *part)
{
	size_t widest = 0, at = 0;

	while (at < part->content_len) {
		size_t len = strcspn(part->content + at, "\r");

		widest = len > widest ? len : widest;
		at += len + 2;
	}
	return widest;
}

/* Replies of every length, whose words are of every length, are folded to
 * lines that together say the same. */
static void
test_long_replies(void **state)
{
	char text[701];

	(void)state;
	for (size_t word = 1; word < 700; word += word < 90 ? 1 : 61) {
		struct message *n, *m = usual_message();
		struct buf expected = {0};
		struct parsed p;

		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = i % (word + 1) < word ? 'x' : ' ';
		text[500 + word % 100] = '\0';
		add_result(m, "a@x", NEVER, 550, text);
		buf_addf(&expected, "smtp; 550 %.512s", text);
		while (expected.data[expected.len - 1] == ' ')
			expected.data[--expected.len] = '\0';
		n = notice_make(m, &plain);
		parse(&p, n);
		check_group(&p, 1, "Diagnostic-Code", expected.data);
		assert_true(widest_line(&p.parts[1]) <=
		    (word < 76 ? 76 : word + 10));
		assert_true(word > 30 ||
		    count_lines(&p.parts[1], " ") <= 512 / 40);
		parsed_free(&p);
		buf_free(&expected);
		message_free(n);
		message_free(m);
	}
}

/* Blanks around the place where a reply is cut. */
static void
test_reply_is_cut(void **state)
{
	(void)state;
	for (size_t blanks = 0; blanks < 600; blanks += 7) {
		struct message *n, *m = usual_message();
		struct buf text = {0};
		struct parsed p;

		buf_addf(&text, "%0*d", (int)(600 - blanks), 0);
		buf_addf(&text, "%*s%01000000d", (int)blanks, "", 0);
		add_result(m, "a@x", NEVER, 550, text.data);
		n = notice_make(m, &plain);
		parse(&p, n);
		assert_true(p.text.len < 4000);
		parsed_free(&p);
		buf_free(&text);
		message_free(n);
		message_free(m);
	}
}

static void
test_addresses(void **state)
{
	static const struct {
		const char *address, *shown;
	} cases[] = {
		{"a@[192.0.2.1]", "a@[192.0.2.1]"},
		{"a..b.@x", "a..b.@x"},
		{"\"a b\"@x", "\"a b\"@x"},
		{"\"a>\\\"(<;,\"@x", "\"a>\\\"(<;,\"@x"},
		{"unqualified", "unqualified"},
		/* from a damaged file */
		{"a\r\nAction: delivered\r\n\r\n@x",
		    "a??Action: delivered????@x"},
		{"\xc3\xa4\x7f\x01\t@x", "?????@x"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct message *n, *m = message_from(cases[i].address,
		    BYTES(""));
		char *person = xasprintf("<%s>\r\n", cases[i].shown);
		char *program = xasprintf("rfc822; %s", cases[i].shown);
		struct parsed p;

		add_result(m, cases[i].address, NEVER, 550, "x");
		n = notice_make(m, &plain);
		parse(&p, n);
		check_value(n->header.data, n->header.len, "To",
		    cases[i].shown);
		check_group(&p, 1, "Final-Recipient", program);
		assert_int_equal(count_lines(&p.parts[0], person), 1);
		assert_string_equal(n->recipients[0].address,
		    cases[i].address);
		parsed_free(&p);
		free(person);
		free(program);
		message_free(n);
		message_free(m);
	}
}

static void
test_endless_address(void **state)
{
	struct message *n, *m;
	char *address = xmalloc(100001);
	struct parsed p;

	(void)state;
	memset(address, 'a', 100000);
	address[100000] = '\0';
	m = message_from(address, BYTES(""));
	add_result(m, address, NEVER, 550, "x");
	n = notice_make(m, &plain);
	parse(&p, n);
	assert_true(p.text.len < 4000);
	parsed_free(&p);
	free(address);
	message_free(n);
	message_free(m);
}

/* --- How many ------------------------------------------------------------ */

static void
test_many(void **state)
{
	static const struct {
		size_t refused, person, program;
		const char *more;
	} cases[] = {
		{1, 1, 1, NULL},
		{100, 100, 100, NULL},
		{101, 100, 101, "first 100 of 101 recipients; the attached "
		    "delivery status\r\nnames 101 of them.\r\n"},
		{1000, 100, 1000, "first 100 of 1000 recipients; the attached "
		    "delivery status\r\nnames 1000 of them.\r\n"},
		{1001, 100, 1000, "first 100 of 1001 recipients; the attached "
		    "delivery status\r\nnames 1000 of them.\r\n"},
		{20000, 100, 1000, "first 100 of 20000 recipients; the "
		    "attached delivery status\r\nnames 1000 of them.\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct message *n, *m = usual_message();
		const char *start;
		size_t len;
		struct parsed p;

		add_result(m, "first@x", SENT, 250, "2.0.0 Fine");
		add_refused(m, cases[i].refused);
		add_result(m, "last@x", LATER, 450, "4.0.0 Later");
		n = notice_make(m, &plain);
		parse(&p, n);
		/* the sender's line too begins with a bracket */
		assert_int_equal(count_lines(&p.parts[0], "<"),
		    cases[i].person + 1);
		assert_int_equal(find_group(&p, cases[i].program, &start,
		    &len), cases[i].program + 1);
		check_group(&p, 1, "Final-Recipient", "rfc822; r0@x.example");
		assert_int_equal(count_lines(&p.parts[0], "These are the "),
		    cases[i].more != NULL);
		if (cases[i].more)
			assert_non_null(strstr(p.parts[0].content,
			    cases[i].more));
		parsed_free(&p);
		message_free(n);
		message_free(m);
	}
}

/* As large as a notice can become, it is whole and below 1 MB. */
static void
test_largest(void **state)
{
	struct message *n, *m = usual_message();
	char *address = xasprintf("\"%0400d\"@x", 0);
	char *reply = xasprintf("5.1.1 %0600d", 0);
	const char *start;
	size_t len;
	struct parsed p;

	(void)state;
	for (int i = 0; i < 700; i++)
		buf_addf(&m->header, "X: %090d\r\n", i);
	for (int i = 0; i < 1200; i++)
		add_result(m, address, NEVER, 550, reply);
	n = notice_make(m, &plain);
	parse(&p, n);
	assert_int_equal(find_group(&p, 1000, &start, &len), 1001);
	assert_true(p.text.len < 1200000);
	assert_true(n->body.fd < 0);
	parsed_free(&p);
	free(address);
	free(reply);
	message_free(n);
	message_free(m);
}

/* --- The original's header ----------------------------------------------- */

struct header_case {
	const char *in;
	size_t len;
	const char *out;
	bool eight_bit;
};

static const struct header_case header_cases[] = {
	{BYTES(""), "", false},
	{BYTES("A: b\r\n"), "A: b\r\n", false},
	{BYTES("A: b\r\n c\r\nD:\t e \r\n"), "A: b\r\n c\r\nD:\t e \r\n",
	    false},
	{BYTES("A: \xc3\xa4\r\n"), "A: \xc3\xa4\r\n", true},
	{BYTES("A: b\r\n \xff\r\n"), "A: b\r\n \xff\r\n", true},
	{BYTES("A: \x1b\x7f\r\n.: b\r\n"), "A: \x1b\x7f\r\n.: b\r\n", false},
	{BYTES("--x: b\r\n"), "--x: b\r\n", false},
	/* from a damaged file */
	{BYTES("A: b\0c\r\n"), "A: b?c\r\n", false},
	{BYTES("A: b"), "A: b\r\n", false},
	{BYTES("A: b\r"), "A: b\r\n", false},
	{BYTES("A: b\rc\nD: e\r\n"), "A: b c\r\nD: e\r\n", false},
	{BYTES("\r\nA: b\r\n\r\nnothing\r\nC: d\r\n"), "A: b\r\nC: d\r\n",
	    false},
	{BYTES("\xc3\xa4: b\r\nA: b\r\n"), "A: b\r\n", false},
};

static void
check_header(const struct header_case *t)
{
	struct message *n, *m = message_from("s@x", t->in, t->len);
	struct parsed p;

	m->eight_bit = !t->eight_bit; /* the body's bytes are not in it */
	add_refused(m, 1);
	n = notice_make(m, &plain);
	parse(&p, n);
	assert_int_equal(n->eight_bit, t->eight_bit);
	assert_int_equal(p.parts[2].content_len, strlen(t->out));
	assert_memory_equal(p.parts[2].content, t->out, strlen(t->out));
	assert_null(strstr(p.text.data, "SECRET BODY"));
	assert_int_equal(m->header.len, t->len);
	assert_memory_equal(buf_text(&m->header), t->in, t->len);
	parsed_free(&p);
	message_free(n);
	message_free(m);
}

static void
test_header(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(header_cases); i++)
		check_header(&header_cases[i]);
}

/* A folded field of about that size. */
static void
add_field(struct buf *out, int number, int size)
{
	buf_addf(out, "A: %04d\r\n", number);
	for (; size > 0; size -= 900)
		buf_addf(out, " %0*d\r\n", size < 900 ? size : 900, 0);
}

/* As many whole fields as there is room for. */
static void
test_header_is_cut(void **state)
{
	(void)state;
	for (int size = 20; size < 60000; size = size * 5 / 3) {
		struct message *n, *m = message_from("s@x", BYTES(""));
		size_t field, fit;
		struct parsed p;

		add_field(&m->header, 0, size);
		field = m->header.len;
		for (int i = 1; m->header.len < 120000; i++)
			add_field(&m->header, i, size);
		fit = HEADER_CAP / field * field;
		add_refused(m, 1);
		n = notice_make(m, &plain);
		parse(&p, n);
		assert_int_equal(p.parts[2].content_len, fit);
		assert_memory_equal(p.parts[2].content, m->header.data, fit);
		parsed_free(&p);
		message_free(n);
		message_free(m);
	}
}

/* Only what is no canonical header at all has lines over 998. */
static void
test_endless_line(void **state)
{
	struct message *n, *m = usual_message();
	struct parsed p;

	(void)state;
	buf_addf(&m->header, "X: %030000d\r\n", 0);
	add_refused(m, 1);
	n = notice_make(m, &plain);
	parse(&p, n);
	assert_true(p.parts[2].content_len > 30000);
	parsed_free(&p);
	message_free(n);
	message_free(m);
}

/* Whoever can guess our boundaries cannot use them, in whichever part. */
static void
test_boundary(void **state)
{
	static const struct {
		const char *header, *sender, *address, *reply, *boundary;
	} cases[] = {
		{"", "s@x", "a@x", "x", "--=_f_0"},
		{"--=_f_0: x\r\n", "s@x", "a@x", "x", "--=_f_1"},
		{"--=_f_0--: x\r\n", "s@x", "a@x", "x", "--=_f_1"},
		{"X: y=_f_0\r\n", "s@x", "a@x", "x", "--=_f_1"},
		{"--=_f_00: x\r\n", "s@x", "a@x", "x", "--=_f_1"},
		{"--=_f_1: x\r\n", "s@x", "a@x", "x", "--=_f_0"},
		{"", "\"=_f_0\"@x", "a@x", "x", "--=_f_1"},
		{"", "s@x", "\"=_f_0\"@x", "x", "--=_f_1"},
		{"", "s@x", "a@x", "--=_f_0", "--=_f_1"},
		{"--=_f_0: x\r\n--=_f_1: y\r\n", "=_f_2@x", "=_f_3@x",
		    "=_f_4", "--=_f_5"},
	};

	(void)state;
	/* With so many others, the last is in the second part only. */
	for (size_t i = 0; i < 2 * COUNT(cases); i++) {
		const size_t c = i / 2;
		struct message *n, *m = message_from(cases[c].sender,
		    cases[c].header, strlen(cases[c].header));
		struct parsed p;

		strcpy(m->id, "f");
		add_refused(m, i % 2 ? 100 : 0);
		add_result(m, cases[c].address, NEVER, 550, cases[c].reply);
		n = notice_make(m, &plain);
		parse(&p, n);
		assert_string_equal(p.boundary.data, cases[c].boundary);
		parsed_free(&p);
		message_free(n);
		message_free(m);
	}
}

/* --- What the sender asks for -------------------------------------------- */

/* Who wants to hear of a failure, and who does not. */
static void
test_notify(void **state)
{
	static const struct {
		unsigned notify;
		bool told;
	} cases[] = {
		{NOTIFY_UNSAID, true},
		{NOTIFY_NEVER, false},
		{NOTIFY_SUCCESS, false},
		{NOTIFY_FAILURE, true},
		{NOTIFY_DELAY, false},
		{NOTIFY_SUCCESS | NOTIFY_DELAY, false},
		{NOTIFY_SUCCESS | NOTIFY_FAILURE, true},
		{NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY, true},
	};
	struct message *all = usual_message(), *n;
	const char *start;
	struct parsed p;
	size_t len;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct message *m = usual_message();

		add_refused(m, 1);
		m->recipients[0].notify = cases[i].notify;
		n = notice_make(m, &plain);
		assert_int_equal(n != NULL, cases[i].told);
		message_free(n);
		message_free(m);
		add_refused(all, 1);
		all->recipients[i].notify = cases[i].notify;
	}
	n = notice_make(all, &plain);
	parse(&p, n);
	assert_int_equal(find_group(&p, 0, &start, &len), 1 + 4);
	assert_int_equal(count_lines(&p.parts[0], "<"), 1 + 4);
	parsed_free(&p);
	message_free(n);
	message_free(all);
}

static const struct form returned_whole = {
	"\"Mail Delivery System\" <MAILER-DAEMON@host.example>",
	"Undelivered Mail Returned to Sender",
	{"text/plain; charset=us-ascii", "message/delivery-status",
	    "message/rfc822"},
};

static void
check_third_part(const struct parsed *p, const char *content)
{
	assert_int_equal(p->parts[2].content_len, strlen(content));
	assert_memory_equal(p->parts[2].content, content, strlen(content));
}

/* RET=FULL: all of it if it is small enough and can be read. */
static void
test_return(void **state)
{
	(void)state;
	for (char returns = 'F'; returns; returns = returns == 'F' ? 'H' : 0) {
		struct message *m = usual_message(), *n;
		struct parsed p;

		m->returns = returns;
		add_refused(m, 1);
		n = notice_make(m, &plain);
		parse_as(&p, n, returns == 'F' ? &returned_whole : &usual);
		check_third_part(&p, returns == 'F'
			? "Subject: x\r\n\r\nSECRET BODY\r\n"
			: "Subject: x\r\n");
		assert_int_equal(count_lines(&p.parts[0], "address stands the "
		    "last reply about it. The message is\r\n"),
		    returns == 'F');
		parsed_free(&p);
		message_free(n);
		message_free(m);
	}
}

static void
test_return_size(void **state)
{
	(void)state;
	for (size_t size = 49999; size <= 50001; size++) {
		struct message *m = usual_message(), *n;
		struct parsed p;

		m->returns = 'F';
		while (message_size(m) < size - 100)
			assert_true(body_write(&m->body, BYTES("x\r\n")));
		while (message_size(m) < size - 2)
			assert_true(body_write(&m->body, "x", 1));
		assert_true(body_write(&m->body, "\r\n", 2));
		add_refused(m, 1);
		n = notice_make(m, &plain);
		parse_as(&p, n, size <= 50000 ? &returned_whole : &usual);
		assert_int_equal(p.parts[2].content_len,
		    size <= 50000 ? size : strlen("Subject: x\r\n"));
		parsed_free(&p);
		message_free(n);
		message_free(m);
	}
}

/* Its body is 8-bit, has our boundary in it, and NULs and bare line ends from
 * a damaged file. */
static void
test_return_odd_body(void **state)
{
	struct message *m = usual_message(), *n;
	struct parsed p;

	(void)state;
	strcpy(m->id, "f");
	m->returns = 'F';
	assert_true(body_write(&m->body,
	    BYTES("--=_f_0\r\n.\r\n\xe4\0\na\rb")));
	add_refused(m, 1);
	n = notice_make(m, &plain);
	parse_as(&p, n, &returned_whole);
	check_third_part(&p, "Subject: x\r\n\r\nSECRET BODY\r\n--=_f_0\r\n.\r\n"
	    "\xe4?\r\na b\r\n");
	assert_true(n->eight_bit);
	parsed_free(&p);
	message_free(n);
	message_free(m);
}

/* Half of the body can be read: then none of it is in the notice. */
static void
test_return_unreadable(void **state)
{
	struct message *m = usual_message(), *n;
	FILE *file = tmpfile();
	struct parsed p;

	(void)state;
	assert_non_null(file);
	fprintf(file, "%020000d", 0);
	fflush(file);
	assert_true(body_use_file(&m->body, fileno(file), 0, 30000));
	fclose(file);
	m->returns = 'F';
	add_refused(m, 1);
	n = notice_make(m, &plain);
	parse(&p, n);
	check_third_part(&p, "Subject: x\r\n");
	parsed_free(&p);
	message_free(n);
	message_free(m);
}

/* xtext comes out as what it stands for, and never as more than a line. */
static void
test_envelope_id(void **state)
{
	static const struct {
		const char *xtext, *text;
	} cases[] = {
		{"QQ314159", "QQ314159"},
		{"a+2Bb+3D+22c+20d+22", "a+b=\"c d\""},
		/* from a damaged file */
		{"a+0D+0AX:+20y+00\r\n", "a??X: y???"},
		{"+4", "+4"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct message *m = usual_message(), *n;
		struct parsed p;

		m->envelope_id = xstrdup(cases[i].xtext);
		add_refused(m, 1);
		n = notice_make(m, &plain);
		parse(&p, n);
		check_group(&p, 0, "Original-Envelope-Id", cases[i].text);
		parsed_free(&p);
		message_free(n);
		message_free(m);
	}
}

static void
test_original_recipient(void **state)
{
	static const struct {
		const char *original, *field;
	} cases[] = {
		{NULL, NULL},
		{"rfc822;o@x", "rfc822; o@x"},
		{"rfc822;a+2Bb+3Dc@x", "rfc822; a+b=c@x"},
		{"RFC822;+22a;+20b+22@x", "RFC822; \"a; b\"@x"},
		{"X-400;/c+3Dus", "X-400; /c=us"},
		{"utf-8;\\x{E9}@x", "utf-8; \\x{E9}@x"},
		/* from a damaged file */
		{"rfc822;a+0D+0AAction:+20delivered",
		    "rfc822; a??Action: delivered"},
		{"x\r\nX;\xe9\xff", "x??X; ??"},
		{"o@x", NULL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct message *m = usual_message(), *n;
		struct parsed p;

		add_refused(m, 1);
		if (cases[i].original)
			m->recipients[0].original = xstrdup(cases[i].original);
		n = notice_make(m, &plain);
		parse(&p, n);
		check_group(&p, 1, "Original-Recipient", cases[i].field);
		check_group(&p, 1, "Final-Recipient", "rfc822; r0@x.example");
		parsed_free(&p);
		message_free(n);
		message_free(m);
	}
}

/* --- UTF-8 (RFC 6533) ---------------------------------------------------- */

#define U "\xc3\xa9"

struct utf8_case {
	const char *sender, *recipient, *original, *header;
	bool asked;          /* for SMTPUTF8 */
	char returns;
	const char *types[PARTS];
	bool utf8;           /* the notice is for an address in UTF-8 */
};

#define TEXT "text/plain; charset=us-ascii"
#define TEXT_UTF8 "text/plain; charset=utf-8"
#define STATUS "message/delivery-status"
#define STATUS_UTF8 "message/global-delivery-status"

static const struct utf8_case utf8_cases[] = {
	{"s@x", "a@y", NULL, "A: b\r\n", true, 0,
	    {TEXT, STATUS, "text/rfc822-headers"}, false},
	{"s@x", U "@y", NULL, "A: b\r\n", true, 0,
	    {TEXT_UTF8, STATUS_UTF8, "text/rfc822-headers"}, false},
	{"s@x", "a@y", "utf-8;" U "@x", "A: b\r\n", true, 0,
	    {TEXT, STATUS_UTF8, "text/rfc822-headers"}, false},
	{"s@x", "a@" U, NULL, "A: " U "\r\n", true, 'H',
	    {TEXT_UTF8, STATUS_UTF8, "message/global-headers"}, false},
	{"s@x", "a@y", NULL, "A: " U "\r\n", true, 'F',
	    {TEXT, STATUS, "message/global"}, false},
	{"s@x", "a@y", NULL, "A: " U "\r\n", false, 'F',
	    {TEXT, STATUS, "message/rfc822"}, false},
	{U "@x", "a@y", NULL, "A: b\r\n", true, 'F',
	    {TEXT_UTF8, STATUS, "message/rfc822"}, true},
	{U "@" U, U "@" U, "utf-8;" U "@" U, "A: " U "\r\n", true, 'F',
	    {TEXT_UTF8, STATUS_UTF8, "message/global"}, true},
};

static void
check_utf8(const struct utf8_case *t, struct message *m)
{
	struct message *n = notice_make(m, &plain);
	struct form form = usual;
	char *final = xasprintf("%s; %s", strstr(t->recipient, U) ? "utf-8"
	    : "rfc822", t->recipient);
	struct parsed p;

	memcpy(form.types, t->types, sizeof(form.types));
	parse_as(&p, n, &form);
	assert_int_equal(n->utf8, t->utf8);
	assert_string_equal(n->recipients[0].address, t->sender);
	check_value(n->header.data, n->header.len, "To", t->sender);
	check_group(&p, 1, "Final-Recipient", final);
	if (t->original)
		check_group(&p, 1, "Original-Recipient",
		    strstr(t->original, "@x") ? "utf-8; " U "@x"
					      : "utf-8; " U "@" U);
	parsed_free(&p);
	free(final);
	message_free(n);
}

static void
test_utf8(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(utf8_cases); i++) {
		const struct utf8_case *t = &utf8_cases[i];
		struct message *m = message_from(t->sender, t->header,
		    strlen(t->header));

		m->utf8 = t->asked;
		m->returns = t->returns;
		add_result(m, t->recipient, NEVER, 553, "5.6.7 no");
		if (t->original)
			m->recipients[0].original = xstrdup(t->original);
		check_utf8(t, m);
		message_free(m);
	}
}

/* --- Success ------------------------------------------------------------- */

static const char whole_success[] =
    "From: \"Mail Delivery System\" <MAILER-DAEMON@host.example>\r\n"
    "To: app@host.example\r\n"
    "Subject: Mail Handed to the Relay\r\n"
    "Date: NOW\r\n"
    "Message-ID: <ID@host.example>\r\n"
    "Auto-Submitted: auto-replied\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    "\tboundary=\"=_0123_0\"\r\n"
    "\r\n"
    "--=_0123_0\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n"
    "This is the mail system at host.example. A message from\r\n"
    "<app@host.example>,\r\n"
    "accepted on ARRIVED, was handed to the relay for\r\n"
    "the recipients below. The relay does not report success, so nothing more"
    "\r\n"
    "is heard of them, unless they cannot be reached. Under each address\r\n"
    "stands the relay's reply. The header of the message is\r\n"
    "attached; in the log it has the queue ID\r\n"
    "0123.\r\n"
    "\r\n"
    "<b@x.example>\r\n"
    "    250 2.1.5 Thanks\r\n"
    "\r\n"
    "<d@x.example>\r\n"
    "    250 Thanks\r\n"
    "\r\n"
    "--=_0123_0\r\n"
    "Content-Type: message/delivery-status\r\n"
    "\r\n"
    "Original-Envelope-Id: i+d\r\n"
    "Reporting-MTA: dns; host.example\r\n"
    "Arrival-Date: ARRIVED\r\n"
    "\r\n"
    "Original-Recipient: rfc822; o+b@x.example\r\n"
    "Final-Recipient: rfc822; b@x.example\r\n"
    "Action: relayed\r\n"
    "Status: 2.1.5\r\n"
    "Diagnostic-Code: smtp; 250 2.1.5 Thanks\r\n"
    "Last-Attempt-Date: NOW\r\n"
    "\r\n"
    "Final-Recipient: rfc822; d@x.example\r\n"
    "Action: relayed\r\n"
    "Status: 2.0.0\r\n"
    "Diagnostic-Code: smtp; 250 Thanks\r\n"
    "Last-Attempt-Date: NOW\r\n"
    "\r\n"
    "--=_0123_0\r\n"
    "Content-Type: text/rfc822-headers\r\n"
    "\r\n"
    "Subject: x\r\n"
    "\r\n"
    "--=_0123_0--\r\n";

/* The body is not returned, whatever RET says (RFC 3461 section 4.3). */
static void
test_relayed(void **state)
{
	struct message *n, *m = usual_message();
	struct buf expected = {0}, text = {0};

	(void)state;
	strcpy(m->id, "0123");
	m->returns = 'F';
	m->envelope_id = xstrdup("i+2Bd");
	add_result(m, "a@x.example", NEVER, 550, "5.1.1 Who?");
	add_result(m, "b@x.example", SENT, 250, "2.1.5 Thanks");
	add_result(m, "c@x.example", SENT, 250, "2.1.5 Thanks");
	add_result(m, "d@x.example", SENT, 250, "Thanks");
	assert_null(notice_make_relayed(m, &plain));
	m->recipients[1].relayed = m->recipients[3].relayed = true;
	m->recipients[1].original = xstrdup("rfc822;o+2Bb@x.example");
	n = notice_make_relayed(m, &plain);
	add_whole(n, &text);
	add_template(&expected, whole_success, m, n);
	assert_string_equal(text.data, expected.data);
	assert_string_equal(n->sender, "");
	assert_string_equal(n->recipients[0].address, "app@host.example");
	buf_free(&text);
	buf_free(&expected);
	message_free(n);
	message_free(m);
}

/* The one who has asked is told, whoever is told of failures; and nobody where
 * nobody has. */
static void
test_relayed_reader(void **state)
{
	static const struct notice_settings settings = {host, "ops@x", "b@x"};
	struct message *n, *m = usual_message();

	(void)state;
	add_result(m, "a@x", SENT, 250, "x");
	m->recipients[0].relayed = true;
	n = notice_make_relayed(m, &settings);
	assert_string_equal(n->sender, "b@x");
	assert_string_equal(n->recipients[0].address, "app@host.example");
	message_free(n);
	message_set_sender(m, "");
	assert_null(notice_make_relayed(m, &settings));
	message_free(m);
}

/* --- Many in one --------------------------------------------------------- */

/* Nobody is in it whose sender does not want to hear; addresses are as in a
 * notice. */
static void
test_digest(void **state)
{
	static const struct {
		const char *address, *type;
	} cases[] = {
		{"a@x", "text/plain; charset=us-ascii"},
		{U "@x", "text/plain; charset=utf-8"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct message *m = usual_message(), *n;
		struct digest *d = digest_new(&plain, cases[i].address);
		char *line = xasprintf("    <%s>\r\n", cases[i].address);

		add_result(m, cases[i].address, NEVER, 550, "5.1.1 Who?");
		add_result(m, "silent@x", NEVER, 550, "5.1.1 Who?");
		m->recipients[1].notify = NOTIFY_NEVER;
		digest_add(d, m);
		n = digest_finish(d);
		check_value(n->header.data, n->header.len, "Content-Type",
		    cases[i].type);
		check_value(n->header.data, n->header.len, "To",
		    cases[i].address);
		assert_int_equal(header_count(n->header.data, n->header.len,
		    "Content-Transfer-Encoding"), i);
		assert_int_equal(n->eight_bit, i);
		assert_int_equal(n->utf8, i);
		assert_non_null(strstr(n->body.memory.data, line));
		assert_null(strstr(n->body.memory.data, "silent"));
		free(line);
		message_free(n);
		message_free(m);
	}
}

/* A name without a domain is a name all the same. */
static void
test_unqualified_host(void **state)
{
	static const struct notice_settings settings = {.hostname = "pod-7"};
	struct message *n, *m = usual_message();

	(void)state;
	add_refused(m, 1);
	n = notice_make(m, &settings);
	assert_non_null(strstr(n->body.memory.data,
	    "\r\nReporting-MTA: dns; pod-7\r\n"));
	assert_non_null(strstr(n->header.data, "<MAILER-DAEMON@pod-7>\r\n"));
	message_free(n);
	message_free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_no_notice_about_a_notice),
		cmocka_unit_test(test_nothing_to_tell),
		cmocka_unit_test(test_hint),
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_long_replies),
		cmocka_unit_test(test_reply_is_cut),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_endless_address),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_header_is_cut),
		cmocka_unit_test(test_endless_line),
		cmocka_unit_test(test_boundary),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_return),
		cmocka_unit_test(test_return_size),
		cmocka_unit_test(test_return_odd_body),
		cmocka_unit_test(test_return_unreadable),
		cmocka_unit_test(test_envelope_id),
		cmocka_unit_test(test_original_recipient),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_relayed),
		cmocka_unit_test(test_relayed_reader),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_unqualified_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
