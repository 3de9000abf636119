/* SPDX-License-Identifier: ISC */
/*
 * Who gets a place when there are few left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "places.h"

enum { ROOT = 0, OWN = 100, ALICE = 1000, BOB = 1001, CAROL = 1002, DAVE = 1003,
	NET = -1 };

static bool
take(struct places *p, int who)
{
	return places_take(p, who != NET, (uid_t)who);
}

static void
leave(struct places *p, int who)
{
	places_leave(p, who != NET, (uid_t)who);
}

/* How many it gets, up to a thousand. */
static unsigned
take_all(struct places *p, int who)
{
	unsigned count = 0;

	while (count < 1000 && take(p, who))
		count++;
	return count;
}

static void
test_network(void **state)
{
	struct places p;

	(void)state;
	places_open(&p, 100, OWN);
	assert_int_equal(take_all(&p, NET), 98);
	assert_true(take(&p, ALICE));
	assert_true(take(&p, BOB));
	assert_false(take(&p, CAROL));
	assert_true(take(&p, ROOT));
	assert_true(take(&p, OWN));
	assert_false(take(&p, ROOT));
	assert_false(take(&p, OWN));
	leave(&p, OWN);
	assert_false(take(&p, NET));
	assert_true(take(&p, OWN));
	places_free(&p);
}

static void
test_one_user(void **state)
{
	struct places p;

	(void)state;
	places_open(&p, 100, OWN);
	assert_int_equal(take_all(&p, ALICE), 25);
	assert_int_equal(take_all(&p, BOB), 25);
	leave(&p, ALICE);
	assert_false(take(&p, BOB));
	assert_true(take(&p, ALICE));
	assert_false(take(&p, ALICE));
	assert_int_equal(take_all(&p, DAVE), 25);
	assert_int_equal(take_all(&p, NET), 23);
	assert_int_equal(take_all(&p, CAROL), 2);
	assert_int_equal(take_all(&p, ROOT), 2);
	places_free(&p);
}

/* Root may do what it likes, and so may a container's only user. */
static void
test_keepers(void **state)
{
	struct places p;

	(void)state;
	places_open(&p, 100, OWN);
	assert_int_equal(take_all(&p, OWN), 102);
	leave(&p, OWN);
	assert_true(take(&p, ROOT));
	assert_false(take(&p, ALICE));
	places_free(&p);
}

/* All that left can come again, in any order. */
static void
test_coming_and_going(void **state)
{
	static const int people[] = {ALICE, BOB, NET, CAROL, OWN, ROOT};
	struct places p;

	(void)state;
	places_open(&p, 8, OWN);
	for (int round = 0; round < 1000; round++) {
		for (int i = 0; i < 6; i++)
			assert_true(take(&p, people[i]));
		for (int i = 0; i < 6; i++)
			leave(&p, people[(i + round) % 6]);
	}
	assert_int_equal(p.taken, 0);
	assert_int_equal(p.count, 0);
	assert_int_equal(take_all(&p, ALICE), 2);
	places_free(&p);
}

/* Even the smallest number leaves a user two. */
static void
test_few(void **state)
{
	struct places p;

	(void)state;
	places_open(&p, 3, OWN);
	assert_int_equal(take_all(&p, NET), 1);
	assert_int_equal(take_all(&p, ALICE), 2);
	assert_int_equal(take_all(&p, ROOT), 2);
	places_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_network),
		cmocka_unit_test(test_one_user),
		cmocka_unit_test(test_keepers),
		cmocka_unit_test(test_coming_and_going),
		cmocka_unit_test(test_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
