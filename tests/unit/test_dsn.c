/* SPDX-License-Identifier: ISC */
/*
 * Characters beyond ASCII, xtext, and the envelope as a relay hears it: each
 * parameter only where it is offered (SO-16, SO-22), nothing that decodes to a
 * line end (CL-38). What is taken and what is refused: test_command.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "dsn.h"
#include "envelope.h"
#include "hello.h"
#include "message.h"
#include "utf8.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The bytes of a character, whether it is one or not (RFC 3629 section 3). */
static size_t
encode(uint32_t c, size_t bytes, char *out)
{
	static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

	for (size_t i = bytes; i-- > 1; c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(lead[bytes] | c);
	return bytes;
}

static size_t
shortest(uint32_t c)
{
	return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

/* Every number that four bytes can hold, in every length. */
static void
test_every_character(void **state)
{
	static const uint32_t ends[] = {0, 0x80, 0x800, 0x10000, 0x200000};

	(void)state;
	for (size_t bytes = 1; bytes <= 4; bytes++) {
		for (uint32_t c = 0; c < ends[bytes]; c++) {
			char text[4];
			uint32_t read = UINT32_MAX;
			bool good = bytes == shortest(c) && c <= 0x10ffff &&
			    (c < 0xd800 || c > 0xdfff);

			encode(c, bytes, text);
			if (utf8_read(text, bytes, &read) !=
				(good ? bytes : 0) || (good && read != c))
				fail_msg("U+%04X in %zu bytes", c, bytes);
		}
	}
}

/* Cut, or with another byte where one has to go on. */
static void
test_pieces(void **state)
{
	static const uint32_t some[] = {0xe9, 0x7528, 0x1f4e7};
	uint32_t read;

	(void)state;
	assert_int_equal(utf8_read("", 0, &read), 0);
	for (size_t i = 0; i < COUNT(some); i++) {
		char text[4];
		size_t bytes = encode(some[i], shortest(some[i]), text);

		for (size_t len = 0; len < bytes; len++)
			assert_int_equal(utf8_read(text, len, &read), 0);
		for (size_t at = 1; at < bytes; at++) {
			static const unsigned char bad[] = {0, 'a', 0x7f, 0xc0,
				0xff};

			for (size_t k = 0; k < COUNT(bad); k++) {
				char other[4];

				memcpy(other, text, bytes);
				other[at] = (char)bad[k];
				assert_int_equal(utf8_read(other, bytes,
				    &read), 0);
			}
		}
	}
	for (int c = 0x80; c < 0x100; c++)
		assert_int_equal(utf8_read((char[]){(char)c, 'a'}, 2, &read),
		    0);
}

static void
test_is_ascii(void **state)
{
	(void)state;
	assert_true(utf8_is_ascii(""));
	assert_true(utf8_is_ascii("a\x7f\x01"));
	assert_false(utf8_is_ascii("a\x80"));
	assert_false(utf8_is_ascii("\xff"));
}

/* Everything printable comes back; and nothing else comes out, whatever goes
 * in. */
static void
test_xtext(void **state)
{
	struct buf all = {0}, coded = {0}, back = {0};

	(void)state;
	for (char c = ' '; c <= '~'; c++)
		buf_addc(&all, c);
	dsn_add_xtext(&coded, all.data);
	assert_true(dsn_is_envelope_id(coded.data, 50));
	assert_null(strpbrk(coded.data, "= "));
	dsn_add_decoded(&back, coded.data);
	assert_string_equal(back.data, all.data);
	buf_clear(&back);
	dsn_add_decoded(&back, "a+0Ab+0D+7F+80+C3+A9+2b+2+\n\xc3\xa9++41");
	assert_string_equal(back.data, "a?b?????+2b+2+???+A");
	buf_free(&all);
	buf_free(&coded);
	buf_free(&back);
}

static void
test_notify_and_back(void **state)
{
	(void)state;
	for (unsigned notify = 1; notify < NOTIFY_ALL; notify++) {
		struct buf text = {0};

		if (notify & NOTIFY_NEVER && notify != NOTIFY_NEVER)
			continue;
		dsn_add_notify(&text, notify);
		assert_int_equal(dsn_notify(text.data, text.len), notify);
		buf_free(&text);
	}
}

static void
test_wants(void **state)
{
	static const struct {
		unsigned notify;
		bool success, failure, delay;
	} cases[] = {
		{NOTIFY_UNSAID, false, true, false},
		{NOTIFY_NEVER, false, false, false},
		{NOTIFY_SUCCESS, true, false, false},
		{NOTIFY_FAILURE, false, true, false},
		{NOTIFY_SUCCESS | NOTIFY_DELAY, true, false, true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct recipient r = {.notify = cases[i].notify};

		assert_int_equal(recipient_wants(&r, NOTIFY_SUCCESS),
		    cases[i].success);
		assert_int_equal(recipient_wants(&r, NOTIFY_FAILURE),
		    cases[i].failure);
		assert_int_equal(recipient_wants(&r, NOTIFY_DELAY),
		    cases[i].delay);
	}
}

/* --- The envelope -------------------------------------------------------- */

#define U "\xc3\xa9"

struct envelope_case {
	const char *sender, *recipient, *original, *header;
	bool asked;              /* for SMTPUTF8 */
	unsigned features;
	const char *mail, *rcpt; /* NULL: it cannot be said */
};

static const struct envelope_case envelope_cases[] = {
	{"s@x", "a@y", "rfc822;o@x", "", false, 0,
	    "MAIL FROM:<s@x>", "RCPT TO:<a@y>"},
	{"s@x", "a@y", "rfc822;o@x", "", false, HAS_DSN,
	    "MAIL FROM:<s@x> RET=FULL ENVID=i+2Bd",
	    "RCPT TO:<a@y> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@x"},
	{"", "a@y", NULL, "", false, HAS_DSN | HAS_SIZE | HAS_8BITMIME,
	    "MAIL FROM:<> SIZE=2 BODY=8BITMIME RET=FULL ENVID=i+2Bd",
	    "RCPT TO:<a@y> NOTIFY=SUCCESS,DELAY"},
	/* SMTPUTF8 where it is needed, offered and, for a header, asked for */
	{"s@x", "a@y", NULL, "A: b\r\n", true, HAS_SMTPUTF8,
	    "MAIL FROM:<s@x>", "RCPT TO:<a@y>"},
	{"s@x", "a@y", NULL, "A: " U "\r\n", true, HAS_SMTPUTF8,
	    "MAIL FROM:<s@x> SMTPUTF8", "RCPT TO:<a@y>"},
	{"s@x", "a@y", NULL, "A: " U "\r\n", false, HAS_SMTPUTF8,
	    "MAIL FROM:<s@x>", "RCPT TO:<a@y>"},
	{"s@x", "a@y", NULL, "A: " U "\r\n", true, 0,
	    "MAIL FROM:<s@x>", "RCPT TO:<a@y>"},
	{U "@x", "a@y", NULL, "", true, HAS_SMTPUTF8,
	    "MAIL FROM:<" U "@x> SMTPUTF8", "RCPT TO:<a@y>"},
	{"s@x", "a@" U, NULL, "", true, HAS_SMTPUTF8 | HAS_8BITMIME,
	    "MAIL FROM:<s@x> BODY=8BITMIME SMTPUTF8", "RCPT TO:<a@" U ">"},
	{"s@x", U "@y", NULL, "", true, HAS_SMTPUTF8 | HAS_DSN,
	    "MAIL FROM:<s@x> SMTPUTF8 RET=FULL ENVID=i+2Bd",
	    "RCPT TO:<" U "@y> NOTIFY=SUCCESS,DELAY"},
	{U "@x", "a@y", NULL, "", true, HAS_DSN, NULL, NULL},
	{"s@x", U "@y", NULL, "", true, HAS_8BITMIME, NULL, NULL},
	{"s@x", "a@" U, NULL, "", true, 0, NULL, NULL},
	/* an ORCPT in UTF-8 has no other form */
	{"s@x", U "@y", "utf-8;" U "@x", "", true, HAS_SMTPUTF8 | HAS_DSN,
	    "MAIL FROM:<s@x> SMTPUTF8 RET=FULL ENVID=i+2Bd",
	    "RCPT TO:<" U "@y> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;" U "@x"},
	{"s@x", "a@y", "utf-8;" U "@x", "", true, HAS_DSN,
	    "MAIL FROM:<s@x> RET=FULL ENVID=i+2Bd",
	    "RCPT TO:<a@y> NOTIFY=SUCCESS,DELAY"},
};

static void
check_envelope(const struct envelope_case *t, struct message *m)
{
	struct recipient *r = &m->recipients[0];
	bool utf8 = envelope_is_utf8(m, &r, 1, t->features);
	struct buf mail = {0}, rcpt = {0};

	assert_int_equal(envelope_can_be_said(m, r, t->features),
	    t->mail != NULL);
	envelope_add_mail(&mail, m, t->features, utf8);
	envelope_add_rcpt(&rcpt, r, t->features, utf8);
	if (t->mail) {
		assert_string_equal(mail.data, t->mail);
		assert_string_equal(rcpt.data, t->rcpt);
	}
	buf_free(&mail);
	buf_free(&rcpt);
}

static void
test_envelope(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(envelope_cases); i++) {
		const struct envelope_case *t = &envelope_cases[i];
		struct message *m = message_new(NULL, UINT64_MAX);

		message_set_sender(m, t->sender);
		message_add_recipient(m, t->recipient);
		buf_adds(&m->header, t->header);
		m->recipients[0].notify = NOTIFY_SUCCESS | NOTIFY_DELAY;
		m->recipients[0].original = t->original ? xstrdup(t->original)
							: NULL;
		m->returns = 'F';
		m->envelope_id = xstrdup("i+2Bd");
		m->utf8 = t->asked;
		m->eight_bit = true;
		check_envelope(t, m);
		message_free(m);
	}
}

static void
test_header_only(void **state)
{
	struct message *m = message_new(NULL, UINT64_MAX);
	struct buf mail = {0};

	(void)state;
	message_set_sender(m, "s@x");
	m->returns = 'H';
	envelope_add_mail(&mail, m, HAS_DSN, false);
	assert_string_equal(mail.data, "MAIL FROM:<s@x> RET=HDRS");
	buf_free(&mail);
	message_free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_character),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_is_ascii),
		cmocka_unit_test(test_xtext),
		cmocka_unit_test(test_notify_and_back),
		cmocka_unit_test(test_wants),
		cmocka_unit_test(test_envelope),
		cmocka_unit_test(test_header_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
