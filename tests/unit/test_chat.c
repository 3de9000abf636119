/* SPDX-License-Identifier: ISC */
/*
 * Commands out, answers in: well formed, malformed, mixed, partial and huge
 * answers (rules 1, 4, 7 and 12 of the forwarder; UX-03, UX-05 to UX-09), each
 * read whole, a byte at a time, and cut in two at every offset; being in step
 * (rule 2, UX-04); what a verdict and the trace show.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chat.h"
#include "clock.h"
#include "conn.h"
#include "tests/unit/peer.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(s) s, sizeof(s) - 1

enum { AMPLE = 60000, ANSWER_MAX = 64 * 1024 };

/* A conversation whose other end the test holds. */
struct talk {
	struct chat chat;
	int relay;
};

static void
talk_open(struct talk *t, int64_t timeout)
{
	int ends[2];

	peer_pair(ends);
	*t = (struct talk){.chat = {.conn = conn_new(ends[0], -1),
			       .timeout = timeout}, .relay = ends[1]};
}

/* What the relay says, and whether it then hangs up. */
static void
relay_says(struct talk *t, const char *text, size_t len)
{
	if (len)
		assert_int_equal(send(t->relay, text, len, MSG_NOSIGNAL), len);
}

static void
relay_says_in_pieces(struct talk *t, const char *text, size_t len,
    size_t first, size_t step)
{
	size_t end = first < len ? first : len;

	relay_says(t, text, end);
	for (size_t at = end; at < len; at = end) {
		end = at + step < len ? at + step : len;
		relay_says(t, text + at, end - at);
	}
}

/* Compares what the relay has heard so far. */
static void
check_heard(struct talk *t, const char *expected)
{
	char text[1000];
	ssize_t got = recv(t->relay, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[got > 0 ? got : 0] = '\0';
	assert_string_equal(text, expected);
}

static void
talk_close(struct talk *t)
{
	conn_close(t->chat.conn);
	close(t->relay);
}

struct answer_case {
	const char *in;
	size_t len;
	int code; /* 0: it counts for nothing */
	const char *text; /* of the answer, or in the error */
};

static const struct answer_case answer_cases[] = {
	{BYTES("250 ok\r\n"), 250, "ok"},
	{BYTES("250\r\n"), 250, ""},
	{BYTES("250 \r\n"), 250, ""},
	{BYTES("250  two  blanks \r\n"), 250, " two  blanks "},
	{BYTES("250-\r\n250 \r\n"), 250, "\n"},
	{BYTES("250-a\r\n250-b\r\n250 c\r\n"), 250, "a\nb\nc"},
	{BYTES("250-a\r\n250\r\n"), 250, "a\n"},
	{BYTES("553-\r\n553\r\n"), 553, "\n"},
	{BYTES("354 go\r\n"), 354, "go"},
	{BYTES("200 x\r\n"), 200, "x"},
	{BYTES("599 x\r\n"), 599, "x"},
	{BYTES("550 5.1.1 250 ok\r\n"), 550, "5.1.1 250 ok"},
	{BYTES("550--x\r\n550 -x\r\n"), 550, "-x\n-x"},
	/* LF alone ends a line too, CR alone does not */
	{BYTES("250 ok\n"), 250, "ok"},
	{BYTES("250\n"), 250, ""},
	{BYTES("250-a\n250-b\r\n250 c\n"), 250, "a\nb\nc"},
	{BYTES("250 a\rb\r\n"), 250, "a?b"},
	{BYTES("250 ok\r\r\n"), 250, "ok?"},
	/* whatever it says is made printable */
	{BYTES("250 \xc3\xa4\x1b[31m\0\x7f\x01\r\n"), 250, "???[31m???"},
	{BYTES("250-\0\r\n250 x\0y\r\n"), 250, "?\nx?y"},
	/* two codes */
	{BYTES("550-no\r\n250 ok\r\n"), 0, "two codes"},
	{BYTES("250-ok\r\n550 no\r\n"), 0, "two codes"},
	{BYTES("250-ok\r\n251 ok\r\n"), 0, "two codes"},
	{BYTES("250-a\r\n250-b\r\n550-c\r\n250 d\r\n"), 0, "two codes"},
	{BYTES("553-a\r\n250\r\n"), 0, "two codes"},
	/* malformed */
	{BYTES("\r\n"), 0, "malformed reply \"\""},
	{BYTES("\n"), 0, "malformed"},
	{BYTES("2\r\n"), 0, "malformed"},
	{BYTES("25\r\n"), 0, "malformed reply \"25\""},
	{BYTES("25 \r\n"), 0, "malformed"},
	{BYTES("250ok\r\n"), 0, "malformed reply \"250ok\""},
	{BYTES("250\tok\r\n"), 0, "malformed reply \"250?ok\""},
	{BYTES("250_ok\r\n"), 0, "malformed"},
	{BYTES("250\0ok\r\n"), 0, "malformed"},
	{BYTES("2500 ok\r\n"), 0, "malformed"},
	{BYTES("2x0 ok\r\n"), 0, "malformed"},
	{BYTES("25o ok\r\n"), 0, "malformed"},
	{BYTES("x50 ok\r\n"), 0, "malformed"},
	{BYTES(" 250 ok\r\n"), 0, "malformed"},
	{BYTES("-250 ok\r\n"), 0, "malformed"},
	{BYTES("+50 ok\r\n"), 0, "malformed"},
	{BYTES("\000250 ok\r\n"), 0, "malformed reply \"?250 ok\""},
	{BYTES("\r250 ok\r\n"), 0, "malformed"},
	{BYTES("\xb2\xb5\xb0 ok\r\n"), 0, "malformed"},
	{BYTES("ok\r\n"), 0, "malformed reply \"ok\""},
	{BYTES("HTTP/1.1 400 Bad Request\r\n"), 0, "malformed"},
	{BYTES("SSH-2.0-x\r\n"), 0, "malformed"},
	{BYTES("\x1b[2J\xe4\r\n"), 0, "malformed reply \"?[2J?\""},
	{BYTES("250-ok\r\n\r\n250 ok\r\n"), 0, "malformed"},
	{BYTES("250-ok\r\n25\r\n250 ok\r\n"), 0, "malformed"},
	{BYTES("250-ok\r\n 250 ok\r\n"), 0, "malformed"},
	{BYTES("250-ok\r\nok\r\n250 ok\r\n"), 0, "malformed"},
	/* codes that are none */
	{BYTES("850 x\r\n"), 0, "malformed"},
	{BYTES("050 x\r\n"), 0, "malformed"},
	{BYTES("150 x\r\n"), 0, "malformed"},
	{BYTES("199 x\r\n"), 0, "malformed"},
	{BYTES("600 x\r\n"), 0, "malformed"},
	{BYTES("999\r\n"), 0, "malformed"},
	/* a half answer is no answer */
	{BYTES(""), 0, "closed"},
	{BYTES("2"), 0, "closed"},
	{BYTES("250"), 0, "closed"},
	{BYTES("250 ok"), 0, "closed"},
	{BYTES("250 ok\r"), 0, "closed"},
	{BYTES("250-ok\r\n"), 0, "closed"},
	{BYTES("250-ok\r\n250"), 0, "closed"},
	{BYTES("250-ok\r\n250 ok"), 0, "closed"},
	{BYTES("550-"), 0, "closed"},
};

static void
check_answer(struct talk *t, const struct answer_case *expected)
{
	struct answer a = {0};
	bool whole = chat_answer(&t->chat, &a);
	const char *error = conn_error(t->chat.conn);

	if (whole != (expected->code != 0))
		fail_msg("\"%s\" is taken wrongly: %d, %s", expected->in,
		    a.code, error ? error : "no error");
	if (whole) {
		assert_null(error);
		assert_int_equal(a.code, expected->code);
		assert_string_equal(buf_text(&a.text), expected->text);
		assert_int_equal(a.text.len, strlen(expected->text));
	} else if (!error || !strstr(error, expected->text)) {
		fail_msg("\"%s\": %s", expected->in, error);
	}
	buf_free(&a.text);
}

static void
read_answer(const struct answer_case *expected, size_t first, size_t step)
{
	struct talk t;

	talk_open(&t, AMPLE);
	relay_says_in_pieces(&t, expected->in, expected->len, first, step);
	shutdown(t.relay, SHUT_WR);
	check_answer(&t, expected);
	talk_close(&t);
}

static void
test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(answer_cases); i++) {
		size_t len = answer_cases[i].len;

		read_answer(&answer_cases[i], 1, 1);
		for (size_t cut = 0; cut <= len; cut++)
			read_answer(&answer_cases[i], cut, len);
	}
}

/* One answer is taken off, the next is still there. */
static void
test_one_by_one(void **state)
{
	static const struct answer_case first = {"", 0, 250, "a"};
	static const struct answer_case second = {"", 0, 550, "b\nc"};
	struct talk t;

	(void)state;
	talk_open(&t, AMPLE);
	relay_says(&t, BYTES("250 a\r\n550-b\r\n550 c\r\n"));
	check_answer(&t, &first);
	check_answer(&t, &second);
	assert_true(chat_in_step(&t.chat));
	talk_close(&t);
}

/* An answer that a used struct is reused for. */
static void
test_reused(void **state)
{
	struct answer a = {0};
	struct talk t;

	(void)state;
	talk_open(&t, AMPLE);
	relay_says(&t, BYTES("250-a\r\n250 b\r\n550 c\r\n"));
	assert_true(chat_answer(&t.chat, &a));
	assert_true(chat_answer(&t.chat, &a));
	assert_int_equal(a.code, 550);
	assert_string_equal(a.text.data, "c");
	buf_free(&a.text);
	talk_close(&t);
}

/* len bytes of lines "code-xxx" of that length, then the last one. */
static void
add_lines(struct buf *out, size_t len, size_t line)
{
	while (len >= line) {
		buf_adds(out, "250-");
		for (size_t i = 6; i < line; i++)
			buf_addc(out, 'x');
		buf_adds(out, "\r\n");
		len -= line;
	}
	buf_adds(out, "250 x\r\n");
}

static bool
takes_huge(const struct buf *in)
{
	struct answer a = {0};
	struct talk t;
	bool whole;

	talk_open(&t, AMPLE);
	relay_says_in_pieces(&t, in->data, in->len, 8000, 8000);
	whole = chat_answer(&t.chat, &a);
	assert_true(a.text.len <= ANSWER_MAX);
	assert_int_equal(conn_error(t.chat.conn) == NULL, whole);
	if (!whole)
		assert_non_null(strstr(conn_error(t.chat.conn),
		    "out of step: reply over 64 KiB"));
	buf_free(&a.text);
	talk_close(&t);
	return whole;
}

/* Lines of any length up to a cap for all of them together. */
static void
test_huge(void **state)
{
	static const size_t lines[] = {6, 7, 100, 4096, 8192, 8193, 30000};

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		struct buf in = {0};

		add_lines(&in, 60000, lines[i]);
		assert_true(takes_huge(&in));
		buf_clear(&in);
		add_lines(&in, 100000, lines[i]);
		assert_false(takes_huge(&in));
		buf_free(&in);
	}
}

/* One line without an end, and lines that CR alone ends. */
static void
test_no_end(void **state)
{
	struct buf in = {0};

	(void)state;
	while (in.len < ANSWER_MAX * 3 / 2)
		buf_adds(&in, "250 x");
	assert_false(takes_huge(&in));
	buf_clear(&in);
	while (in.len < ANSWER_MAX * 3 / 2)
		buf_adds(&in, "250 x\r");
	assert_false(takes_huge(&in));
	buf_free(&in);
}

static void
check_timed_out(struct talk *t)
{
	int64_t begun = clock_now();
	struct answer a = {0};

	assert_false(chat_answer(&t->chat, &a));
	assert_true(clock_now() - begun < AMPLE / 2);
	assert_true(conn_timed_out(t->chat.conn));
	assert_string_equal(conn_error(t->chat.conn), "timed out");
	buf_free(&a.text);
}

/* Silence: before the first byte, and behind every other of an answer. */
static void
test_silence(void **state)
{
	static const char answer[] = "250-a\r\n250 b\r\n";

	(void)state;
	for (size_t cut = 0; cut < sizeof(answer) - 1; cut++) {
		struct talk t;

		talk_open(&t, 10);
		relay_says(&t, answer, cut);
		check_timed_out(&t);
		talk_close(&t);
	}
}

/* The conversation's deadline counts when it is the earlier one. */
static void
test_deadline(void **state)
{
	static const int64_t deadlines[] = {-1000, 0, 20};

	(void)state;
	for (size_t i = 0; i < COUNT(deadlines); i++) {
		struct talk t;

		talk_open(&t, AMPLE);
		t.chat.deadline = clock_now() + deadlines[i];
		check_timed_out(&t);
		talk_close(&t);
	}
}

/* A byte now and then does not make the time longer (rule 7). */
static void
test_slow(void **state)
{
	struct peer peer = {.steps = {
		{NULL, "250-a\r\n", GO_ON, 60, 0}, {NULL, "2", GO_ON, 60, 0},
		{NULL, "5", GO_ON, 60, 0}, {NULL, "0", GO_ON, 60, 0},
		{NULL, "-b\r\n", GO_ON, 60, 0}, {NULL, "250", GO_ON, 60, 0},
		{NULL, " c\r\n", GO_ON, 60, 0}}};
	struct talk t;

	(void)state;
	t.chat = (struct chat){.timeout = 200};
	t.chat.conn = conn_new(peer_start(&peer), -1);
	check_timed_out(&t);
	conn_close(t.chat.conn);
	peer_stop(&peer);
	buf_free(&peer.log);
}

/* What the relay said before our output failed can still be heard. */
static void
test_heard_after_failed_write(void **state)
{
	static const struct answer_case cases[] = {
		{BYTES("552 5.3.4 too big\r\n"), 552, "5.3.4 too big"},
		{BYTES("552-5.3.4 too\r\n552 5.3.4 big\r\n"), 552,
		    "5.3.4 too\n5.3.4 big"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct answer a = {0};
		struct talk t;

		talk_open(&t, AMPLE);
		relay_says(&t, cases[i].in, cases[i].len);
		shutdown(t.relay, SHUT_RD);
		chat_command(&t.chat, "body");
		assert_false(conn_flush(t.chat.conn));
		if (!chat_answer(&t.chat, &a))
			fail_msg("not heard: %s", cases[i].in);
		assert_int_equal(a.code, cases[i].code);
		assert_string_equal(buf_text(&a.text), cases[i].text);
		buf_free(&a.text);
		talk_close(&t);
	}
}

static void
test_in_step(void **state)
{
	static const char *const said[] = {"250 ok\r\n", "2", "\r\n", "x"};
	struct talk t;

	(void)state;
	talk_open(&t, AMPLE);
	assert_true(chat_in_step(&t.chat));
	assert_true(chat_in_step(&t.chat));
	assert_null(conn_error(t.chat.conn));
	shutdown(t.relay, SHUT_WR);
	assert_false(chat_in_step(&t.chat));
	assert_non_null(strstr(conn_error(t.chat.conn), "closed"));
	talk_close(&t);

	for (size_t i = 0; i < COUNT(said); i++) {
		talk_open(&t, AMPLE);
		relay_says(&t, said[i], strlen(said[i]));
		assert_false(chat_in_step(&t.chat));
		assert_memory_equal(conn_error(t.chat.conn), "out of step", 11);
		assert_false(chat_in_step(&t.chat));
		talk_close(&t);
	}
}

/* Out of step, or closed: not a byte is written any more. */
static void
test_exchange_out_of_step(void **state)
{
	static const struct {
		enum stage stage;
		const char *said; /* NULL: it hangs up */
		enum scope scope;
	} cases[] = {
		{STAGE_HELLO, "220 again\r\n", SCOPE_UPSTREAM},
		{STAGE_AUTH, "2", SCOPE_UPSTREAM},
		{STAGE_TLS, NULL, SCOPE_UPSTREAM},
		{STAGE_MAIL, "250 ok\r\n", SCOPE_MESSAGE},
		{STAGE_DATA, "354 go\r\n", SCOPE_MESSAGE},
		{STAGE_MAIL, NULL, SCOPE_MESSAGE},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct answer a = {0};
		struct verdict v;
		struct talk t;

		talk_open(&t, AMPLE);
		if (cases[i].said)
			relay_says(&t, cases[i].said, strlen(cases[i].said));
		else
			shutdown(t.relay, SHUT_WR);
		assert_false(chat_exchange(&t.chat, cases[i].stage, &a, &v,
		    "COMMAND"));
		check_heard(&t, "");
		assert_int_equal(v.outcome, LATER);
		assert_int_equal(v.scope, cases[i].scope);
		assert_int_equal(v.stage, cases[i].stage);
		assert_int_equal(v.code, 0);
		assert_non_null(strstr(v.text, stage_name(cases[i].stage)));
		assert_non_null(strstr(v.text,
		    cases[i].said ? "out of step" : "closed"));
		buf_free(&a.text);
		talk_close(&t);
	}
}

struct exchange_case {
	enum stage stage;
	const char *reply;
	bool yes;
	enum outcome outcome;
	enum scope scope;
	int code;
	const char *text; /* in the verdict's */
};

static const struct exchange_case exchange_cases[] = {
	{STAGE_HELLO, "250-a\r\n250 b\r\n", true, SENT, SCOPE_UPSTREAM, 250,
	    "a b"},
	{STAGE_DATA, "354 go\r\n", true, SENT, SCOPE_UPSTREAM, 354, "go"},
	{STAGE_DATA, "250 ok\r\n", false, LATER, SCOPE_MESSAGE, 250, "ok"},
	{STAGE_MAIL, "354 go\r\n", false, LATER, SCOPE_MESSAGE, 354, "go"},
	{STAGE_AUTH, "535-5.7.8 a\r\n535 5.7.8 b\r\n", false, HOLD,
	    SCOPE_UPSTREAM, 535, "5.7.8 a 5.7.8 b"},
	{STAGE_TLS, "554 no\r\n", false, LATER, SCOPE_UPSTREAM, 554, "no"},
	{STAGE_RCPT, "550 5.1.1 \x1b\xff\r\n", false, NEVER, SCOPE_RECIPIENT,
	    550, "5.1.1 ??"},
	{STAGE_TLS, "250ok\r\n", false, LATER, SCOPE_UPSTREAM, 0,
	    "TLS: out of step: malformed reply \"250ok\""},
	{STAGE_MAIL, "850 x\r\n", false, LATER, SCOPE_MESSAGE, 0,
	    "MAIL FROM: out of step: malformed reply \"850 x\""},
	{STAGE_END, "550-a\r\n250 b\r\n", false, LATER, SCOPE_MESSAGE, 0,
	    "end of data: out of step: two codes in one reply \"250 b\""},
};

static void
check_exchange(const struct exchange_case *expected)
{
	struct peer peer = {.steps = {{"COMMAND %s\r\n|", expected->reply,
	    GO_ON, 0, 0}}};
	struct chat chat = {.timeout = AMPLE};
	struct answer a = {0};
	struct verdict v;

	chat.conn = conn_new(peer_start(&peer), -1);
	assert_int_equal(chat_exchange(&chat, expected->stage, &a, &v,
	    "COMMAND %s"), expected->yes);
	conn_close(chat.conn);
	peer_stop(&peer);
	assert_string_equal(buf_text(&peer.log), "COMMAND %s\r\n|");
	assert_string_equal(v.text, expected->text);
	assert_int_equal(v.outcome, expected->outcome);
	assert_int_equal(v.scope, expected->scope);
	assert_int_equal(v.stage, expected->stage);
	assert_int_equal(v.code, expected->code);
	buf_free(&a.text);
	buf_free(&peer.log);
}

static void
test_exchange(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(exchange_cases); i++)
		check_exchange(&exchange_cases[i]);
}

/* The enhanced code may be all that is on the first line (rule 5). */
static void
test_code_alone_on_a_line(void **state)
{
	static const struct exchange_case refused = {STAGE_RCPT,
		"554-5.7.8\r\n554 5.7.8 log in\r\n", false, HOLD,
		SCOPE_UPSTREAM, 554, "5.7.8 5.7.8 log in"};

	(void)state;
	check_exchange(&refused);
}

/* An answer of many lines becomes one line that is not too long. */
static void
test_verdict_is_cut(void **state)
{
	struct answer a = {.code = 550};
	struct verdict v;

	(void)state;
	for (int i = 0; i < 1000; i++)
		buf_adds(&a.text, "x\n");
	assert_false(chat_judge(&v, STAGE_MAIL, &a));
	assert_int_equal(strlen(v.text), 400);
	assert_null(strchr(v.text, '\n'));
	assert_int_equal(strspn(v.text, "x "), 400);
	buf_free(&a.text);
}

static void
test_commands(void **state)
{
	char longer[5001];
	struct talk t;

	(void)state;
	talk_open(&t, AMPLE);
	chat_command(&t.chat, "MAIL FROM:<%s>", "a%s@x");
	chat_secret(&t.chat, "c2VjcmV0%n", "(hidden)");
	check_heard(&t, "");
	conn_flush(t.chat.conn);
	check_heard(&t, "MAIL FROM:<a%s@x>\r\nc2VjcmV0%n\r\n");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	chat_command(&t.chat, "%s", longer);
	conn_flush(t.chat.conn);
	assert_int_equal(recv(t.relay, longer, sizeof(longer),
	    MSG_DONTWAIT | MSG_TRUNC), 5002);
	talk_close(&t);
}

/* What the trace shows on stderr of a login and its answer. */
static char *
trace_of(struct talk *t)
{
	char path[] = "/tmp/test_chat.XXXXXX", *text = xcalloc(1, 2000);
	int file = mkstemp(path), before = dup(STDERR_FILENO);
	struct answer a = {0};

	t->chat.trace = true;
	dup2(file, STDERR_FILENO);
	chat_command(&t->chat, "AUTH LOGIN");
	chat_secret(&t->chat, "c2VjcmV0", "(password)");
	chat_answer(&t->chat, &a);
	fflush(stderr);
	dup2(before, STDERR_FILENO);
	assert_true(pread(file, text, 1999, 0) >= 0);
	close(before);
	close(file);
	unlink(path);
	buf_free(&a.text);
	return text;
}

static void
test_trace(void **state)
{
	struct talk t;
	char *text;

	(void)state;
	talk_open(&t, AMPLE);
	relay_says(&t, BYTES("235-a\x1b[2J\r\n235 \xe4\r\n"));
	text = trace_of(&t);
	assert_string_equal(text, ">>> AUTH LOGIN\n>>> (password)\n"
	    "<<< 235-a?[2J\n<<< 235 ?\n");
	free(text);
	talk_close(&t);
}

/* While secrets are about, of an answer only the codes are shown. */
static void
test_discreet(void **state)
{
	struct answer a = {0};
	struct talk t;
	char *text;

	(void)state;
	talk_open(&t, AMPLE);
	t.chat.discreet = true;
	relay_says(&t, BYTES("535-c2VjcmV0\r\n535 c2VjcmV0\r\nc2VjcmV0\r\n"));
	text = trace_of(&t);
	assert_string_equal(text, ">>> AUTH LOGIN\n>>> (password)\n"
	    "<<< 535 (not shown)\n<<< 535 (not shown)\n");
	free(text);
	assert_false(chat_answer(&t.chat, &a));
	assert_non_null(strstr(conn_error(t.chat.conn), "malformed"));
	assert_null(strstr(conn_error(t.chat.conn), "c2V"));
	buf_free(&a.text);
	talk_close(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_one_by_one),
		cmocka_unit_test(test_reused),
		cmocka_unit_test(test_huge),
		cmocka_unit_test(test_no_end),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_heard_after_failed_write),
		cmocka_unit_test(test_in_step),
		cmocka_unit_test(test_exchange_out_of_step),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_code_alone_on_a_line),
		cmocka_unit_test(test_verdict_is_cut),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_discreet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
