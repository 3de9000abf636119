/* SPDX-License-Identifier: ISC */
/*
 * What is due when: the order of the heap, equal times, and that nothing
 * comes out before its time, twice, or not at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "message.h"
#include "queue_id.h"
#include "schedule.h"

enum { MANY = 100000 };

static const int64_t forever = INT64_MAX;

/* A queue ID that arrived then, and carries a number. */
static void
make_id(char id[QUEUE_ID_SIZE], uint64_t arrived, uint64_t number)
{
	snprintf(id, QUEUE_ID_SIZE, "%016llx%016llx",
	    (unsigned long long)arrived, (unsigned long long)number);
}

static void
add(struct schedule *s, uint64_t arrived, uint64_t number, int64_t when)
{
	char id[QUEUE_ID_SIZE];

	make_id(id, arrived, number);
	schedule_add(s, id, when);
}

static uint64_t
number_of(const char *id)
{
	return strtoull(id + 16, NULL, 16);
}

/* Takes what is due; its number, or UINT64_MAX. */
static uint64_t
take(struct schedule *s, int64_t now)
{
	char id[QUEUE_ID_SIZE];

	return schedule_take(s, now, id) ? number_of(id) : UINT64_MAX;
}

static void
empty_has_nothing(void **state)
{
	struct schedule s = {0};
	char id[QUEUE_ID_SIZE] = "untouched";

	(void)state;
	assert_int_equal(schedule_next(&s), -1);
	assert_false(schedule_take(&s, forever, id));
	assert_string_equal(id, "untouched");
	schedule_free(&s);
	schedule_free(&s);
	assert_int_equal(schedule_next(&s), -1);
}

static void
only_what_is_due_comes_out(void **state)
{
	struct schedule s = {0};

	(void)state;
	add(&s, 1, 1, 1000);
	assert_int_equal(schedule_next(&s), 1000);
	assert_int_equal(take(&s, 0), UINT64_MAX);
	assert_int_equal(take(&s, 999), UINT64_MAX);
	assert_int_equal(schedule_next(&s), 1000);
	assert_int_equal(take(&s, 1000), 1);
	assert_int_equal(schedule_next(&s), -1);
	assert_int_equal(take(&s, forever), UINT64_MAX);
	add(&s, 1, 2, 5);
	assert_int_equal(take(&s, forever), 2);
	schedule_free(&s);
}

static void
time_zero_and_the_last_one_are_times(void **state)
{
	struct schedule s = {0};

	(void)state;
	add(&s, 1, 1, INT64_MAX);
	add(&s, 1, 2, 0);
	assert_int_equal(schedule_next(&s), 0);
	assert_int_equal(take(&s, 0), 2);
	assert_int_equal(take(&s, INT64_MAX - 1), UINT64_MAX);
	assert_int_equal(take(&s, INT64_MAX), 1);
	schedule_free(&s);
}

static void
ids_come_back_as_they_were(void **state)
{
	static const char *const ids[] = {
		"00000000000000000000000000000000",
		"00000000000000000000000000000001",
		"ffffffffffffffffffffffffffffffff",
		"0123456789abcdeffedcba9876543210",
		"0000000000000001ffffffffffffffff",
		"800000000000000000000000000000f0",
	};
	struct schedule s = {0};
	char id[QUEUE_ID_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		schedule_add(&s, ids[i], 1);
		memset(id, 'x', sizeof(id));
		assert_true(schedule_take(&s, 1, id));
		assert_string_equal(id, ids[i]);
	}
	schedule_free(&s);
}

/* Every order of seven entries: an error in the heap is seen at once. */
static void
permute(unsigned *order, size_t from, size_t count)
{
	struct schedule s = {0};

	for (size_t i = from; i < count; i++) {
		unsigned t = order[from];

		order[from] = order[i];
		order[i] = t;
		permute(order, from + 1, count);
		order[i] = order[from];
		order[from] = t;
	}
	if (from < count)
		return;
	for (size_t i = 0; i < count; i++)
		add(&s, 1, order[i], order[i]);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(schedule_next(&s), i);
		assert_int_equal(take(&s, forever), i);
	}
	assert_int_equal(take(&s, forever), UINT64_MAX);
	schedule_free(&s);
}

static void
every_order_of_seven(void **state)
{
	unsigned order[7] = {0, 1, 2, 3, 4, 5, 6};

	(void)state;
	permute(order, 0, 7);
}

static void
of_equal_times_the_first_to_arrive(void **state)
{
	struct schedule s = {0};

	(void)state;
	for (uint64_t i = 0; i < 1000; i++) /* 7 and 1000 have no divisor */
		add(&s, i * 7 % 1000, i * 7 % 1000, 500);
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(take(&s, 500), i);
	schedule_free(&s);
}

/* The same moment of arrival too: all come out, in whatever order. */
static void
of_the_same_arrival_none_is_lost(void **state)
{
	struct schedule s = {0};
	bool seen[1000] = {false};

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		add(&s, 42, i, 500);
	for (int i = 0; i < 1000; i++) {
		uint64_t number = take(&s, 500);

		assert_true(number < 1000);
		assert_false(seen[number]);
		seen[number] = true;
	}
	assert_int_equal(schedule_next(&s), -1);
	schedule_free(&s);
}

/* The same ID may be planned twice; that is the caller's business. */
static void
an_id_may_be_there_twice(void **state)
{
	struct schedule s = {0};

	(void)state;
	add(&s, 1, 7, 10);
	add(&s, 1, 7, 20);
	assert_int_equal(take(&s, 10), 7);
	assert_int_equal(take(&s, 10), UINT64_MAX);
	assert_int_equal(take(&s, 20), 7);
	schedule_free(&s);
}

static uint64_t
next_random(uint64_t *seed) /* xorshift: the same at each run */
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

struct crowd {
	int64_t when[MANY];
	uint64_t arrived[MANY];
	bool out[MANY];
};

/* Takes all that is due, and checks its order. */
static size_t
take_due(struct schedule *s, struct crowd *c, int64_t now)
{
	int64_t last_when = INT64_MIN;
	uint64_t last_arrived = 0;
	char id[QUEUE_ID_SIZE];
	size_t count = 0;

	for (; schedule_take(s, now, id); count++) {
		uint64_t i = number_of(id), arrived = c->arrived[i];

		assert_false(c->out[i]);
		c->out[i] = true;
		assert_true(c->when[i] <= now);
		assert_true(c->when[i] > last_when ||
		    (c->when[i] == last_when && arrived >= last_arrived));
		last_when = c->when[i];
		last_arrived = arrived;
	}
	assert_true(schedule_next(s) == -1 || schedule_next(s) > now);
	return count;
}

static void
a_hundred_thousand_at_random(void **state)
{
	struct crowd *c = xcalloc(1, sizeof(*c));
	uint64_t seed = 88172645463325252u;
	struct schedule s = {0};
	size_t in = 0, out = 0;

	(void)state;
	for (int64_t now = 0; out < MANY; now += 10) {
		/* some more, mostly of times to come, many of them equal */
		for (int i = 0; i < 500 && in < MANY; i++, in++) {
			c->when[in] = now +
			    (int64_t)(next_random(&seed) % 1000) - 100;
			c->arrived[in] = next_random(&seed) % 50;
			add(&s, c->arrived[in], in, c->when[in]);
		}
		out += take_due(&s, c, now);
		assert_true(now < 100 * MANY);
	}
	assert_int_equal(in, MANY);
	assert_int_equal(schedule_next(&s), -1);
	schedule_free(&s);
	free(c);
}

static void
make_queue_id(struct queue_id *id, uint64_t arrived, uint64_t number)
{
	id->half[0] = arrived;
	id->half[1] = number;
}

/* Those with an even number come at once, in order of arrival; the others when
 * they would have; and what is due already keeps its place in front. */
static void
some_are_hurried(void **state)
{
	enum { ALL = 1000 };
	struct queue_id *ids = xcalloc(ALL / 2, sizeof(*ids));
	struct schedule s = {0};

	(void)state;
	for (uint64_t i = 0; i < ALL; i++)
		add(&s, i, i, 5000 + (int64_t)((i * 7919) % ALL));
	add(&s, ALL, ALL, 10);
	for (uint64_t i = 0; i < ALL / 2; i++)
		make_queue_id(&ids[i], 2 * i, 2 * i);
	assert_int_equal(schedule_hurry(&s, ids, ALL / 2, 20), ALL / 2);
	assert_int_equal(take(&s, 20), ALL);
	for (uint64_t i = 0; i < ALL; i += 2)
		assert_int_equal(take(&s, 20), i);
	assert_int_equal(take(&s, 4999), UINT64_MAX);
	for (uint64_t when = 0; when < ALL; when++) {
		uint64_t number = take(&s, 5000 + (int64_t)when);

		if (number != UINT64_MAX)
			assert_int_equal(number * 7919 % ALL, when);
	}
	assert_int_equal(schedule_next(&s), -1);
	schedule_free(&s);
	free(ids);
}

static void
all_are_hurried(void **state)
{
	struct schedule s = {0};
	struct queue_id stranger;

	(void)state;
	make_queue_id(&stranger, 77, 77);
	assert_int_equal(schedule_hurry(&s, NULL, 0, 20), 0);
	add(&s, 2, 2, 9000);
	add(&s, 1, 1, 8000);
	add(&s, 3, 3, 5);
	assert_int_equal(schedule_hurry(&s, &stranger, 1, 20), 0);
	assert_int_equal(take(&s, 20), 3);
	assert_int_equal(take(&s, 20), UINT64_MAX);
	assert_int_equal(schedule_hurry(&s, NULL, 0, 20), 2);
	assert_int_equal(take(&s, 19), UINT64_MAX);
	assert_int_equal(take(&s, 20), 1);
	assert_int_equal(take(&s, 20), 2);
	schedule_free(&s);
}

/* --- What has arrived long ago ------------------------------------------- */

enum { SECOND = 1000000, SMALL = 6 };

/* In heaps of up to six, in every order of their times, with every choice of
 * those that are old. */
struct choice {
	unsigned order[SMALL]; /* when each is due */
	unsigned old;          /* as bits */
	size_t count;
};

static void
fill(struct schedule *s, const struct choice *c)
{
	for (size_t i = 0; i < c->count; i++)
		add(s, c->old >> i & 1 ? 5 * SECOND - 1 : 5 * SECOND, i,
		    c->order[i]);
}

/* Takes the old ones, from the beginning again if that is allowed; they are
 * returned as bits. */
static unsigned
take_old(struct schedule *s, bool again)
{
	char id[QUEUE_ID_SIZE];
	unsigned taken = 0, before;
	size_t cursor;

	do {
		before = taken;
		cursor = 0;
		while (schedule_take_older(s, 5, &cursor, id)) {
			assert_false(taken >> number_of(id) & 1);
			taken |= 1u << number_of(id);
		}
	} while (again && taken != before);
	return taken;
}

static void
check_choice(const struct choice *c)
{
	struct schedule s = {0};
	unsigned taken;

	fill(&s, c);
	taken = take_old(&s, false);
	assert_int_equal(taken & ~c->old, 0);
	assert_int_equal(!taken, !c->old);
	taken |= take_old(&s, true);
	assert_int_equal(taken, c->old);
	for (size_t when = 0; when < c->count; when++)
		for (size_t i = 0; i < c->count; i++)
			if (c->order[i] == when && !(c->old >> i & 1))
				assert_int_equal(take(&s, forever), i);
	assert_int_equal(take(&s, forever), UINT64_MAX);
	schedule_free(&s);
}

static void
check_orders(struct choice *c, size_t from)
{
	for (size_t i = from; i < c->count; i++) {
		unsigned t = c->order[from];

		c->order[from] = c->order[i];
		c->order[i] = t;
		check_orders(c, from + 1);
		c->order[i] = c->order[from];
		c->order[from] = t;
	}
	if (from == c->count)
		for (c->old = 0; c->old < 1u << c->count; c->old++)
			check_choice(c);
}

static void
the_old_ones_of_every_small_heap(void **state)
{
	(void)state;
	for (size_t count = 0; count <= SMALL; count++) {
		struct choice c = {.count = count};

		for (unsigned i = 0; i < count; i++)
			c.order[i] = i;
		check_orders(&c, 0);
	}
}

/* Before the time it says, and not at it; and before 1970 nothing came. */
static void
the_limit_of_old(void **state)
{
	static const struct {
		int64_t limit;
		bool taken[3];
	} cases[] = {
		{-1, {false, false, false}}, {0, {false, false, false}},
		{1, {true, false, false}}, {2, {true, true, false}},
		{3, {true, true, false}}, {INT64_C(1) << 40, {true, true, true}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct schedule s = {0};
		char id[QUEUE_ID_SIZE];
		unsigned taken = 0;
		size_t cursor = 0;

		add(&s, 0, 0, 1);
		add(&s, 1 * SECOND, 1, 1);
		add(&s, UINT64_C(1) << 50, 2, 1);
		while (schedule_take_older(&s, cases[i].limit, &cursor, id))
			taken |= 1u << number_of(id);
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(taken >> k & 1, cases[i].taken[k]);
		schedule_free(&s);
	}
}

/* As the clock does it: what is not yet over goes back, due now, and the
 * search ends. */
static void
what_goes_back_is_not_searched_for_ever(void **state)
{
	struct schedule s = {0};
	char id[QUEUE_ID_SIZE];
	size_t cursor = 0, steps = 0;

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		add(&s, i, i, (int64_t)(i * 7919 % 1000));
	for (size_t left = s.count; left &&
	     schedule_take_older(&s, 5, &cursor, id); left--, steps++)
		schedule_add(&s, id, 0);
	assert_in_range(steps, 500, 1000);
	assert_int_equal(s.count, 1000);
	for (uint64_t i = 0; i < 1000; i++)
		assert_true(take(&s, forever) != UINT64_MAX);
	schedule_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_has_nothing),
		cmocka_unit_test(only_what_is_due_comes_out),
		cmocka_unit_test(time_zero_and_the_last_one_are_times),
		cmocka_unit_test(ids_come_back_as_they_were),
		cmocka_unit_test(every_order_of_seven),
		cmocka_unit_test(of_equal_times_the_first_to_arrive),
		cmocka_unit_test(of_the_same_arrival_none_is_lost),
		cmocka_unit_test(an_id_may_be_there_twice),
		cmocka_unit_test(a_hundred_thousand_at_random),
		cmocka_unit_test(some_are_hurried),
		cmocka_unit_test(all_are_hurried),
		cmocka_unit_test(the_old_ones_of_every_small_heap),
		cmocka_unit_test(the_limit_of_old),
		cmocka_unit_test(what_goes_back_is_not_searched_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
