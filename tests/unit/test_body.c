/* SPDX-License-Identifier: ISC */
/*
 * Where the bytes of a waiting message are: in memory up to 256 KiB, or to
 * 32 KiB once all together hold 16 MiB, then in a nameless file, or where
 * there is no place for one in anonymous memory; what is read back, and when
 * nothing can be stored (DU-08, DU-09, DU-13).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "body.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
	KIB = 1024,
	MEMORY = 256 * KIB,
	CROWDED_MEMORY = 32 * KIB,
	TOGETHER = 16 * 1024 * KIB,
};

/* The byte at that offset of every body here; no period that fits a power of
 * two, and all values. */
static unsigned char
byte_at(uint64_t offset)
{
	return (unsigned char)(offset * 31 + offset / 251);
}

/* Appends len bytes in pieces of that size. */
static bool
grow(struct body *b, size_t len, size_t piece)
{
	unsigned char *data = xmalloc(piece);
	bool ok = true;

	while (len && ok) {
		size_t now = len < piece ? len : piece;

		for (size_t i = 0; i < now; i++)
			data[i] = byte_at(b->size + i);
		ok = body_write(b, data, now);
		len -= now;
	}
	free(data);
	return ok;
}

/* What is read from that offset on in pieces of that size is what was
 * written, up to the end and no further. */
static void
check_content(const struct body *b, uint64_t offset, size_t piece)
{
	unsigned char *data = xmalloc(piece);
	ptrdiff_t got;

	while ((got = body_read(b, offset, data, piece)) > 0) {
		assert_true((size_t)got <= piece);
		for (ptrdiff_t i = 0; i < got; i++)
			if (data[i] != byte_at(offset + (uint64_t)i))
				fail_msg("wrong byte at %llu",
				    (unsigned long long)offset);
		offset += (uint64_t)got;
	}
	assert_int_equal(got, 0);
	assert_int_equal(offset, b->size);
	free(data);
}

static void
test_sizes(void **state)
{
	static const struct {
		size_t size, piece;
		bool in_file;
	} cases[] = {
		{0, 1, false}, {1, 1, false}, {1000, 1, false},
		{MEMORY - 1, 1000, false}, {MEMORY, 1000, false},
		{MEMORY, MEMORY, false}, {MEMORY + 1, 1000, true},
		{MEMORY + 1, MEMORY, true}, {MEMORY + 1, MEMORY + 1, true},
		{4 * MEMORY, 4 * MEMORY, true}, {4 * MEMORY + 7, 16384, true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct body_budget budget = {0};
		size_t size = cases[i].size;
		struct body b;

		body_init(&b, &budget);
		assert_true(grow(&b, size, cases[i].piece));
		assert_int_equal(b.size, size);
		assert_int_equal(b.fd >= 0, cases[i].in_file);
		assert_int_equal(budget.used, cases[i].in_file ? 0 : size);
		check_content(&b, 0, 16384);
		check_content(&b, 0, 1009);
		check_content(&b, size / 2, size + 1);
		body_free(&b);
		assert_int_equal(budget.used, 0);
	}
}

/* Reading in between and past the end changes nothing. */
static void
test_reads(void **state)
{
	static const size_t sizes[] = {100, MEMORY + 100};

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct body b;
		char c;

		body_init(&b, NULL);
		for (int k = 0; k < 10; k++) {
			assert_true(grow(&b, sizes[i] / 10, 100));
			check_content(&b, 0, 999);
		}
		assert_int_equal(body_read(&b, b.size, &c, 1), 0);
		assert_int_equal(body_read(&b, b.size + 1, &c, 1), 0);
		assert_int_equal(body_read(&b, UINT64_MAX, &c, 1), 0);
		assert_int_equal(body_read(&b, 0, &c, 0), 0);
		assert_int_equal(body_read(&b, b.size - 1, &c, 1), 1);
		assert_int_equal((unsigned char)c, byte_at(b.size - 1));
		body_free(&b);
	}
}

static void
test_again_after_free(void **state)
{
	struct body_budget budget = {0};
	struct body b;

	(void)state;
	body_init(&b, &budget);
	for (int i = 0; i < 3; i++) {
		assert_true(grow(&b, i == 1 ? 10 : 2 * MEMORY, 999));
		check_content(&b, 0, 999);
		body_free(&b);
		assert_int_equal(b.size, 0);
		assert_int_equal(b.fd, -1);
	}
	body_free(&b);
	assert_int_equal(budget.used, 0);
}

static void
test_crowded(void **state)
{
	static const struct {
		size_t used, size;
		bool in_file;
	} cases[] = {
		{TOGETHER, CROWDED_MEMORY + 1, false},
		{TOGETHER, MEMORY, false},
		{TOGETHER + 1, CROWDED_MEMORY, false},
		{TOGETHER + 1, CROWDED_MEMORY + 1, true},
		{2 * TOGETHER, MEMORY, true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct body_budget budget = {cases[i].used};
		size_t size = cases[i].size;
		struct body b;

		body_init(&b, &budget);
		assert_true(grow(&b, size, size));
		assert_int_equal(b.fd >= 0, cases[i].in_file);
		assert_int_equal(budget.used,
		    cases[i].used + (cases[i].in_file ? 0 : size));
		check_content(&b, 0, 1000);
		body_free(&b);
		assert_int_equal(budget.used, cases[i].used);
	}
}

/* Many bodies: together they never hold much more than the ceiling, and one
 * that grew in better days gives its memory back when it grows again. */
static void
test_together(void **state)
{
	enum { MANY = 100 };
	struct body_budget budget = {0};
	struct body *bodies = xcalloc(MANY, sizeof(*bodies));

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		body_init(&bodies[i], &budget);
	for (size_t i = 0; i < MANY - 1; i++) {
		assert_true(grow(&bodies[i], MEMORY, 16384));
		assert_true(budget.used <= TOGETHER + CROWDED_MEMORY);
	}
	assert_int_equal(bodies[0].fd, -1);
	assert_true(bodies[MANY - 2].fd >= 0);
	assert_true(grow(&bodies[MANY - 1], 1000, 1000));
	assert_int_equal(budget.used, TOGETHER + 1000);
	assert_true(grow(&bodies[0], 1, 1));
	assert_true(bodies[0].fd >= 0);
	assert_int_equal(budget.used, TOGETHER + 1000 - MEMORY);
	for (size_t i = 0; i < MANY; i++) {
		check_content(&bodies[i], 0, 16384);
		body_free(&bodies[i]);
	}
	assert_int_equal(budget.used, 0);
	free(bodies);
}

static size_t
count_entries(const char *directory)
{
	DIR *d = opendir(directory);
	size_t count = 0;

	while (readdir(d))
		count++;
	closedir(d);
	return count - 2; /* . and .. */
}

/* The file is where TMPDIR says, and nobody else can find or inherit it. */
static void
check_file(char *directory)
{
	struct stat place, file;
	struct body b;

	setenv("TMPDIR", directory, 1);
	body_init(&b, NULL);
	assert_true(grow(&b, 2 * MEMORY, 16384));
	assert_int_equal(count_entries(directory), 0);
	assert_int_equal(fstat(b.fd, &file), 0);
	assert_int_equal(file.st_nlink, 0);
	assert_int_equal(file.st_size, 2 * MEMORY);
	assert_true(fcntl(b.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(stat(directory, &place), 0);
	assert_int_equal(file.st_dev, place.st_dev);
	body_free(&b);
	unsetenv("TMPDIR");
	assert_int_equal(rmdir(directory), 0);
}

static void
test_file_is_nameless(void **state)
{
	char here[] = "/tmp/test_body.XXXXXX";
	char there[] = "/dev/shm/test_body.XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(here));
	check_file(here);
	if (mkdtemp(there))
		check_file(there);
}

static void
test_no_tmpdir(void **state)
{
	static const char *const places[] = {
		"", "/nonexistent", "/dev/null", "/proc", "relative/\n"};

	(void)state;
	for (size_t i = 0; i < COUNT(places); i++) {
		struct body b;

		setenv("TMPDIR", places[i], 1);
		body_init(&b, NULL);
		assert_true(grow(&b, 2 * MEMORY, 16384));
		assert_true(b.fd >= 0);
		check_content(&b, 0, 16384);
		body_free(&b);
	}
	unsetenv("TMPDIR");
}

/* A container that has no /tmp at all. */
static void
store_without_tmp(const char *root)
{
	struct body b;
	char c = 0;

	if (chroot(root) != 0)
		_exit(1);
	body_init(&b, NULL);
	if (!grow(&b, 2 * MEMORY, 16384) || b.fd < 0)
		_exit(2);
	if (body_read(&b, MEMORY, &c, 1) != 1 ||
	    (unsigned char)c != byte_at(MEMORY))
		_exit(3);
	_exit(0);
}

static void
test_no_tmp(void **state)
{
	char directory[] = "/tmp/test_body.XXXXXX";
	int status = -1;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_non_null(mkdtemp(directory));
	pid = fork();
	if (pid == 0)
		store_without_tmp(directory);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(rmdir(directory), 0);
	assert_int_equal(status, 0);
}

/* Grows the body by 1 MB under a limit of the process; errno, 0 if that was
 * possible. */
static int
grow_starved(struct body *b, int resource, rlim_t limit)
{
	struct rlimit before, low;
	int error = 0;

	getrlimit(resource, &before);
	low = before;
	low.rlim_cur = limit;
	setrlimit(resource, &low);
	errno = 0;
	if (!grow(b, 4 * MEMORY, 16384))
		error = errno;
	setrlimit(resource, &before);
	return error;
}

/* What could not be stored is not there, what was there before stays. */
static void
test_no_descriptor(void **state)
{
	struct body_budget budget = {0};
	struct body b;

	(void)state;
	body_init(&b, &budget);
	assert_true(grow(&b, 1000, 1000));
	assert_int_equal(grow_starved(&b, RLIMIT_NOFILE, 3), EMFILE);
	assert_int_equal(b.fd, -1);
	assert_true(b.size > 1000 && b.size <= MEMORY);
	assert_int_equal(budget.used, b.size);
	check_content(&b, 0, 1000);
	assert_true(grow(&b, MEMORY, 16384));
	check_content(&b, 0, 1000);
	body_free(&b);
	assert_int_equal(budget.used, 0);
}

static void
test_file_too_big(void **state)
{
	struct body_budget budget = {0};
	struct body b;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	body_init(&b, &budget);
	assert_int_equal(grow_starved(&b, RLIMIT_FSIZE, 2 * MEMORY), EFBIG);
	assert_true(b.size <= 2 * MEMORY);
	check_content(&b, 0, 1000);
	body_free(&b);

	/* not even what was in memory fits */
	assert_int_equal(grow_starved(&b, RLIMIT_FSIZE, 1000), EFBIG);
	assert_int_equal(b.fd, -1);
	assert_true(b.size <= MEMORY);
	check_content(&b, 0, 1000);
	body_free(&b);
	assert_int_equal(budget.used, 0);
}

/* A file shorter than what was written is an error, never the end. */
static void
test_truncated(void **state)
{
	struct body b;
	char c;

	(void)state;
	body_init(&b, NULL);
	assert_true(grow(&b, 2 * MEMORY, 16384));
	assert_int_equal(ftruncate(b.fd, MEMORY), 0);
	assert_int_equal(body_read(&b, MEMORY - 1, &c, 1), 1);
	errno = 0;
	assert_int_equal(body_read(&b, MEMORY, &c, 1), -1);
	assert_int_equal(errno, EIO);
	body_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_reads),
		cmocka_unit_test(test_again_after_free),
		cmocka_unit_test(test_crowded),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_file_is_nameless),
		cmocka_unit_test(test_no_tmpdir),
		cmocka_unit_test(test_no_tmp),
		cmocka_unit_test(test_no_descriptor),
		cmocka_unit_test(test_file_too_big),
		cmocka_unit_test(test_truncated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
