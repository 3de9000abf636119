/* SPDX-License-Identifier: ISC */
/*
 * When an upstream is away and when it is tried again: the probes and their
 * times (LO-04), refused logins (UX-15), connections lost behind MAIL, and
 * what is not held against it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "health.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { MINUTE = 60 * 1000 };

static const int64_t start = INT64_C(1000000);

static const struct verdict away = {
	.outcome = LATER, .scope = SCOPE_UPSTREAM, .stage = STAGE_CONNECT,
	.text = "connect: refused"};
static const struct verdict bad_login = {
	.outcome = HOLD, .scope = SCOPE_UPSTREAM, .stage = STAGE_AUTH,
	.code = 535, .text = "5.7.8 no"};
static const struct verdict lost = {
	.outcome = LATER, .scope = SCOPE_MESSAGE, .stage = STAGE_DATA,
	.text = "connection closed"};
static const struct verdict sent = {
	.outcome = SENT, .scope = SCOPE_UPSTREAM, .stage = STAGE_END,
	.code = 250, .text = "2.0.0 ok"};
static const struct verdict impatient = {
	.outcome = LATER, .scope = SCOPE_MESSAGE, .stage = STAGE_CONNECT,
	.cut_short = true, .text = "not reached in direct_wait"};

/* The upstream is down, and may be tried at that time and not before. */
static void
check_next_try(struct health *h, int64_t now, int64_t when)
{
	assert_true(h->down);
	assert_false(health_may_try(h, now));
	assert_false(health_may_try(h, when - 1));
	assert_true(health_may_try(h, when));
}

static void
test_probe_times(void **state)
{
	static const int minutes[] = {1, 2, 4, 8, 10, 10, 10, 10};
	struct health h;
	int64_t now = start;

	(void)state;
	health_init(&h, true);
	assert_true(health_may_try(&h, now));
	assert_int_equal(health_saw(&h, &away, "a", now), HEALTH_WENT_DOWN);
	assert_string_equal(h.reason, "connect: refused");
	for (size_t i = 0; i < COUNT(minutes); i++) {
		check_next_try(&h, now, now + minutes[i] * MINUTE);
		now += minutes[i] * MINUTE + 1234;
		assert_int_equal(health_saw(&h, &away, "a", now),
		    HEALTH_AS_BEFORE);
	}
}

/* However long it has been away, the pause never overflows or shrinks. */
static void
test_away_for_long(void **state)
{
	struct health h;

	(void)state;
	health_init(&h, true);
	for (int i = 0; i < 100000; i++) {
		assert_true(health_may_try(&h, start + 360 * MINUTE));
		health_saw(&h, i % 2 ? &away : &bad_login, "a", start);
	}
	check_next_try(&h, start, start + 360 * MINUTE);
	health_init(&h, false);
	for (int i = 0; i < 100000; i++) {
		assert_true(health_may_try(&h, start + 10 * MINUTE));
		health_saw(&h, &away, "a", start);
	}
	check_next_try(&h, start, start + 10 * MINUTE);
}

static void
test_one_probe_at_a_time(void **state)
{
	struct health h;

	(void)state;
	health_init(&h, true);
	assert_true(health_may_try(&h, start)); /* up: everybody may */
	assert_true(health_may_try(&h, start));
	health_saw(&h, &away, "a", start);
	assert_true(health_may_try(&h, start + MINUTE));
	assert_false(health_may_try(&h, start + MINUTE));
	assert_false(health_may_try(&h, start + 60 * MINUTE));
	health_probe_ended(&h); /* given up without a result */
	assert_true(health_may_try(&h, start + MINUTE));
	assert_false(health_may_try(&h, start + MINUTE));
	health_saw(&h, &away, "b", start + MINUTE);
	assert_false(health_may_try(&h, start + 3 * MINUTE - 1));
	assert_true(health_may_try(&h, start + 3 * MINUTE));
}

static void
test_success_clears(void **state)
{
	struct health h;

	(void)state;
	health_init(&h, true);
	assert_int_equal(health_saw(&h, &sent, "a", start), HEALTH_AS_BEFORE);
	for (int i = 0; i < 7; i++)
		health_saw(&h, &bad_login, "a", start);
	assert_int_equal(health_saw(&h, &sent, "b", start), HEALTH_CAME_UP);
	assert_false(h.down);
	assert_true(health_may_try(&h, start));
	assert_true(health_may_try(&h, start));
	assert_int_equal(health_saw(&h, &sent, "c", start), HEALTH_AS_BEFORE);

	/* it begins anew, for connections and for logins */
	assert_int_equal(health_saw(&h, &away, "d", start), HEALTH_WENT_DOWN);
	check_next_try(&h, start, start + MINUTE);
	health_saw(&h, &sent, "e", start);
	health_saw(&h, &bad_login, "f", start);
	check_next_try(&h, start, start + MINUTE);
}

/* An answer about the message shows that the upstream is there. */
static void
test_refusals_clear(void **state)
{
	static const struct {
		enum outcome outcome;
		enum scope scope;
		enum stage stage;
		int code;
	} cases[] = {
		{NEVER, SCOPE_RECIPIENT, STAGE_RCPT, 550},
		{LATER, SCOPE_RECIPIENT, STAGE_RCPT, 450},
		{NEVER, SCOPE_MESSAGE, STAGE_MAIL, 550},
		{LATER, SCOPE_MESSAGE, STAGE_MAIL, 451},
		{NEVER, SCOPE_MESSAGE, STAGE_END, 554},
		{LATER, SCOPE_MESSAGE, STAGE_END, 451},
		{HOLD, SCOPE_SENDER, STAGE_MAIL, 553},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct verdict v = {.outcome = cases[i].outcome,
			.scope = cases[i].scope, .stage = cases[i].stage,
			.code = cases[i].code};
		struct health h;

		health_init(&h, true);
		assert_int_equal(health_saw(&h, &v, "a", start),
		    HEALTH_AS_BEFORE);
		assert_false(h.down);
		health_saw(&h, &away, "b", start);
		assert_int_equal(health_saw(&h, &v, "a", start),
		    HEALTH_CAME_UP);
		assert_false(h.down);
	}
}

/* Everything that is said of the upstream puts it down. */
static void
test_blamed(void **state)
{
	static const struct {
		enum outcome outcome;
		enum stage stage;
		int code;
	} cases[] = {
		{LATER, STAGE_CONNECT, 0}, {LATER, STAGE_BANNER, 554},
		{LATER, STAGE_HELLO, 421}, {LATER, STAGE_TLS, 0},
		{LATER, STAGE_AUTH, 454}, {HOLD, STAGE_AUTH, 535},
		{HOLD, STAGE_MAIL, 530}, {HOLD, STAGE_RCPT, 530},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct verdict v = {.outcome = cases[i].outcome,
			.scope = SCOPE_UPSTREAM, .stage = cases[i].stage,
			.code = cases[i].code};
		struct health h;

		health_init(&h, true);
		assert_int_equal(health_saw(&h, &v, "a", start),
		    HEALTH_WENT_DOWN);
		check_next_try(&h, start, start + MINUTE);
	}
}

static void
test_refused_logins(void **state)
{
	static const int with_spool[] = {
		1, 15, 30, 60, 120, 240, 360, 360, 360};
	static const int without[] = {1, 15, 15, 15, 15, 15, 15, 15, 15};

	(void)state;
	for (int keeps_mail = 0; keeps_mail < 2; keeps_mail++) {
		const int *minutes = keeps_mail ? with_spool : without;
		int64_t now = start;
		struct health h;

		health_init(&h, keeps_mail);
		for (size_t i = 0; i < COUNT(without); i++) {
			health_saw(&h, &bad_login, "a", now);
			check_next_try(&h, now, now + minutes[i] * MINUTE);
			now += minutes[i] * MINUTE;
		}
	}
}

/* A temporary failure of AUTH says nothing about the password. */
static void
test_login_later(void **state)
{
	struct verdict v = bad_login;
	struct health h;

	(void)state;
	v.outcome = LATER;
	v.code = 454;
	health_init(&h, true);
	health_saw(&h, &v, "a", start);
	check_next_try(&h, start, start + MINUTE);
	health_saw(&h, &v, "a", start + MINUTE);
	check_next_try(&h, start + MINUTE, start + 3 * MINUTE);
}

static void
test_lost_behind_mail(void **state)
{
	struct verdict told = lost;
	struct health h;

	(void)state;
	told.code = 421;
	for (int i = 0; i < 4; i++) {
		const struct verdict *first = i & 1 ? &lost : &told;
		const struct verdict *second = i & 2 ? &lost : &told;

		health_init(&h, true);
		assert_int_equal(health_saw(&h, first, "a", start),
		    HEALTH_AS_BEFORE);
		assert_false(h.down);
		/* the same message again: its own fault */
		assert_int_equal(health_saw(&h, second, "a", start),
		    HEALTH_AS_BEFORE);
		assert_false(h.down);
		assert_int_equal(health_saw(&h, second, "b", start),
		    HEALTH_WENT_DOWN);
		check_next_try(&h, start, start + MINUTE);
	}
}

/* What went through in between has cleared the suspicion. */
static void
test_lost_and_sent(void **state)
{
	struct health h;

	(void)state;
	health_init(&h, true);
	health_saw(&h, &lost, "a", start);
	health_saw(&h, &sent, "b", start);
	assert_int_equal(health_saw(&h, &lost, "c", start), HEALTH_AS_BEFORE);
	assert_false(h.down);
	assert_int_equal(health_saw(&h, &lost, "d", start), HEALTH_WENT_DOWN);
}

/* A probe that is lost behind MAIL does not show that all is well. */
static void
test_lost_probe(void **state)
{
	struct health h;

	(void)state;
	health_init(&h, true);
	health_saw(&h, &away, "a", start);
	assert_true(health_may_try(&h, start + MINUTE));
	assert_int_equal(health_saw(&h, &lost, "b", start + MINUTE),
	    HEALTH_AS_BEFORE);
	assert_true(h.down);
	assert_true(health_may_try(&h, start + MINUTE));
	assert_false(health_may_try(&h, start + MINUTE));
	health_saw(&h, &lost, "c", start + MINUTE);
	check_next_try(&h, start + MINUTE, start + 3 * MINUTE);
}

static void
test_cut_short(void **state)
{
	struct health h;

	(void)state;
	health_init(&h, true);
	for (int i = 0; i < 10; i++) {
		char id[] = {(char)('a' + i), '\0'};

		assert_int_equal(health_saw(&h, &impatient, id, start),
		    HEALTH_AS_BEFORE);
		assert_false(h.down);
	}
	/* nor is it a second message for one that was lost, or the first */
	health_saw(&h, &lost, "x", start);
	health_saw(&h, &impatient, "y", start);
	assert_false(h.down);
	health_init(&h, true);
	health_saw(&h, &impatient, "x", start);
	health_saw(&h, &lost, "y", start);
	assert_false(h.down);

	/* and while it is away it shows nothing, in neither direction */
	health_saw(&h, &away, "z", start);
	assert_int_equal(health_saw(&h, &impatient, "z", start),
	    HEALTH_AS_BEFORE);
	check_next_try(&h, start, start + MINUTE);
}

/* A reply that asks for pauses of its own, at whatever stage. */
static struct verdict
asking(int64_t pause, int64_t pause_max)
{
	return (struct verdict){.outcome = LATER, .scope = SCOPE_UPSTREAM,
		.stage = STAGE_END, .code = 454, .pause = pause,
		.pause_max = pause_max, .text = "slowly"};
}

/* It fails so often, each time when it may be tried again. */
static void
check_pauses(struct health *h, const struct verdict *v, const int *seconds,
    size_t count)
{
	int64_t now = start;

	for (size_t i = 0; i < count; i++) {
		health_saw(h, v, "a", now);
		check_next_try(h, now, now + seconds[i] * INT64_C(1000));
		now += seconds[i] * INT64_C(1000);
	}
}

static void
test_pause_asked_for(void **state)
{
	static const int grows[] = {5, 10, 20, 40, 80, 160, 320, 640, 1200,
		1200, 1200};
	static const int stays[] = {3600, 3600, 3600};
	static const int day[] = {90000, 90000};
	static const int usual[] = {60, 120, 240};
	struct verdict slowly = asking(5000, 20 * MINUTE);
	struct verdict hourly = asking(60 * MINUTE, 0);
	struct verdict daily = asking(25 * 60 * MINUTE, 0);
	struct health h;

	(void)state;
	for (int keeps_mail = 0; keeps_mail < 2; keeps_mail++) {
		health_init(&h, keeps_mail);
		check_pauses(&h, &slowly, grows, COUNT(grows));
		/* another wish is another matter, and so is the same again */
		check_pauses(&h, &hourly, stays, COUNT(stays));
		check_pauses(&h, &slowly, grows, COUNT(grows));
		check_pauses(&h, &daily, day, COUNT(day));
		health_saw(&h, &sent, "b", start);
		assert_false(h.down);
		check_pauses(&h, &slowly, grows, COUNT(grows));
		health_saw(&h, &sent, "b", start);
		check_pauses(&h, &away, usual, COUNT(usual));
	}
}

/* The usual in between forgets what was asked for. */
static void
test_pause_asked_for_is_forgotten(void **state)
{
	static const int slow[] = {5, 10, 20};
	static const int usual[] = {480, 600};
	struct verdict slowly = asking(5000, 20 * MINUTE);
	struct health h;

	(void)state;
	health_init(&h, true);
	check_pauses(&h, &slowly, slow, COUNT(slow));
	check_pauses(&h, &away, usual, COUNT(usual));
	check_pauses(&h, &slowly, slow, COUNT(slow));
}

/* A pause that a login asks for is no refused login, and does not end their
 * count. */
static void
test_login_asks(void **state)
{
	static const int hour[] = {3600, 3600};
	static const int login[] = {1800};
	struct verdict credits = asking(60 * MINUTE, 0);
	struct health h;

	(void)state;
	credits.outcome = HOLD;
	credits.stage = STAGE_AUTH;
	credits.code = 451;
	health_init(&h, true);
	health_saw(&h, &bad_login, "a", start);
	assert_true(health_may_try(&h, start + MINUTE));
	health_saw(&h, &bad_login, "a", start + MINUTE);
	assert_true(health_may_try(&h, start + 16 * MINUTE));
	check_pauses(&h, &credits, hour, COUNT(hour));
	check_pauses(&h, &bad_login, login, COUNT(login));

	/* nor is what passes, whatever its code */
	credits.outcome = LATER;
	credits.code = 501;
	credits.pause = 0;
	health_init(&h, true);
	health_saw(&h, &credits, "a", start);
	check_next_try(&h, start, start + MINUTE);
	health_saw(&h, &credits, "a", start + MINUTE);
	check_next_try(&h, start + MINUTE, start + 3 * MINUTE);
}

/* Whether a person has to see to it, and what he may do. */
static void
test_why(void **state)
{
	static const struct verdict quota = {.outcome = HOLD,
		.scope = SCOPE_UPSTREAM, .stage = STAGE_RCPT, .code = 550,
		.hint = "wait", .text = "5.4.5 enough"};
	struct health h;

	(void)state;
	health_init(&h, true);
	assert_int_equal(health_saw(&h, &quota, "a", start), HEALTH_WENT_DOWN);
	assert_int_equal(h.outcome, HOLD);
	assert_string_equal(h.hint, "wait");
	assert_string_equal(h.reason, "5.4.5 enough");
	assert_true(health_may_try(&h, start + MINUTE));
	health_saw(&h, &away, "a", start + MINUTE);
	assert_int_equal(h.outcome, LATER);
	assert_null(h.hint);

	/* a refused login is not forgotten for being away in between */
	health_init(&h, true);
	health_saw(&h, &bad_login, "a", start);
	assert_true(health_may_try(&h, start + MINUTE));
	health_saw(&h, &away, "a", start + MINUTE);
	assert_int_equal(h.outcome, HOLD);
}

/* Google closes with a 421 on a name that it does not like: what may pass
 * once will not pass by itself when it comes again. */
static void
test_refused_hello(void **state)
{
	static const struct verdict hello = {.outcome = LATER,
		.scope = SCOPE_UPSTREAM, .stage = STAGE_HELLO, .code = 421,
		.hint = "set ehlo", .text = "4.7.0 Try again later"};
	struct health h;

	(void)state;
	health_init(&h, true);
	health_saw(&h, &hello, "a", start);
	assert_int_equal(h.outcome, LATER);
	check_next_try(&h, start, start + MINUTE);
	health_saw(&h, &hello, "b", start + MINUTE);
	assert_int_equal(h.outcome, HOLD);
	assert_string_equal(h.hint, "set ehlo");
	check_next_try(&h, start + MINUTE, start + 3 * MINUTE);

	/* a success in between, and it begins anew */
	health_saw(&h, &sent, "c", start + 3 * MINUTE);
	health_saw(&h, &hello, "d", start + 3 * MINUTE);
	assert_int_equal(h.outcome, LATER);
}

/* Those that were under way together when it went away are one failure. */
static void
test_failures_together(void **state)
{
	struct health h;

	(void)state;
	health_init(&h, true);
	for (int i = 0; i < 5; i++)
		health_saw(&h, &away, "a", start + i);
	assert_true(health_may_try(&h, start + MINUTE + 4));

	health_init(&h, true);
	health_saw(&h, &bad_login, "a", start);
	health_saw(&h, &bad_login, "b", start + 1);
	assert_true(health_may_try(&h, start + MINUTE + 1));
}

/* Somebody has mended it: one probe at once, and from the first pause again. */
static void
test_hurried(void **state)
{
	struct health h;
	int64_t now = start;

	(void)state;
	health_init(&h, true);
	for (int i = 0; i < 3; i++) {
		health_saw(&h, &bad_login, "a", now);
		now += 6 * 60 * MINUTE;
		assert_true(health_may_try(&h, now));
	}
	health_saw(&h, &bad_login, "a", now);
	assert_false(health_may_try(&h, now + 15 * MINUTE));
	health_hurry(&h);
	assert_int_equal(health_opens(&h, now), 0);
	assert_true(health_may_try(&h, now));
	assert_false(health_may_try(&h, now));
	health_hurry(&h);
	assert_false(health_may_try(&h, now)); /* it is on its way */
	assert_int_equal(health_saw(&h, &bad_login, "a", now),
	    HEALTH_AS_BEFORE);
	check_next_try(&h, now, now + MINUTE);
	assert_int_equal(health_saw(&h, &sent, "a", now + MINUTE),
	    HEALTH_CAME_UP);
}

/* Somebody cannot wait: one probe more, and the pauses go on growing. */
static void
test_nudged(void **state)
{
	struct health h;

	(void)state;
	health_init(&h, true);
	health_nudge(&h, start);
	assert_true(health_may_try(&h, start));
	health_saw(&h, &away, "a", start);
	health_nudge(&h, start + 5);
	assert_true(health_may_try(&h, start + 5));
	/* while that is under way, no other */
	health_nudge(&h, start + 6);
	assert_false(health_may_try(&h, start + 6));
	health_saw(&h, &away, "a", start + 7);
	check_next_try(&h, start + 7, start + 7 + 2 * MINUTE);
	/* and never later than it would have been */
	health_probe_ended(&h);
	health_nudge(&h, start + 7 + 3 * MINUTE);
	assert_true(health_may_try(&h, start + 7 + 2 * MINUTE));
}

/* What the relay asks for, and what waits for a person, stays. */
static void
test_nudged_in_vain(void **state)
{
	struct verdict asks = away;
	const struct verdict *const cases[] = {&bad_login, &asks};

	(void)state;
	asks.pause = 5 * MINUTE;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct health h;
		int64_t opens;

		health_init(&h, true);
		health_saw(&h, cases[i], "a", start);
		opens = health_opens(&h, start);
		health_nudge(&h, start + 1);
		check_next_try(&h, start + 1, opens);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe_times),
		cmocka_unit_test(test_away_for_long),
		cmocka_unit_test(test_one_probe_at_a_time),
		cmocka_unit_test(test_success_clears),
		cmocka_unit_test(test_refusals_clear),
		cmocka_unit_test(test_blamed),
		cmocka_unit_test(test_refused_logins),
		cmocka_unit_test(test_login_later),
		cmocka_unit_test(test_lost_behind_mail),
		cmocka_unit_test(test_lost_and_sent),
		cmocka_unit_test(test_lost_probe),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_pause_asked_for),
		cmocka_unit_test(test_pause_asked_for_is_forgotten),
		cmocka_unit_test(test_login_asks),
		cmocka_unit_test(test_why),
		cmocka_unit_test(test_refused_hello),
		cmocka_unit_test(test_failures_together),
		cmocka_unit_test(test_hurried),
		cmocka_unit_test(test_nudged),
		cmocka_unit_test(test_nudged_in_vain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
