/* SPDX-License-Identifier: ISC */
/*
 * Which messages are known: the table against a plain list, with keys that
 * want the same place, clusters that go on at the table's other end, and
 * removals from the middle of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "message.h"
#include "roster.h"

enum { POOL = 2000, STEPS = 100000 };

static void
make_id(char id[QUEUE_ID_SIZE], uint64_t arrived, uint64_t random)
{
	snprintf(id, QUEUE_ID_SIZE, "%016llx%016llx",
	    (unsigned long long)arrived, (unsigned long long)random);
}

static uint64_t
next_random(uint64_t *seed) /* xorshift: the same at each run */
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

static void
empty_has_nothing(void **state)
{
	struct roster r = {0};
	char id[QUEUE_ID_SIZE];

	(void)state;
	make_id(id, 1, 1);
	assert_false(roster_has(&r, id));
	roster_remove(&r, id);
	assert_int_equal(r.count, 0);
	roster_free(&r);
	roster_free(&r);
	assert_false(roster_has(&r, id));
}

static void
what_is_there_is_not_added_again(void **state)
{
	struct roster r = {0};
	char id[QUEUE_ID_SIZE];

	(void)state;
	make_id(id, 7, 7);
	for (int i = 0; i < 3; i++) {
		assert_true(roster_add(&r, id));
		assert_false(roster_add(&r, id));
		assert_true(roster_has(&r, id));
		assert_int_equal(r.count, 1);
		roster_remove(&r, id);
		roster_remove(&r, id);
		assert_false(roster_has(&r, id));
		assert_int_equal(r.count, 0);
	}
	roster_free(&r);
}

/* IDs may differ in one half only. */
static void
both_halves_of_an_id_count(void **state)
{
	struct roster r = {0};
	char id[QUEUE_ID_SIZE];

	(void)state;
	for (uint64_t i = 1; i <= 1000; i++) {
		make_id(id, i, 42);
		assert_true(roster_add(&r, id));
		make_id(id, 0, i << 32);
		assert_true(roster_add(&r, id));
	}
	make_id(id, UINT64_MAX, UINT64_MAX);
	assert_true(roster_add(&r, id));
	make_id(id, 0, 0);
	assert_true(roster_add(&r, id));
	assert_int_equal(r.count, 2002);
	roster_free(&r);
}

/* With the place that it wants in a table of 64: five in a row, wherever the
 * row begins, taken out in every order of two. */
static void
a_hole_is_closed_wherever_it_is(void **state)
{
	enum { ROW = 5 };
	char ids[ROW][QUEUE_ID_SIZE];

	(void)state;
	for (uint64_t place = 0; place < 64; place++)
		for (size_t a = 0; a < ROW; a++)
			for (size_t b = 0; b < ROW; b++) {
				struct roster r = {0};

				for (size_t i = 0; i < ROW; i++) {
					/* some want the next place */
					make_id(ids[i], 0, (i + 1) << 32 |
					    ((place + i / 3) & 63));
					roster_add(&r, ids[i]);
				}
				roster_remove(&r, ids[a]);
				roster_remove(&r, ids[b]);
				for (size_t i = 0; i < ROW; i++)
					assert_int_equal(roster_has(&r, ids[i]),
					    i != a && i != b);
				roster_free(&r);
			}
}

/* One of the keys of a pool: their low bits decide where they stand. */
typedef uint64_t pool_key(uint64_t number);

static uint64_t
spread(uint64_t number)
{
	return number * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t
all_in_one_place(uint64_t number)
{
	return number << 32 | 17;
}

static uint64_t
at_the_end(uint64_t number) /* of a table of any size up to 2^20 */
{
	return number << 32 | (0xfffff - number % 5);
}

static uint64_t
in_eight_places(uint64_t number)
{
	return number << 32 | number % 8 * 3;
}

static void
check_all(const struct roster *r, pool_key *key, const bool *there)
{
	char id[QUEUE_ID_SIZE];

	for (uint64_t i = 0; i < POOL; i++) {
		make_id(id, 0, key(i + 1));
		assert_int_equal(roster_has(r, id), there[i]);
	}
}

static void
run_against_list(pool_key *key, uint64_t pool)
{
	uint64_t seed = 88172645463325252u;
	bool there[POOL] = {false};
	struct roster r = {0};
	size_t count = 0;

	for (int step = 0; step < STEPS; step++) {
		uint64_t random = next_random(&seed), i = random % pool;
		/* it grows and shrinks in turns */
		bool more = (random >> 32) % 10 < (step / 5000 % 2 ? 3u : 7u);
		char id[QUEUE_ID_SIZE];

		make_id(id, 0, key(i + 1));
		if (more) {
			assert_int_equal(roster_add(&r, id), !there[i]);
			count += !there[i];
		} else {
			roster_remove(&r, id);
			count -= there[i];
		}
		there[i] = more;
		assert_int_equal(r.count, count);
		if (step % 1000 == 0)
			check_all(&r, key, there);
	}
	check_all(&r, key, there);
	roster_free(&r);
}

static void
a_hundred_thousand_steps(void **state)
{
	(void)state;
	run_against_list(spread, POOL);
	run_against_list(all_in_one_place, 150);
	run_against_list(at_the_end, 150);
	run_against_list(in_eight_places, 300);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_has_nothing),
		cmocka_unit_test(what_is_there_is_not_added_again),
		cmocka_unit_test(both_halves_of_an_id_count),
		cmocka_unit_test(a_hole_is_closed_wherever_it_is),
		cmocka_unit_test(a_hundred_thousand_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
