/* SPDX-License-Identifier: ISC */
/*
 * One notice about many messages: all of them are in it or counted, and
 * nothing that comes from elsewhere breaks its form (CL-40, UX-49).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "digest.h"
#include "header.h"
#include "message.h"
#include "notice.h"

enum { LINE_LENGTH_MAX = 998, SIZE_LIMIT = 300 * 1024 };

static const struct notice_settings plain = {.hostname = "host.example"};

static struct message *
message_from(const char *sender)
{
	struct message *m = message_new(NULL, UINT64_MAX);

	message_set_sender(m, sender);
	buf_adds(&m->header, "Subject: SECRET HEADER\r\n");
	assert_true(body_write(&m->body, "SECRET BODY\r\n", 13));
	m->arrived_at = 1700000000;
	return m;
}

static void
add_result(struct message *m, const char *address, enum outcome outcome,
    int code, const char *reply)
{
	struct recipient *r;

	message_add_recipient(m, address);
	r = &m->recipients[m->recipient_count - 1];
	recipient_set(r, outcome, code, reply);
}

/* --- Reading it ---------------------------------------------------------- */

/* Header, blank line and body, as on the wire, with every line in order. */
static struct buf
text_of(const struct message *notice)
{
	struct buf text = {0};
	size_t line = 0;

	assert_true(notice->body.fd < 0);
	assert_int_equal(notice->body.size, notice->body.memory.len);
	buf_add(&text, buf_text(&notice->header), notice->header.len);
	buf_adds(&text, "\r\n");
	buf_add(&text, buf_text(&notice->body.memory), notice->body.memory.len);
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.data[i];

		assert_true(c < 0x7f && (c >= ' ' || c == '\r' || c == '\n'));
		assert_int_equal(c == '\r',
		    i + 1 < text.len && text.data[i + 1] == '\n');
		line = c == '\n' ? 0 : line + 1;
		assert_true(line <= LINE_LENGTH_MAX + 1); /* the CR */
	}
	assert_int_equal(line, 0);
	return text;
}

static size_t
occurrences(const struct buf *text, const char *what)
{
	size_t count = 0;

	for (const char *at = text->data; (at = strstr(at, what)); at++)
		count++;
	return count;
}

static void
check_field(const struct message *notice, const char *name, const char *value)
{
	const struct buf *h = &notice->header;
	struct field field;

	assert_int_equal(header_count(h->data, h->len, name), 1);
	assert_true(header_find(h->data, h->len, name, &field));
	if (value)
		assert_memory_equal(field.value, value, strlen(value));
}

/* The fields of every digest, and no others. */
static void
check_header(const struct message *notice)
{
	static const char *const fields[][2] = {
		{"From", NULL},
		{"To", NULL}, {"Subject", NULL}, {"Date", NULL},
		{"Message-ID", NULL}, {"Auto-Submitted", " auto-replied\r\n"},
		{"MIME-Version", " 1.0\r\n"},
		{"Content-Type", " text/plain; charset=us-ascii\r\n"},
	};
	const size_t count = sizeof(fields) / sizeof(fields[0]);
	size_t at = 0, found = 0;
	struct field field;

	for (size_t i = 0; i < count; i++)
		check_field(notice, fields[i][0], fields[i][1]);
	while (header_next(notice->header.data, notice->header.len, &at,
	    &field))
		found++;
	assert_int_equal(found, count);
}

/* --- The tests ----------------------------------------------------------- */

static void
who_gets_it_and_what_it_says(void **state)
{
	struct digest *d = digest_new(&plain, "app@host.example");
	struct message *failed[2], *notice;
	struct buf text;

	(void)state;
	failed[0] = message_from("app@host.example");
	add_result(failed[0], "taken@x", SENT, 250, "2.0.0 TAKEN");
	add_result(failed[0], "no@x", NEVER, 550, "5.1.1 Who?");
	add_result(failed[0], "later@x", LATER, 450, "4.2.1 BUSY");
	add_result(failed[0], "told@x", REPORTED, 550, "5.1.1 TOLD");
	failed[1] = message_from("");
	add_result(failed[1], "old@y", NEVER, 0, "5.4.7 too old");
	add_result(failed[1], "silent@y", NEVER, 0, "");
	for (size_t i = 0; i < 2; i++)
		digest_add(d, failed[i]);
	notice = digest_finish(d);
	text = text_of(notice);
	check_header(notice);
	check_field(notice, "To", " app@host.example\r\n");
	check_field(notice, "Subject", " 2 undelivered messages\r\n");
	assert_string_equal(notice->sender, "");
	assert_int_equal(notice->recipient_count, 1);
	assert_string_equal(notice->recipients[0].address, "app@host.example");
	assert_int_equal(notice->recipients[0].outcome, WAITING);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(occurrences(&text, failed[i]->id), 1);
	assert_int_equal(occurrences(&text, ", from\r\n<app@host.example>, "
	    "to\r\n    <no@x>\r\n        550 5.1.1 Who?\r\n"), 1);
	assert_int_equal(occurrences(&text, ", from\r\n<>, to\r\n    <old@y>"
	    "\r\n        5.4.7 too old\r\n    <silent@y>\r\n        \r\n"),
	    1);
	assert_int_equal(occurrences(&text, "14 Nov 2023"), 2);
	assert_int_equal(occurrences(&text, " 2 more\r\nmessages"), 1);
	assert_int_equal(occurrences(&text, "taken@x"), 0);
	assert_int_equal(occurrences(&text, "later@x"), 0);
	assert_int_equal(occurrences(&text, "told@x"), 0);
	assert_int_equal(occurrences(&text, "SECRET"), 0);
	assert_null(notice_reader(notice, &plain)); /* no notice about it */
	buf_free(&text);
	message_free(notice);
	message_free(failed[0]);
	message_free(failed[1]);
}

/* For relays that refuse the null sender. */
static void
another_sender_and_reader(void **state)
{
	static const struct notice_settings settings = {
		.hostname = "host.example", .bounce_to = "admin@x",
		.bounce_from = "robot@x"};
	struct message *failed = message_from("app@host.example"), *notice;
	struct digest *d;

	(void)state;
	add_result(failed, "no@x", NEVER, 550, "5.1.1 Who?");
	d = digest_new(&settings, notice_reader(failed, &settings));
	digest_add(d, failed);
	notice = digest_finish(d);
	check_header(notice);
	check_field(notice, "To", " admin@x\r\n");
	assert_string_equal(notice->sender, "robot@x");
	assert_string_equal(notice->recipients[0].address, "admin@x");
	assert_null(notice_reader(notice, &settings));
	message_free(notice);
	message_free(failed);
}

/* Whatever is in an address or a reply: no line of its own, no field, and
 * nothing that a terminal obeys. */
static void
hostile_words_stay_in_their_line(void **state)
{
	static const char *const words[] = {
		"x\r\nSubject: mine", "x\nBcc: all@y", "x\r.\r\n", "\r\n.\r\n",
		"\r\n\r\n--\r\n", "\x1b[2J\x07", "\xff\xfe\x80\xc3\xa9",
		"\x7f\x01\t", "", " ", ".", "%s%n%d", ">, to\r\n    <other@x>",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct digest *d = digest_new(&plain, words[i]);
		struct message *failed = message_from(words[i]), *notice;
		struct buf text;
		size_t lines;

		add_result(failed, words[i], NEVER, 550, words[i]);
		add_result(failed, "y@y", NEVER, 0, words[i]);
		digest_add(d, failed);
		notice = digest_finish(d);
		text = text_of(notice);
		check_header(notice);
		lines = occurrences(&text, "\r\n");
		assert_int_equal(lines, 8 + 1 + 4 + 7);
		assert_int_equal(occurrences(&text, "\r\nBcc:"), 0);
		assert_int_equal(occurrences(&text, "\r\nSubject: mine"), 0);
		assert_int_equal(occurrences(&text, "\r\n."), 0);
		buf_free(&text);
		message_free(notice);
		message_free(failed);
	}
}

static void
long_words_are_cut(void **state)
{
	char *word = xmalloc(5001);
	struct message *failed, *notice;
	struct digest *d;
	struct buf text;

	(void)state;
	memset(word, 'w', 5000);
	word[5000] = '\0';
	failed = message_from(word);
	add_result(failed, word, NEVER, 550, word);
	d = digest_new(&plain, word);
	digest_add(d, failed);
	notice = digest_finish(d);
	text = text_of(notice); /* checks the lines */
	check_header(notice);
	assert_true(text.len < 4000);
	buf_free(&text);
	message_free(notice);
	message_free(failed);
	free(word);
}

/* Of so many, the first are listed and the others counted. */
static void
a_storm_is_bounded(void **state)
{
	enum { STORM = 10000 };
	struct digest *d = digest_new(&plain, "app@host.example");
	struct message *failed = message_from("app@host.example"), *notice;
	size_t listed;
	char expected[64];
	struct buf text;

	(void)state;
	add_result(failed, "no@x", NEVER, 550, "5.1.1 Who?");
	for (unsigned i = 0; i < STORM; i++) {
		snprintf(failed->id, sizeof(failed->id), "%032x", i);
		digest_add(d, failed);
	}
	notice = digest_finish(d);
	text = text_of(notice);
	assert_true(text.len < SIZE_LIMIT);
	check_field(notice, "Subject", " 10000 undelivered messages\r\n");
	listed = occurrences(&text, "550 5.1.1 Who?");
	assert_in_range(listed, 1000, STORM - 1);
	snprintf(expected, sizeof(expected), "\r\nAnd %zu messages more; ",
	    STORM - listed);
	assert_int_equal(occurrences(&text, expected), 1);
	for (size_t i = 0; i < listed; i += 100) {
		snprintf(expected, sizeof(expected), "\r\n%032zx, ", i);
		assert_int_equal(occurrences(&text, expected), 1);
	}
	buf_free(&text);
	message_free(notice);
	message_free(failed);
}

/* Not one that can be listed says that others cannot. */
static void
all_that_fit_are_listed(void **state)
{
	struct digest *d = digest_new(&plain, "app@host.example");
	struct message *failed = message_from("app@host.example"), *notice;
	struct buf text;

	(void)state;
	add_result(failed, "no@x", NEVER, 550, "5.1.1 Who?");
	for (int i = 0; i < 500; i++)
		digest_add(d, failed);
	notice = digest_finish(d);
	text = text_of(notice);
	assert_int_equal(occurrences(&text, failed->id), 500);
	assert_int_equal(occurrences(&text, "messages more"), 0);
	buf_free(&text);
	message_free(notice);
	message_free(failed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_gets_it_and_what_it_says),
		cmocka_unit_test(another_sender_and_reader),
		cmocka_unit_test(hostile_words_stay_in_their_line),
		cmocka_unit_test(long_words_are_cut),
		cmocka_unit_test(a_storm_is_bounded),
		cmocka_unit_test(all_that_fit_are_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
