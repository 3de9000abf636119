/* SPDX-License-Identifier: ISC */
#ifndef STORED_H
#define STORED_H

/*
 * A queue with a spool, for tests that are the couriers themselves, so that
 * every step of theirs comes when it is to come; with a disk whose calls fail,
 * or wait, when a test says so, and clocks that are hours later at once.
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
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "message.h"
#include "queue.h"
#include "queue_internal.h"
#include "relay.h"
#include "smtp.h"
#include "spool.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
	PATIENCE = 60, /* seconds, for a test */
	SECOND = 1000,
	MINUTE = 60 * SECOND,
	HOUR = 60 * MINUTE,
	CONNECTIONS = 2,
	DIRECT_WAIT = HOUR, /* nobody waits as long, unless time is skipped */
};

/* --- Clocks and disks ---------------------------------------------------- */

static atomic_llong skipped; /* ms, on every clock */
static atomic_llong stepped; /* ms, on the wall clock alone */

int
clock_gettime(clockid_t id, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, id, now);
	long long ahead = atomic_load(&skipped);

	if (id == CLOCK_REALTIME)
		ahead += atomic_load(&stepped);
	if (result == 0)
		now->tv_sec += (time_t)(ahead / SECOND);
	return result;
}

time_t
time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}

/*
 * System calls by their letters: l flock, w pwrite, f fsync of a file, d of a
 * directory, s fdatasync, t futimens, r rename, u unlink. Those in `failing`
 * fail; the call with that number of that letter ('*': any), from 1, waits
 * until the gate is opened.
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const char *failing;
	unsigned failures;
	char gate; /* 0: none */
	unsigned calls;
	bool reached, opened;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER};

static inline bool
fails(char letter)
{
	bool failing;

	pthread_mutex_lock(&disk.lock);
	if ((disk.gate == letter || disk.gate == '*') && --disk.calls == 0) {
		disk.reached = true;
		pthread_cond_broadcast(&disk.changed);
		while (!disk.opened)
			pthread_cond_wait(&disk.changed, &disk.lock);
	}
	failing = disk.failing && strchr(disk.failing, letter);
	disk.failures += failing;
	pthread_mutex_unlock(&disk.lock);
	errno = failing ? EROFS : errno;
	return failing;
}

static inline void
disk_fails(const char *letters)
{
	pthread_mutex_lock(&disk.lock);
	disk.failing = letters;
	disk.failures = 0;
	pthread_mutex_unlock(&disk.lock);
}

static inline unsigned
disk_failures(void)
{
	unsigned failures;

	pthread_mutex_lock(&disk.lock);
	failures = disk.failures;
	pthread_mutex_unlock(&disk.lock);
	return failures;
}

/* Whoever comes there waits for gate_open(). */
static inline void
gate_close_at(char letter, unsigned number)
{
	pthread_mutex_lock(&disk.lock);
	disk.gate = letter;
	disk.calls = number;
	disk.reached = disk.opened = false;
	pthread_mutex_unlock(&disk.lock);
}

static inline void
gate_close(char letter)
{
	gate_close_at(letter, 1);
}

static inline void
gate_await(void)
{
	pthread_mutex_lock(&disk.lock);
	while (!disk.reached)
		pthread_cond_wait(&disk.changed, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
}

static inline bool
gate_is_reached(void)
{
	bool reached;

	pthread_mutex_lock(&disk.lock);
	reached = disk.reached;
	pthread_mutex_unlock(&disk.lock);
	return reached;
}

static inline void
gate_open(void)
{
	pthread_mutex_lock(&disk.lock);
	disk.opened = true;
	disk.gate = '\0';
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.lock);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return fails('w') ? -1 : syscall(SYS_pwrite64, fd, data, len, offset);
}

int
fsync(int fd)
{
	struct stat file;
	bool directory = fstat(fd, &file) == 0 && S_ISDIR(file.st_mode);

	/* What is on this disk need not outlive the test. */
	return fails(directory ? 'd' : 'f') ? -1 : 0;
}

int
fdatasync(int fd)
{
	(void)fd;
	return fails('s') ? -1 : 0;
}

int
futimens(int fd, const struct timespec times[2])
{
	return fails('t') ? -1
			  : (int)syscall(SYS_utimensat, fd, NULL, times, 0);
}

int
renameat(int from, const char *a, int to, const char *b)
{
	return fails('r') ? -1
			  : (int)syscall(SYS_renameat2, from, a, to, b, 0);
}

int
unlinkat(int at, const char *name, int flags)
{
	return fails('u') ? -1 : (int)syscall(SYS_unlinkat, at, name, flags);
}

int
flock(int fd, int operation)
{
	return fails('l') ? -1 : (int)syscall(SYS_flock, fd, operation);
}

/* --- A house without couriers -------------------------------------------- */

/* Somebody who submits in a thread of his own. */
struct session {
	struct house *house;
	struct message *message;
	struct verdict verdict;
	pthread_t thread;
};

enum { SESSIONS = 40 };

struct house {
	char root[64], hostname[16], names[2][8];
	struct config config;
	struct upstream upstreams[2];
	struct relay relays[2];
	struct spool *spool;
	struct queue *queue;
	struct session sessions[SESSIONS];
};

static inline void
house_open(struct house *h)
{
	struct buf why = {0};

	h->spool = spool_open(h->root, &why);
	if (!h->spool || !spool_own(h->spool, LOCK_DAEMON, &why))
		fail_msg("%s", why.data);
	h->queue = queue_new(&h->config, h->relays, h->spool, false);
	for (size_t i = 0; i < h->config.upstream_count; i++)
		h->queue->lines[i].met = true; /* but see test_backlog.c */
	for (size_t i = 0; i < h->config.upstream_count; i++)
		h->queue->lines[i].couriers = 1000; /* more are not needed */
	assert_true(queue_start(h->queue, &why));
}

static inline struct house *
house_build(size_t upstreams)
{
	struct house *h = xcalloc(1, sizeof(*h));

	alarm(PATIENCE);
	atomic_store(&skipped, 0);
	atomic_store(&stepped, 0);
	disk_fails(NULL);
	gate_open();
	snprintf(h->root, sizeof(h->root), "/tmp/stored-test-XXXXXX");
	assert_non_null(mkdtemp(h->root));
	snprintf(h->hostname, sizeof(h->hostname), "host.example");
	for (size_t i = 0; i < upstreams; i++) {
		snprintf(h->names[i], sizeof(h->names[i]), "u%zu", i);
		h->upstreams[i] = (struct upstream){
			.name = h->names[i], .connections = CONNECTIONS,
			.recipients_per_message = 100,
			.idle = PATIENCE * SECOND};
		h->relays[i].upstream = &h->upstreams[i];
	}
	h->config.hostname = h->hostname;
	h->config.upstreams = h->upstreams;
	h->config.upstream_count = upstreams;
	h->config.queue.directory = h->root;
	h->config.queue.direct_wait = DIRECT_WAIT;
	h->config.queue.lifetime = (int64_t)5 * 24 * HOUR;
	h->config.queue.retry_max = HOUR;
	house_open(h);
	return h;
}

/* The process ends; with a kill it would be the same for the files. */
static inline void
house_shut(struct house *h)
{
	queue_stop(h->queue);
	assert_true(queue_wait_for_couriers(h->queue, 0));
	queue_free(h->queue);
	spool_close(h->spool);
}

/* The spool as it is now, for later: as a crash would leave it. */
static inline void
house_snapshot(const struct house *h)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf %s.crash && "
	    "cp -a %s %s.crash", h->root, h->root, h->root);
	assert_int_equal(system(command), 0);
}

/* Starts with the spool of the snapshot. */
static inline void
house_restart_from_snapshot(struct house *h)
{
	char command[256];

	house_shut(h);
	snprintf(command, sizeof(command), "rm -rf %s && mv %s.crash %s",
	    h->root, h->root, h->root);
	assert_int_equal(system(command), 0);
	house_open(h);
}

static inline int
remove_entry(const char *path, const struct stat *s, int type, struct FTW *f)
{
	(void)s, (void)type, (void)f;
	return remove(path);
}

static inline void
house_close(struct house *h)
{
	house_shut(h);
	(void)nftw(h->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(h);
	alarm(0);
}

static inline void
lock(struct house *h)
{
	pthread_mutex_lock(&h->queue->lock);
}

static inline void
unlock(struct house *h)
{
	pthread_mutex_unlock(&h->queue->lock);
}

/* Later, on every clock; whoever waits looks at it. */
static inline void
skip_time(struct house *h, int64_t ms)
{
	struct queue *q = h->queue;

	lock(h);
	atomic_fetch_add(&skipped, ms);
	pthread_cond_signal(&q->tick);
	for (struct submission *s = q->newest; s; s = s->older)
		pthread_cond_broadcast(s->answered);
	unlock(h);
}

/* Asks until it is so: what is asked is done by other threads. */
#define AWAIT(condition)                                                       \
	do                                                                     \
		poll(NULL, 0, 1);                                              \
	while (!(condition))

/* The same with minutes that go by meanwhile. */
#define AWAIT_FOR_MINUTES(house, condition)                                    \
	do {                                                                   \
		skip_time(house, MINUTE + SECOND);                             \
		poll(NULL, 0, 10);                                             \
	} while (!(condition))

/* --- What is on the disk ------------------------------------------------- */

static inline const char *
path_of(const struct house *h, const char *directory, const char *name,
    char path[512])
{
	snprintf(path, 512, "%s/%s/%s", h->root, directory, name);
	return path;
}

/* How many files there are; if there is one alone, its name goes to name. */
static inline size_t
files(const struct house *h, const char *directory, char *name)
{
	char path[512];
	DIR *d = opendir(path_of(h, directory, ".", path));
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(d);
	while ((entry = readdir(d)))
		if (entry->d_name[0] != '.') {
			count++;
			if (name)
				snprintf(name, 64, "%.63s", entry->d_name);
		}
	closedir(d);
	return count;
}

static inline struct buf
read_file(const struct house *h, const char *directory, const char *name)
{
	char path[512], piece[4096];
	int fd = open(path_of(h, directory, name, path), O_RDONLY | O_CLOEXEC);
	struct buf text = {0};
	ssize_t got;

	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	while ((got = read(fd, piece, sizeof(piece))) > 0)
		buf_add(&text, piece, (size_t)got);
	close(fd);
	return text;
}

/* The states of the recipients in a file, as letters. */
static inline const char *
states(const struct house *h, const char *directory, const char *name,
    char letters[16])
{
	struct buf text = read_file(h, directory, name);
	size_t count = 0;

	for (const char *at = text.data;
	     (at = strstr(at, "\nrecipient ")) && count < 15; at++)
		letters[count++] = at[11];
	letters[count] = '\0';
	buf_free(&text);
	return letters;
}

static inline void
check_states(const struct house *h, const char *directory, const char *name,
    const char *expected)
{
	char letters[16];

	assert_string_equal(states(h, directory, name, letters), expected);
}

/* In how many ms the file says that it is to be tried. */
static inline int64_t
next_try(const struct house *h, const char *name)
{
	char path[512];
	struct stat file;

	assert_int_equal(stat(path_of(h, "queue", name, path), &file), 0);
	return ((int64_t)file.st_mtim.tv_sec - (int64_t)time(NULL)) * SECOND;
}

static inline void
check_empty(const struct house *h)
{
	assert_int_equal(files(h, "incoming", NULL), 0);
	assert_int_equal(files(h, "queue", NULL), 0);
	assert_int_equal(files(h, "failed", NULL), 0);
}

/* --- Sessions ------------------------------------------------------------ */

static inline struct message *
new_message(struct house *h, const char *sender, const char *to)
{
	struct message *m = message_new(queue_budget(h->queue), UINT64_MAX);
	char *names = xstrdup(to), *rest = names, *name;

	message_set_sender(m, sender);
	while ((name = strsep(&rest, " ")))
		message_add_recipient(m, name);
	buf_addf(&m->header, "X-Id: %s\r\n", m->id);
	assert_true(body_write(&m->body, "x\r\n", 3));
	free(names);
	return m;
}

static inline void *
run_session(void *argument)
{
	struct session *s = argument;

	queue_submit(s->house->queue, s->message, &s->verdict);
	return NULL;
}

/* Its message's ID goes to id. */
static inline void
session_start(struct house *h, size_t which, const char *sender,
    const char *to, char id[QUEUE_ID_SIZE])
{
	struct session *s = &h->sessions[which];

	*s = (struct session){
		.house = h, .message = new_message(h, sender, to)};
	if (id)
		memcpy(id, s->message->id, QUEUE_ID_SIZE);
	assert_int_equal(pthread_create(&s->thread, NULL, run_session, s), 0);
}

static inline const struct verdict *
session_end(struct house *h, size_t which)
{
	pthread_join(h->sessions[which].thread, NULL);
	return &h->sessions[which].verdict;
}

/* A message that is in the spool before anybody has tried it. */
static inline void
store(struct house *h, const char *sender, const char *to,
    char id[QUEUE_ID_SIZE])
{
	struct message *m = new_message(h, sender, to);
	struct verdict v;

	if (id)
		memcpy(id, m->id, QUEUE_ID_SIZE);
	h->config.queue.commit_first = true;
	queue_submit(h->queue, m, &v);
	h->config.queue.commit_first = false;
	assert_true(v.kept);
}

/* --- The courier --------------------------------------------------------- */

/* The next message in line, its envelope begun. */
static inline struct submission *
take(struct house *h)
{
	struct submission *s = queue_take(h->queue, 0);
	struct smtp_terms terms;

	assert_non_null(s);
	assert_true(queue_begin(h->queue, s, &terms));
	assert_false(terms.all_or_nothing);
	return s;
}

static inline void
settle(struct house *h, struct submission *s, enum outcome outcome,
    enum scope scope)
{
	static const int codes[] = {
		[SENT] = 250, [LATER] = 451, [HOLD] = 454, [NEVER] = 550};
	struct attempt a = {""};
	struct verdict v;

	verdict_set(&v, outcome, scope,
	    scope == SCOPE_UPSTREAM ? STAGE_CONNECT : STAGE_END, "said so");
	v.code = codes[outcome];
	queue_settle(h->queue, s, &v, &a);
}

/* What the relay says of each recipient, as letters of the file; '-' for
 * nothing. Then the verdict sums it up. */
static inline void
settle_each(struct house *h, struct submission *s, const char *letters)
{
	static const char all[] = "WSLHN";
	enum outcome sum = WAITING;

	for (size_t i = 0; letters[i]; i++) {
		struct recipient *r = &queue_message(s)->recipients[i];
		enum outcome o = letters[i] == '-' ? WAITING :
		    (enum outcome)(strchr(all, letters[i]) - all);

		if (o == WAITING)
			continue;
		recipient_set(r, o, o == SENT ? 250 : o == NEVER ? 550 : 451,
		    "its own");
		if (sum != SENT && (o == SENT || o > sum))
			sum = o;
	}
	settle(h, s, sum, SCOPE_RECIPIENT);
}

static inline size_t
waiting(struct house *h, enum lane lane)
{
	size_t count;

	lock(h);
	count = h->queue->lines[0].lanes[lane].waiting;
	unlock(h);
	return count;
}

/* Whether all that is stored is known, and the clock has done all that can be
 * done now, with so many stored messages in the test's own hand. */
static inline bool
is_quiet(struct house *h, size_t in_hand)
{
	const struct queue *q = h->queue;
	size_t seen = in_hand;
	bool full = false, quiet;

	lock(h);
	for (const struct submission *s = q->unmarked; s; s = s->next)
		seen++;
	for (size_t i = 0; i < h->config.upstream_count; i++) {
		unsigned count = q->lines[i].lanes[LANE_STORED].waiting;

		seen += count;
		full |= count >= CONNECTIONS;
	}
	quiet = q->roster.count == files(h, "queue", NULL) &&
	    q->roster.count == q->schedule.count + seen &&
	    (full || q->schedule.count == 0 ||
		schedule_next(&q->schedule) > clock_now());
	unlock(h);
	return quiet;
}

/* Nothing is in line, and nothing will be before this time is over. */
static inline void
check_nothing_due(struct house *h, int64_t pause)
{
	int64_t next;

	AWAIT(is_quiet(h, 0));
	assert_int_equal(waiting(h, LANE_STORED), 0);
	lock(h);
	next = schedule_next(&h->queue->schedule);
	unlock(h);
	if (next >= 0 && next < clock_now() + pause)
		fail_msg("due in %lld ms", (long long)(next - clock_now()));
}

#endif
