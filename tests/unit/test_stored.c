/* SPDX-License-Identifier: ISC */
/*
 * What is stored and what it says: a verdict before the commit, in the middle
 * of it and behind the answer; results of some of the recipients; a disk that
 * does not take the marks.
 */
#include "stored.h"

/* --- The verdict and the session's patience ------------------------------ */

/* When it comes, from the session's point of view; and when the envelope was
 * begun. */
enum moment { BEFORE_COMMIT, BEFORE_RENAME, BEHIND_RENAME, BEHIND_ANSWER };
static const char gates[] = {'l', 'r', 'd', '\0'};

struct patience_case {
	const char *results;  /* for two recipients */
	enum outcome outcome; /* that the session hears, if it is in time */
	bool kept;
	const char *stored;   /* states in queue/ afterwards; NULL: no file */
	const char *failed;   /* in failed/; then there is one notice */
};

static const struct patience_case patience_cases[] = {
	{"SS", SENT, false, NULL, NULL},
	{"NN", NEVER, false, NULL, NULL},
	{"LL", LATER, true, "LL", NULL},
	{"HH", HOLD, true, "HH", NULL},
	{"SL", SENT, true, "SL", NULL},
	{"SN", SENT, true, NULL, "SR"},
	{"LN", LATER, true, "LR", NULL},
};

static void
check_spool(struct house *h, const struct patience_case *c, const char *id,
    bool in_time)
{
	bool told = strchr(c->results, 'N') && !(in_time && !c->kept);
	char name[64] = "";

	AWAIT(files(h, "queue", NULL) == (size_t)told + (c->stored != NULL));
	assert_int_equal(files(h, "incoming", NULL), 0);
	if (c->stored) {
		AWAIT(next_try(h, id) > 30 * SECOND);
		check_states(h, "queue", id, c->stored);
	}
	if (!told || c->stored) {
		assert_int_equal(files(h, "failed", NULL), 0);
		return;
	}
	AWAIT(files(h, "failed", name) == 1);
	check_states(h, "failed", name, c->failed ? c->failed : "RR");
	assert_int_equal(files(h, "queue", name), 1);
	check_states(h, "queue", name, "W"); /* the notice */
}

static void
check_patience(const struct patience_case *c, enum moment moment, bool begun)
{
	struct house *h = house_build(1);
	const struct verdict *v = NULL;
	struct submission *s;
	struct smtp_terms terms;
	char id[QUEUE_ID_SIZE];

	session_start(h, 0, "a@x", "b@y c@y", id);
	s = queue_take(h->queue, 0);
	if (begun)
		assert_true(queue_begin(h->queue, s, &terms));
	gate_close(gates[moment]);
	skip_time(h, DIRECT_WAIT);
	if (moment == BEHIND_ANSWER)
		v = session_end(h, 0);
	else
		gate_await();
	if (!begun)
		assert_true(queue_begin(h->queue, s, &terms));
	settle_each(h, s, c->results);
	gate_open();
	if (!v)
		v = session_end(h, 0);
	if (moment == BEHIND_ANSWER) {
		assert_true(v->kept);
		assert_int_equal(v->outcome, LATER);
	} else {
		assert_int_equal(v->outcome, c->outcome);
		assert_int_equal(v->kept, c->kept);
	}
	check_spool(h, c, id, moment != BEHIND_ANSWER);
	house_close(h);
}

static void
a_verdict_at_every_moment(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(patience_cases); i++)
		for (unsigned m = BEFORE_COMMIT; m <= BEHIND_ANSWER; m++)
			for (int begun = 0; begun < 2; begun++)
				check_patience(&patience_cases[i],
				    (enum moment)m, begun);
}

/* The upstream fails then: the session does not start with another one, and
 * its message is due at once. */
static void
the_upstream_fails_at_every_moment(void **state)
{
	(void)state;
	for (unsigned m = BEFORE_COMMIT; m <= BEHIND_ANSWER; m++) {
		struct house *h = house_build(1);
		char id[QUEUE_ID_SIZE];
		struct submission *s;

		session_start(h, 0, "a@x", "b@y c@y", id);
		s = queue_take(h->queue, 0);
		gate_close(gates[m]);
		skip_time(h, DIRECT_WAIT);
		if (m == BEHIND_ANSWER)
			session_end(h, 0);
		else
			gate_await();
		settle(h, s, LATER, SCOPE_UPSTREAM);
		gate_open();
		if (m != BEHIND_ANSWER)
			session_end(h, 0);
		assert_true(h->sessions[0].verdict.kept);
		check_states(h, "queue", id, "WW");
		assert_true(next_try(h, id) <= 0);
		house_close(h);
	}
}

/* The commit fails while a courier has it: the verdict decides. */
static void
a_commit_that_fails_waits_for_the_verdict(void **state)
{
	static const struct {
		const char *results;
		enum outcome outcome;
	} cases[] = {{"SS", SENT}, {"NN", NEVER}, {"LL", LATER}, {"SL", LATER}};

	(void)state;
	for (const char *letter = "lwfrd"; *letter; letter++)
		for (size_t i = 0; i < COUNT(cases); i++) {
			const char failing[] = {*letter, '\0'};
			struct house *h = house_build(1);
			const struct verdict *v;
			struct submission *s;

			session_start(h, 0, "a@x", "b@y c@y", NULL);
			s = take(h);
			disk_fails(failing);
			skip_time(h, DIRECT_WAIT);
			AWAIT(disk_failures());
			disk_fails(NULL);
			settle_each(h, s, cases[i].results);
			v = session_end(h, 0);
			assert_int_equal(v->outcome, cases[i].outcome);
			assert_false(v->kept);
			if (v->outcome == LATER)
				assert_non_null(strstr(v->text, "4.3.1"));
			check_empty(h);
			house_close(h);
		}
}

/* Nobody has it in hand, and there is no disk: that is the answer. */
static void
a_commit_that_fails_with_nobody_at_work(void **state)
{
	struct house *h = house_build(1);
	const struct verdict *v;

	(void)state;
	disk_fails("r");
	session_start(h, 0, "a@x", "b@y", NULL);
	AWAIT(waiting(h, LANE_SESSIONS) == 1);
	skip_time(h, DIRECT_WAIT);
	v = session_end(h, 0);
	assert_int_equal(v->outcome, LATER);
	assert_false(v->kept);
	assert_non_null(strstr(v->text, "4.3.1"));
	assert_int_equal(waiting(h, LANE_SESSIONS), 0);
	check_empty(h);
	house_close(h);
}

/* It was committed for nothing, but its file cannot be removed: it stays in
 * hand until that works, or the next start would send it. */
static void
a_file_for_nothing_that_cannot_be_removed(void **state)
{
	static const struct {
		const char *results;
		enum outcome outcome;
	} cases[] = {{"SS", SENT}, {"NN", NEVER}};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (const char *letter = "wsu"; *letter; letter++) {
			const char failing[] = {*letter, '\0'};
			struct house *h = house_build(1);
			struct submission *s;

			session_start(h, 0, "a@x", "b@y c@y", NULL);
			s = take(h);
			gate_close('d');
			skip_time(h, DIRECT_WAIT);
			gate_await();
			settle_each(h, s, cases[i].results);
			disk_fails(failing);
			gate_open();
			assert_int_equal(session_end(h, 0)->outcome,
			    cases[i].outcome);
			assert_int_equal(files(h, "queue", NULL), 1);
			AWAIT_FOR_MINUTES(h, disk_failures() >= 2);
			disk_fails(NULL);
			AWAIT_FOR_MINUTES(h, files(h, "queue", NULL) == 0);
			check_empty(h); /* the client has heard it: no notice */
			house_close(h);
		}
}

/* --- Some have got it, and the others wait ------------------------------- */

/* The relay goes away between two transactions of a message that is in memory:
 * the file says who has it. */
static void
what_was_sent_is_marked_by_the_commit(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE];
	struct submission *s;

	(void)state;
	session_start(h, 0, "a@x", "b@y c@y d@y", id);
	s = take(h);
	recipient_set(&queue_message(s)->recipients[0], SENT, 250, "ok");
	recipient_set(&queue_message(s)->recipients[1], NEVER, 550, "no");
	assert_true(queue_mark(h->queue, s));
	settle(h, s, LATER, SCOPE_UPSTREAM);
	assert_true(session_end(h, 0)->kept);
	AWAIT(files(h, "queue", NULL) == 2);
	check_states(h, "queue", id, "SRW");
	house_close(h);
}

/* The same if the session commits while the rest is being sent, and nothing
 * ends well. */
static void
what_was_sent_is_marked_by_an_impatient_commit(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE];
	struct submission *s;

	(void)state;
	session_start(h, 0, "a@x", "b@y c@y d@y", id);
	s = take(h);
	recipient_set(&queue_message(s)->recipients[0], SENT, 250, "ok");
	assert_true(queue_mark(h->queue, s));
	skip_time(h, DIRECT_WAIT);
	assert_true(session_end(h, 0)->kept);
	check_states(h, "queue", id, "SWW"); /* as a crash would leave it */
	recipient_set(&queue_message(s)->recipients[1], SENT, 250, "ok");
	assert_true(queue_mark(h->queue, s));
	check_states(h, "queue", id, "SSW");
	settle(h, s, SENT, SCOPE_MESSAGE);
	AWAIT(files(h, "queue", NULL) == 0);
	house_close(h);
}

/* Marks that come while the session is at its commit wait for it. */
static void *
run_mark(void *argument)
{
	struct session *s = argument;

	assert_true(queue_mark(s->house->queue,
	    (struct submission *)(void *)s->message));
	return NULL;
}

static void
marks_wait_for_the_commit(void **state)
{
	struct house *h = house_build(1);
	struct session marker = {.house = h};
	char id[QUEUE_ID_SIZE];
	struct submission *s;

	(void)state;
	session_start(h, 0, "a@x", "b@y c@y", id);
	s = take(h);
	gate_close('f');
	skip_time(h, DIRECT_WAIT);
	gate_await(); /* the file says that both wait */
	recipient_set(&queue_message(s)->recipients[0], SENT, 250, "ok");
	marker.message = (struct message *)(void *)s;
	assert_int_equal(pthread_create(&marker.thread, NULL, run_mark,
	    &marker), 0);
	gate_open();
	pthread_join(marker.thread, NULL);
	assert_true(session_end(h, 0)->kept);
	check_states(h, "queue", id, "SW");
	settle(h, s, SENT, SCOPE_MESSAGE);
	AWAIT(files(h, "queue", NULL) == 0);
	house_close(h);
}

/* Upstream trouble leaves the file of a stored message as the last marks have
 * made it, and it is due. */
static void
a_stored_one_keeps_its_marks(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE];
	struct submission *s;

	(void)state;
	store(h, "a@x", "b@y c@y", id);
	s = take(h);
	recipient_set(&queue_message(s)->recipients[0], SENT, 250, "ok");
	assert_true(queue_mark(h->queue, s));
	check_states(h, "queue", id, "SW");
	settle(h, s, LATER, SCOPE_UPSTREAM);
	lock(h);
	h->queue->lines[0].health.next_probe = 0;
	unlock(h);
	skip_time(h, 0);
	s = take(h);
	check_states(h, "queue", id, "SW");
	assert_int_equal(queue_message(s)->recipients[0].outcome, SENT);
	assert_int_equal(queue_message(s)->recipients[1].outcome, WAITING);
	settle(h, s, SENT, SCOPE_MESSAGE);
	AWAIT(files(h, "queue", NULL) == 0);
	house_close(h);
}

/* --- A disk that does not take the marks --------------------------------- */

struct unmarked_case {
	const char *results;
	const char *failing;
	const char *stored; /* states once the disk takes them; NULL: gone */
	bool told;
};

static const struct unmarked_case unmarked_cases[] = {
	{"SS", "w", NULL, false}, {"SS", "s", NULL, false},
	{"SS", "u", NULL, false}, {"SL", "w", "SL", false},
	{"SL", "t", "SL", false}, {"LL", "s", "LL", false},
	{"NN", "w", NULL, true}, {"NL", "w", "RL", true},
	{"SN", "s", NULL, true}, {"HH", "w", "HH", false},
};

/* Whether nothing is left to be marked. */
static bool
marks_are_tried(struct house *h)
{
	bool none;

	lock(h);
	none = !h->queue->unmarked;
	unlock(h);
	return none;
}

/* It is neither tried again nor told of before they are there; and the clock
 * tries once a minute. */
static void
check_unmarked(const struct unmarked_case *c)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE], name[64];
	struct submission *s;

	store(h, "a@x", "b@y c@y", id);
	s = take(h);
	disk_fails(c->failing);
	settle_each(h, s, c->results);
	for (int i = 0; i < 3; i++) {
		unsigned before = disk_failures();

		assert_int_equal(files(h, "queue", name), 1);
		assert_string_equal(name, id);
		check_nothing_due(h, INT64_MAX / 2);
		AWAIT_FOR_MINUTES(h, disk_failures() > before);
	}
	disk_fails(NULL);
	AWAIT_FOR_MINUTES(h, marks_are_tried(h));
	if (c->told) {
		s = take(h);
		settle(h, s, SENT, SCOPE_MESSAGE);
	}
	AWAIT(files(h, "queue", NULL) == (c->stored != NULL));
	AWAIT(is_quiet(h, 0));
	if (c->stored)
		check_states(h, "queue", id, c->stored);
	AWAIT(files(h, "failed", NULL) == 0);
	house_close(h);
}

static void
what_is_not_marked_is_not_tried_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(unmarked_cases); i++)
		check_unmarked(&unmarked_cases[i]);
}

/* The same between two transactions. */
static void
what_is_not_marked_in_between(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE];
	struct attempt a = {""};
	struct submission *s;
	struct verdict v;

	(void)state;
	store(h, "a@x", "b@y c@y", id);
	s = take(h);
	recipient_set(&queue_message(s)->recipients[0], SENT, 250, "ok");
	disk_fails("w");
	assert_false(queue_mark(h->queue, s));
	/* as send_rest() says it */
	verdict_set(&v, LATER, SCOPE_MESSAGE, STAGE_MAIL, "cannot mark");
	v.cut_short = true;
	queue_settle(h->queue, s, &v, &a);
	for (int i = 0; i < 2; i++) {
		check_nothing_due(h, INT64_MAX / 2);
		check_states(h, "queue", id, "WW");
		AWAIT_FOR_MINUTES(h, disk_failures() >= (unsigned)i + 2);
	}
	disk_fails(NULL);
	AWAIT_FOR_MINUTES(h, marks_are_tried(h));
	s = take(h);
	check_states(h, "queue", id, "SW");
	assert_int_equal(queue_message(s)->recipients[0].outcome, SENT);
	settle(h, s, SENT, SCOPE_MESSAGE);
	AWAIT(files(h, "queue", NULL) == 0);
	house_close(h);
}

/* The process stops, and the disk has come back meanwhile. */
static void
the_marks_are_tried_once_more_at_the_end(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE];
	struct submission *s;

	(void)state;
	store(h, "a@x", "b@y c@y", id);
	s = take(h);
	disk_fails("w");
	settle_each(h, s, "SL");
	AWAIT(is_quiet(h, 0));
	check_states(h, "queue", id, "WW");
	disk_fails(NULL);
	house_shut(h);
	check_states(h, "queue", id, "SL");
	house_open(h);
	house_close(h);
}

/* Somebody has removed the file under us: then there is nothing to do. */
static void
a_file_that_is_gone(void **state)
{
	static const char *const results[] = {"SS", "NN", "SL", "LL"};

	(void)state;
	for (size_t i = 0; i < COUNT(results); i++) {
		struct house *h = house_build(1);
		char id[QUEUE_ID_SIZE], path[512];
		struct submission *s;

		store(h, "a@x", "b@y c@y", id);
		s = take(h);
		assert_int_equal(unlink(path_of(h, "queue", id, path)), 0);
		settle_each(h, s, results[i]);
		if (strchr(results[i], 'N')) {
			s = take(h); /* its sender is told all the same */
			settle(h, s, SENT, SCOPE_MESSAGE);
		}
		AWAIT_FOR_MINUTES(h, is_quiet(h, 0));
		assert_true(marks_are_tried(h));
		assert_int_equal(waiting(h, LANE_STORED), 0);
		check_empty(h);
		house_close(h);
	}
}

static void *
run_settle(void *argument)
{
	struct session *s = argument;

	settle(s->house, (struct submission *)(void *)s->message, LATER,
	    SCOPE_MESSAGE);
	return NULL;
}

/* A retry that is asked for while the disk takes the marks of the attempt
 * before it is not for nothing. */
static void
a_retry_behind_the_attempt(void **state)
{
	struct house *h = house_build(1);
	struct session courier = {.house = h};
	char id[QUEUE_ID_SIZE];

	(void)state;
	store(h, "a@x", "b@y", id);
	courier.message = (struct message *)(void *)take(h);
	gate_close('s');
	assert_int_equal(pthread_create(&courier.thread, NULL, run_settle,
	    &courier), 0);
	gate_await();
	queue_wake(h->queue);
	gate_open();
	pthread_join(courier.thread, NULL);
	settle(h, take(h), SENT, SCOPE_MESSAGE);
	AWAIT(files(h, "queue", NULL) == 0);
	house_close(h);
}

/* One that comes before is answered by it. */
static void
a_retry_before_its_end(void **state)
{
	struct house *h = house_build(1);
	struct submission *s;

	(void)state;
	store(h, "a@x", "b@y", NULL);
	s = take(h);
	queue_wake(h->queue);
	settle(h, s, LATER, SCOPE_MESSAGE);
	AWAIT(is_quiet(h, 0));
	check_nothing_due(h, 30 * SECOND);
	house_close(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verdict_at_every_moment),
		cmocka_unit_test(the_upstream_fails_at_every_moment),
		cmocka_unit_test(a_commit_that_fails_waits_for_the_verdict),
		cmocka_unit_test(a_commit_that_fails_with_nobody_at_work),
		cmocka_unit_test(a_file_for_nothing_that_cannot_be_removed),
		cmocka_unit_test(what_was_sent_is_marked_by_the_commit),
		cmocka_unit_test(what_was_sent_is_marked_by_an_impatient_commit),
		cmocka_unit_test(marks_wait_for_the_commit),
		cmocka_unit_test(a_stored_one_keeps_its_marks),
		cmocka_unit_test(what_is_not_marked_is_not_tried_again),
		cmocka_unit_test(what_is_not_marked_in_between),
		cmocka_unit_test(the_marks_are_tried_once_more_at_the_end),
		cmocka_unit_test(a_file_that_is_gone),
		cmocka_unit_test(a_retry_behind_the_attempt),
		cmocka_unit_test(a_retry_before_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
