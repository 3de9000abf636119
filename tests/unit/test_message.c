/* SPDX-License-Identifier: ISC */
/*
 * From bytes to a message: where the header ends (CL-48), NUL (CL-50), the
 * limits (LO-15, SE-43), what is removed and added (SO-26, CL-51), each read
 * whole, a byte at a time, and cut in two at every offset; then recipients.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "header.h"
#include "message.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(s) s, sizeof(s) - 1

enum { KIB = 1024, HEADER_MAX = 256 * KIB };

static const char host[] = "host.example";

/* Feeds the input in pieces that end at first, then every step bytes. */
static struct message *
read_pieces(const char *in, size_t len, uint64_t limit, size_t first,
    size_t step)
{
	struct message *m = message_new(NULL, limit);
	size_t at = 0, end = first < len ? first : len;
	struct data_reader r;

	data_start(&r, DATA_FROM_STDIN_RAW);
	for (;;) {
		assert_int_equal(message_read(m, &r, in + at, end - at),
		    end - at);
		at = end;
		if (at == len)
			break;
		end = end + step < len ? end + step : len;
	}
	message_finish(m, &r);
	return m;
}

static struct message *
read_whole(const char *in, size_t len)
{
	return read_pieces(in, len, UINT64_MAX, len, len);
}

/* Reads the input in every way and has each result checked. */
static void
read_all_ways(const char *in, size_t len, uint64_t limit,
    void (*check)(struct message *, const void *), const void *expected)
{
	struct message *m = read_pieces(in, len, limit, 1, 1);

	check(m, expected);
	message_free(m);
	for (size_t cut = 0; cut <= len; cut++) {
		m = read_pieces(in, len, limit, cut, len);
		check(m, expected);
		message_free(m);
	}
}

static void
add_body(const struct message *m, struct buf *out)
{
	char piece[100];
	ptrdiff_t got;

	while ((got = body_read(&m->body, out->len, piece, sizeof(piece))) > 0)
		buf_add(out, piece, (size_t)got);
	assert_int_equal(got, 0);
}

struct split_case {
	const char *in;
	size_t len;
	const char *header, *body;
};

static const struct split_case split_cases[] = {
	{BYTES(""), "", ""},
	{BYTES("A: b\n\nbody\n"), "A: b\r\n", "body\r\n"},
	{BYTES("A: b\r\nC: d\r\n\r\nbody\r\n"), "A: b\r\nC: d\r\n",
	    "body\r\n"},
	{BYTES("A: b\n"), "A: b\r\n", ""},
	{BYTES("A: b"), "A: b\r\n", ""},
	{BYTES("A: b\n\n"), "A: b\r\n", ""},
	{BYTES("A: b\n\n\n\nx"), "A: b\r\n", "\r\n\r\nx\r\n"},
	{BYTES("\n"), "", ""},
	{BYTES("\nA: b\n"), "", "A: b\r\n"},
	{BYTES("\n\nx"), "", "\r\nx\r\n"},
	{BYTES("A: b\n\nC: d\n\nE: f\n"), "A: b\r\n", "C: d\r\n\r\nE: f\r\n"},
	/* a line that is no field ends the header and is not lost */
	{BYTES("no colon\n"), "", "no colon\r\n"},
	{BYTES("no colon"), "", "no colon\r\n"},
	{BYTES("A: b\nno colon\nC: d\n\nx\n"), "A: b\r\n",
	    "no colon\r\nC: d\r\n\r\nx\r\n"},
	{BYTES("A: b\nHello world: x\n"), "A: b\r\n", "Hello world: x\r\n"},
	{BYTES("A: b\n: c\n"), "A: b\r\n", ": c\r\n"},
	{BYTES("A: b\n\xc3\xa9: c\n"), "A: b\r\n", "\xc3\xa9: c\r\n"},
	{BYTES("A: b\n.\nC: d\n"), "A: b\r\n", ".\r\nC: d\r\n"},
	/* folding */
	{BYTES("A: b\n c\n\td\nE: f\n\nx\n"),
	    "A: b\r\n c\r\n\td\r\nE: f\r\n", "x\r\n"},
	{BYTES("A:\n b: c\n\n d\n"), "A:\r\n b: c\r\n", " d\r\n"},
	{BYTES("A: b\n \nC: d\n\nx\n"), "A: b\r\n \r\nC: d\r\n", "x\r\n"},
	{BYTES(" A: b\nC: d\n"), "", " A: b\r\nC: d\r\n"},
	{BYTES("\tA: b\n\nx\n"), "", "\tA: b\r\n\r\nx\r\n"},
	{BYTES(" \nA: b\n"), "", " \r\nA: b\r\n"},
	/* a mailbox's separator, at the top only */
	{BYTES("From a@b Mon Jan  1 10:00:00 2024\nA: b\n\nx\n"), "A: b\r\n",
	    "x\r\n"},
	{BYTES(">From a@b Mon Jan  1 10:00:00 2024\nA: b\n\nx\n"), "A: b\r\n",
	    "x\r\n"},
	{BYTES("From a@b\n\nx\n"), "", "x\r\n"},
	{BYTES("From a@b\n"), "", ""},
	{BYTES("From: a@b\n\nx\n"), "From: a@b\r\n", "x\r\n"},
	{BYTES("From : a@b\n\nx\n"), "From : a@b\r\n", "x\r\n"},
	{BYTES("From\t: a@b\n\nx\n"), "From\t: a@b\r\n", "x\r\n"},
	{BYTES("A: b\nFrom a@b Mon\nC: d\n"), "A: b\r\n",
	    "From a@b Mon\r\nC: d\r\n"},
	{BYTES("A: b\n\nFrom a@b Mon\n"), "A: b\r\n", "From a@b Mon\r\n"},
	/* nothing in a field is changed */
	{BYTES("A:b\nSubject  : \xe4 \t \nX: \x1b\x7f\n\nx\n"),
	    "A:b\r\nSubject  : \xe4 \t \r\nX: \x1b\x7f\r\n", "x\r\n"},
	/* NUL */
	{BYTES("A: b\n\nx\0y\0\0z\n\0"), "A: b\r\n", "x y  z\r\n \r\n"},
	{BYTES("\n\0"), "", " \r\n"},
	{BYTES("x\0y\nA: b\n"), "", "x y\r\nA: b\r\n"},
};

static void
check_split(struct message *m, const void *expected)
{
	const struct split_case *t = expected;
	struct buf body = {0};

	add_body(m, &body);
	assert_null(m->fault);
	assert_string_equal(buf_text(&m->header), t->header);
	assert_int_equal(m->header.len, strlen(t->header));
	assert_string_equal(buf_text(&body), t->body);
	assert_int_equal(body.len, strlen(t->body));
	assert_int_equal(message_size(m), m->header.len + 2 + body.len);
	buf_free(&body);
}

static void
test_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(split_cases); i++)
		read_all_ways(split_cases[i].in, split_cases[i].len,
		    UINT64_MAX, check_split, &split_cases[i]);
}

static void
check_fault(struct message *m, const void *expected)
{
	const char *code = expected;

	if (!m->fault)
		fail_msg("taken, not refused with %s", code);
	if (strncmp(m->fault, code, strlen(code)) != 0)
		fail_msg("refused with %s, not with %s", m->fault, code);
}

static void
test_nul_in_header(void **state)
{
	static const struct {
		const char *in;
		size_t len;
	} cases[] = {
		{BYTES("A: b\0\n\nx\n")},
		{BYTES("A: \0")},
		{BYTES("A\0: b\n\nx\n")},
		{BYTES("Bcc\0: b\n")},
		{BYTES("A: b\n c\0d\n\nx\n")},
		{BYTES("A: b\nC: d\0\nno colon\n")},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		read_all_ways(cases[i].in, cases[i].len, UINT64_MAX,
		    check_fault, "554 5.6.0 ");
}

/* What is refused is read to its end all the same, so that nothing of it is
 * taken for a command. */
static void
test_refused_is_read(void **state)
{
	static const char in[] =
	    "A: \0\r\n\r\nx\r\nMAIL FROM:<a@b>\r\n..\r\n.\r\nQUIT\r\n";
	const size_t len = sizeof(in) - 1;

	(void)state;
	for (size_t cut = 0; cut < len - 6; cut++) {
		struct message *m = message_new(NULL, 20);
		struct data_reader r;
		size_t used;

		data_start(&r, DATA_FROM_SMTP);
		used = message_read(m, &r, in, cut);
		assert_int_equal(used, cut);
		used += message_read(m, &r, in + cut, len - cut);
		assert_true(data_ended(&r));
		assert_string_equal(in + used, "QUIT\r\n");
		assert_ptr_equal(message_finish(m, &r), m->fault);
		check_fault(m, "554 5.6.0 ");
		message_free(m);
	}
}

/* Lines of 64 bytes on the wire. */
static void
add_header_lines(struct buf *out, size_t count)
{
	while (count--)
		buf_addf(out, "X: %059d\n", 0);
}

static void
test_header_limit(void **state)
{
	static const size_t steps[] = {HEADER_MAX * 2, 4096, 4095, 1};

	(void)state;
	for (size_t i = 0; i < COUNT(steps); i++) {
		struct buf in = {0};
		struct message *m;

		add_header_lines(&in, HEADER_MAX / 64);
		m = read_pieces(in.data, in.len, UINT64_MAX, 1, steps[i]);
		assert_null(m->fault);
		assert_int_equal(m->header.len, HEADER_MAX);
		message_free(m);

		in.data[in.len - 1] = '0';
		buf_adds(&in, "\n\nbody\n");
		m = read_pieces(in.data, in.len, UINT64_MAX, 1, steps[i]);
		check_fault(m, "552 5.3.4 ");
		message_free(m);

		buf_clear(&in);
		add_header_lines(&in, HEADER_MAX / 16);
		m = read_pieces(in.data, in.len, UINT64_MAX, 1, steps[i]);
		check_fault(m, "552 5.3.4 ");
		assert_true(m->header.len <= HEADER_MAX);
		message_free(m);
		buf_free(&in);
	}
}

static void
check_taken(struct message *m, const void *size)
{
	assert_null(m->fault);
	assert_int_equal(message_size(m), *(const uint64_t *)size);
}

static void
test_message_limit(void **state)
{
	static const struct {
		const char *in;
		uint64_t size;
	} cases[] = {
		{"A: b\n\nbody\n", 6 + 2 + 6},
		{"A: b\r\n\r\nbody", 6 + 2 + 6},
		{"A: b\n", 6 + 2},
		{"\nbody\n", 2 + 6},
		{"body", 2 + 6},
		{"A: b\n\n.\n..\n", 6 + 2 + 3 + 4},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].in);

		read_all_ways(cases[i].in, len, cases[i].size, check_taken,
		    &cases[i].size);
		read_all_ways(cases[i].in, len, cases[i].size - 1,
		    check_fault, "552 5.3.4 ");
		read_all_ways(cases[i].in, len, 3, check_fault, "552 5.3.4 ");
	}
}

/* A message over the limit is not kept while it is read to its end. */
static void
test_over_limit_is_not_kept(void **state)
{
	struct message *m = message_new(NULL, 10000);
	char piece[1000];
	struct data_reader r;

	(void)state;
	memset(piece, '\n', sizeof(piece));
	data_start(&r, DATA_FROM_STDIN_RAW);
	for (int i = 0; i < 1000; i++)
		message_read(m, &r, piece, sizeof(piece));
	message_finish(m, &r);
	check_fault(m, "552 5.3.4 ");
	assert_true(m->body.size <= 10000 + 2 * sizeof(piece));
	message_free(m);
}

/* Dots that were doubled on the way count once. */
static void
test_limit_behind_smtp(void **state)
{
	static const char in[] = "A: b\r\n\r\n..\r\n...\r\n.\r\n";

	(void)state;
	for (uint64_t limit = 14; limit <= 15; limit++) {
		struct message *m = message_new(NULL, limit);
		struct data_reader r;

		data_start(&r, DATA_FROM_SMTP);
		message_read(m, &r, in, sizeof(in) - 1);
		assert_true(data_ended(&r));
		assert_int_equal(message_finish(m, &r) == NULL, limit == 15);
		message_free(m);
	}
}

/* With that limit of the process, what a message of 1 MB is refused with. */
static void
check_starved(int resource, rlim_t limit, const char *code)
{
	struct rlimit before, low;
	struct buf in = {0};
	struct message *m;

	for (int i = 0; i < KIB; i++)
		buf_addf(&in, "%01023d\n", 0);
	getrlimit(resource, &before);
	low = before;
	low.rlim_cur = limit;
	setrlimit(resource, &low);
	m = read_pieces(in.data, in.len, UINT64_MAX, 4096, 4096);
	setrlimit(resource, &before);
	check_fault(m, code);
	message_free(m);
	buf_free(&in);
}

static void
test_no_room(void **state)
{
	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	check_starved(RLIMIT_FSIZE, 300 * KIB, "452 4.3.1 ");
	check_starved(RLIMIT_NOFILE, 3, "452 4.3.1 ");
}

static void
test_loop(void **state)
{
	static const char *const names[] = {
		"Received: from a", "received:\n from b", "RECEIVED : c"};

	(void)state;
	for (size_t count = 49; count <= 52; count++) {
		struct buf in = {0};
		struct message *m;

		buf_adds(&in, "X-Received: x\nReceived-SPF: x\n");
		for (size_t i = 0; i < count; i++)
			buf_addf(&in, "%s\n", names[i % COUNT(names)]);
		buf_adds(&in, "\nReceived: in the body\n");
		m = read_whole(in.data, in.len);
		if (count <= 50)
			assert_null(m->fault);
		else
			check_fault(m, "554 5.4.6 ");
		message_free(m);
		buf_free(&in);
	}
}

static void
test_what_reading_learns(void **state)
{
	struct message *m = read_whole(BYTES("A: b\n\nx\n"));

	(void)state;
	assert_false(m->eight_bit);
	assert_string_equal(m->sender, "");
	message_free(m);
	m = read_whole(BYTES("A: \xe4\n\nx\n"));
	assert_true(m->eight_bit);
	message_free(m);
	m = read_whole(BYTES("A: b\n\nx\xff\n"));
	assert_true(m->eight_bit);
	message_free(m);
}

#define THREE "Date: x\r\nMessage-ID: y\r\nFrom: z\r\n"

struct complete_case {
	const char *before, *sender, *from;
	const char *kept;  /* what is left of it, byte for byte */
	const char *added; /* names, each with a blank behind it */
};

static const struct complete_case complete_cases[] = {
	{"", "s@x", NULL, "", "Date Message-ID From "},
	{"", "", NULL, "", "Date Message-ID From "},
	{"", "", "\"R\" <r@x>", "", "Date Message-ID From "},
	{"A: b\r\n", "s@x", NULL, "A: b\r\n", "Date Message-ID From "},
	{THREE, "s@x", "\"R\" <r@x>", THREE, ""},
	{"DATE:x\r\nmessage-id:y\r\nfrom:\r\n z\r\n", "s@x", NULL,
	    "DATE:x\r\nmessage-id:y\r\nfrom:\r\n z\r\n", ""},
	{"Date\t: x\r\nMessage-Id :y\r\nFrom :\r\n", "s@x", NULL,
	    "Date\t: x\r\nMessage-Id :y\r\nFrom :\r\n", ""},
	{"Date:\r\nMessage-ID:\r\nFrom:\r\n", "s@x", NULL,
	    "Date:\r\nMessage-ID:\r\nFrom:\r\n", ""},
	{"Date: x\r\n", "s@x", NULL, "Date: x\r\n", "Message-ID From "},
	{"From: z\r\n", "s@x", NULL, "From: z\r\n", "Date Message-ID "},
	{"Message-ID: y\r\n", "s@x", NULL, "Message-ID: y\r\n",
	    "Date From "},
	{"Resent-Date: x\r\nX-From: z\r\nSubject: Message-ID: y\r\n"
	 " Date: x\r\nDates: x\r\n", "s@x", NULL,
	    "Resent-Date: x\r\nX-From: z\r\nSubject: Message-ID: y\r\n"
	    " Date: x\r\nDates: x\r\n", "Date Message-ID From "},
	{"Subject:\t \xe4\x1b \r\n" THREE "To:a  ,b;\r\n\t\r\nX:\r\n", "s@x",
	    NULL, "Subject:\t \xe4\x1b \r\n" THREE
	    "To:a  ,b;\r\n\t\r\nX:\r\n", ""},
	/* Bcc */
	{THREE "Bcc: a@x\r\n", "s@x", NULL, THREE, ""},
	{"Bcc: a@x\r\n" THREE, "s@x", NULL, THREE, ""},
	{"bcc:a@x\r\nBCC:\r\n" THREE "bCC: b@x\r\n", "s@x", NULL, THREE, ""},
	{"Bcc : a@x\r\n" THREE "Bcc\t: b@x\r\nBcc \t : c@x\r\n", "s@x", NULL,
	    THREE, ""},
	{THREE "Bcc: a@x,\r\n b@x,\r\n\tc@x\r\n \r\nTo: d@x\r\n", "s@x", NULL,
	    THREE "To: d@x\r\n", ""},
	{THREE "Bcc:\r\n a@x\r\n", "s@x", NULL, THREE, ""},
	{THREE "Bcc\x01: a@x\r\n", "s@x", NULL, THREE, ""},
	{THREE "Resent-Bcc: a@x\r\nRESENT-BCC:b@x,\r\n c@x\r\n"
	 "resent-bcc : d@x\r\n", "s@x", NULL, THREE, ""},
	{"Bcc: a@x\r\nResent-Bcc: b@x\r\nBcc: c@x\r\nResent-Bcc: d@x\r\n"
	 THREE "Resent-Bcc: e@x\r\nBcc: f@x\r\n", "s@x", NULL, THREE, ""},
	{THREE "X-Bcc: a@x\r\nBcc-To: a@x\r\nBc: a@x\r\nTo: Bcc: b@x\r\n"
	 " Bcc: c@x\r\nResent-Cc: a@x\r\n", "s@x", NULL,
	    THREE "X-Bcc: a@x\r\nBcc-To: a@x\r\nBc: a@x\r\nTo: Bcc: b@x\r\n"
	    " Bcc: c@x\r\nResent-Cc: a@x\r\n", ""},
	{"Bcc: a@x\r\n", "s@x", NULL, "", "Date Message-ID From "},
};

/* A date of now (RFC 5322 section 3.3). */
static void
check_date(const char *text, const char *behind)
{
	struct tm parts = {0};
	const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S %z", &parts);
	time_t offset, when;

	if (!end || strncmp(end, behind, strlen(behind)) != 0)
		fail_msg("no date: %s", text);
	offset = parts.tm_gmtoff;
	when = timegm(&parts) - offset;
	assert_true(when <= time(NULL) && when > time(NULL) - 60);
}

static void
check_added(const struct message *m, size_t kept,
    const struct complete_case *t)
{
	struct buf names = {0}, id = {0};
	struct field field;
	size_t at = kept;

	while (header_next(buf_text(&m->header), m->header.len, &at, &field)) {
		const char *value = field.value + 1;

		buf_addf(&names, "%.*s ", (int)strcspn(field.start, ":"),
		    field.start);
		buf_clear(&id);
		buf_addf(&id, "%s%s\r\n", t->from ? t->from : t->sender,
		    t->from || *t->sender ? "" : "MAILER-DAEMON@");
		if (!t->from && !*t->sender) {
			id.len -= 2;
			buf_addf(&id, "%s\r\n", host);
		}
		if (field_is(&field, "Message-ID")) {
			buf_clear(&id);
			buf_addf(&id, "<%s@%s>\r\n", m->id, host);
		}
		if (field_is(&field, "Date"))
			check_date(value, "\r\n");
		else
			assert_memory_equal(value, id.data, id.len);
	}
	assert_string_equal(buf_text(&names), t->added);
	buf_free(&names);
	buf_free(&id);
}

static void
test_complete(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(complete_cases); i++) {
		const struct complete_case *t = &complete_cases[i];
		struct message *m = message_new(NULL, UINT64_MAX);
		size_t kept = strlen(t->kept);

		buf_adds(&m->header, t->before);
		message_set_sender(m, t->sender);
		message_complete(m, host, t->from);
		if (m->header.len < kept ||
		    memcmp(buf_text(&m->header), t->kept, kept) != 0)
			fail_msg("\"%s\" became \"%s\"", t->before,
			    buf_text(&m->header));
		check_added(m, kept, t);
		message_free(m);
	}
}

static void
test_received(void **state)
{
	static const struct origin origin = {
		"client.example ([192.0.2.1])", "ESMTP"};
	static const char *const before[] = {"", "A: b\r\nReceived: x\r\n"};

	(void)state;
	for (size_t i = 0; i < COUNT(before); i++) {
		struct message *m = message_new(NULL, UINT64_MAX);
		struct buf top = {0}, rest = {0};

		buf_adds(&m->header, before[i]);
		message_add_received(m, &origin, host);
		buf_addf(&top, "Received: from client.example ([192.0.2.1])\r\n"
		    "\tby host.example with ESMTP id %s;\r\n\t", m->id);
		assert_memory_equal(m->header.data, top.data, top.len);
		buf_addf(&rest, "\r\n%s", before[i]);
		check_date(m->header.data + top.len, rest.data);
		assert_string_equal(m->header.data + m->header.len - rest.len,
		    rest.data);
		assert_int_equal(header_count(m->header.data, m->header.len,
		    "Received"), 1 + i);
		buf_free(&top);
		buf_free(&rest);
		message_free(m);
	}
}

static void
test_id(void **state)
{
	struct message *a = message_new(NULL, 1), *b = message_new(NULL, 1);

	(void)state;
	assert_int_equal(strlen(a->id), QUEUE_ID_SIZE - 1);
	assert_int_equal(strspn(a->id, "0123456789abcdef"), QUEUE_ID_SIZE - 1);
	assert_string_not_equal(a->id, b->id);
	message_free(a);
	message_free(b);
	message_free(NULL);
}

static void
test_recipients(void **state)
{
	struct message *m = message_new(NULL, UINT64_MAX);
	struct recipient *r;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		char address[16];

		snprintf(address, sizeof(address), "%d@x", i);
		message_add_recipient(m, address);
	}
	assert_int_equal(m->recipient_count, 1000);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(atoi(m->recipients[i].address), i);
		assert_int_equal(m->recipients[i].outcome, WAITING);
	}
	r = &m->recipients[7];
	recipient_set(r, NEVER, 550, "5.1.1 no");
	recipient_set(r, LATER, 450, r->reply);
	assert_int_equal(r->outcome, LATER);
	assert_int_equal(r->code, 450);
	assert_string_equal(r->reply, "5.1.1 no");
	message_forget_results(m);
	assert_int_equal(r->outcome, WAITING);
	assert_int_equal(r->code, 450);
	assert_string_equal(r->reply, "5.1.1 no");
	assert_string_equal(r->address, "7@x");
	message_free(m);
}

static void
test_recipients_text(void **state)
{
	static const struct {
		size_t count, max;
		const char *text;
	} cases[] = {
		{0, 100, ""}, {1, 100, "a@x"}, {2, 100, "a@x, b@x"},
		{3, 100, "a@x, b@x, c@x"}, {3, 8, "a@x, b@x, ..."},
		{3, 3, "a@x, ..."},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct message *m = message_new(NULL, UINT64_MAX);
		struct buf out = {0};

		for (size_t k = 0; k < cases[i].count; k++)
			message_add_recipient(m, (const char *[]){
			    "a@x", "b@x", "c@x"}[k]);
		buf_adds(&out, "to ");
		message_add_recipients_text(m, &out, cases[i].max);
		assert_string_equal(out.data + 3, cases[i].text);
		buf_free(&out);
		message_free(m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_nul_in_header),
		cmocka_unit_test(test_refused_is_read),
		cmocka_unit_test(test_header_limit),
		cmocka_unit_test(test_message_limit),
		cmocka_unit_test(test_over_limit_is_not_kept),
		cmocka_unit_test(test_limit_behind_smtp),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_what_reading_learns),
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_received),
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_recipients_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
