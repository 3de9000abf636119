/* SPDX-License-Identifier: ISC */
/*
 * The maildrop from both sides: what is left there is taken in whole and once,
 * whatever fails or crashes in between; what is no mail is left alone; nobody
 * is fooled by a file that changes, or by a lock that somebody has.
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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "collect.h"
#include "config.h"
#include "lock.h"
#include "maildrop.h"
#include "message.h"
#include "queue.h"
#include "queue_internal.h"
#include "spool.h"
#include "stranger.h"

enum { PATIENCE = 60, DAY = 24 * 3600 };

/* --- System calls that fail ---------------------------------------------- */

/* These stand in front of libc's. */
static struct {
	int fsync, unlinkat, syncfs, renameat; /* errno, or 0 */
	time_t ahead;    /* seconds that the clock is */
	size_t fsyncs;
} hook;

static bool
fails(int error)
{
	if (error)
		errno = error;
	return error;
}

int
fsync(int fd)
{
	hook.fsyncs++;
	return fails(hook.fsync) ? -1 : (int)syscall(SYS_fsync, fd);
}

int
syncfs(int fd)
{
	return fails(hook.syncfs) ? -1 : (int)syscall(SYS_syncfs, fd);
}

int
unlinkat(int at, const char *name, int flags)
{
	return fails(hook.unlinkat)
		? -1 : (int)syscall(SYS_unlinkat, at, name, flags);
}

int
renameat(int from, const char *a, int to, const char *b)
{
	return fails(hook.renameat)
		? -1 : (int)syscall(SYS_renameat2, from, a, to, b, 0);
}

time_t
time(time_t *out)
{
	struct timespec now;

	(void)out;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec + hook.ahead;
}

/* --- A spool with its maildrop ------------------------------------------- */

static char root[64]; /* its path */
static char hostname[] = "host.example";
static struct config config;
static struct spool *spool;
static struct queue *queue;
static struct collector collector;

static int
remove_entry(const char *path, const struct stat *s, int type, struct FTW *f)
{
	(void)s, (void)type, (void)f;
	return remove(path);
}

static int
setup(void **state)
{
	struct buf why = {0};

	(void)state;
	alarm(PATIENCE);
	memset(&hook, 0, sizeof(hook));
	snprintf(root, sizeof(root), "/tmp/collect-test-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	config = (struct config){
		.hostname = hostname,
		.listen = {.max_message = 1024 * 1024, .max_recipients = 10},
		.queue = {.directory = root, .retry_max = 3600 * 1000},
	};
	spool = spool_open(root, &why);
	if (!spool || !maildrop_make(root, &why))
		return -1;
	queue = queue_new(&config, NULL, spool, true);
	collect_open(&collector, queue, -1);
	buf_free(&why);
	return collector.directory >= 0 ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	memset(&hook, 0, sizeof(hook));
	collect_close(&collector);
	queue_free(queue);
	spool_close(spool);
	(void)nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	alarm(0);
	return 0;
}

/* The path of a name in a directory of the spool, one at a time. */
static const char *
in(const char *directory, const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s/%s", root, directory, name);
	return path;
}

/* How many names it has; the last one goes to name if that is not NULL. */
static size_t
names(const char *directory, char name[256])
{
	DIR *d = opendir(in(directory, "."));
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		count++;
		if (name)
			snprintf(name, 256, "%s", entry->d_name);
	}
	closedir(d);
	return count;
}

static struct message *
make(size_t recipients)
{
	static const char header[] = "Subject: x\r\nMessage-ID: <1@x>\r\n"
				     "Date: y\r\nFrom: a@example.test\r\n";
	struct message *m = message_new(NULL, UINT64_MAX);

	message_set_sender(m, "a@example.test");
	for (size_t i = 0; i < recipients; i++)
		message_add_recipient(m, "b@example.test");
	buf_add(&m->header, header, sizeof(header) - 1);
	if (recipients > 10) /* refused by who collects it */
		buf_add(&m->header, "X: \0\r\n", 6);
	assert_true(body_write(&m->body, "one\r\n", 5));
	return m;
}

/* Leaves a message, which must succeed; its name goes to name. */
static void
leave(size_t recipients, char name[256])
{
	struct message *m = make(recipients);
	struct buf why = {0};

	assert_true(maildrop_leave(root, m, 0, &why));
	assert_int_equal(why.len, 0);
	message_free(m);
	names("maildrop", name);
	assert_int_equal(strlen(name), DROP_NAME_LEN);
}

/* That many files must be in each directory. */
static void
expect(size_t maildrop, size_t queued, size_t failed)
{
	assert_int_equal(names("maildrop", NULL), maildrop);
	assert_int_equal(names("queue", NULL), queued);
	assert_int_equal(names("failed", NULL), failed);
	assert_int_equal(names("incoming", NULL), 0);
}

static void
write_file(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

/* --- Leaving ------------------------------------------------------------- */

/* Nothing is left behind by one that fails, and the sentence says why. */
static void
test_leaving_fails(void **state)
{
	struct message *m = make(1);
	struct buf why = {0};

	(void)state;
	hook.fsync = EIO;
	assert_false(maildrop_leave(root, m, 0, &why));
	assert_non_null(strstr(buf_text(&why), strerror(EIO)));
	expect(0, 0, 0);
	hook.fsync = 0;
	hook.renameat = ENOSPC;
	assert_false(maildrop_leave(root, m, 0, &why));
	expect(0, 0, 0);
	hook.renameat = 0;
	hook.syncfs = EIO;
	assert_false(maildrop_leave(root, m, 0, &why));
	expect(0, 0, 0);
	buf_clear(&why);
	assert_false(maildrop_leave(root, m, UINT64_MAX / 2, &why));
	assert_non_null(strstr(buf_text(&why), strerror(ENOSPC)));
	expect(0, 0, 0);
	message_free(m);
	buf_free(&why);
}

/* An envelope that the daemon would not read is not left. */
static void
test_leaving_too_many_recipients(void **state)
{
	struct message *m = make(20000);
	struct buf why = {0};

	(void)state;
	assert_false(maildrop_leave(root, m, 0, &why));
	assert_non_null(strstr(buf_text(&why), strerror(EFBIG)));
	expect(0, 0, 0);
	message_free(m);
	buf_free(&why);
}

/* The sync fails, but the daemon has taken it already: that is a yes. */
static void
test_taken_before_the_sync(void **state)
{
	struct message *m = make(1);
	struct buf why = {0};

	(void)state;
	hook.syncfs = EIO;
	hook.unlinkat = ENOENT; /* it has gone */
	assert_true(maildrop_leave(root, m, 0, &why));
	message_free(m);
	buf_free(&why);
}

/* --- Taking in ----------------------------------------------------------- */

static void
test_taken_in(void **state)
{
	char name[256], id[256];
	struct message *m = NULL;

	(void)state;
	leave(2, name);
	collect_all(&collector);
	expect(0, 1, 0);
	names("queue", id);
	assert_memory_equal(id + 16, name, 16);
	assert_int_equal(spool_load(spool, id, &m), LOADED);
	assert_string_equal(m->sender, "a@example.test");
	assert_int_equal(m->recipient_count, 2);
	assert_int_equal(m->owner, getuid());
	assert_int_equal(m->body.size, 5);
	assert_non_null(strstr(buf_text(&m->header), "Received: from local"));
	message_free(m);
	/* and it is in the hands of the clock */
	assert_int_equal(queue->schedule.count, 1);
	collect_all(&collector);
	assert_int_equal(queue->schedule.count, 1);
}

static void
test_by_name(void **state)
{
	char name[256];

	(void)state;
	leave(1, name);
	collect_one(&collector, "000000000000000000000000");
	expect(1, 0, 0);
	collect_one(&collector, name);
	expect(0, 1, 0);
	collect_one(&collector, name);
	expect(0, 1, 0);
}

/* A crash between commit and removal: the file of the same ID is known, and
 * only the removal is still done. What cannot be removed at all ends it. */
static void
test_in_both_places(void **state)
{
	char name[256];

	(void)state;
	leave(1, name);
	collect_after_crash(&collector);
	expect(1, 0, 0); /* there was none */
	hook.unlinkat = EROFS;
	collect_all(&collector);
	hook.unlinkat = 0;
	expect(1, 1, 0);
	assert_int_equal(collector.directory, -1);
	collect_all(&collector);
	expect(1, 1, 0);
	collect_open(&collector, queue, -1);
	collect_after_crash(&collector);
	expect(0, 1, 0);
}

/* The commit fails: it stays, and is taken when that has passed. */
static void
test_cannot_be_stored(void **state)
{
	char name[256];

	(void)state;
	leave(1, name);
	hook.fsync = ENOSPC;
	collect_all(&collector);
	expect(1, 0, 0);
	assert_true(collector.failing);
	collect_all(&collector);
	expect(1, 0, 0);
	hook.fsync = 0;
	collect_all(&collector);
	expect(0, 1, 0);
	assert_false(collector.failing);
}

/* Another process has it in hand, or somebody fools us. */
static void
test_locked(void **state)
{
	char name[256];
	int fd;

	(void)state;
	leave(1, name);
	fd = open(in("maildrop", name), O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	collect_all(&collector);
	expect(1, 0, 0);
	close(fd);
	collect_all(&collector);
	expect(0, 1, 0);
}

/* The removal is on the disk before anybody may send it. */
static void
test_synced_before_it_is_planned(void **state)
{
	char name[256];

	(void)state;
	leave(1, name);
	hook.fsyncs = 0;
	collect_all(&collector);
	assert_int_equal(hook.fsyncs, 3); /* file, queue/, maildrop/ */
}

static void
test_leftovers(void **state)
{
	(void)state;
	write_file(in("maildrop", ".0123456789abcdef01234567"), "x", 1);
	write_file(in("maildrop", ".other"), "x", 1);
	assert_int_equal(mkdir(in("maildrop", ".0123456789abcdef01234568"),
			     0700), 0);
	hook.ahead = DAY - 60;
	collect_all(&collector);
	expect(3, 0, 0);
	hook.ahead = DAY + 60;
	collect_all(&collector);
	expect(2, 0, 0);
}

/* Ten notices to a reader an hour; what comes behind them is set aside with a
 * line in the log, instead of being read again every minute. */
static void
test_storm_of_refusals(void **state)
{
	char name[256];

	(void)state;
	for (size_t i = 0; i < 15; i++)
		leave(11, name);
	collect_all(&collector);
	expect(0, 10, 15);
}

static void
test_junk_is_counted(void **state)
{
	(void)state;
	write_file(in("maildrop", "x"), "x", 1);
	assert_int_equal(mkfifo(in("maildrop", "0123456789abcdef01234567"),
			     0600), 0);
	collect_all(&collector);
	assert_int_equal(collector.junk, 2);
	assert_int_equal(collector.junk_told, 2);
	expect(2, 0, 0);
}

/* --- Announcements ------------------------------------------------------- */

static void
test_announcement(void **state)
{
	struct message *m = make(1);
	char id[QUEUE_ID_SIZE];

	(void)state;
	memcpy(id, m->id, sizeof(id));
	assert_true(spool_commit(spool, m));
	message_free(m);
	maildrop_announce(root, id);
	expect(1, 1, 0);
	collect_after_crash(&collector);
	expect(1, 1, 0);
	collect_all(&collector);
	expect(0, 1, 0);
	assert_int_equal(queue->schedule.count, 1);
	/* of what is known, or not there */
	maildrop_announce(root, id);
	maildrop_announce(root, "00000000000000000000000000000001");
	collect_all(&collector);
	expect(0, 1, 0);
	assert_int_equal(queue->schedule.count, 1);
}

/* The time of its next try is that of its file. */
static void
test_announcement_of_one_that_waits(void **state)
{
	struct message *m = make(1);
	char id[QUEUE_ID_SIZE];

	(void)state;
	memcpy(id, m->id, sizeof(id));
	assert_true(spool_commit(spool, m));
	assert_true(spool_put_off(m, time(NULL) + 600));
	message_free(m);
	maildrop_announce(root, id);
	collect_all(&collector);
	assert_int_equal(queue->schedule.count, 1);
	assert_false(schedule_take(&queue->schedule, clock_now() + 500000, id));
	assert_true(schedule_take(&queue->schedule, clock_now() + 601000, id));
}

/* --- The lock ------------------------------------------------------------ */

static void
test_lock(void **state)
{
	int at = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), lock;

	(void)state;
	assert_false(lock_is_held(at));
	lock = lock_take(at, LOCK_DAEMON);
	assert_true(lock >= 0);
	assert_true(lock_is_held(at));
	assert_true(lock_is_held(at)); /* looking takes nothing */
	assert_int_equal(lock_take(at, LOCK_DAEMON), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	assert_true(lock_is_held_by(at, LOCK_DAEMON));
	assert_false(lock_is_held_by(at, LOCK_RUN));
	close(lock);
	assert_false(lock_is_held(at));
	close(at);
}

/* A daemon that waits is seen, and is no holder. */
static void
test_heir(void **state)
{
	int at = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), waits;

	(void)state;
	waits = lock_wait(at);
	assert_true(waits >= 0);
	assert_true(lock_is_held_by(at, LOCK_HEIR));
	assert_false(lock_is_held(at));
	close(lock_take(at, LOCK_RUN));
	close(waits);
	assert_false(lock_is_held_by(at, LOCK_HEIR));
	close(at);
}

/* It dies with its holder. */
static void
test_lock_of_a_process(void **state)
{
	int at = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ready[2];
	char byte;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		bool taken = lock_take(at, LOCK_DAEMON) >= 0;

		(void)!write(ready[1], taken ? "y" : "n", 1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	assert_true(lock_is_held(at));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_false(lock_is_held(at));
	close(ready[0]);
	close(ready[1]);
	close(at);
}

/* --- Where it is --------------------------------------------------------- */

static void
test_maildrop_of_another_kind(void **state)
{
	struct message *m = make(1);
	struct buf why = {0};

	(void)state;
	assert_int_equal(chmod(in("maildrop", "."), 0700), 0);
	assert_false(maildrop_leave(root, m, 0, &why));
	assert_int_equal(why.len, 0); /* there is none */
	assert_true(maildrop_make(root, &why));
	assert_true(maildrop_leave(root, m, 0, &why));
	message_free(m);
	buf_free(&why);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_leaving_fails),
		TEST(test_leaving_too_many_recipients),
		TEST(test_taken_before_the_sync),
		TEST(test_taken_in),
		TEST(test_by_name),
		TEST(test_in_both_places),
		TEST(test_cannot_be_stored),
		TEST(test_locked),
		TEST(test_synced_before_it_is_planned),
		TEST(test_leftovers),
		TEST(test_storm_of_refusals),
		TEST(test_junk_is_counted),
		TEST(test_announcement),
		TEST(test_announcement_of_one_that_waits),
		TEST(test_lock),
		TEST(test_heir),
		TEST(test_lock_of_a_process),
		TEST(test_maildrop_of_another_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
