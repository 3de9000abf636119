/* SPDX-License-Identifier: ISC */
/*
 * What a relay's reply means at each stage (rules 4, 5 and 6 of the forwarder;
 * UX-05, UX-15, UX-16, UX-28, UX-47; the 421, 451, 550 and 3xx rows of the
 * matrix), enhanced codes, and what a waiting client hears of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "reply.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct judge_case {
	enum stage stage;
	int code;
	const char *text;
	enum outcome outcome;
	enum scope scope;
};

static const struct judge_case judge_cases[] = {
	/* a yes */
	{STAGE_BANNER, 220, "relay ESMTP", SENT, SCOPE_UPSTREAM},
	{STAGE_HELLO, 250, "relay", SENT, SCOPE_UPSTREAM},
	{STAGE_TLS, 220, "go", SENT, SCOPE_UPSTREAM},
	{STAGE_AUTH, 235, "2.7.0 ok", SENT, SCOPE_UPSTREAM},
	{STAGE_MAIL, 250, "2.1.0 ok", SENT, SCOPE_UPSTREAM},
	{STAGE_RCPT, 250, "2.1.5 ok", SENT, SCOPE_UPSTREAM},
	{STAGE_RCPT, 251, "will forward", SENT, SCOPE_UPSTREAM},
	{STAGE_DATA, 354, "go", SENT, SCOPE_UPSTREAM},
	{STAGE_END, 250, "2.0.0 queued", SENT, SCOPE_UPSTREAM},
	/* a yes in the wrong place is none (UX-05, UX-28) */
	{STAGE_BANNER, 354, "go", LATER, SCOPE_UPSTREAM},
	{STAGE_HELLO, 354, "go", LATER, SCOPE_UPSTREAM},
	{STAGE_TLS, 354, "go", LATER, SCOPE_UPSTREAM},
	{STAGE_AUTH, 334, "VXNlcm5hbWU6", LATER, SCOPE_UPSTREAM},
	{STAGE_MAIL, 354, "go", LATER, SCOPE_MESSAGE},
	{STAGE_RCPT, 354, "go", LATER, SCOPE_RECIPIENT},
	{STAGE_DATA, 250, "ok", LATER, SCOPE_MESSAGE},
	{STAGE_END, 354, "go", LATER, SCOPE_MESSAGE},
	/* refused before MAIL: the upstream's trouble */
	{STAGE_BANNER, 421, "4.3.2 busy", LATER, SCOPE_UPSTREAM},
	{STAGE_BANNER, 554, "5.7.1 no", LATER, SCOPE_UPSTREAM},
	{STAGE_HELLO, 451, "wait", LATER, SCOPE_UPSTREAM},
	{STAGE_HELLO, 501, "bad name", LATER, SCOPE_UPSTREAM},
	{STAGE_HELLO, 550, "no", LATER, SCOPE_UPSTREAM},
	{STAGE_TLS, 454, "4.7.0 no TLS now", LATER, SCOPE_UPSTREAM},
	{STAGE_TLS, 550, "no", LATER, SCOPE_UPSTREAM},
	{STAGE_AUTH, 421, "bye", LATER, SCOPE_UPSTREAM},
	{STAGE_AUTH, 432, "4.7.12 change it", LATER, SCOPE_UPSTREAM},
	{STAGE_AUTH, 454, "4.7.0 try later", LATER, SCOPE_UPSTREAM},
	{STAGE_AUTH, 500, "what?", HOLD, SCOPE_UPSTREAM},
	{STAGE_AUTH, 503, "again?", HOLD, SCOPE_UPSTREAM},
	{STAGE_AUTH, 534, "5.7.9 too weak", HOLD, SCOPE_UPSTREAM},
	{STAGE_AUTH, 535, "5.7.8 no", HOLD, SCOPE_UPSTREAM},
	{STAGE_AUTH, 538, "5.7.11 use TLS", HOLD, SCOPE_UPSTREAM},
	/* temporary behind MAIL */
	{STAGE_MAIL, 421, "4.4.2 bye", LATER, SCOPE_MESSAGE},
	{STAGE_MAIL, 451, "4.7.1 grey", LATER, SCOPE_MESSAGE},
	{STAGE_RCPT, 421, "bye", LATER, SCOPE_MESSAGE},
	{STAGE_RCPT, 450, "4.2.1 busy", LATER, SCOPE_RECIPIENT},
	{STAGE_RCPT, 451, "4.7.1 grey", LATER, SCOPE_RECIPIENT},
	{STAGE_RCPT, 452, "4.5.3 too many", LATER, SCOPE_RECIPIENT},
	{STAGE_DATA, 421, "bye", LATER, SCOPE_MESSAGE},
	{STAGE_DATA, 451, "no", LATER, SCOPE_MESSAGE},
	{STAGE_BODY, 421, "bye", LATER, SCOPE_MESSAGE},
	{STAGE_BODY, 452, "full", LATER, SCOPE_MESSAGE},
	{STAGE_END, 421, "bye", LATER, SCOPE_MESSAGE},
	{STAGE_END, 451, "no", LATER, SCOPE_MESSAGE},
	/* final */
	{STAGE_MAIL, 550, "5.7.1 no", NEVER, SCOPE_MESSAGE},
	{STAGE_MAIL, 552, "5.3.4 too big", NEVER, SCOPE_MESSAGE},
	{STAGE_RCPT, 550, "5.1.1 nobody", NEVER, SCOPE_RECIPIENT},
	{STAGE_RCPT, 550, "5.7.1 relaying denied", NEVER, SCOPE_RECIPIENT},
	{STAGE_RCPT, 553, "", NEVER, SCOPE_RECIPIENT},
	{STAGE_DATA, 554, "5.5.1 no", NEVER, SCOPE_MESSAGE},
	{STAGE_BODY, 552, "5.3.4 too big", NEVER, SCOPE_MESSAGE},
	{STAGE_END, 550, "5.6.0 no", NEVER, SCOPE_MESSAGE},
	{STAGE_END, 554, "spam", NEVER, SCOPE_MESSAGE},
	/* of our own login or order, not of the message (UX-47) */
	{STAGE_MAIL, 530, "5.7.0 TLS first", HOLD, SCOPE_UPSTREAM},
	{STAGE_MAIL, 530, "", HOLD, SCOPE_UPSTREAM},
	{STAGE_RCPT, 530, "5.7.1 log in", HOLD, SCOPE_UPSTREAM},
	{STAGE_RCPT, 535, "no", HOLD, SCOPE_UPSTREAM},
	{STAGE_DATA, 534, "no", HOLD, SCOPE_UPSTREAM},
	{STAGE_END, 538, "no", HOLD, SCOPE_UPSTREAM},
	{STAGE_MAIL, 554, "5.7.8 log in", HOLD, SCOPE_UPSTREAM},
	{STAGE_RCPT, 550, "5.7.8", HOLD, SCOPE_UPSTREAM},
	{STAGE_MAIL, 503, "5.5.1 order", LATER, SCOPE_MESSAGE},
	{STAGE_RCPT, 503, "5.5.1 order", LATER, SCOPE_RECIPIENT},
	{STAGE_DATA, 503, "5.5.1 order", LATER, SCOPE_MESSAGE},
	/* what only looks like 5.7.8 */
	{STAGE_RCPT, 550, "5.7.80 x", NEVER, SCOPE_RECIPIENT},
	{STAGE_RCPT, 550, "5.7.8x", NEVER, SCOPE_RECIPIENT},
	{STAGE_RCPT, 550, "see 5.7.8", NEVER, SCOPE_RECIPIENT},
	{STAGE_RCPT, 550, "4.7.8 x", NEVER, SCOPE_RECIPIENT},
	{STAGE_RCPT, 450, "5.7.8 x", LATER, SCOPE_RECIPIENT},
};

static void
test_judge(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(judge_cases); i++) {
		const struct judge_case *t = &judge_cases[i];
		struct verdict v;

		memset(&v, 0xa5, sizeof(v));
		reply_judge(&v, t->stage, t->code, t->text);
		if (v.outcome != t->outcome || v.scope != t->scope)
			fail_msg("%s: %d %s: %s, scope %d",
			    stage_name(t->stage), t->code, t->text,
			    outcome_name(v.outcome), (int)v.scope);
		assert_int_equal(v.stage, t->stage);
		assert_int_equal(v.code, t->code);
		assert_false(v.maybe_delivered);
		assert_false(v.cut_short);
		assert_int_equal(v.pause, 0);
		if (t->outcome == SENT)
			assert_null(v.hint);
		if (t->outcome == HOLD ||
		    (t->stage == STAGE_HELLO && t->outcome != SENT))
			assert_non_null(v.hint);
	}
}

/* Nothing before MAIL can bounce a message (rule 6). */
static void
test_before_mail(void **state)
{
	static const char *const texts[] = {"", "5.1.1 no", "5.7.8 no", "x"};

	(void)state;
	for (enum stage stage = STAGE_CONNECT; stage < STAGE_MAIL; stage++)
		for (int code = 0; code < 1000; code++) {
			struct verdict v;

			reply_judge(&v, stage, code, texts[code % 4]);
			assert_int_not_equal(v.outcome, NEVER);
			assert_int_not_equal(v.outcome, WAITING);
			assert_int_equal(v.scope, SCOPE_UPSTREAM);
			assert_int_equal(v.outcome == SENT, code / 100 == 2);
		}
}

/* Behind it, 5xx and nothing else is final, but for a few (rule 5). */
static void
test_behind_mail(void **state)
{
	(void)state;
	for (enum stage stage = STAGE_MAIL; stage <= STAGE_END; stage++)
		for (int code = 200; code < 600; code++) {
			bool ours = code == 503 || code == 530 ||
			    code == 534 || code == 535 || code == 538;
			struct verdict v;

			reply_judge(&v, stage, code, "5.0.0 x");
			assert_int_equal(v.outcome == NEVER,
			    code >= 500 && !ours);
			assert_int_equal(v.outcome == SENT,
			    code / 100 == (stage == STAGE_DATA ? 3 : 2));
			reply_judge(&v, stage, code, "5.7.8 x");
			assert_int_not_equal(v.outcome, NEVER);
		}
}

static void
test_enhanced(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {
		{"2.0.0 ok", 5}, {"4.7.1 x", 5}, {"5.1.1", 5},
		{"5.7.509 x", 7}, {"5.123.123 x", 9}, {"5.1.1  x", 5},
		{"", 0}, {"5", 0}, {"5.", 0}, {"5.1", 0}, {"5.1.", 0},
		{"5..1 x", 0}, {".5.1 x", 0}, {"3.0.0 x", 0}, {"1.2.3 x", 0},
		{"55.1.1 x", 0}, {"5.1.1x", 0}, {"5.1.1.1 x", 0},
		{"5.1.1: x", 0}, {"5.1234.1 x", 0}, {"5.1.1234 x", 0},
		{" 5.1.1 x", 0}, {"<5.1.1> x", 0}, {"5,1,1 x", 0},
		{"5 1 1 x", 0}, {"5.a.1 x", 0}, {"5.-1.1 x", 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (reply_enhanced(cases[i].text) != cases[i].len)
			fail_msg("\"%s\": %zu", cases[i].text,
			    reply_enhanced(cases[i].text));
}

struct client_case {
	enum outcome outcome;
	enum scope scope;
	int code;
	const char *text, *reply;
};

static const struct client_case client_cases[] = {
	{SENT, SCOPE_UPSTREAM, 250, "2.0.0 Ok: queued as 4F",
	    "250 2.0.0 ID sent: Ok: queued as 4F"},
	{SENT, SCOPE_UPSTREAM, 250, "Ok", "250 2.0.0 ID sent: Ok"},
	{SENT, SCOPE_UPSTREAM, 250, "", "250 2.0.0 ID sent: "},
	{SENT, SCOPE_UPSTREAM, 252, "2.5.0 maybe", "250 2.0.0 ID sent: maybe"},
	/* repeated */
	{LATER, SCOPE_RECIPIENT, 450, "4.2.1 x", "450 4.2.1 x"},
	{LATER, SCOPE_MESSAGE, 451, "4.7.1 x", "451 4.7.1 x"},
	{LATER, SCOPE_RECIPIENT, 452, "4.5.3 x", "452 4.5.3 x"},
	{NEVER, SCOPE_RECIPIENT, 550, "5.1.1 x", "550 5.1.1 x"},
	{NEVER, SCOPE_RECIPIENT, 551, "5.1.6 x", "551 5.1.6 x"},
	{NEVER, SCOPE_MESSAGE, 552, "5.3.4 x", "552 5.3.4 x"},
	{NEVER, SCOPE_RECIPIENT, 553, "5.1.3 x", "553 5.1.3 x"},
	{NEVER, SCOPE_MESSAGE, 554, "5.6.0 x", "554 5.6.0 x"},
	/* mapped */
	{LATER, SCOPE_MESSAGE, 421, "4.4.2 x", "451 4.4.2 x"},
	{LATER, SCOPE_MESSAGE, 400, "4.0.0 x", "451 4.0.0 x"},
	{LATER, SCOPE_MESSAGE, 449, "4.0.0 x", "451 4.0.0 x"},
	{LATER, SCOPE_MESSAGE, 453, "4.0.0 x", "451 4.0.0 x"},
	{LATER, SCOPE_MESSAGE, 499, "4.0.0 x", "451 4.0.0 x"},
	{NEVER, SCOPE_MESSAGE, 500, "5.5.2 x", "554 5.5.2 x"},
	{NEVER, SCOPE_MESSAGE, 521, "5.3.2 x", "554 5.3.2 x"},
	{NEVER, SCOPE_MESSAGE, 549, "5.0.1 x", "554 5.0.1 x"},
	{NEVER, SCOPE_MESSAGE, 555, "5.5.4 x", "554 5.5.4 x"},
	{NEVER, SCOPE_MESSAGE, 599, "5.0.1 x", "554 5.0.1 x"},
	{NEVER, SCOPE_MESSAGE, 0, "5.1.3 x", "554 5.1.3 x"},
	/* our outcome decides, not the relay's class */
	{LATER, SCOPE_MESSAGE, 503, "5.5.1 x", "451 4.4.2 x"},
	{HOLD, SCOPE_UPSTREAM, 535, "5.7.8 x", "451 4.7.0 x"},
	{HOLD, SCOPE_UPSTREAM, 550, "x", "451 4.7.0 x"},
	{LATER, SCOPE_UPSTREAM, 554, "5.7.1 x", "451 4.4.1 x"},
	{LATER, SCOPE_UPSTREAM, 250, "2.0.0 x", "451 4.4.1 x"},
	{WAITING, SCOPE_UPSTREAM, 0, "x", "451 4.4.1 x"},
	/* without an enhanced code, or with one of the wrong class */
	{LATER, SCOPE_UPSTREAM, 0, "connect: x", "451 4.4.1 connect: x"},
	{LATER, SCOPE_MESSAGE, 0, "lost", "451 4.4.2 lost"},
	{LATER, SCOPE_RECIPIENT, 450, "5.1.1 x", "450 4.4.2 x"},
	{NEVER, SCOPE_RECIPIENT, 550, "no", "550 5.0.0 no"},
	{NEVER, SCOPE_RECIPIENT, 550, "4.1.1 x", "550 5.0.0 x"},
	{NEVER, SCOPE_RECIPIENT, 550, "2.1.1 x", "550 5.0.0 x"},
	{NEVER, SCOPE_RECIPIENT, 550, "5.1.1", "550 5.1.1 "},
	{NEVER, SCOPE_RECIPIENT, 550, "5.1.1  x", "550 5.1.1  x"},
	{NEVER, SCOPE_RECIPIENT, 550, "", "550 5.0.0 "},
	/* one line, printable */
	{NEVER, SCOPE_RECIPIENT, 550, "5.1.1 \x1b[31m\r\n250 \xc3\xa4\x7f",
	    "550 5.1.1 ?[31m??250 ???"},
	{SENT, SCOPE_UPSTREAM, 250, "a\tb\x80", "250 2.0.0 ID sent: a?b?"},
};

static void
test_to_client(void **state)
{
	struct buf out = {0};

	(void)state;
	buf_adds(&out, "what was there before");
	for (size_t i = 0; i < COUNT(client_cases); i++) {
		const struct client_case *t = &client_cases[i];
		struct verdict v = {.outcome = t->outcome,
			.scope = t->scope, .code = t->code};

		snprintf(v.text, sizeof(v.text), "%s", t->text);
		reply_to_client(&out, &v, "ID");
		assert_string_equal(out.data, t->reply);
	}
	buf_free(&out);
}

/* Whoever hears this should not send another copy at once. */
static void
test_to_client_maybe(void **state)
{
	struct verdict v = {.outcome = LATER, .scope = SCOPE_MESSAGE,
		.stage = STAGE_END, .maybe_delivered = true,
		.text = "end of data: timed out"};
	struct buf out = {0};

	(void)state;
	reply_to_client(&out, &v, "ID");
	assert_string_equal(out.data, "451 4.4.2 " REPLY_MAY_BE_DELIVERED
	    "end of data: timed out");
	buf_free(&out);
}

static void
test_to_client_is_cut(void **state)
{
	static const char *const codes[] = {"5.1.1 ", "", "4.0.0 "};
	struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < COUNT(codes); i++) {
		struct verdict v = {.outcome = NEVER, .code = 550};
		size_t len = strlen(codes[i]);

		memset(v.text, 'x', sizeof(v.text) - 1);
		memcpy(v.text, codes[i], len);
		reply_to_client(&out, &v, "ID");
		assert_int_equal(out.len, strlen("550 5.1.1 ") + 400);
		assert_int_equal(strspn(out.data + 10, "x"), 400);
	}
	buf_free(&out);
}

/* Every reply is one that a client may hear, with a code of one class. */
static void
test_to_client_is_sane(void **state)
{
	static const enum outcome outcomes[] = {LATER, HOLD, NEVER};
	struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < 3; i++)
		for (int code = 0; code < 600; code++) {
			struct verdict v = {
				.outcome = outcomes[i], .code = code};
			bool never = v.outcome == NEVER;
			int said, class;

			snprintf(v.text, sizeof(v.text), "%d.1.1 x",
			    code % 8);
			reply_to_client(&out, &v, "ID");
			assert_int_equal(sscanf(out.data, "%3d %d.", &said,
			    &class), 2);
			assert_true(never ? said >= 550 && said <= 554
					  : said >= 450 && said <= 452);
			assert_int_equal(class, said / 100);
			if (code >= (never ? 550 : 450) &&
			    code <= (never ? 554 : 452))
				assert_int_equal(said, code);
		}
	buf_free(&out);
}

static void
test_verdict_set(void **state)
{
	struct verdict v;
	char longer[1000];

	(void)state;
	memset(&v, 0xa5, sizeof(v));
	verdict_set(&v, LATER, SCOPE_MESSAGE, STAGE_BODY, "%s %d",
	    "a\nb\x1b\xe4\x7f~ ", 7);
	assert_int_equal(v.outcome, LATER);
	assert_int_equal(v.scope, SCOPE_MESSAGE);
	assert_int_equal(v.stage, STAGE_BODY);
	assert_int_equal(v.code, 0);
	assert_false(v.maybe_delivered);
	assert_false(v.cut_short);
	assert_null(v.hint);
	assert_string_equal(v.text, "a?b???~  7");
	memset(longer, 'x', sizeof(longer));
	verdict_set(&v, LATER, SCOPE_MESSAGE, STAGE_BODY, "%.999s", longer);
	assert_int_equal(strlen(v.text), sizeof(v.text) - 1);
}

static void
test_names(void **state)
{
	(void)state;
	assert_string_equal(outcome_name(WAITING), "waiting");
	assert_string_equal(outcome_name(SENT), "sent");
	assert_string_equal(outcome_name(LATER), "later");
	assert_string_equal(outcome_name(HOLD), "hold");
	assert_string_equal(outcome_name(NEVER), "never");
	assert_string_equal(stage_name(STAGE_CONNECT), "connect");
	assert_string_equal(stage_name(STAGE_MAIL), "MAIL FROM");
	assert_string_equal(stage_name(STAGE_END), "end of data");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_before_mail),
		cmocka_unit_test(test_behind_mail),
		cmocka_unit_test(test_enhanced),
		cmocka_unit_test(test_to_client),
		cmocka_unit_test(test_to_client_maybe),
		cmocka_unit_test(test_to_client_is_cut),
		cmocka_unit_test(test_to_client_is_sane),
		cmocka_unit_test(test_verdict_set),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
