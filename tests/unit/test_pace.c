/* SPDX-License-Identifier: ISC */
/*
 * Rates: all that is allowed at once, never more than that in any period
 * wherever it begins, and no longer wait than it takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pace.h"

enum { SECOND = 1000, DAY = 24 * 3600 * SECOND, MANY = 20000 };

static const int64_t start = 1234567;

static void
test_none(void **state)
{
	const struct rates none = {0};
	struct pace p = {0};

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(pace_opens(&p, &none, start), start);
		pace_count(&p, &none, 1, start);
	}
}

/* As fast as it lets, from every beginning: the nth is never less than a
 * period behind the one that is a whole rate before it, nor much more. */
static void
check_rate(unsigned most, int64_t period, int64_t step)
{
	const struct rates rates = {{{most, period}, {0, 0}}};
	int64_t *times = calloc(MANY, sizeof(*times)), now = start;
	struct pace p = {0};

	for (unsigned i = 0; i < MANY; i++) {
		int64_t opens = pace_opens(&p, &rates, now);

		assert_true(opens >= now);
		assert_true(opens - now <= period + period / 7 + 2);
		now = opens;
		times[i] = now;
		pace_count(&p, &rates, 1, now);
		if (i >= most)
			assert_true(now - times[i - most] >= period);
		now += step;
	}
	assert_true(now - start <= (int64_t)(MANY / most + 1) *
	    (period + period / 7 + 2) + MANY * step);
	free(times);
}

static void
test_rates(void **state)
{
	(void)state;
	check_rate(1, SECOND, 0);
	check_rate(14, SECOND, 0);
	check_rate(14, SECOND, 7);
	check_rate(100, 60 * SECOND, 131);
	check_rate(10000, DAY, 0);
	check_rate(10000, DAY, 9000);
	check_rate(3, DAY, 100);
}

static void
test_both(void **state)
{
	const struct rates rates = {{{2, SECOND}, {3, DAY}}};
	struct pace p = {0};
	int64_t opens;

	(void)state;
	pace_count(&p, &rates, 2, start);
	opens = pace_opens(&p, &rates, start);
	assert_true(opens >= start + SECOND && opens < start + 2 * SECOND);
	pace_count(&p, &rates, 1, opens);
	assert_true(pace_opens(&p, &rates, opens) >= start + DAY);
}

/* A message with more recipients than there is room for goes as a whole. */
static void
test_more_than_there_is(void **state)
{
	const struct rates rates = {{{5, SECOND}, {0, 0}}};
	struct pace p = {0};

	(void)state;
	pace_count(&p, &rates, 50, start);
	assert_true(pace_opens(&p, &rates, start) >= start + SECOND);
	assert_true(pace_opens(&p, &rates, start) <= start + 2 * SECOND);
	assert_int_equal(pace_opens(&p, &rates, start + 100 * SECOND),
	    start + 100 * SECOND);
}

static void
test_inherit(void **state)
{
	const struct rates before = {{{5, SECOND}, {5, DAY}}};
	const struct rates after = {{{4, DAY}, {0, 0}}};
	struct pace old = {0}, p = {0}, other = {0};

	(void)state;
	pace_count(&old, &before, 4, start);
	pace_inherit(&p, &after, &old, &before);
	assert_true(pace_opens(&p, &after, start) >= start + DAY);
	pace_inherit(&other, &(struct rates){{{4, 60 * SECOND}, {0, 0}}}, &old,
	    &before);
	assert_int_equal(pace_opens(&other, &after, start), start);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_both),
		cmocka_unit_test(test_more_than_there_is),
		cmocka_unit_test(test_inherit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
