/* SPDX-License-Identifier: ISC */
/*
 * The policy for content that relays refuse, whole and a byte at a time:
 * long lines in header and body, NUL, stray CR, 8-bit text without MIME, loops.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "fold.h"
#include "message.h"
#include "repair.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct message *
read_in_pieces(const char *text, size_t len, size_t piece)
{
	struct message *m = message_new(NULL, UINT64_MAX);
	struct data_reader reader;

	data_start(&reader, DATA_FROM_STDIN_RAW);
	for (size_t at = 0; at < len; at += piece)
		message_read(m, &reader, text + at,
		    len - at < piece ? len - at : piece);
	(void)message_finish(m, &reader);
	return m;
}

static char *
body_of(const struct message *m)
{
	struct buf out = {0};
	char piece[1000];
	uint64_t at = 0;
	ptrdiff_t got;

	while ((got = body_read(&m->body, at, piece, sizeof(piece))) > 0) {
		buf_add(&out, piece, (size_t)got);
		at += (uint64_t)got;
	}
	buf_adds(&out, "");
	return out.data ? buf_take(&out) : xstrdup("");
}

static const struct content_case {
	const char *in; /* an X of it is 1000 letters */
	const char *header;
	const char *body;
	unsigned repairs;
} cases[] = {
	{"A: b\n\nc\n", "A: b\r\n", "c\r\n", 0},
	{"A: b\n\nc\rd\n", "A: b\r\n", "c d\r\n", REPAIR_STRAY},
	{"A: b\rc\n\nd\n", "A: b c\r\n", "d\r\n", REPAIR_STRAY},
	{"A: b\n\n\x01@\n", "A: b\r\n", "\x01 \r\n", REPAIR_NUL},
	{"A: b\n\nX\n", "A: b\r\n", "x998\r\n xx\r\n", REPAIR_BROKEN},
	{"A: b X\n\nc\n", "A: b\r\n x998xx\r\n", "c\r\n",
	    FOLD_CLEAN | FOLD_LEFT},
	{"X\n", "", "x998\r\n xx\r\n", REPAIR_BROKEN},
	{"X", "", "x998\r\n xx\r\n", REPAIR_BROKEN},
	{" X\n", "", " x997\r\n xxx\r\n", REPAIR_BROKEN},
	{"A: b\nX\nc\n", "A: b\r\n", "x998\r\n xx\r\nc\r\n", REPAIR_BROKEN},
	{"A: b\n\n\xc3\xa4\n", "A: b\r\n", "\xc3\xa4\r\n", 0},
};

/* With X, x998 and so on written out; '@' is a NUL in the input. */
static char *
spell(const char *text, size_t *len)
{
	struct buf out = {0};

	for (; *text; text++) {
		size_t count = *text == 'X' ? 1000
			: strncmp(text, "x99", 3) == 0
			? (size_t)(990 + text[3] - '0') : 0;

		if (*text == '@' && len)
			buf_add(&out, "", 1);
		else if (!count)
			buf_addc(&out, *text);
		text += count && *text == 'x' ? 3 : 0;
		while (count--)
			buf_addc(&out, 'x');
	}
	if (len)
		*len = out.len;
	return out.data ? buf_take(&out) : xstrdup("");
}

static void
test_policy(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct content_case *c = &cases[i];
		size_t len = 0;
		char *in = spell(c->in, &len);
		char *header = spell(c->header, NULL);
		char *body = spell(c->body, NULL);

		for (size_t piece = 1; piece <= len; piece += piece * 2) {
			struct message *m = read_in_pieces(in, len, piece);
			char *read = body_of(m);

			assert_null(m->fault);
			if (!(c->repairs & FOLD_LEFT)) {
				assert_string_equal(buf_text(&m->header),
				    header);
				assert_int_equal(m->repairs, c->repairs);
			}
			assert_string_equal(read, body);
			free(read);
			message_free(m);
		}
		free(in);
		free(header);
		free(body);
	}
}

static void
test_refused(void **state)
{
	struct buf text = {0};
	struct message *m = read_in_pieces("A: \0\n\nx\n", 8, 3);

	(void)state;
	assert_int_equal(strncmp(m->fault, "554 5.6.0", 9), 0);
	message_free(m);
	for (size_t i = 0; i < 51; i++)
		buf_adds(&text, "Received: from x\n");
	m = read_in_pieces(text.data, text.len, 100);
	assert_int_equal(strncmp(m->fault, "554 5.4.6", 9), 0);
	message_free(m);
	buf_clear(&text);
	buf_adds(&text, "A: ");
	while (text.len < 300 * 1024)
		buf_adds(&text, "word word word word ");
	m = read_in_pieces(text.data, text.len, 4096);
	assert_int_equal(strncmp(m->fault, "552 5.3.4", 9), 0);
	message_free(m);
	buf_free(&text);
}

/* What message_complete() adds to text beyond ASCII. */
static void
test_mime(void **state)
{
	static const struct {
		const char *in;
		const char *charset; /* NULL: no MIME field */
		bool encoding;
	} mime[] = {
		{"A: b\n\nascii\n", NULL, false},
		{"A: b\n\n\xc3\xa4\n", "utf-8", true},
		{"A: b\n\n\xe4\n", "unknown-8bit", true},
		{"A: b\n\n\xc3", "unknown-8bit", true},
		{"A: b\n\nx\xf0\x9f\x98\x80y\n", "utf-8", true},
		{"A: \xc3\xa4\n\nascii\n", NULL, false},
		{"MIME-Version: 1.0\n\n\xc3\xa4\n", NULL, false},
		{"content-type: text/html\n\n\xc3\xa4\n", NULL, true},
		{"Content-Transfer-Encoding: 8bit\n\n\xc3\xa4\n", "utf-8",
		    false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(mime); i++) {
		struct message *m = read_in_pieces(mime[i].in,
		    strlen(mime[i].in), 1 + i % 3);
		char *type = xasprintf("\r\nContent-Type: text/plain; "
		    "charset=%s\r\n", mime[i].charset ? mime[i].charset : "");
		bool added;

		message_complete(m, "h.test", "a@b");
		added = strstr(m->header.data, type) != NULL;
		assert_int_equal(added, mime[i].charset != NULL);
		assert_int_equal(strstr(m->header.data,
		    "\r\nContent-Transfer-Encoding: 8bit") != NULL,
		    mime[i].encoding);
		assert_int_equal((m->repairs & REPAIR_MIME) != 0,
		    added || mime[i].encoding);
		free(type);
		message_free(m);
	}
}

static void
test_loop(void **state)
{
	struct message *m = message_new(NULL, UINT64_MAX);
	struct origin origin = {.from = "x", .protocol = "ESMTP"};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		message_add_received(m, &origin, "h.test");
		message_add_received(m, &origin, "other.test");
	}
	assert_null(repair_find_loop(m, "h.test"));
	message_add_received(m, &origin, "h.test");
	assert_non_null(repair_find_loop(m, "H.test"));
	assert_null(repair_find_loop(m, "other.test"));
	assert_null(repair_find_loop(m, "h.tes"));
	message_free(m);
}

/* Without a sender to name there is still a From. */
static void
test_nobody(void **state)
{
	struct message *m = read_in_pieces("A: b\n\nx\n", 8, 8);

	(void)state;
	message_complete(m, "h.test", NULL);
	assert_non_null(strstr(m->header.data,
	    "\r\nFrom: MAILER-DAEMON@h.test\r\n"));
	message_free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_mime),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
