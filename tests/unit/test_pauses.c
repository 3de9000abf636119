/* SPDX-License-Identifier: ISC */
/*
 * Senders whom the relay does not let send: how long each waits, that one
 * refusal counts once however many attempts were under way, and that others
 * are not held up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pauses.h"

enum { MINUTE = 60 * 1000, MANY = 1000 };

static const int64_t start = 123456789;

static struct verdict
refusal(const char *text)
{
	struct verdict v;

	verdict_set(&v, HOLD, SCOPE_SENDER, STAGE_END, "%s", text);
	v.code = 554;
	return v;
}

static void
add(struct pauses *p, const char *sender, int64_t now)
{
	struct verdict v = refusal(sender);

	pauses_add(p, sender, &v, now);
}

/* Until when the sender waits; 0: it may be tried. */
static int64_t
held_until(struct pauses *p, const char *sender, int64_t now)
{
	struct verdict v = {.outcome = SENT};
	int64_t until = 0;

	if (!pauses_hold(p, sender, now, &until, &v)) {
		assert_int_equal(until, 0);
		assert_int_equal(v.outcome, SENT); /* untouched */
		return 0;
	}
	assert_true(until > now);
	assert_int_equal(v.outcome, HOLD);
	assert_int_equal(v.scope, SCOPE_SENDER);
	assert_int_equal(v.code, 554);
	assert_string_equal(v.text, sender);
	return until;
}

static void
nobody_waits_at_first(void **state)
{
	struct pauses p = {0};

	(void)state;
	assert_int_equal(held_until(&p, "a@x", start), 0);
	pauses_end(&p, "a@x");
	pauses_clear(&p);
	assert_int_equal(p.count, 0);
}

static void
only_that_sender_waits(void **state)
{
	struct pauses p = {0};

	(void)state;
	add(&p, "a@x", start);
	add(&p, "", start + 1);
	assert_int_equal(held_until(&p, "a@x", start), start + 15 * MINUTE);
	assert_int_equal(held_until(&p, "", start + 1),
	    start + 1 + 15 * MINUTE);
	assert_int_equal(held_until(&p, "a@", start), 0);
	assert_int_equal(held_until(&p, "a@xy", start), 0);
	assert_int_equal(held_until(&p, "A@x", start), 0);
	pauses_clear(&p);
}

static void
it_may_be_tried_when_the_pause_is_over(void **state)
{
	struct pauses p = {0};
	const int64_t end = start + 15 * MINUTE;

	(void)state;
	add(&p, "a@x", start);
	assert_int_equal(held_until(&p, "a@x", end - 1), end);
	assert_int_equal(held_until(&p, "a@x", end), 0);
	assert_int_equal(held_until(&p, "a@x", end + 1), 0);
	pauses_clear(&p);
}

/* 15, 30, 60 and then always 60 minutes, if it is refused as soon as it is
 * tried again. */
static void
the_pause_doubles_up_to_an_hour(void **state)
{
	static const int64_t minutes[] = {15, 30, 60, 60, 60};
	struct pauses p = {0};
	int64_t now = start;

	(void)state;
	for (size_t i = 0; i < sizeof(minutes) / sizeof(minutes[0]); i++) {
		add(&p, "a@x", now);
		assert_int_equal(held_until(&p, "a@x", now),
		    now + minutes[i] * MINUTE);
		now += minutes[i] * MINUTE;
	}
	assert_int_equal(p.count, 1);
	pauses_clear(&p);
}

static void
one_refusal_a_pause(void **state)
{
	const int64_t end = start + 15 * MINUTE;
	struct verdict other = refusal("another text");
	struct pauses p = {0};

	(void)state;
	for (int i = 0; i < 10; i++)
		add(&p, "a@x", start + i * MINUTE);
	assert_int_equal(held_until(&p, "a@x", start), end);
	pauses_add(&p, "a@x", &other, end - 1);
	assert_int_equal(held_until(&p, "a@x", end - 1), end);
	add(&p, "a@x", end); /* that one is news */
	assert_int_equal(held_until(&p, "a@x", end), end + 30 * MINUTE);
	pauses_clear(&p);
}

/* What the relay says last is what is repeated. */
static void
the_last_refusal_is_told(void **state)
{
	struct verdict first = refusal("first"), second = refusal("second"), v;
	struct pauses p = {0};
	int64_t until;

	(void)state;
	pauses_add(&p, "a@x", &first, start);
	assert_true(pauses_hold(&p, "a@x", start, &until, &v));
	assert_string_equal(v.text, "first");
	pauses_add(&p, "a@x", &second, until);
	assert_true(pauses_hold(&p, "a@x", until, &until, &v));
	assert_string_equal(v.text, "second");
	pauses_clear(&p);
}

static void
a_message_that_is_taken_ends_it(void **state)
{
	struct pauses p = {0};

	(void)state;
	add(&p, "a@x", start);
	add(&p, "a@x", start + 15 * MINUTE); /* 30 minutes now */
	add(&p, "b@x", start);
	pauses_end(&p, "a@x");
	pauses_end(&p, "a@x");
	assert_int_equal(p.count, 1);
	assert_int_equal(held_until(&p, "a@x", start + 16 * MINUTE), 0);
	assert_int_equal(held_until(&p, "b@x", start), start + 15 * MINUTE);
	add(&p, "a@x", start + 20 * MINUTE); /* and it begins anew */
	assert_int_equal(held_until(&p, "a@x", start + 20 * MINUTE),
	    start + 35 * MINUTE);
	pauses_clear(&p);
	assert_int_equal(p.count, 0);
	assert_null(p.first);
}

static void
removal_anywhere(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d"};

	(void)state;
	for (size_t gone = 0; gone < 4; gone++) {
		struct pauses p = {0};

		for (size_t i = 0; i < 4; i++)
			add(&p, names[i], start);
		pauses_end(&p, names[gone]);
		for (size_t i = 0; i < 4; i++)
			assert_int_equal(held_until(&p, names[i], start) != 0,
			    i != gone);
		pauses_clear(&p);
	}
}

/* A thousand senders are known; one more, and the oldest is not. */
static void
one_more_than_a_thousand(void **state)
{
	struct pauses p = {0};
	char name[16];

	(void)state;
	for (int i = 0; i < MANY + 3; i++) {
		snprintf(name, sizeof(name), "%d@x", i);
		add(&p, name, start + i);
	}
	assert_int_equal(p.count, MANY);
	for (int i = 0; i < MANY + 3; i++) {
		snprintf(name, sizeof(name), "%d@x", i);
		assert_int_equal(held_until(&p, name, start + i) != 0, i >= 3);
	}
	/* one that is there already takes nobody's place */
	add(&p, "3@x", start + 20 * MINUTE);
	assert_int_equal(p.count, MANY);
	assert_true(held_until(&p, "4@x", start + 4) != 0);
	pauses_clear(&p);
	pauses_clear(&p);
	assert_int_equal(p.count, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_waits_at_first),
		cmocka_unit_test(only_that_sender_waits),
		cmocka_unit_test(it_may_be_tried_when_the_pause_is_over),
		cmocka_unit_test(the_pause_doubles_up_to_an_hour),
		cmocka_unit_test(one_refusal_a_pause),
		cmocka_unit_test(the_last_refusal_is_told),
		cmocka_unit_test(a_message_that_is_taken_ends_it),
		cmocka_unit_test(removal_anywhere),
		cmocka_unit_test(one_more_than_a_thousand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
