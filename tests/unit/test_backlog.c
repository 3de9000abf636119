/* SPDX-License-Identifier: ISC */
/*
 * Who stands in line and for how long: sessions and stored messages in turns,
 * no more of the backlog in memory than the couriers need, senders who have to
 * wait, and what has waited too long (LO-04, DU-31).
 */
#include "stored.h"

#include <dlfcn.h>

enum { DAY = 24 * HOUR, MANY = 50, FEW = 8 * CONNECTIONS };

/* --- Threads that the system does not give ------------------------------- */

typedef int creator(pthread_t *, const pthread_attr_t *, void *(*)(void *),
    void *);

static atomic_bool no_threads;
static atomic_uint refused_threads;

int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
    void *(*run)(void *), void *argument)
{
	creator *next;

	*(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
	if (!atomic_load(&no_threads))
		return next(thread, attributes, run, argument);
	atomic_fetch_add(&refused_threads, 1);
	return EAGAIN;
}

/* A message that is to be sent has no courier: the clock sees to it. */
static void
a_courier_that_cannot_be_started(void **state)
{
	struct house *h = house_build(1);
	unsigned before;

	(void)state;
	atomic_store(&refused_threads, 0);
	atomic_store(&no_threads, true);
	lock(h);
	h->queue->lines[0].couriers = 0;
	unlock(h);
	store(h, "a@x", "b@y", NULL);
	AWAIT(atomic_load(&refused_threads));
	AWAIT(waiting(h, LANE_STORED) == 1);
	for (int i = 0; i < 3; i++) {
		before = atomic_load(&refused_threads);
		AWAIT_FOR_MINUTES(h, atomic_load(&refused_threads) > before);
	}
	lock(h);
	assert_int_equal(h->queue->lines[0].couriers, 0);
	h->queue->lines[0].couriers = 1000;
	unlock(h);
	atomic_store(&no_threads, false);
	settle(h, take(h), SENT, SCOPE_MESSAGE);
	AWAIT(is_quiet(h, 0));
	check_empty(h);
	house_close(h);
}

/* Nothing is known of the relay yet: one message asks, and the others wait for
 * what becomes of it. */
static void
the_first_goes_alone(void **state)
{
	struct house *h = house_build(1);
	struct line *line = &h->queue->lines[0];
	struct submission *s;

	(void)state;
	lock(h);
	line->met = false;
	line->idle = line->couriers;
	unlock(h);
	for (int i = 0; i < CONNECTIONS + 1; i++)
		store(h, "a@x", "b@y", NULL);
	assert_int_equal(waiting(h, LANE_STORED), 1);
	s = take(h);
	lock(h);
	line->idle--;
	pthread_cond_signal(&h->queue->tick);
	unlock(h);
	store(h, "a@x", "b@y", NULL);
	assert_int_equal(waiting(h, LANE_STORED), 0);
	settle(h, s, SENT, SCOPE_MESSAGE);
	AWAIT(waiting(h, LANE_STORED) == CONNECTIONS);
	for (int i = 0; i < CONNECTIONS + 1; i++)
		settle(h, take(h), SENT, SCOPE_MESSAGE);
	AWAIT(is_quiet(h, 0));
	check_empty(h);
	house_close(h);
}

/* --- Turns --------------------------------------------------------------- */

/* One of each in turn, in each the oldest first; and what is left of one alone
 * is not held up by the other. */
static void
sessions_and_backlog_take_turns(void **state)
{
	static const size_t counts[][2] = {{6, 6}, {6, 3}, {3, 6}, {6, 0}};

	(void)state;
	for (size_t i = 0; i < COUNT(counts); i++) {
		struct house *h = house_build(1);
		size_t left[LANES] = {counts[i][0], counts[i][1]};
		char last[LANES][QUEUE_ID_SIZE] = {"", ""};
		int previous = -1;

		for (size_t k = 0; k < left[LANE_STORED]; k++)
			store(h, "a@x", "b@y", NULL);
		for (size_t k = 0; k < left[LANE_SESSIONS]; k++) {
			session_start(h, k, "a@x", "b@y", NULL);
			AWAIT(waiting(h, LANE_SESSIONS) == k + 1);
		}
		while (left[0] || left[1]) {
			struct submission *s;
			int lane;

			AWAIT(is_quiet(h, 0));
			s = take(h);
			lane = s->stored ? LANE_STORED : LANE_SESSIONS;
			assert_true(lane != previous || !left[!lane]);
			assert_true(strcmp(last[lane],
			    queue_message(s)->id) < 0);
			memcpy(last[lane], queue_message(s)->id,
			    QUEUE_ID_SIZE);
			left[lane]--;
			previous = lane;
			settle(h, s, SENT, SCOPE_MESSAGE);
		}
		for (size_t k = 0; k < counts[i][0]; k++)
			assert_int_equal(session_end(h, k)->outcome, SENT);
		AWAIT(is_quiet(h, 0));
		house_close(h);
	}
}

/* --- A long line --------------------------------------------------------- */

/* So many sessions may wait; one more is not made to. */
static void
check_length(struct house *h, size_t length)
{
	const struct verdict *v;
	char words[64];

	for (size_t i = 0; i < length; i++) {
		session_start(h, i, "a@x", "b@y", NULL);
		AWAIT(waiting(h, LANE_SESSIONS) == i + 1);
	}
	session_start(h, length, "a@x", "b@y", NULL);
	v = session_end(h, length);
	assert_true(v->kept);
	assert_int_equal(v->outcome, LATER);
	snprintf(words, sizeof(words), "%zu messages wait already", length);
	assert_non_null(strstr(v->text, words));
	assert_int_equal(waiting(h, LANE_SESSIONS), length);
	lock(h);
	h->queue->lines[0].turn = LANE_SESSIONS;
	unlock(h);
	for (size_t i = 0; i < length; i++) {
		struct submission *s = take(h);

		settle(h, s, SENT, SCOPE_MESSAGE);
		lock(h);
		h->queue->lines[0].turn = LANE_SESSIONS;
		unlock(h);
	}
	for (size_t i = 0; i < length; i++)
		assert_int_equal(session_end(h, i)->outcome, SENT);
}

static void
a_few_may_always_wait(void **state)
{
	struct house *h = house_build(1);

	(void)state;
	store(h, "a@x", "b@y", NULL); /* the other lane does not count */
	store(h, "a@x", "b@y", NULL);
	AWAIT(waiting(h, LANE_STORED) == CONNECTIONS);
	check_length(h, FEW);
	house_close(h);
}

/* It is long if more are ahead than were served in this direct_wait, or in the
 * one before. */
static void
more_may_wait_for_a_fast_relay(void **state)
{
	struct house *h = house_build(1);
	struct line *line = &h->queue->lines[0];

	(void)state;
	lock(h);
	line->finished = FEW + 4;
	unlock(h);
	check_length(h, FEW + 5);
	lock(h);
	line->finished = 2 * FEW - 1;
	unlock(h);
	skip_time(h, DIRECT_WAIT);
	check_length(h, 2 * FEW);
	skip_time(h, 2 * DIRECT_WAIT); /* that was long ago */
	check_length(h, FEW);
	house_close(h);
}

/* --- The backlog and the upstreams --------------------------------------- */

static size_t
waiting_at(struct house *h, size_t upstream)
{
	size_t count;

	lock(h);
	count = h->queue->lines[upstream].lanes[LANE_STORED].waiting;
	unlock(h);
	return count;
}

/* However many are stored, a few are in memory, each with its files open; the
 * first upstream that is worth trying has them. */
static void
a_large_backlog_and_two_upstreams(void **state)
{
	enum { UP, PAUSED, PROBED };
	static const struct {
		int upstreams[2];
		size_t waiting[2];
	} cases[] = {
		{{UP, UP}, {CONNECTIONS, 0}},
		{{UP, PAUSED}, {CONNECTIONS, 0}},
		{{UP, PROBED}, {CONNECTIONS, 0}},
		{{PAUSED, UP}, {0, CONNECTIONS}},
		{{PROBED, UP}, {1, CONNECTIONS}},
		{{PROBED, PROBED}, {1, 1}},
		{{PROBED, PAUSED}, {1, 0}},
		{{PAUSED, PAUSED}, {0, 0}},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct house *h = house_build(2);
		const int *how = cases[i].upstreams;

		lock(h);
		for (int k = 0; k < 2; k++) {
			struct health *health = &h->queue->lines[k].health;

			health->down = how[k] != UP;
			health->next_probe = how[k] == PAUSED ? INT64_MAX : 0;
		}
		unlock(h);
		for (int k = 0; k < MANY; k++)
			store(h, "a@x", "b@y", NULL);
		AWAIT(waiting_at(h, 0) >= cases[i].waiting[0] &&
		    waiting_at(h, 1) >= cases[i].waiting[1]);
		poll(NULL, 0, 20); /* for what should not come */
		for (size_t k = 0; k < 2; k++)
			assert_int_equal(waiting_at(h, k),
			    cases[i].waiting[k]);
		house_close(h);
	}
}

/* All of them are served, by one courier, and each once. */
static void
a_large_backlog_is_served(void **state)
{
	struct house *h = house_build(2);
	char ids[MANY][QUEUE_ID_SIZE];

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		store(h, "a@x", "b@y", ids[i]);
	for (size_t i = 0; i < MANY; i++) {
		struct submission *s = take(h);

		assert_string_equal(queue_message(s)->id, ids[i]);
		assert_true(waiting_at(h, 0) <= CONNECTIONS);
		settle(h, s, SENT, SCOPE_MESSAGE);
	}
	AWAIT(is_quiet(h, 0));
	check_empty(h);
	house_close(h);
}

/* Somebody else has its file: it comes again in a minute. */
static void
a_file_that_is_locked(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE], path[512];
	int fd;

	(void)state;
	store(h, "a@x", "b@y", id);
	house_shut(h);
	fd = open(path_of(h, "queue", id, path), O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	house_open(h);
	AWAIT(is_quiet(h, 0));
	assert_int_equal(waiting(h, LANE_STORED), 0);
	check_nothing_due(h, 50 * SECOND);
	close(fd);
	skip_time(h, MINUTE + SECOND);
	settle(h, take(h), SENT, SCOPE_MESSAGE);
	house_close(h);
}

/* --- Senders who have to wait -------------------------------------------- */

/* The relay does not let one of them send: his other messages wait, and those
 * of others do not. */
static void
a_sender_who_is_refused(void **state)
{
	struct house *h = house_build(1);
	char ids[3][QUEUE_ID_SIZE], other[QUEUE_ID_SIZE];
	struct submission *s;

	(void)state;
	store(h, "new@x", "b@y", ids[0]);
	s = take(h);
	settle(h, s, HOLD, SCOPE_SENDER);
	store(h, "new@x", "b@y", ids[1]);
	store(h, "new@x", "b@y", ids[2]);
	AWAIT(is_quiet(h, 0));
	check_nothing_due(h, 14 * MINUTE);
	check_states(h, "queue", ids[0], "H");
	check_states(h, "queue", ids[1], "W");
	store(h, "other@x", "b@y", other);
	s = take(h);
	assert_string_equal(queue_message(s)->id, other);
	settle(h, s, SENT, SCOPE_MESSAGE);
	/* the first that is taken lets the others go */
	skip_time(h, 16 * MINUTE);
	for (int i = 1; i < 3; i++) {
		s = take(h);
		assert_string_equal(queue_message(s)->id, ids[i]);
		settle(h, s, SENT, SCOPE_MESSAGE);
	}
	skip_time(h, 2 * HOUR);
	s = take(h);
	assert_string_equal(queue_message(s)->id, ids[0]);
	settle(h, s, SENT, SCOPE_MESSAGE);
	AWAIT(is_quiet(h, 0));
	check_empty(h);
	house_close(h);
}

/* A client hears that it is held, or with held = refuse that it is refused; no
 * courier sees either. */
static void
a_client_who_is_refused(void **state)
{
	(void)state;
	for (int refuse = 0; refuse < 2; refuse++) {
		struct house *h = house_build(1);
		const struct verdict *v;

		h->config.queue.refuse_held = refuse;
		for (size_t i = 0; i < 3; i++) {
			session_start(h, i, "new@x", "b@y c@y", NULL);
			if (i == 0) /* with the others nobody talks */
				settle(h, take(h), HOLD, SCOPE_SENDER);
			v = session_end(h, i);
			assert_int_equal(v->outcome, refuse ? NEVER : HOLD);
			assert_int_equal(v->kept, !refuse);
			assert_string_equal(v->text, "said so");
			assert_int_equal(files(h, "queue", NULL),
			    refuse ? 0 : i + 1);
		}
		assert_int_equal(waiting(h, LANE_STORED), 0);
		house_close(h);
	}
}

/* Not if somebody has got it, and not if the session has left. */
static void
held_is_not_refused_too_late(void **state)
{
	struct house *h = house_build(1);
	const struct verdict *v;
	struct submission *s;

	(void)state;
	h->config.queue.refuse_held = true;
	session_start(h, 0, "new@x", "b@y c@y", NULL);
	s = take(h);
	recipient_set(&queue_message(s)->recipients[0], SENT, 250, "ok");
	settle(h, s, HOLD, SCOPE_SENDER);
	v = session_end(h, 0);
	assert_int_equal(v->outcome, HOLD);
	assert_true(v->kept);
	session_start(h, 1, "late@x", "b@y c@y", NULL);
	s = take(h);
	skip_time(h, DIRECT_WAIT);
	assert_true(session_end(h, 1)->kept);
	settle(h, s, HOLD, SCOPE_SENDER);
	AWAIT(is_quiet(h, 0));
	assert_int_equal(files(h, "queue", NULL), 2);
	house_close(h);
}

/* --- What has waited too long -------------------------------------------- */

static void
step_clock(struct house *h, int64_t ms)
{
	atomic_fetch_add(&stepped, ms);
	skip_time(h, 0);
}

/* The sender of a message is told; nothing else is left of it. */
static void
check_is_told(struct house *h, const char *id)
{
	struct submission *s = take(h);
	char name[64];

	assert_string_equal(queue_message(s)->sender, "");
	AWAIT(files(h, "failed", name) == 1);
	assert_string_equal(name, queue_message(s)->id);
	assert_string_not_equal(name, id);
	settle(h, s, SENT, SCOPE_MESSAGE);
	AWAIT(is_quiet(h, 0));
	check_empty(h);
}

static void
a_refusal_for_now_after_days(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE];

	(void)state;
	store(h, "a@x", "b@y", id);
	settle(h, take(h), LATER, SCOPE_MESSAGE);
	skip_time(h, (int64_t)4 * DAY);
	settle(h, take(h), LATER, SCOPE_MESSAGE);
	check_states(h, "queue", id, "L");
	skip_time(h, (int64_t)2 * DAY);
	settle(h, take(h), LATER, SCOPE_MESSAGE);
	check_is_told(h, id);
	house_close(h);
}

/* Nobody tries it meanwhile. */
static void
a_relay_that_is_away_for_days(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE], name[64];

	(void)state;
	store(h, "a@x", "b@y", id);
	settle(h, take(h), LATER, SCOPE_UPSTREAM);
	lock(h);
	h->queue->lines[0].health.next_probe = INT64_MAX;
	unlock(h);
	skip_time(h, (int64_t)4 * DAY);
	AWAIT(is_quiet(h, 0) || h->queue->lines[0].health.down);
	check_states(h, "queue", id, "W");
	skip_time(h, (int64_t)2 * DAY);
	AWAIT_FOR_MINUTES(h, files(h, "failed", name) == 1);
	check_states(h, "failed", name, "R");
	lock(h);
	h->queue->lines[0].health.next_probe = 0;
	unlock(h);
	skip_time(h, 0);
	check_is_told(h, id);
	house_close(h);
}

/* The sender of many messages is never let through: most are not tried, and
 * all are over in time. */
static void
a_sender_who_waits_for_days(void **state)
{
	enum { HIS = 8 };
	struct house *h = house_build(1);
	size_t tried = 0, told = 0;

	(void)state;
	store(h, "new@x", "b@y", NULL);
	settle(h, take(h), HOLD, SCOPE_SENDER);
	for (int i = 1; i < HIS; i++)
		store(h, "new@x", "b@y", NULL);
	AWAIT(is_quiet(h, 0));
	skip_time(h, (int64_t)6 * DAY);
	while (told < HIS) {
		struct submission *s;
		struct buf text;
		bool notice;

		AWAIT(is_quiet(h, 0));
		if (!waiting(h, LANE_STORED)) /* one was loaded too soon */
			skip_time(h, HOUR);
		s = take(h);
		notice = !*queue_message(s)->sender;
		if (notice) { /* says what was said to the others */
			text = read_file(h, "failed", queue_message(s)->id);
			assert_non_null(strstr(text.data, " said so "));
			buf_free(&text);
		}
		tried += !notice;
		told += notice;
		settle(h, s, notice ? SENT : HOLD, SCOPE_SENDER);
	}
	assert_in_range(tried, 1, HIS - 2);
	AWAIT(is_quiet(h, 0));
	check_empty(h);
	house_close(h);
}

/* The wall clock says that days have gone by: for an hour it may be wrong. */
static void
nothing_is_over_behind_a_step_of_the_clock(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE];

	(void)state;
	skip_time(h, 2 * HOUR); /* the start is no reason */
	store(h, "a@x", "b@y", id);
	step_clock(h, (int64_t)6 * DAY);
	settle(h, take(h), LATER, SCOPE_MESSAGE);
	check_states(h, "queue", id, "L");
	step_clock(h, -(int64_t)6 * DAY); /* it was */
	skip_time(h, 2 * HOUR);
	settle(h, take(h), LATER, SCOPE_MESSAGE);
	skip_time(h, 2 * HOUR);
	settle(h, take(h), LATER, SCOPE_MESSAGE);
	check_states(h, "queue", id, "L");
	step_clock(h, (int64_t)6 * DAY); /* and now it is not */
	skip_time(h, 2 * HOUR);
	settle(h, take(h), LATER, SCOPE_MESSAGE);
	check_states(h, "queue", id, "L"); /* the step was seen just now */
	skip_time(h, 2 * HOUR);
	settle(h, take(h), LATER, SCOPE_MESSAGE);
	check_is_told(h, id);
	house_close(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_courier_that_cannot_be_started),
		cmocka_unit_test(the_first_goes_alone),
		cmocka_unit_test(sessions_and_backlog_take_turns),
		cmocka_unit_test(a_few_may_always_wait),
		cmocka_unit_test(more_may_wait_for_a_fast_relay),
		cmocka_unit_test(a_large_backlog_and_two_upstreams),
		cmocka_unit_test(a_large_backlog_is_served),
		cmocka_unit_test(a_file_that_is_locked),
		cmocka_unit_test(a_sender_who_is_refused),
		cmocka_unit_test(a_client_who_is_refused),
		cmocka_unit_test(held_is_not_refused_too_late),
		cmocka_unit_test(a_refusal_for_now_after_days),
		cmocka_unit_test(a_relay_that_is_away_for_days),
		cmocka_unit_test(a_sender_who_waits_for_days),
		cmocka_unit_test(nothing_is_over_behind_a_step_of_the_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
