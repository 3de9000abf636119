/* SPDX-License-Identifier: ISC */
/*
 * The queue with a spool. The tests are the couriers, so that every step of
 * theirs comes when it is to come: a verdict before the commit, in the middle
 * of it and behind the answer; a disk that does not take the marks; notices
 * and storms of them; and clocks that are hours later when a test says so.
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
	DIRECT_WAIT = HOUR, /* nobody waits as long, unless time is skipped */
};

/* --- Clocks and disks ---------------------------------------------------- */

static atomic_llong skipped; /* ms, on every clock */

int
clock_gettime(clockid_t id, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, id, now);
	long long ahead = atomic_load(&skipped);

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
 * fail; the first thread that comes to `gate` waits there.
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const char *failing;
	unsigned failures;
	char gate; /* 0: none */
	bool reached, opened;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER};

static bool
fails(char letter)
{
	bool failing;

	pthread_mutex_lock(&disk.lock);
	if (disk.gate == letter && !disk.reached) {
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

static void
disk_fails(const char *letters)
{
	pthread_mutex_lock(&disk.lock);
	disk.failing = letters;
	disk.failures = 0;
	pthread_mutex_unlock(&disk.lock);
}

static unsigned
disk_failures(void)
{
	unsigned failures;

	pthread_mutex_lock(&disk.lock);
	failures = disk.failures;
	pthread_mutex_unlock(&disk.lock);
	return failures;
}

/* The next thread that comes there waits for gate_open(). */
static void
gate_close(char letter)
{
	pthread_mutex_lock(&disk.lock);
	disk.gate = letter;
	disk.reached = disk.opened = false;
	pthread_mutex_unlock(&disk.lock);
}

static void
gate_await(void)
{
	pthread_mutex_lock(&disk.lock);
	while (!disk.reached)
		pthread_cond_wait(&disk.changed, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
}

static void
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

static void
house_open(struct house *h)
{
	struct buf why = {0};

	h->spool = spool_open(h->root, &why);
	if (!h->spool || !spool_own(h->spool, &why))
		fail_msg("%s", why.data);
	h->queue = queue_new(&h->config, h->relays, h->spool, false);
	for (size_t i = 0; i < h->config.upstream_count; i++)
		h->queue->lines[i].couriers = 1000; /* more are not needed */
	assert_true(queue_start(h->queue, &why));
}

static struct house *
house_build(size_t upstreams)
{
	struct house *h = xcalloc(1, sizeof(*h));

	alarm(PATIENCE);
	atomic_store(&skipped, 0);
	disk_fails(NULL);
	gate_open();
	snprintf(h->root, sizeof(h->root), "/tmp/stored-test-XXXXXX");
	assert_non_null(mkdtemp(h->root));
	snprintf(h->hostname, sizeof(h->hostname), "host.example");
	for (size_t i = 0; i < upstreams; i++) {
		snprintf(h->names[i], sizeof(h->names[i]), "u%zu", i);
		h->upstreams[i] = (struct upstream){
			.name = h->names[i], .connections = 2,
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
static void
house_shut(struct house *h)
{
	queue_stop(h->queue);
	assert_true(queue_wait_for_couriers(h->queue, 0));
	queue_free(h->queue);
	spool_close(h->spool);
}

static int
remove_entry(const char *path, const struct stat *s, int type, struct FTW *f)
{
	(void)s, (void)type, (void)f;
	return remove(path);
}

static void
house_close(struct house *h)
{
	house_shut(h);
	(void)nftw(h->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(h);
	alarm(0);
}

static void
lock(struct house *h)
{
	pthread_mutex_lock(&h->queue->lock);
}

static void
unlock(struct house *h)
{
	pthread_mutex_unlock(&h->queue->lock);
}

/* Later, on every clock; whoever waits looks at it. */
static void
skip_time(struct house *h, int64_t ms)
{
	struct queue *q = h->queue;

	lock(h);
	atomic_fetch_add(&skipped, ms);
	pthread_cond_signal(&q->tick);
	for (struct submission *s = q->newest; s; s = s->older)
		pthread_cond_signal(&s->answered);
	unlock(h);
}

/* Asks until it is so: what is asked is done by other threads. */
#define AWAIT(condition)                                                       \
	do                                                                     \
		poll(NULL, 0, 1);                                              \
	while (!(condition))

/* --- What is on the disk ------------------------------------------------- */

static const char *
path_of(const struct house *h, const char *directory, const char *name,
    char path[512])
{
	snprintf(path, 512, "%s/%s/%s", h->root, directory, name);
	return path;
}

/* How many files there are; if there is one alone, its name goes to name. */
static size_t
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

static struct buf
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
static const char *
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

static void
check_states(const struct house *h, const char *directory, const char *name,
    const char *expected)
{
	char letters[16];

	assert_string_equal(states(h, directory, name, letters), expected);
}

/* In how many ms the file says that it is to be tried. */
static int64_t
next_try(const struct house *h, const char *name)
{
	char path[512];
	struct stat file;

	assert_int_equal(stat(path_of(h, "queue", name, path), &file), 0);
	return ((int64_t)file.st_mtim.tv_sec - (int64_t)time(NULL)) * SECOND;
}

static void
check_empty(const struct house *h)
{
	assert_int_equal(files(h, "incoming", NULL), 0);
	assert_int_equal(files(h, "queue", NULL), 0);
	assert_int_equal(files(h, "failed", NULL), 0);
}

/* --- Sessions ------------------------------------------------------------ */

static struct message *
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

static void *
run_session(void *argument)
{
	struct session *s = argument;

	queue_submit(s->house->queue, s->message, &s->verdict);
	return NULL;
}

/* Its message's ID goes to id. */
static void
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

static const struct verdict *
session_end(struct house *h, size_t which)
{
	pthread_join(h->sessions[which].thread, NULL);
	return &h->sessions[which].verdict;
}

/* A message that is in the spool before anybody has tried it. */
static void
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
static struct submission *
take(struct house *h)
{
	struct submission *s = queue_take(h->queue, 0);
	struct smtp_terms terms;

	assert_non_null(s);
	assert_true(queue_begin(h->queue, s, &terms));
	assert_false(terms.all_or_nothing);
	return s;
}

static void
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
static void
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

static size_t
waiting(struct house *h, enum lane lane)
{
	size_t count;

	lock(h);
	count = h->queue->lines[0].lanes[lane].waiting;
	unlock(h);
	return count;
}

/* Whether the clock has done all that there is to do now, with so many stored
 * messages in the test's own hand. */
static bool
is_quiet(struct house *h, size_t in_hand)
{
	const struct queue *q = h->queue;
	size_t seen = in_hand;
	bool quiet;

	lock(h);
	for (const struct submission *s = q->unmarked; s; s = s->next)
		seen++;
	for (size_t i = 0; i < h->config.upstream_count; i++)
		seen += q->lines[i].lanes[LANE_STORED].waiting;
	quiet = q->roster.count == q->schedule.count + seen &&
	    (q->schedule.count == 0 ||
		schedule_next(&q->schedule) > clock_now());
	unlock(h);
	return quiet;
}

/* Nothing is in line, and nothing will be before this time is over. */
static void
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
			skip_time(h, 2 * MINUTE);
			AWAIT(disk_failures() >= 2);
			disk_fails(NULL);
			skip_time(h, 2 * MINUTE);
			AWAIT(files(h, "queue", NULL) == 0);
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
		skip_time(h, 2 * MINUTE);
		AWAIT(disk_failures() > before);
	}
	disk_fails(NULL);
	skip_time(h, 2 * MINUTE);
	if (!c->stored && !c->told)
		AWAIT(files(h, "queue", NULL) == 0);
	else if (c->stored && !c->told)
		AWAIT(next_try(h, id) > 30 * SECOND);
	else
		s = take(h), settle(h, s, SENT, SCOPE_MESSAGE);
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
		skip_time(h, 2 * MINUTE);
		AWAIT(disk_failures() >= (unsigned)i + 2);
	}
	disk_fails(NULL);
	skip_time(h, 2 * MINUTE);
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
		AWAIT(is_quiet(h, 0));
		lock(h);
		assert_null(h->queue->unmarked);
		unlock(h);
		skip_time(h, 2 * HOUR);
		AWAIT(is_quiet(h, 0));
		assert_int_equal(waiting(h, LANE_STORED), 0);
		check_empty(h);
		house_close(h);
	}
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
