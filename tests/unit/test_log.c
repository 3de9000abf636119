/* SPDX-License-Identifier: ISC */
/*
 * The log under threads, on a stderr that nobody reads: it costs lines and
 * never a thread. Standard error is a pipe of one page here while a test logs.
 */
#undef _FORTIFY_SOURCE /* its poll() could not be replaced */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "clock.h"
#include "log.h"

enum { THREADS = 16, LINES = 20, PATIENCE = 300 };

/* The log's too: whatever it says may not be true any more a moment later. On
 * a busy machine one yield takes as long as all of them do otherwise. */
int
poll(struct pollfd *fds, nfds_t count, int timeout)
{
	struct timespec time = {timeout / 1000, timeout % 1000 * 1000000L};
	int ready = ppoll(fds, count, timeout < 0 ? NULL : &time, NULL);
	int64_t begun = clock_now();

	for (int i = 0; i < 100 && clock_now() == begun; i++)
		sched_yield();
	return ready;
}

struct reader {
	int fd;
	int saved; /* the stderr of before */
};

static struct reader
capture_stderr(void)
{
	struct reader r = {.saved = dup(STDERR_FILENO)};
	int pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_true(fcntl(pipes[1], F_SETPIPE_SZ, 4096) == 4096);
	fcntl(pipes[0], F_SETFL, O_NONBLOCK);
	dup2(pipes[1], STDERR_FILENO);
	close(pipes[1]);
	r.fd = pipes[0];
	return r;
}

static void
end_capture(struct reader *r)
{
	dup2(r->saved, STDERR_FILENO);
	close(r->saved);
	close(r->fd);
}

/* What is in the pipe, at most one page, to be freed. */
static char *
read_page(const struct reader *r)
{
	char page[4096];
	ssize_t got = read(r->fd, page, sizeof(page));

	return xstrndup(page, got > 0 ? (size_t)got : 0);
}

struct chorus {
	char value[600];
	atomic_uint ended;
};

/* Lines of over half a page, so that the second one in does not fit. */
static void *
log_lines(void *argument)
{
	struct chorus *c = argument;

	for (int i = 0; i < LINES; i++)
		log_event(LEVEL_INFO, "test", "a", c->value, "b", c->value,
		    "c", c->value, "d", c->value, NULL);
	atomic_fetch_add(&c->ended, 1);
	return NULL;
}

/* How many lines one that was written stands for: with those lost before. */
static unsigned
lines_told(const char *text)
{
	const char *count = strstr(text, " lost_lines=");
	unsigned lost = 0;

	if (count)
		sscanf(count, " lost_lines=%u\n", &lost);
	if (strncmp(text, "time=", 5) != 0 ||
	    strchr(text, '\n') != text + strlen(text) - 1)
		fail_msg("not one line: %s", text);
	return lost + 1;
}

/* What a line that comes stands for; 0 if none comes at once. */
static unsigned
read_line(const struct reader *r)
{
	struct pollfd fd = {.fd = r->fd, .events = POLLIN};
	unsigned told = 0;

	if (poll(&fd, 1, 100) == 1) {
		char *text = read_page(r);

		told = lines_told(text);
		free(text);
	}
	return told;
}

/* Somebody reads for a while and then no more: all threads come back, and each
 * line was either written, whole, or is counted in the next one that was. */
static void
test_nobody_reads(void **state)
{
	struct reader r = capture_stderr();
	struct chorus c = {.value = ""};
	pthread_t threads[THREADS];
	unsigned told = 0;

	(void)state;
	memset(c.value, 'x', sizeof(c.value) - 1);
	log_open(LOG_TO_STDERR, LOG_AS_TEXT, LEVEL_INFO);
	alarm(PATIENCE);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_lines,
		    &c), 0);
	while (told < THREADS * LINES / 2 && atomic_load(&c.ended) < THREADS)
		told += read_line(&r);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	told += read_line(&r);
	log_event(LEVEL_INFO, "after", NULL);
	told += read_line(&r);
	alarm(0);
	end_capture(&r);
	assert_int_equal(told, THREADS * LINES + 1);
}

/* Whatever is in it, a line is one write of up to PIPE_BUF: longer ones could
 * block, and be mixed with others. */
static void
test_longest_line(void **state)
{
	char value[2000], *text, first[700] = "";
	struct reader r = capture_stderr();
	size_t longest = 0;

	(void)state;
	memset(value, 0x1b, sizeof(value));
	value[sizeof(value) - 1] = '\0';
	log_open(LOG_TO_STDERR, LOG_AS_JSON, LEVEL_INFO);
	alarm(PATIENCE);
	for (size_t i = 0; i < sizeof(first) - 1; i++) {
		first[i] = 'x';
		log_event(LEVEL_WARNING, "upstream_down", "messages", first,
		    "second", value, "third", value, "fourth", value, "fifth",
		    value, "sixth", value, "seventh", value, NULL);
		text = read_page(&r);
		if (strlen(text) > longest)
			longest = strlen(text);
		assert_string_equal(text + strlen(text) - 6, "...\"}\n");
		free(text);
	}
	alarm(0);
	end_capture(&r);
	assert_in_range(longest, 3800, PIPE_BUF);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_reads),
		cmocka_unit_test(test_longest_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
