/* SPDX-License-Identifier: ISC */
/*
 * Files that are used again: when one may be kept, when it may be written to,
 * and what is in it then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "catalog.h"
#include "message.h"
#include "spool.h"
#include "spool_internal.h"

static char directory[] = "/tmp/sh-spare-XXXXXX";
static struct spool *spool;
static int broken; /* errno of every fsync() */

int
fsync(int fd)
{
	errno = broken;
	return broken ? -1 : (int)syscall(SYS_fsync, fd);
}

static int
remove_one(const char *path, const struct stat *file, int kind,
    struct FTW *where)
{
	(void)file, (void)kind, (void)where;
	return remove(path);
}

static int
set_up(void **state)
{
	struct buf why = {0};

	(void)state;
	memcpy(directory + sizeof(directory) - 7, "XXXXXX", 6);
	assert_non_null(mkdtemp(directory));
	spool = spool_open(directory, &why);
	assert_non_null(spool);
	buf_free(&why);
	broken = 0;
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	spool_close(spool);
	return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static char *
in(const char *where, const char *name)
{
	return xasprintf("%s/%s/%s", directory, where, name);
}

static size_t
count_names(const char *where)
{
	char *path = in(where, "");
	DIR *d = opendir(path);
	size_t count = 0;

	for (struct dirent *e; (e = readdir(d));)
		count += e->d_name[0] != '.';
	closedir(d);
	free(path);
	return count;
}

static struct message *
make(size_t size, char letter)
{
	struct message *m = message_new(NULL, UINT64_MAX);
	char *body = xmalloc(size);

	memset(body, letter, size);
	message_set_sender(m, "a@example.test");
	message_add_recipient(m, "b@example.test");
	buf_adds(&m->header, "Subject: spare\r\n");
	assert_true(body_write(&m->body, body, size));
	free(body);
	return m;
}

static struct message *
store(size_t size, char letter)
{
	struct message *m = make(size, letter);

	assert_true(spool_commit(spool, m));
	return m;
}

/* It has been sent; another commit is under way, or none. */
static void
complete(struct message *m, bool busy)
{
	recipient_set(&m->recipients[0], SENT, 250, "ok");
	spool->commits.busy = busy;
	assert_true(spool_complete(spool, m));
	spool->commits.busy = false;
	message_free(m);
}

static ino_t
inode(const struct message *m)
{
	struct stat file;

	assert_int_equal(fstat(m->file, &file), 0);
	return file.st_ino;
}

/* What is in the queue under that name is that message, to the byte. */
static void
assert_stored(const char *id, size_t size, char letter)
{
	struct message *m = NULL;
	char *body = xmalloc(size + 1), *expected = xmalloc(size + 1);

	assert_int_equal(spool_load(spool, id, &m), LOADED);
	assert_int_equal(m->body.size, size);
	assert_int_equal(m->recipients[0].outcome, WAITING);
	assert_int_equal(m->recipient_count, 1);
	assert_string_equal(m->header.data, "Subject: spare\r\n");
	memset(expected, letter, size);
	assert_int_equal(body_read(&m->body, 0, body, size + 1), size);
	assert_memory_equal(body, expected, size);
	free(body);
	free(expected);
	message_free(m);
}

static void
nothing_is_kept_on_a_quiet_day(void **state)
{
	(void)state;
	complete(store(100, 'a'), false);
	assert_int_equal(count_names("queue"), 0);
	assert_int_equal(count_names("incoming"), 0);
}

static void
what_is_large_is_not_kept(void **state)
{
	(void)state;
	complete(store(SPARE_SIZE, 'a'), true);
	assert_int_equal(count_names("queue"), 0);
	assert_int_equal(count_names("incoming"), 0);
}

/* Shorter than before, as long, and longer. */
static void
a_spare_becomes_another_message(void **state)
{
	static const size_t sizes[] = {0, 50, 5000, 9000, 40000};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct message *old = store(5000, 'a'), *other, *new;
		char id[QUEUE_ID_SIZE];
		ino_t number = inode(old);

		complete(old, true);
		assert_int_equal(count_names("queue"), 0);
		assert_int_equal(count_names("incoming"), 1);
		other = store(100, 'b'); /* the old name is gone for good */
		assert_int_not_equal(inode(other), number);
		new = store(sizes[i], 'c');
		assert_int_equal(inode(new), number);
		assert_int_equal(count_names("incoming"), 0);
		assert_int_equal(count_names("queue"), 2);
		memcpy(id, new->id, sizeof(id));
		message_free(new);
		assert_stored(id, sizes[i], 'c');
		complete(other, false);
		assert_int_equal(unlinkat(spool->queue, id, 0), 0);
	}
}

/* Before the sync that its old name waits for, and after one that failed. */
static void
a_spare_waits_for_the_disk(void **state)
{
	struct message *old = store(100, 'a'), *m;
	ino_t number = inode(old);

	(void)state;
	complete(old, true);
	m = make(100, 'b');
	assert_false(spares_take(&spool->spares, m));
	broken = EIO;
	assert_false(group_sync(&spool->commits, spool->queue));
	broken = 0;
	assert_false(spares_take(&spool->spares, m));
	assert_true(group_sync(&spool->commits, spool->queue));
	assert_false(spares_take(&spool->spares, m));
	message_free(m);
	m = store(100, 'c');
	assert_int_not_equal(inode(m), number);
	message_free(m);
}

static void
a_commit_that_fails_removes_its_spare(void **state)
{
	struct message *m;

	(void)state;
	complete(store(100, 'a'), true);
	complete(store(100, 'b'), false);
	m = make(100, 'c');
	broken = EIO;
	assert_false(spool_commit(spool, m));
	assert_int_equal(errno, EIO);
	message_free(m);
	assert_int_equal(count_names("queue"), 0);
	assert_int_equal(count_names("incoming"), 0);
}

/* Nobody else takes a spare for a leftover, and in the end none is left. */
static void
spares_are_locked_and_few(void **state)
{
	struct message *m[SPARES_MAX + 3];
	char id[QUEUE_ID_SIZE], *path;
	int fd;

	(void)state;
	for (size_t i = 0; i < SPARES_MAX + 3; i++)
		m[i] = store(100, 'a');
	memcpy(id, m[0]->id, sizeof(id));
	for (size_t i = 0; i < SPARES_MAX + 3; i++)
		complete(m[i], true);
	assert_int_equal(count_names("queue"), 0);
	assert_int_equal(count_names("incoming"), SPARES_MAX);
	path = in("incoming", id);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	close(fd);
	free(path);
	spool_rest(spool);
	assert_int_equal(count_names("incoming"), 0);
	spool_rest(spool);
}

/* Who looks at a message reads it whole, or finds it gone. */
static void
who_looks_sees_no_other(void **state)
{
	struct message *old = store(100, 'a');
	struct catalog c;
	struct entry e;

	(void)state;
	assert_true(catalog_open(&c, directory, false));
	assert_true(entry_open(&e, &c, old->id));
	assert_int_equal(e.message->body.size, 100);
	assert_int_equal(e.message->body.fd, -1); /* it has been read */
	entry_close(&e);
	complete(old, true);
	catalog_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_kept_on_a_quiet_day,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_large_is_not_kept,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    a_spare_becomes_another_message, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_spare_waits_for_the_disk,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    a_commit_that_fails_removes_its_spare, set_up, tear_down),
		cmocka_unit_test_setup_teardown(spares_are_locked_and_few,
		    set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_looks_sees_no_other,
		    set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
