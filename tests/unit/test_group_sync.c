/* SPDX-License-Identifier: ISC */
/*
 * Syncs that are made together, on a disk that waits and fails when the test
 * says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "group_sync.h"

enum { FOLLOWERS = 5, DISK = 7 };

/* The disk: how many syncs have begun, how many may end, and how they do. */
static atomic_uint begun, allowed;
static atomic_int failure;

int
fsync(int fd)
{
	unsigned number = atomic_fetch_add(&begun, 1) + 1;

	assert_int_equal(fd, DISK);
	while (atomic_load(&allowed) < number)
		poll(NULL, 0, 1);
	errno = atomic_load(&failure);
	return errno ? -1 : 0;
}

static struct group_sync group;
static atomic_uint good, bad;

static void *
commit(void *argument)
{
	(void)argument;
	if (group_sync(&group, DISK))
		atomic_fetch_add(&good, 1);
	else if (errno == EIO)
		atomic_fetch_add(&bad, 1);
	return NULL;
}

static pthread_t
start(void)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, commit, NULL), 0);
	return thread;
}

static unsigned
count_waiting(void)
{
	unsigned count = 0;

	pthread_mutex_lock(&group.lock);
	for (struct sync_waiter *w = group.waiting; w; count++)
		w = *(struct sync_waiter **)(void *)w; /* its first member */
	pthread_mutex_unlock(&group.lock);
	return count;
}

static int
set_up(void **state)
{
	(void)state;
	group_sync_init(&group);
	begun = allowed = good = bad = 0;
	failure = 0;
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	group_sync_destroy(&group);
	return 0;
}

/* One sync is under way, and so many wait for the next. */
static void
crowd(pthread_t threads[FOLLOWERS + 1])
{
	threads[0] = start();
	while (atomic_load(&begun) < 1)
		poll(NULL, 0, 1);
	for (int i = 1; i <= FOLLOWERS; i++)
		threads[i] = start();
	while (count_waiting() < FOLLOWERS)
		poll(NULL, 0, 1);
}

static void
join(pthread_t threads[FOLLOWERS + 1])
{
	for (int i = 0; i <= FOLLOWERS; i++)
		pthread_join(threads[i], NULL);
}

static void
who_is_alone_has_one_of_his_own(void **state)
{
	(void)state;
	allowed = 2;
	assert_true(group_sync(&group, DISK));
	assert_true(group_sync(&group, DISK));
	assert_int_equal(begun, 2);
	failure = EIO;
	allowed = 4;
	assert_false(group_sync(&group, DISK));
	assert_int_equal(errno, EIO);
	failure = 0;
	assert_true(group_sync(&group, DISK));
}

/* What came when a sync had begun is not served by it, but by the next, and
 * all of it by one. */
static void
who_comes_later_waits_for_the_next(void **state)
{
	pthread_t threads[FOLLOWERS + 1];

	(void)state;
	crowd(threads);
	allowed = 1;
	while (atomic_load(&begun) < 2)
		poll(NULL, 0, 1);
	pthread_join(threads[0], NULL);
	assert_int_equal(good, 1); /* the second is still under way */
	allowed = 2;
	for (int i = 1; i <= FOLLOWERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(good, 1 + FOLLOWERS);
	assert_int_equal(begun, 2);
}

static void
a_failure_is_everybodys(void **state)
{
	pthread_t threads[FOLLOWERS + 1];

	(void)state;
	crowd(threads);
	allowed = 1;
	while (atomic_load(&begun) < 2)
		poll(NULL, 0, 1);
	failure = EIO;
	allowed = 2;
	join(threads);
	assert_int_equal(good, 1);
	assert_int_equal(bad, FOLLOWERS);
}

/* And nobody's who was served before, or comes behind it. */
static void
a_failure_is_nobody_elses(void **state)
{
	pthread_t threads[FOLLOWERS + 1];

	(void)state;
	failure = EIO;
	crowd(threads);
	allowed = 1;
	while (atomic_load(&begun) < 2)
		poll(NULL, 0, 1);
	failure = 0;
	allowed = 2;
	join(threads);
	assert_int_equal(bad, 1);
	assert_int_equal(good, FOLLOWERS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    who_is_alone_has_one_of_his_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    who_comes_later_waits_for_the_next, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_failure_is_everybodys,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_failure_is_nobody_elses,
		    set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
