/* SPDX-License-Identifier: ISC */
/*
 * Who is told of what was refused: once, at once or in a digest, and whatever
 * the disk does and whenever the process dies (UX-49 to UX-51).
 */
#include "stored.h"

enum { AT_ONCE = 10 };

static bool
is_notice(struct submission *s)
{
	return !*queue_message(s)->sender;
}

/* Appends the content of a notice. */
static void
read_notice(struct submission *s, struct buf *text)
{
	const struct body *body = &queue_message(s)->body;
	char piece[4096];
	uint64_t at = 0;
	ptrdiff_t got;

	while ((got = body_read(body, at, piece, sizeof(piece))) > 0) {
		buf_add(text, piece, (size_t)got);
		at += (uint64_t)got;
	}
}

/* Serves so many of those in line: notices are taken, everybody else is
 * refused. What the notices say goes to told; how many there were. */
static size_t
serve(struct house *h, size_t count, struct buf *told)
{
	size_t notices = 0;

	while (count--) {
		struct submission *s = take(h);

		if (is_notice(s)) {
			read_notice(s, told);
			notices++;
			settle(h, s, SENT, SCOPE_MESSAGE);
		} else {
			settle(h, s, NEVER, SCOPE_MESSAGE);
		}
	}
	return notices;
}

static size_t
occurrences(const struct buf *text, const char *what)
{
	size_t count = 0;

	for (const char *at = buf_text(text); (at = strstr(at, what)); at++)
		count++;
	return count;
}

/* How many notices tell of that message: its ID begins a line in each. */
static size_t
tellings(const struct buf *told, const char *id)
{
	char line[QUEUE_ID_SIZE + 1];

	snprintf(line, sizeof(line), "\n%.32s", id);
	return occurrences(told, line);
}

/* --- One message --------------------------------------------------------- */

/* A notice, the message in failed/ under its name until that is sent, and then
 * nothing. */
static void
one_refusal(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE], name[64];
	struct buf told = {0};
	struct submission *s;

	(void)state;
	store(h, "a@x", "b@y c@y", id);
	serve(h, 1, &told);
	s = take(h);
	assert_true(is_notice(s));
	assert_int_equal(files(h, "failed", name), 1);
	assert_string_equal(name, queue_message(s)->id);
	check_states(h, "failed", name, "RR");
	read_notice(s, &told);
	assert_int_equal(tellings(&told, id), 1);
	settle(h, s, SENT, SCOPE_MESSAGE);
	AWAIT(is_quiet(h, 0));
	check_empty(h);
	buf_free(&told);
	house_close(h);
}

/* Nobody is told of a notice: what it was about stays in failed/. */
static void
a_notice_that_is_refused(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE], name[64];
	struct buf told = {0}, text;

	(void)state;
	store(h, "a@x", "b@y", id);
	serve(h, 1, &told);
	settle(h, take(h), NEVER, SCOPE_MESSAGE);
	AWAIT(is_quiet(h, 0));
	assert_int_equal(files(h, "queue", NULL), 0);
	assert_int_equal(files(h, "failed", name), 1);
	text = read_file(h, "failed", name);
	assert_int_equal(occurrences(&text, id), 2); /* its ID, and X-Id */
	buf_free(&text);
	house_close(h);
}

/* Two who are refused at different times, with the first notice still there. */
static void
a_second_notice_about_a_message(void **state)
{
	struct house *h = house_build(1);
	struct submission *first, *second;
	char id[QUEUE_ID_SIZE];
	struct buf told = {0};

	(void)state;
	store(h, "a@x", "b@y c@y", id);
	settle_each(h, take(h), "NL");
	check_states(h, "queue", id, "RL");
	first = take(h);
	skip_time(h, 2 * MINUTE);
	settle_each(h, take(h), "-N");
	second = take(h);
	assert_true(is_notice(first) && is_notice(second));
	read_notice(first, &told);
	assert_int_equal(occurrences(&told, "b@y"), 2);
	assert_int_equal(occurrences(&told, "c@y"), 0);
	read_notice(second, &told);
	assert_int_equal(occurrences(&told, "c@y"), 2);
	assert_int_equal(occurrences(&told, "b@y"), 2);
	settle(h, first, SENT, SCOPE_MESSAGE);
	settle(h, second, SENT, SCOPE_MESSAGE);
	AWAIT(is_quiet(h, 0));
	check_empty(h);
	buf_free(&told);
	house_close(h);
}

/* It stays owed, and is told when there is room: at once, however often that
 * was in vain. */
static void
a_notice_that_cannot_be_stored(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE], name[64];
	struct buf told = {0};

	(void)state;
	h->config.queue.retry_max = MINUTE;
	store(h, "a@x", "b@y", id);
	disk_fails("r");
	serve(h, 1, &told);
	for (unsigned i = 1; i < 3 * AT_ONCE / 2; i++) {
		assert_int_equal(disk_failures(), i);
		check_nothing_due(h, 30 * SECOND);
		assert_int_equal(files(h, "queue", name), 1);
		assert_int_equal(files(h, "incoming", NULL), 0);
		check_states(h, "queue", id, "N");
		skip_time(h, MINUTE + MINUTE / 5 + SECOND);
		AWAIT(disk_failures() == i + 1);
	}
	AWAIT(is_quiet(h, 0));
	disk_fails(NULL);
	skip_time(h, 2 * MINUTE);
	assert_int_equal(serve(h, 1, &told), 1);
	assert_int_equal(tellings(&told, id), 1);
	AWAIT(is_quiet(h, 0));
	check_empty(h);
	buf_free(&told);
	house_close(h);
}

/* --- Crashes ------------------------------------------------------------- */

/* Serves all there is, now and later. */
static size_t
serve_all(struct house *h, struct buf *told)
{
	size_t notices = 0;

	for (;;) {
		AWAIT(is_quiet(h, 0));
		if (waiting(h, LANE_STORED))
			notices += serve(h, 1, told);
		else if (files(h, "queue", NULL))
			skip_time(h, 10 * MINUTE);
		else
			return notices;
	}
}

struct step {
	struct house *house;
	struct submission *submission;
	const char *letters;
	atomic_bool ended;
	pthread_t thread;
};

static void *
run_step(void *argument)
{
	struct step *s = argument;

	settle_each(s->house, s->submission, s->letters);
	atomic_store(&s->ended, true);
	return NULL;
}

/* Settles it, and has the spool as it is at the call with that number. False
 * if there are not so many. */
static bool
crash_at(struct house *h, unsigned number, const char *letters)
{
	struct step s = {.house = h, .submission = take(h), .letters = letters};
	bool crashed;

	gate_close_at('*', number);
	assert_int_equal(pthread_create(&s.thread, NULL, run_step, &s), 0);
	AWAIT(gate_is_reached() || atomic_load(&s.ended));
	crashed = gate_is_reached();
	if (crashed)
		house_snapshot(h);
	gate_open();
	pthread_join(s.thread, NULL);
	if (crashed)
		house_restart_from_snapshot(h);
	return crashed;
}

/* A message is refused: whatever came to the disk, there is one notice. */
static void
a_crash_at_every_step_of_a_refusal(void **state)
{
	static const char *const results[] = {"NN", "SN"};
	unsigned number;

	(void)state;
	for (size_t i = 0; i < COUNT(results); i++) {
		bool crashed = true;

		for (number = 1; crashed; number++) {
			struct house *h = house_build(1);
			struct buf told = {0};
			char id[QUEUE_ID_SIZE];

			store(h, "a@x", "b@y c@y", id);
			crashed = crash_at(h, number, results[i]);
			assert_int_equal(serve_all(h, &told), 1);
			assert_int_equal(tellings(&told, id), 1);
			check_empty(h);
			buf_free(&told);
			house_close(h);
		}
		assert_in_range(number, 15, 40);
	}
}

/* The notice is taken by the relay: it is sent again only if its mark was not
 * there yet, and nothing stays in failed/. */
static void
a_crash_at_every_step_of_a_notice(void **state)
{
	bool crashed = true;
	unsigned number;

	(void)state;
	for (number = 1; crashed; number++) {
		struct house *h = house_build(1);
		struct buf told = {0};

		store(h, "a@x", "b@y c@y", NULL);
		serve(h, 1, &told);
		AWAIT(waiting(h, LANE_STORED) == 1);
		crashed = crash_at(h, number, "S");
		assert_int_equal(serve_all(h, &told), number == 1);
		check_empty(h);
		buf_free(&told);
		house_close(h);
	}
	assert_in_range(number, 4, 20);
}

/* A crash long ago: the notice has been sent since, by hand perhaps. */
static void
a_reported_message_without_a_notice(void **state)
{
	struct house *h = house_build(1);
	char id[QUEUE_ID_SIZE], path[512];
	struct buf text;
	int fd;

	(void)state;
	store(h, "a@x", "b@y c@y", id);
	house_shut(h);
	text = read_file(h, "queue", id);
	memcpy(strstr(text.data, "\nrecipient W"), "\nrecipient S", 12);
	memcpy(strstr(text.data, "\nrecipient W"), "\nrecipient R", 12);
	fd = open(path_of(h, "queue", id, path), O_WRONLY | O_CLOEXEC);
	assert_true(body_write_all(fd, text.data, text.len));
	close(fd);
	check_states(h, "queue", id, "SR");
	house_open(h);
	AWAIT(files(h, "queue", NULL) == 0);
	check_empty(h);
	buf_free(&text);
	house_close(h);
}

/* --- Storms -------------------------------------------------------------- */

/* So many messages of one sender, all refused; their IDs. */
static void
storm(struct house *h, size_t count, char (*ids)[QUEUE_ID_SIZE],
    struct buf *told)
{
	size_t notices = count < AT_ONCE ? count : AT_ONCE;

	for (size_t i = 0; i < count; i++)
		store(h, "a@x", "b@y c@y", ids[i]);
	assert_int_equal(serve(h, count + notices, told), notices);
	AWAIT(is_quiet(h, 0));
}

static void
check_told(const struct buf *told, char (*ids)[QUEUE_ID_SIZE], size_t count,
    size_t times)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(tellings(told, ids[i]), times);
}

enum { STORM = 40, LATE = STORM - AT_ONCE };

/* Ten are told at once, and the other thirty an hour later, together. */
static void
the_storm_is_merged(void **state)
{
	struct house *h = house_build(1);
	char ids[STORM][QUEUE_ID_SIZE];
	struct buf told = {0};
	struct submission *s;

	(void)state;
	storm(h, STORM, ids, &told);
	check_told(&told, ids, AT_ONCE, 1);
	check_told(&told, ids + AT_ONCE, LATE, 0);
	assert_int_equal(files(h, "failed", NULL), 0);
	assert_int_equal(files(h, "queue", NULL), LATE);
	for (size_t i = AT_ONCE; i < STORM; i++)
		check_states(h, "queue", ids[i], "NN");
	/* until then they are not looked at */
	check_nothing_due(h, 59 * MINUTE);
	skip_time(h, 58 * MINUTE);
	check_nothing_due(h, MINUTE);
	skip_time(h, 3 * MINUTE);
	s = take(h);
	assert_true(is_notice(s));
	AWAIT(is_quiet(h, 1));
	assert_int_equal(files(h, "queue", NULL), 1);
	assert_int_equal(files(h, "failed", NULL), LATE);
	read_notice(s, &told);
	check_told(&told, ids, STORM, 1);
	assert_int_equal(occurrences(&told, " 30 more\r\nmessages"), 1);
	settle(h, s, SENT, SCOPE_MESSAGE);
	AWAIT(is_quiet(h, 0));
	check_empty(h);
	buf_free(&told);
	house_close(h);
}

/* One in the storm has somebody left to try, and comes again and again: it is
 * on the list once. */
static void
a_message_that_comes_again_is_told_once(void **state)
{
	struct house *h = house_build(1);
	char ids[AT_ONCE + 2][QUEUE_ID_SIZE], again[QUEUE_ID_SIZE];
	struct buf told = {0};

	(void)state;
	h->config.queue.retry_max = 10 * MINUTE;
	storm(h, AT_ONCE, ids, &told);
	store(h, "a@x", "b@y c@y", again);
	settle_each(h, take(h), "NL");
	store(h, "a@x", "b@y c@y", ids[AT_ONCE]);
	store(h, "a@x", "b@y c@y", ids[AT_ONCE + 1]);
	serve(h, 2, &told);
	for (int i = 0; i < 4; i++) {
		check_states(h, "queue", again, "NL");
		skip_time(h, 13 * MINUTE);
		settle_each(h, take(h), i < 3 ? "-L" : "-S");
	}
	AWAIT(is_quiet(h, 0));
	assert_int_equal(files(h, "queue", NULL), 3);
	skip_time(h, 10 * MINUTE);
	assert_int_equal(serve(h, 1, &told), 1);
	check_told(&told, ids, AT_ONCE + 2, 1);
	assert_int_equal(tellings(&told, again), 1);
	assert_int_equal(occurrences(&told, " 3 more\r\nmessages"), 1);
	AWAIT(is_quiet(h, 0));
	check_empty(h);
	buf_free(&told);
	house_close(h);
}

/* The one that brings the digest about stays in the queue, and another one is
 * in somebody's hand: what is in failed/ goes with the digest. */
static void
a_digest_by_a_message_that_goes_on(void **state)
{
	struct house *h = house_build(1);
	char ids[AT_ONCE][QUEUE_ID_SIZE], again[QUEUE_ID_SIZE];
	char owed[3][QUEUE_ID_SIZE], path[512];
	struct buf told = {0};
	struct submission *s;
	int fd;

	(void)state;
	storm(h, AT_ONCE, ids, &told);
	store(h, "a@x", "b@y c@y", again);
	settle_each(h, take(h), "NL");
	for (int i = 0; i < 3; i++)
		store(h, "a@x", "b@y c@y", owed[i]);
	serve(h, 3, &told);
	skip_time(h, 2 * MINUTE);
	s = take(h); /* again */
	fd = open(path_of(h, "queue", owed[0], path), O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	lock(h); /* who else is due must not be the first */
	schedule_free(&h->queue->schedule);
	unlock(h);
	skip_time(h, HOUR);
	settle_each(h, s, "-L");
	check_states(h, "queue", again, "RL");
	close(fd);
	assert_int_equal(serve(h, 1, &told), 1);
	assert_int_equal(tellings(&told, again), 1);
	assert_int_equal(tellings(&told, owed[0]), 0);
	check_told(&told, owed + 1, 2, 1);
	AWAIT(files(h, "queue", NULL) == 2);
	AWAIT(files(h, "failed", NULL) == 0);
	house_shut(h);
	house_open(h); /* for the one that was in hand */
	serve_all(h, &told);
	assert_int_equal(tellings(&told, owed[0]), 1);
	check_empty(h);
	buf_free(&told);
	house_close(h);
}

/* Each reader has ten of his own. */
static void
another_reader_is_told_at_once(void **state)
{
	struct house *h = house_build(1);
	char ids[STORM][QUEUE_ID_SIZE], other[QUEUE_ID_SIZE];
	struct buf told = {0};

	(void)state;
	storm(h, STORM, ids, &told);
	store(h, "other@x", "b@y", other);
	assert_int_equal(serve(h, 2, &told), 1);
	assert_int_equal(tellings(&told, other), 1);
	buf_free(&told);
	house_close(h);
}

/* The next hour begins with the digest: nine more at once. */
static void
the_storm_goes_on(void **state)
{
	struct house *h = house_build(1);
	char ids[STORM][QUEUE_ID_SIZE];
	struct buf told = {0};
	size_t notices;

	(void)state;
	storm(h, STORM, ids, &told);
	skip_time(h, HOUR + MINUTE);
	assert_int_equal(serve(h, 1, &told), 1);
	for (size_t i = 0; i < STORM; i++)
		store(h, "a@x", "b@y c@y", ids[i]);
	notices = serve(h, STORM + AT_ONCE - 1, &told);
	assert_int_equal(notices, AT_ONCE - 1);
	AWAIT(is_quiet(h, 0));
	check_nothing_due(h, 50 * MINUTE);
	assert_int_equal(files(h, "queue", NULL), STORM - notices);
	assert_int_equal(serve_all(h, &told), 1);
	check_told(&told, ids, STORM, 1);
	buf_free(&told);
	house_close(h);
}

/* Nothing of it is lost with the process: it is told anew, in time. */
static void
a_storm_and_a_restart(void **state)
{
	struct house *h = house_build(1);
	char ids[STORM][QUEUE_ID_SIZE];
	struct buf told = {0};

	(void)state;
	storm(h, STORM, ids, &told);
	house_shut(h);
	house_open(h);
	serve_all(h, &told);
	check_told(&told, ids, STORM, 1);
	check_empty(h);
	buf_free(&told);
	house_close(h);
}

/* The disk is full when the digest is to be stored. */
static void
a_digest_that_cannot_be_stored(void **state)
{
	struct house *h = house_build(1);
	char ids[STORM][QUEUE_ID_SIZE];
	struct buf told = {0};

	(void)state;
	storm(h, STORM, ids, &told);
	disk_fails("r");
	skip_time(h, HOUR + MINUTE);
	AWAIT(disk_failures());
	AWAIT(is_quiet(h, 0));
	assert_int_equal(files(h, "queue", NULL), LATE);
	assert_int_equal(files(h, "failed", NULL), 0);
	for (size_t i = AT_ONCE; i < STORM; i++)
		check_states(h, "queue", ids[i], "NN");
	disk_fails(NULL);
	serve_all(h, &told);
	check_told(&told, ids, STORM, 1);
	check_empty(h);
	buf_free(&told);
	house_close(h);
}

/* Whatever of the digest and of what it is about came to the disk: all are told
 * at least once, and nothing stays. */
static void
a_crash_at_every_step_of_a_digest(void **state)
{
	enum { OWED = 4, FEW = AT_ONCE + OWED };
	bool crashed = true;
	unsigned number;

	(void)state;
	for (number = 1; crashed; number++) {
		struct house *h = house_build(1);
		char ids[FEW][QUEUE_ID_SIZE];
		struct buf told = {0};

		storm(h, FEW, ids, &told);
		buf_clear(&told);
		gate_close_at('*', number);
		skip_time(h, HOUR + MINUTE);
		AWAIT(gate_is_reached() ||
		    (waiting(h, LANE_STORED) == 1 && is_quiet(h, 0)));
		crashed = gate_is_reached();
		if (crashed)
			house_snapshot(h);
		gate_open();
		AWAIT(is_quiet(h, 0));
		if (crashed)
			house_restart_from_snapshot(h);
		serve_all(h, &told);
		for (size_t i = AT_ONCE; i < FEW; i++)
			assert_in_range(tellings(&told, ids[i]), 1,
			    crashed ? 2 : 1);
		check_empty(h);
		buf_free(&told);
		house_close(h);
	}
	assert_in_range(number, 20, 80);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_refusal),
		cmocka_unit_test(a_notice_that_is_refused),
		cmocka_unit_test(a_second_notice_about_a_message),
		cmocka_unit_test(a_notice_that_cannot_be_stored),
		cmocka_unit_test(a_crash_at_every_step_of_a_refusal),
		cmocka_unit_test(a_crash_at_every_step_of_a_notice),
		cmocka_unit_test(a_reported_message_without_a_notice),
		cmocka_unit_test(the_storm_is_merged),
		cmocka_unit_test(a_message_that_comes_again_is_told_once),
		cmocka_unit_test(a_digest_by_a_message_that_goes_on),
		cmocka_unit_test(another_reader_is_told_at_once),
		cmocka_unit_test(the_storm_goes_on),
		cmocka_unit_test(a_storm_and_a_restart),
		cmocka_unit_test(a_digest_that_cannot_be_stored),
		cmocka_unit_test(a_crash_at_every_step_of_a_digest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
