/* SPDX-License-Identifier: ISC */
/*
 * The durable store: what is committed comes back as it was, or not at all;
 * marks survive; locks hold as long as their holder; nothing odd in the
 * directory stops or breaks it; and what fails leaves nothing (DU-01 to
 * DU-16, DU-22, DU-23).
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
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "message.h"
#include "spool.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define EACH(array, item) \
	(size_t item = 0; item < COUNT(array); item++)

enum { PATIENCE = 60, NOBODY = 65534, REPLY_WIDTH = 200 };

static const char odd_id[] = "00000000000000000000000000000007";

/* --- System calls that fail ---------------------------------------------- */

/*
 * These stand in front of libc's. The trace has a letter for each call; the
 * call with that number, from 1, of that letter (or of any, '*') fails. None
 * waits for the disk: only a crash could tell.
 */
static struct {
	char trace[4096];
	size_t len;
	char letter;       /* 0: none fails */
	size_t number;
	int error;
	size_t at_most;    /* bytes a pwrite() takes; 0: all */
	bool interrupted;  /* each pwrite() is, every other time */
	void (*after_flock)(void);
} hook;

static bool
fails(char letter)
{
	size_t number = 0;

	if (hook.len < sizeof(hook.trace) - 1)
		hook.trace[hook.len++] = letter;
	hook.trace[hook.len] = '\0';
	if (!hook.letter || (hook.letter != '*' && hook.letter != letter))
		return false;
	for (size_t i = 0; i < hook.len; i++)
		number += hook.letter == '*' || hook.trace[i] == letter;
	if (number != hook.number)
		return false;
	errno = hook.error;
	return true;
}

static void
hook_reset(void)
{
	memset(&hook, 0, sizeof(hook));
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	if (fails('w'))
		return -1;
	if (hook.interrupted && hook.len % 2) {
		errno = EINTR;
		return -1;
	}
	if (hook.at_most && len > hook.at_most)
		len = hook.at_most;
	return syscall(SYS_pwrite64, fd, data, len, offset);
}

int
fsync(int fd)
{
	struct stat file;
	bool directory = fstat(fd, &file) == 0 && S_ISDIR(file.st_mode);

	return fails(directory ? 'd' : 'f') ? -1 : 0;
}

int
fdatasync(int fd)
{
	(void)fd;
	return fails('s') ? -1 : 0;
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
futimens(int fd, const struct timespec times[2])
{
	return fails('t') ? -1
			  : (int)syscall(SYS_utimensat, fd, NULL, times, 0);
}

int
flock(int fd, int operation)
{
	int result = fails('l') ? -1 : (int)syscall(SYS_flock, fd, operation);
	void (*then)(void) = hook.after_flock;

	hook.after_flock = NULL;
	if (then)
		then();
	return result;
}

/* --- A spool in a new directory ------------------------------------------ */

static char root[64]; /* its path */
static struct spool *spool;

static int
remove_entry(const char *path, const struct stat *s, int type, struct FTW *f)
{
	(void)s, (void)type, (void)f;
	return remove(path);
}

static void
remove_tree(const char *path)
{
	(void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static int
setup(void **state)
{
	struct buf why = {0};

	(void)state;
	alarm(PATIENCE); /* a FIFO may block who is not careful */
	hook_reset();
	snprintf(root, sizeof(root), "/tmp/spool-test-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	spool = spool_open(root, &why);
	buf_free(&why);
	return spool ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	hook_reset();
	if (spool)
		spool_close(spool);
	spool = NULL;
	(void)umount2(root, MNT_DETACH);
	remove_tree(root);
	alarm(0);
	return 0;
}

/* One of a few paths at a time. */
static const char *
in(const char *directory, const char *name)
{
	static char paths[4][512];
	static size_t next;
	char *path = paths[next++ % COUNT(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s/%s", root, directory, name);
	return path;
}

static bool
exists(const char *path)
{
	struct stat s;

	return lstat(path, &s) == 0;
}

static size_t
count_names(const char *directory)
{
	DIR *d = opendir(in(directory, "."));
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(d);
	while ((entry = readdir(d)))
		count += strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0;
	closedir(d);
	return count;
}

/* A new file in its place: to write the old one again, ext4 waits for the
 * disk. */
static void
write_file(const char *path, const char *data, size_t len)
{
	int fd;

	(void)unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(close(fd), 0);
}

static struct buf
read_file(const char *path)
{
	struct buf text = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char piece[4096];
	ssize_t got;

	assert_true(fd >= 0);
	while ((got = read(fd, piece, sizeof(piece))) > 0)
		buf_add(&text, piece, (size_t)got);
	assert_int_equal(got, 0);
	close(fd);
	return text;
}

/* --- Messages ------------------------------------------------------------ */

static struct message *
make(const char *sender, const char *header, const char *body, size_t len)
{
	struct message *m = message_new(NULL, UINT64_MAX);

	message_set_sender(m, sender);
	buf_add(&m->header, header, strlen(header));
	assert_true(body_write(&m->body, body, len));
	return m;
}

static struct message *
make_small(void)
{
	static const char body[] = "one\r\n.\r\ntwo\r\n";
	struct message *m = make("a@example.test", "Subject: x\r\n", body,
	    sizeof(body) - 1);

	message_add_recipient(m, "b@example.test");
	message_add_recipient(m, "c@example.test");
	return m;
}

static struct buf
body_of(const struct message *m)
{
	struct buf text = {0};
	char piece[1000];
	ptrdiff_t got;

	while ((got = body_read(&m->body, text.len, piece, sizeof(piece))) > 0)
		buf_add(&text, piece, (size_t)got);
	assert_int_equal(got, 0);
	return text;
}

static void
assert_same_bytes(const struct buf *a, const struct buf *b)
{
	assert_int_equal(a->len, b->len);
	assert_memory_equal(buf_text(a), buf_text(b), a->len);
}

/* But for the recipients' results, which a commit does not look at. */
static void
assert_same(const struct message *a, const struct message *b)
{
	struct buf body_a = body_of(a), body_b = body_of(b);

	assert_string_equal(a->id, b->id);
	assert_string_equal(a->sender, b->sender);
	assert_int_equal(a->arrived_at, b->arrived_at);
	assert_int_equal(a->eight_bit, b->eight_bit);
	assert_int_equal(a->owner, b->owner);
	assert_int_equal(a->utf8, b->utf8);
	assert_int_equal(a->returns, b->returns);
	assert_same_bytes(&a->header, &b->header);
	assert_same_bytes(&body_a, &body_b);
	assert_int_equal(message_size(a), message_size(b));
	assert_int_equal(a->recipient_count, b->recipient_count);
	for (size_t i = 0; i < a->recipient_count; i++)
		assert_string_equal(a->recipients[i].address,
		    b->recipients[i].address);
	buf_free(&body_a);
	buf_free(&body_b);
}

/* Loads what must be there. */
static struct message *
load(const char *id)
{
	struct message *m = NULL;

	assert_int_equal(spool_load(spool, id, &m), LOADED);
	assert_non_null(m);
	assert_true(m->file >= 0);
	return m;
}

/* Loads what must not be. */
static enum load_result
refusal(const char *id)
{
	struct message *m = NULL;
	enum load_result result = spool_load(spool, id, &m);

	assert_int_not_equal(result, LOADED);
	assert_null(m);
	return result;
}

/* Commits, gives it up, and loads it; frees m. */
static struct message *
there_and_back(struct message *m)
{
	struct message *back;
	int file;

	assert_true(spool_commit(spool, m));
	file = m->file;
	assert_true(file >= 0);
	m->file = -1;
	assert_int_equal(close(file), 0);
	back = load(m->id);
	assert_same(m, back);
	for (size_t i = 0; i < back->recipient_count; i++) {
		assert_int_equal(back->recipients[i].outcome, WAITING);
		assert_int_equal(back->recipients[i].code, 0);
	}
	message_free(m);
	return back;
}

static void
round_trip(struct message *m)
{
	struct message *back = there_and_back(m);

	assert_true(spool_remove(spool, back));
	message_free(back);
	assert_int_equal(count_names("queue"), 0);
	assert_int_equal(count_names("incoming"), 0);
}

/* A small message in the spool that nobody has; its name goes to id. */
static void
store(char id[QUEUE_ID_SIZE])
{
	struct message *m = make_small();

	assert_true(spool_commit(spool, m));
	memcpy(id, m->id, QUEUE_ID_SIZE);
	message_free(m);
}

/* --- There and back ------------------------------------------------------ */

/* A newline ends an address on disk, and a NUL in memory; neither gets this
 * far. Everything else does not matter. */
static void
every_byte_in_an_address(void **state)
{
	struct message *m = make("", "", "", 0);
	char all[256], one[] = "\"?\"@example.test";

	(void)state;
	for (int byte = 1, at = 0; byte < 256; byte++) {
		if (byte == '\n')
			continue;
		all[at++] = (char)byte;
		all[at] = '\0';
		one[1] = (char)byte;
		message_add_recipient(m, one);
		one[1] = '?';
	}
	message_add_recipient(m, all);
	message_set_sender(m, all);
	round_trip(m);
}

static void
odd_addresses(void **state)
{
	static const char *const odd[] = {"", " ", "  x  ", "end", "x end",
		"\" \"@x", "recipient", "recipient W 000", "\xc3\xa9@x", "\t",
		"%s%n", "S", "\x7f", "\r", "x\r"};

	(void)state;
	for EACH (odd, i) {
		struct message *m = make(odd[i], "A: b\r\n", "x\r\n", 3);

		message_add_recipient(m, "x");
		if (*odd[i]) /* no recipient is empty */
			message_add_recipient(m, odd[i]);
		round_trip(m);
	}
}

/* What the sender asks of notices; an ENVID may come back in another form of
 * the same xtext. */
static void
what_is_asked_of_notices(void **state)
{
	static const struct {
		const char *id, *back;
	} ids[] = {
		{NULL, NULL}, {"x", "x"}, {"-", "+2D"}, {"--", "--"},
		{"+2D", "+2D"}, {"a+20b", "a+20b"},
	};

	(void)state;
	for EACH (ids, i) {
		struct message *m = make_small(), *back;

		m->utf8 = i % 2;
		m->returns = "FH"[i % 3];
		m->owner = (uid_t)i;
		m->envelope_id = ids[i].id ? xstrdup(ids[i].id) : NULL;
		back = there_and_back(m);
		if (ids[i].back)
			assert_string_equal(back->envelope_id, ids[i].back);
		else
			assert_null(back->envelope_id);
		message_free(back);
	}
}

static void
what_is_asked_for_each_recipient(void **state)
{
	static const char *const originals[] = {NULL, "rfc822;a@b",
		"utf-8;\xc3\xa9@x", "x;-", "rfc822;+20"};

	(void)state;
	for (unsigned notify = 0; notify <= NOTIFY_ALL; notify++) {
		struct message *m = make_small(), *back;
		const char *original = originals[notify % COUNT(originals)];

		m->recipients[1].notify = notify;
		m->recipients[1].original = original ? xstrdup(original) : NULL;
		back = there_and_back(m);
		assert_int_equal(back->recipients[0].notify, 0);
		assert_null(back->recipients[0].original);
		assert_int_equal(back->recipients[1].notify, notify);
		assert_false(back->recipients[1].relayed);
		if (original)
			assert_string_equal(back->recipients[1].original,
			    original);
		else
			assert_null(back->recipients[1].original);
		message_free(back);
	}
}

/* What could not be read again is not taken. */
static void
an_endless_envelope(void **state)
{
	struct message *m = make_small();
	char *original = xasprintf("rfc822;%0*d", 1 << 20, 0);

	(void)state;
	for (int i = 0; i < 128; i++) {
		message_add_recipient(m, "x@example.test");
		m->recipients[m->recipient_count - 1].original =
		    xstrdup(original);
	}
	assert_false(spool_commit(spool, m));
	assert_int_equal(errno, EFBIG);
	assert_int_equal(count_names("queue"), 0);
	assert_int_equal(count_names("incoming"), 0);
	free(original);
	message_free(m);
}

static void
every_byte_in_the_content(void **state)
{
	char all[256];
	struct message *m;

	(void)state;
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	m = make("a@x", "", all, sizeof(all));
	message_add_recipient(m, "b@x");
	buf_add(&m->header, all, sizeof(all));
	round_trip(m);
}

static void
content_that_looks_like_an_envelope(void **state)
{
	static const char envelope[] = "\nend\nsmarthost 1\nid x\nend\n";
	struct message *m = make("a@x", envelope, envelope,
	    sizeof(envelope) - 1);

	(void)state;
	message_add_recipient(m, "end");
	round_trip(m);
}

static void
every_size(void **state)
{
	static const size_t sizes[] = {0, 1, 2, 3, 4095, 4096, 32767, 32768,
		32769, 65536, 65537, 262143, 262144, 262145, 1000000};
	char *bytes = xmalloc(1000000);

	(void)state;
	for (size_t i = 0; i < 1000000; i++)
		bytes[i] = (char)(i * 7 + i / 251);
	for EACH (sizes, i) {
		struct message *m = make("a@x", "A: b\r\n", bytes, sizes[i]);

		message_add_recipient(m, "b@x");
		m->eight_bit = i % 2;
		m->arrived_at = (time_t)i * 1000000000;
		round_trip(m);
	}
	for EACH (sizes, i) {
		struct message *m = make("a@x", "", "x", 1);

		message_add_recipient(m, "b@x");
		buf_add(&m->header, bytes, sizes[i]);
		round_trip(m);
	}
	free(bytes);
}

/* The envelope is read in pieces: its end may lie on any edge of one. */
static void
the_end_of_the_envelope_anywhere(void **state)
{
	char name[400];

	(void)state;
	for (size_t len = 1; len < 330; len++) {
		struct message *m = make("a@x", "A: b\r\n", "x\r\n", 3);

		memset(name, 'r', len);
		name[len] = '\0';
		for (int i = 0; i < 140; i++) /* about 32 KiB */
			message_add_recipient(m, "0123456789012@x");
		message_add_recipient(m, name);
		round_trip(m);
	}
}

/* As many as max_recipients can be. */
static void
thousands_of_recipients(void **state)
{
	struct message *m = make("a@x", "A: b\r\n", "x\r\n", 3);
	char name[40];

	(void)state;
	for (int i = 0; i < 100000; i++) {
		snprintf(name, sizeof(name), "r%d@example.test", i);
		message_add_recipient(m, name);
	}
	round_trip(m);
}

/* What was said to a recipient is no business of a commit: a courier may be
 * writing it at the time. */
static void
a_commit_writes_all_as_waiting(void **state)
{
	struct message *m = make_small();

	(void)state;
	recipient_set(&m->recipients[0], SENT, 250, "ok");
	recipient_set(&m->recipients[1], NEVER, 550, "no");
	round_trip(m);
}

static void
it_is_a_file_that_a_person_can_read(void **state)
{
	struct message *m = make_small();
	char expected[800];
	struct buf text;
	struct stat file;

	(void)state;
	m->arrived_at = 1700000000;
	assert_true(spool_commit(spool, m));
	snprintf(expected, sizeof(expected),
	    "smarthost 1\nid %s\narrived 1700000000\nowner -\n"
	    "sender a@example.test\nenvelope-id -\nreturn -\nutf8 0\n"
	    "eight-bit 0\nheader 12\ncontent 00000000000000000027\n"
	    "recipient W 000 %*s 0 - b@example.test\n"
	    "recipient W 000 %*s 0 - c@example.test\n"
	    "end\nSubject: x\r\n\r\none\r\n.\r\ntwo\r\n",
	    m->id, REPLY_WIDTH, "", REPLY_WIDTH, "");
	text = read_file(in("queue", m->id));
	assert_string_equal(buf_text(&text), expected);
	assert_int_equal(stat(in("queue", m->id), &file), 0);
	assert_int_equal(file.st_mode & 07777, 0600);
	assert_int_equal(file.st_nlink, 1);
	buf_free(&text);
	message_free(m);
}

/* DU-01 */
static void
the_order_of_a_commit(void **state)
{
	struct message *m = make_small();
	const char *at = hook.trace;

	(void)state;
	hook_reset();
	assert_true(spool_commit(spool, m));
	assert_int_equal(*at++, 'l');
	assert_int_equal(*at, 'w');
	at += strspn(at, "w");
	assert_string_equal(at, "frd");
	message_free(m);
}

/* --- Damage -------------------------------------------------------------- */

static void
assert_damaged(const char *id, const char *data, size_t len)
{
	struct buf after;

	write_file(in("queue", id), data, len);
	assert_int_equal(refusal(id), LOAD_DAMAGED);
	after = read_file(in("queue", id)); /* it is evidence */
	assert_int_equal(after.len, len);
	assert_memory_equal(buf_text(&after), data, len);
	buf_free(&after);
}

/* DU-14 */
static void
cut_anywhere(void **state)
{
	char id[QUEUE_ID_SIZE];
	struct buf text;

	(void)state;
	store(id);
	text = read_file(in("queue", id));
	for (size_t len = 0; len < text.len; len++)
		assert_damaged(id, text.data, len);
	write_file(in("queue", id), text.data, text.len);
	message_free(load(id));
	buf_free(&text);
}

/* ext4 after a crash: the size is there, the bytes are not. */
static void
nuls_from_anywhere(void **state)
{
	char id[QUEUE_ID_SIZE];
	size_t envelope;
	struct buf text;

	(void)state;
	store(id);
	text = read_file(in("queue", id));
	envelope = (size_t)(strstr(text.data, "\nend\n") - text.data) + 5;
	for (size_t at = envelope; at-- > 0;) {
		text.data[at] = '\0';
		assert_damaged(id, text.data, text.len);
	}
	buf_free(&text);
}

static void
trailing_bytes(void **state)
{
	char id[QUEUE_ID_SIZE];
	struct buf text;

	(void)state;
	store(id);
	text = read_file(in("queue", id));
	buf_addc(&text, 'x');
	assert_damaged(id, text.data, text.len);
	for (int i = 0; i < 100000; i++)
		buf_addc(&text, '\0');
	assert_damaged(id, text.data, text.len);
	buf_free(&text);
}

/* Whatever one byte becomes, the message is damaged or has the same content;
 * it is never half of it, and never a crash. */
static void
every_byte_changed(void **state)
{
	static const char bytes[] = "\0\n 9:Sx\xff-";
	char id[QUEUE_ID_SIZE];
	struct message *whole, *m;
	struct buf text;
	size_t envelope;

	(void)state;
	store(id);
	text = read_file(in("queue", id));
	envelope = (size_t)(strstr(text.data, "\nend\n") - text.data) + 5;
	whole = load(id);
	for (size_t at = 0; at < envelope; at++)
		for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
			char was = text.data[at];
			enum load_result result;

			text.data[at] = bytes[i];
			write_file(in("queue", odd_id), text.data, text.len);
			text.data[at] = was;
			m = NULL;
			result = spool_load(spool, odd_id, &m);
			assert_true(result == LOADED ||
			    result == LOAD_UNKNOWN ||
			    result == LOAD_DAMAGED);
			assert_int_equal(m != NULL, result == LOADED);
			message_free(m);
		}
	message_free(whole);
	buf_free(&text);
}

/* The file is as long as it says, no more and no less. */
static void
every_digit_of_the_size_changed(void **state)
{
	char id[QUEUE_ID_SIZE];
	struct buf text;

	(void)state;
	store(id);
	text = read_file(in("queue", id));
	for (int place = 0; place < 2; place++) {
		char *at = strstr(text.data, "\ncontent ") + 9 + place;
		char was = *at;

		for (*at = '0'; *at <= '9'; (*at)++)
			if (*at != was)
				assert_damaged(id, text.data, text.len);
		*at = was;
	}
	buf_free(&text);
}

struct replacement {
	const char *what, *with;
};

static const struct replacement replacements[] = {
	{"smarthost 1\n", ""},
	{"smarthost 1\n", "smarthost 1\r\n"},
	{"smarthost 1\n", "Smarthost 1\n"},
	{"smarthost 1\n", " smarthost 1\n"},
	{"\nid ", "\nid 0"},
	{"\nid ", "\nid\n"},
	{"\narrived ", "\narrived -"},
	{"\narrived ", "\narrived +"},
	{"\narrived ", "\narrived  "},
	{"\narrived ", "\narrived 99999999999"},
	{"\narrived ", "\narrived x"},
	{"\narrived ", "\narrived 0"},
	{"\nsender ", "\nsender\n"},
	{"\nsender ", "\nSender "},
	{"\nsender a@example.test", ""},
	{"\nowner -", ""},
	{"\nowner -", "\nowner "},
	{"\nowner -", "\nowner -1"},
	{"\nowner -", "\nowner 4294967295"},
	{"\nenvelope-id -", ""},
	{"\nreturn -", "\nreturn X"},
	{"\nreturn -", "\nreturn FH"},
	{"\nreturn -", "\nreturn "},
	{"\nutf8 0", "\nutf8 2"},
	{"\nutf8 0", "\nutf8 00"},
	{"\nutf8 0", ""},
	{" 0 - b@example.test", " g - b@example.test"},
	{" 0 - b@example.test", " 00 - b@example.test"},
	{" 0 - b@example.test", " 0  b@example.test"},
	{" 0 - b@example.test", " - b@example.test"},
	{" 0 - b@example.test", " 0 -"},
	{" 0 - b@example.test", " 0 - "},
	{"\neight-bit 0", "\neight-bit 2"},
	{"\neight-bit 0", "\neight-bit "},
	{"\neight-bit 0", "\neight-bit 00000000000000000000000000000000x"},
	{"\neight-bit 0", ""},
	{"\nheader 12", "\nheader 18446744073709551615"},
	{"\nheader 12", "\nheader 18446744073709551604"},
	{"\nheader 12", "\nheader 9223372036854775807"},
	{"\nheader 12", "\nheader 012"},
	{"\nheader 12", "\nheader 26"},
	{"\nheader 12", "\nheader 27"},
	{"\nheader 12", "\nheader 0x0c"},
	{"\nheader 12", "\nheader 12 "},
	{"\nheader 12", "\nheader 12k"},
	{"\nheader 12", "\nheader 99999999999999999999999999"},
	{"\ncontent 00000000000000000027", "\ncontent 18446744073709551615"},
	{"\ncontent 00000000000000000027", "\ncontent 9223372036854775807"},
	{"\ncontent 00000000000000000027", "\ncontent 27"},
	{"\ncontent 00000000000000000027", "\ncontent 0"},
	{"\ncontent 00000000000000000027", "\ncontent 28"},
	{"\ncontent 00000000000000000027", "\ncontent 26"},
	{"\ncontent 00000000000000000027", "\ncontent -27"},
	{"\nrecipient W", "\nrecipient X"},
	{"\nrecipient W", "\nrecipient w"},
	{"\nrecipient W 000 ", "\nrecipient W 000"},
	{"\nrecipient W 000 ", "\nrecipient W 0000"},
	{"\nrecipient W", "\nrecipient"},
	{"\nrecipient W", "\nrecipient W 000 x y\nrecipient W"},
	{"\nrecipient W", "\n\nrecipient W"},
	{"\nrecipient W", "\nreceiver W"},
	{"\nend\n", "\nrecipient W 000 x\nend\n"},
	{"\nend\n", "\nEnd\n"},
	{"\nend\n", "\nend \n"},
	{"\nend\n", "\nmore x\nend\n"},
	{"\nend\n", "\n"},
};

static void
odd_envelopes(void **state)
{
	char id[QUEUE_ID_SIZE];
	struct buf text;

	(void)state;
	store(id);
	text = read_file(in("queue", id));
	for EACH (replacements, i) {
		const struct replacement *r = &replacements[i];
		char *at = strstr(text.data, r->what);
		struct buf odd = {0};

		assert_non_null(at);
		buf_add(&odd, text.data, (size_t)(at - text.data));
		buf_adds(&odd, r->with);
		buf_adds(&odd, at + strlen(r->what));
		assert_damaged(id, odd.data, odd.len);
		buf_free(&odd);
	}
	buf_free(&text);
}

static void
no_recipients(void **state)
{
	struct buf text = {0};

	(void)state;
	buf_addf(&text, "smarthost 1\nid %s\narrived 1\nowner -\n"
	    "sender \nenvelope-id -\nreturn -\nutf8 0\neight-bit 0\n"
	    "header 0\ncontent 2\nend\n\r\n", odd_id);
	assert_damaged(odd_id, text.data, text.len);
	buf_free(&text);
}

/* DU-35: it is not for us to judge it, and above all not to move it. */
static void
an_unknown_version_is_left_alone(void **state)
{
	struct buf text, after;
	char id[QUEUE_ID_SIZE];

	(void)state;
	store(id);
	text = read_file(in("queue", id));
	text.data[strlen("smarthost ")] = '2';
	write_file(in("queue", id), text.data, text.len);
	assert_int_not_equal(refusal(id), LOAD_DAMAGED);
	after = read_file(in("queue", id));
	assert_same_bytes(&text, &after);
	buf_free(&text);
	buf_free(&after);
}

/* --- Marks --------------------------------------------------------------- */

/* What the results become when they are written and read again. */
static void
marks_survive(void **state)
{
	static const enum outcome outcomes[] = {WAITING, SENT, LATER, HOLD,
		NEVER};
	struct message *m = make("a@x", "A: b\r\n", "x\r\n", 3), *back;
	char name[8];

	(void)state;
	for EACH (outcomes, i) {
		snprintf(name, sizeof(name), "r%zu@x", i);
		message_add_recipient(m, name);
	}
	m = there_and_back(m);
	for EACH (outcomes, i)
		recipient_set(&m->recipients[i], outcomes[i],
		    200 + (int)i * 100, "some words");
	assert_true(spool_put_off(m, 12345));
	back = m;
	for (int again = 0; again < 3; again++) {
		char id[QUEUE_ID_SIZE];

		memcpy(id, back->id, sizeof(id));
		message_free(back);
		back = load(id);
		for EACH (outcomes, i) {
			enum outcome o = outcomes[i];

			assert_int_equal(back->recipients[i].outcome,
			    o == LATER || o == HOLD ? WAITING : o);
			assert_int_equal(back->recipients[i].code,
			    200 + i * 100);
			assert_string_equal(back->recipients[i].reply,
			    "some words");
		}
		assert_true(spool_put_off(back, 12345));
	}
	assert_true(body_read(&back->body, 0, name, 3) == 3);
	assert_memory_equal(name, "x\r\n", 3);
	message_free(back);
}

static void
check_reply(const char *said, const char *kept)
{
	struct message *m = there_and_back(make_small());
	char id[QUEUE_ID_SIZE];
	struct stat before, after;

	memcpy(id, m->id, sizeof(id));
	assert_int_equal(fstat(m->file, &before), 0);
	recipient_set(&m->recipients[0], LATER, 450, said);
	assert_true(spool_put_off(m, 1));
	assert_int_equal(fstat(m->file, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	message_free(m);
	m = load(id);
	assert_string_equal(m->recipients[0].reply, kept);
	assert_int_equal(m->recipients[0].code, 450);
	assert_string_equal(m->recipients[0].address, "b@example.test");
	assert_string_equal(m->recipients[1].address, "c@example.test");
	assert_int_equal(m->recipients[1].code, 0);
	assert_true(spool_remove(spool, m));
	message_free(m);
}

/* Of every length and with every byte, in its fixed field. */
static void
odd_replies(void **state)
{
	char said[301], kept[301];

	(void)state;
	for (size_t len = 0; len <= 300; len += len < 190 ? 10 : 1) {
		memset(said, 'x', len);
		said[len] = '\0';
		memcpy(kept, said, sizeof(kept));
		kept[len < REPLY_WIDTH ? len : REPLY_WIDTH] = '\0';
		check_reply(said, kept);
	}
	for (int byte = 1; byte < 256; byte++) {
		snprintf(said, sizeof(said), "x%cx", byte);
		snprintf(kept, sizeof(kept), "x%cx",
		    byte >= ' ' && byte <= '~' ? byte : '?');
		check_reply(said, kept);
	}
	check_reply("\nend\n", "?end?");
	check_reply("  x", "  x");
	check_reply("x  ", "x");
}

static void
every_code(void **state)
{
	struct message *m = there_and_back(make_small());

	(void)state;
	for (int code = 0; code < 1000; code++) {
		char id[QUEUE_ID_SIZE];

		memcpy(id, m->id, sizeof(id));
		recipient_set(&m->recipients[1], NEVER, code, "");
		assert_true(spool_put_off(m, code));
		message_free(m);
		m = load(id);
		assert_int_equal(m->recipients[1].code, code);
	}
	message_free(m);
}

static bool
note_time(void *context, const char *id, time_t next_try)
{
	(void)id;
	*(time_t *)context = next_try;
	return true;
}

static void
the_next_try_is_the_mtime(void **state)
{
	static const time_t times[] = {0, 1, 1700000000, INT32_MAX,
		(time_t)INT32_MAX + 1, 4000000000};
	struct message *m = there_and_back(make_small());
	struct stat file;
	time_t seen;

	(void)state;
	for EACH (times, i) {
		assert_true(spool_put_off(m, times[i]));
		assert_int_equal(stat(in("queue", m->id), &file), 0);
		assert_int_equal(file.st_mtim.tv_sec, times[i]);
		seen = -1;
		assert_int_equal(spool_list(spool, note_time, &seen), 0);
		assert_int_equal(seen, times[i]);
	}
	message_free(m);
}

/* A fresh one is due. */
static void
a_new_one_is_due(void **state)
{
	char id[QUEUE_ID_SIZE];
	time_t seen = -1;

	(void)state;
	store(id);
	assert_int_equal(spool_list(spool, note_time, &seen), 0);
	assert_true(seen >= 0 && seen <= time(NULL) + 1);
}

/* Marks first and durable, then the name: a crash in between does not send it
 * again. */
static void
the_order_of_a_removal(void **state)
{
	struct message *m = there_and_back(make_small());

	(void)state;
	hook_reset();
	assert_true(spool_remove(spool, m));
	assert_string_equal(hook.trace, "wsu");
	assert_int_equal(count_names("queue"), 0);
	message_free(m);
}

static void
a_removal_that_is_cut_short_has_its_marks(void **state)
{
	struct message *m = there_and_back(make_small());
	char id[QUEUE_ID_SIZE];

	(void)state;
	memcpy(id, m->id, sizeof(id));
	recipient_set(&m->recipients[0], SENT, 250, "ok");
	recipient_set(&m->recipients[1], SENT, 250, "ok");
	hook_reset();
	hook.letter = 'u';
	hook.number = 1;
	hook.error = EIO;
	assert_false(spool_remove(spool, m));
	assert_int_equal(errno, EIO);
	message_free(m);
	m = load(id);
	assert_int_equal(m->recipients[0].outcome, SENT);
	assert_int_equal(m->recipients[1].outcome, SENT);
	message_free(m);
}

/* --- Locks --------------------------------------------------------------- */

static void
who_has_it_has_it_alone(void **state)
{
	struct message *m = make_small(), *back;
	char id[QUEUE_ID_SIZE];

	(void)state;
	assert_true(spool_commit(spool, m));
	memcpy(id, m->id, sizeof(id));
	assert_int_equal(refusal(id), LOAD_BUSY);
	message_free(m);
	back = load(id);
	assert_int_equal(refusal(id), LOAD_BUSY);
	assert_int_equal(refusal(id), LOAD_BUSY);
	assert_true(spool_put_off(back, 1));
	assert_int_equal(refusal(id), LOAD_BUSY);
	message_free(back);
	message_free(load(id));
	assert_int_equal(refusal("ffffffffffffffffffffffffffffffff"),
	    LOAD_GONE);
}

/* Runs body in another process, which says through a pipe when it has come
 * to its end, and stays. */
static pid_t
in_another_process(void (*act)(const char *), const char *id)
{
	int fds[2];
	char ready = 0;
	pid_t child;

	assert_int_equal(pipe(fds), 0);
	child = fork();
	if (child == 0) {
		act(id);
		(void)!write(fds[1], "x", 1);
		pause();
		_exit(1);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &ready, 1), 1);
	close(fds[0]);
	return child;
}

static void
kill_and_wait(pid_t child)
{
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void
take_it(const char *id)
{
	struct message *m = NULL;

	if (spool_load(spool, id, &m) != LOADED)
		_exit(1);
}

static void
a_lock_dies_with_its_holder(void **state)
{
	char id[QUEUE_ID_SIZE];
	pid_t child;

	(void)state;
	store(id);
	child = in_another_process(take_it, id);
	assert_int_equal(refusal(id), LOAD_BUSY);
	kill_and_wait(child);
	message_free(load(id));
}

static char moved_id[QUEUE_ID_SIZE];

static void
remove_it(void)
{
	unlink(in("queue", moved_id));
}

static void
move_it_away(void)
{
	rename(in("queue", moved_id), in("failed", moved_id));
}

static void
replace_it(void)
{
	struct buf text = read_file(in("queue", moved_id));

	write_file(in("incoming", moved_id), text.data, text.len);
	rename(in("incoming", moved_id), in("queue", moved_id));
	buf_free(&text);
}

/* Between the open and the lock somebody else was at it. */
static void
the_name_must_be_that_of_the_locked_file(void **state)
{
	static void (*const acts[])(void) = {remove_it, move_it_away,
		replace_it};

	(void)state;
	for EACH (acts, i) {
		store(moved_id);
		hook.after_flock = acts[i];
		assert_int_equal(refusal(moved_id), LOAD_GONE);
	}
	message_free(load(moved_id)); /* the replacement is a message */
}

static void
one_daemon(void **state)
{
	struct buf why = {0};
	struct spool *second = spool_open(root, &why);

	(void)state;
	assert_non_null(second);
	assert_true(spool_own(spool, LOCK_DAEMON, &why));
	assert_int_equal(why.len, 0);
	assert_false(spool_own(second, LOCK_DAEMON, &why));
	assert_non_null(strstr(buf_text(&why), root));
	assert_non_null(strstr(buf_text(&why), "another smarthost"));
	assert_null(strchr(buf_text(&why), '\n'));
	buf_free(&why);
	spool_close(spool);
	spool = second;
	assert_true(spool_own(spool, LOCK_DAEMON, &why));
	buf_free(&why);
}

static void
own_it(const char *unused)
{
	struct buf why = {0};

	(void)unused;
	if (!spool_own(spool, LOCK_DAEMON, &why))
		_exit(1);
}

static void
the_daemons_lock_dies_with_it(void **state)
{
	pid_t child = in_another_process(own_it, NULL);
	struct buf why = {0};

	(void)state;
	assert_false(spool_own(spool, LOCK_DAEMON, &why));
	assert_true(why.len > 0);
	buf_free(&why);
	kill_and_wait(child);
	assert_true(exists(in(".", "lock")));
	assert_true(spool_own(spool, LOCK_DAEMON, &why));
	assert_int_equal(why.len, 0);
}

/* --- What lies around ---------------------------------------------------- */

static void
make_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
		sizeof(address)), 0);
	close(fd);
}

/* DU-22 */
static void
leftovers_are_removed(void **state)
{
	struct buf why = {0};
	int fd;

	(void)state;
	write_file(in("incoming", odd_id), "half", 4);
	write_file(in("incoming", "anything"), "", 0);
	write_file(in("incoming", "locked"), "half", 4);
	write_file(in("queue", "not here"), "", 0);
	assert_int_equal(mkfifo(in("incoming", "fifo"), 0600), 0);
	assert_int_equal(mkdir(in("incoming", "directory"), 0700), 0);
	assert_int_equal(symlink(in("queue", "not here"),
		in("incoming", "symlink")), 0);
	make_socket(in("incoming", "socket"));
	fd = open(in("incoming", "locked"), O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_true(spool_own(spool, LOCK_DAEMON, &why));
	assert_false(exists(in("incoming", odd_id)));
	assert_false(exists(in("incoming", "anything")));
	assert_true(exists(in("incoming", "locked")));
	assert_true(exists(in("queue", "not here")));
	close(fd);
}

static void
a_writer_at_work_keeps_its_file(void **state)
{
	struct message *m = make_small();
	struct buf why = {0};

	(void)state;
	hook.letter = 'r'; /* it comes as far as the rename */
	hook.number = 1;
	hook.error = EIO;
	assert_false(spool_commit(spool, m));
	hook_reset();
	assert_true(spool_own(spool, LOCK_DAEMON, &why));
	assert_true(spool_commit(spool, m));
	message_free(m);
}

struct listing {
	char ids[8][QUEUE_ID_SIZE];
	size_t count;
};

static bool
note_id(void *context, const char *id, time_t next_try)
{
	struct listing *l = context;

	(void)next_try;
	assert_true(l->count < COUNT(l->ids));
	memcpy(l->ids[l->count++], id, QUEUE_ID_SIZE);
	return true;
}

static const char *const foreign_names[] = {"a", " ", "a\nb", "-f",
	"0000000000000000000000000000000", "000000000000000000000000000000000",
	"0000000000000000000000000000000G", "0000000000000000000000000000000A",
	"00000000000000000000000000000000.tmp", "\xff\xfe"};

static void
only_messages_are_listed(void **state)
{
	struct listing l = {.count = 0};
	char id[QUEUE_ID_SIZE], longest[256];

	(void)state;
	store(id);
	for EACH (foreign_names, i)
		write_file(in("queue", foreign_names[i]), "x", 1);
	memset(longest, '0', 255);
	longest[255] = '\0';
	write_file(in("queue", longest), "x", 1);
	write_file(in("queue", ".hidden"), "x", 1);
	assert_int_equal(mkdir(in("queue", odd_id), 0700), 0);
	assert_int_equal(
	    mkfifo(in("queue", "10000000000000000000000000000000"), 0600), 0);
	assert_int_equal(symlink(in("queue", id),
		in("queue", "20000000000000000000000000000000")), 0);
	assert_int_equal(spool_list(spool, note_id, &l),
	    COUNT(foreign_names) + 1 + 3);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.ids[0], id);
}

static void
all_messages_are_listed(void **state)
{
	struct listing l = {.count = 0};
	char ids[5][QUEUE_ID_SIZE];

	(void)state;
	assert_int_equal(spool_list(spool, note_id, &l), 0);
	assert_int_equal(l.count, 0);
	for EACH (ids, i)
		store(ids[i]);
	for (int again = 0; again < 2; again++) {
		l.count = 0;
		assert_int_equal(spool_list(spool, note_id, &l), 0);
		assert_int_equal(l.count, COUNT(ids));
		for EACH (ids, i) {
			size_t j = 0;

			while (j < l.count && strcmp(l.ids[j], ids[i]) != 0)
				j++;
			assert_true(j < l.count);
		}
	}
}

/* What is no file cannot be loaded, and neither blocks nor crashes. */
static void
no_files(void **state)
{
	struct stat file;
	char id[QUEUE_ID_SIZE];

	(void)state;
	store(id);
	assert_int_equal(mkdir(in("queue", odd_id), 0700), 0);
	refusal(odd_id);
	assert_int_equal(rmdir(in("queue", odd_id)), 0);
	assert_int_equal(mkfifo(in("queue", odd_id), 0600), 0);
	refusal(odd_id);
	assert_int_equal(unlink(in("queue", odd_id)), 0);
	make_socket(in("queue", odd_id));
	refusal(odd_id);
	assert_int_equal(unlink(in("queue", odd_id)), 0);
	assert_int_equal(symlink(id, in("queue", odd_id)), 0);
	refusal(odd_id);
	assert_int_equal(unlink(in("queue", odd_id)), 0);
	if (mknod(in("queue", odd_id), S_IFCHR | 0600, 1 << 8 | 5) == 0)
		refusal(odd_id); /* /dev/zero */
	assert_int_equal(stat(in("queue", id), &file), 0);
	message_free(load(id));
}

/* Another name for the same mail would be sent twice. */
static void
hard_links(void **state)
{
	char id[QUEUE_ID_SIZE];

	(void)state;
	store(id);
	assert_int_equal(link(in("queue", id), in("queue", odd_id)), 0);
	assert_int_equal(refusal(odd_id), LOAD_DAMAGED);
	assert_int_equal(refusal(id), LOAD_DAMAGED);
	assert_int_equal(unlink(in("queue", odd_id)), 0);
	message_free(load(id));
}

static void
sparse_files(void **state)
{
	char id[QUEUE_ID_SIZE];
	int fd;

	(void)state;
	write_file(in("queue", odd_id), "", 0);
	assert_int_equal(truncate(in("queue", odd_id), (off_t)4 << 30), 0);
	assert_int_equal(refusal(odd_id), LOAD_DAMAGED);
	store(id);
	assert_int_equal(truncate(in("queue", id), (off_t)4 << 30), 0);
	assert_int_equal(refusal(id), LOAD_DAMAGED);
	/* an envelope that does not end in time */
	fd = open(in("queue", odd_id), O_WRONLY | O_TRUNC);
	for (int i = 0; i < 300000; i++)
		assert_int_equal(write(fd, "smarthost 1\nid 12\n", 18), 18);
	close(fd);
	assert_int_equal(refusal(odd_id), LOAD_DAMAGED);
}

static void
set_aside(void **state)
{
	char id[QUEUE_ID_SIZE];
	struct buf before, after;

	(void)state;
	store(id);
	before = read_file(in("queue", id));
	assert_true(spool_set_aside(spool, id, id));
	assert_int_equal(count_names("queue"), 0);
	after = read_file(in("failed", id));
	assert_same_bytes(&before, &after);
	assert_int_equal(refusal(id), LOAD_GONE);
	assert_false(spool_set_aside(spool, id, id));
	buf_free(&before);
	buf_free(&after);
}

/* Nothing is ever deleted because of an error. */
static void
set_aside_overwrites_nothing(void **state)
{
	struct buf first;

	(void)state;
	write_file(in("failed", odd_id), "first", 5);
	write_file(in("queue", odd_id), "second", 6);
	(void)spool_set_aside(spool, odd_id, odd_id);
	assert_int_equal(count_names("failed") + count_names("queue"), 2);
	first = read_file(in("failed", odd_id));
	assert_string_equal(buf_text(&first), "first");
	buf_free(&first);
}

/* --- Errors -------------------------------------------------------------- */

static const int errors[] = {EIO, ENOSPC, EDQUOT, EROFS, EACCES};

/* DU-02, DU-03, DU-05, DU-07, DU-08: the error is told, and nothing is left;
 * a fsync that has failed is not tried again. */
static void
a_commit_that_fails_leaves_nothing(void **state)
{
	(void)state;
	for EACH (errors, i)
		for (size_t number = 1;; number++) {
			struct message *m = make_small();
			bool ok;

			hook_reset();
			hook.letter = '*';
			hook.number = number;
			hook.error = errors[i];
			ok = spool_commit(spool, m);
			if (ok) {
				assert_true(number > 4);
				hook_reset();
				assert_true(spool_remove(spool, m));
				message_free(m);
				break;
			}
			assert_int_equal(errno, errors[i]);
			assert_int_equal(m->file, -1);
			for (const char *c = "fd"; *c; c++) {
				char *at = strchr(hook.trace, *c);

				assert_true(!at || !strchr(at + 1, *c));
			}
			assert_int_equal(count_names("incoming"), 0);
			assert_int_equal(count_names("queue"), 0);
			assert_int_equal(m->recipient_count, 2);
			hook_reset();
			assert_true(spool_commit(spool, m)); /* it recovers */
			message_free(m);
			remove_tree(in("queue", "."));
			(void)mkdir(in("queue", "."), 0700);
			assert_int_equal(count_names("queue"), 0);
		}
}

static void
short_writes(void **state)
{
	(void)state;
	for (size_t at_most = 1; at_most < 12; at_most++) {
		hook_reset();
		hook.at_most = at_most;
		round_trip(make_small());
	}
}

static void
interrupted_writes(void **state)
{
	(void)state;
	hook_reset();
	hook.at_most = 100;
	hook.interrupted = true;
	round_trip(make_small());
}

static void
a_name_that_is_taken(void **state)
{
	struct message *m = make_small();
	struct buf text;

	(void)state;
	write_file(in("incoming", m->id), "other", 5);
	assert_false(spool_commit(spool, m));
	assert_int_equal(errno, EEXIST);
	text = read_file(in("incoming", m->id)); /* it is not ours */
	assert_string_equal(buf_text(&text), "other");
	buf_free(&text);
	message_free(m);
}

/* Nobody learns that a mark is safe when it is not. */
static void
marks_that_fail_are_told(void **state)
{
	struct message *m = there_and_back(make_small());

	(void)state;
	for EACH (errors, i)
		for (size_t number = 1; number <= 3; number++) {
			hook_reset();
			hook.letter = '*';
			hook.number = number;
			hook.error = errors[i];
			assert_false(spool_put_off(m, 1));
			assert_int_equal(errno, errors[i]);
			hook_reset();
			hook.letter = '*';
			hook.number = number;
			hook.error = errors[i];
			assert_false(spool_remove(spool, m));
			assert_int_equal(errno, errors[i]);
			assert_int_equal(count_names("queue"), 1);
		}
	hook_reset();
	assert_true(spool_remove(spool, m));
	message_free(m);
}

static void
without_locks_there_is_no_spool(void **state)
{
	struct buf why = {0};

	(void)state;
	hook_reset();
	hook.letter = 'l';
	hook.number = 1;
	hook.error = ENOLCK;
	assert_null(spool_open(root, &why));
	assert_non_null(strstr(buf_text(&why), root));
	buf_free(&why);
}

/* --- Disks --------------------------------------------------------------- */

/* A small disk of our own on the spool; skips where that cannot be. */
static void
mount_small(const char *options)
{
	struct buf why = {0};

	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", root, "tmpfs", 0, options) != 0)
		skip();
	spool_close(spool);
	spool = spool_open(root, &why);
	assert_non_null(spool);
	buf_free(&why);
}

static struct message *
make_of_size(size_t len)
{
	char *bytes = xmalloc(len);
	struct message *m;

	memset(bytes, 'x', len);
	m = make("a@x", "A: b\r\n", bytes, len);
	message_add_recipient(m, "b@x");
	free(bytes);
	return m;
}

static void
fill(void)
{
	int fd = open(in(".", "filler"), O_WRONLY | O_CREAT, 0600);
	char bytes[512] = {0};

	if (fd < 0) /* no inode either */
		return;
	while (write(fd, bytes, sizeof(bytes)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

static void
check_full(const char *options, size_t size)
{
	char first[QUEUE_ID_SIZE];
	struct listing l = {.count = 0};
	struct message *m = NULL;
	size_t stored = 0;

	mount_small(options);
	store(first);
	for (;;) {
		m = make_of_size(size);
		if (!spool_commit(spool, m))
			break;
		message_free(m);
		stored++;
		assert_true(stored < 100);
	}
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(m->file, -1);
	assert_int_equal(count_names("incoming"), 0);
	assert_int_equal(count_names("queue"), stored + 1);
	message_free(m);
	fill();
	assert_false(spool_has_room(spool, 1));
	/* marks and removals need no room */
	m = load(first);
	recipient_set(&m->recipients[0], SENT, 250, "ok");
	recipient_set(&m->recipients[1], LATER, 450, "busy");
	assert_true(spool_put_off(m, 77));
	message_free(m);
	m = load(first);
	assert_int_equal(m->recipients[0].outcome, SENT);
	assert_string_equal(m->recipients[1].reply, "busy");
	assert_true(spool_set_aside(spool, first, first));
	message_free(m);
	while (l.count = 0, spool_list(spool, note_id, &l), l.count) {
		m = load(l.ids[0]);
		assert_true(spool_remove(spool, m));
		message_free(m);
	}
	/* and then there is room again */
	store(first);
}

static void
full_of_bytes(void **state)
{
	(void)state;
	check_full("size=64k", 12000);
}

static void
full_of_files(void **state)
{
	(void)state;
	check_full("size=1m,nr_inodes=10", 10);
}

/* Nothing is half there, whatever is left on the disk. */
static void
nearly_full(void **state)
{
	(void)state;
	mount_small("size=64k");
	for (size_t size = 1000; size < 60000; size += 1000) {
		struct message *m = make_of_size(size);
		bool ok = spool_commit(spool, m);

		assert_true(ok || errno == ENOSPC);
		assert_int_equal(count_names("incoming"), 0);
		assert_int_equal(count_names("queue"), ok);
		if (ok)
			assert_true(spool_remove(spool, m));
		message_free(m);
	}
}

static void
read_only(void **state)
{
	struct message *m = make_small();
	char id[QUEUE_ID_SIZE];
	struct buf why = {0};

	(void)state;
	mount_small("size=64k");
	store(id);
	assert_int_equal(mount("none", root, "tmpfs",
		MS_REMOUNT | MS_RDONLY, "size=64k"), 0);
	assert_false(spool_commit(spool, m));
	assert_int_equal(errno, EROFS);
	assert_int_equal(m->file, -1);
	message_free(m);
	/* what cannot be marked must not be sent */
	assert_int_equal(refusal(id), LOAD_TROUBLE);
	assert_int_equal(errno, EROFS);
	assert_null(spool_open(root, &why));
	assert_non_null(strstr(buf_text(&why), root));
	assert_non_null(strstr(buf_text(&why), strerror(EROFS)));
	buf_free(&why);
	assert_int_equal(mount("none", root, "tmpfs", MS_REMOUNT, "size=64k"),
	    0);
	message_free(load(id));
}

/* --- The directory ------------------------------------------------------- */

static void
opening_makes_what_is_missing(void **state)
{
	static const char *const names[] = {"incoming", "queue", "failed"};
	struct buf why = {0};
	struct stat s;

	(void)state;
	spool_close(spool);
	remove_tree(root);
	spool = spool_open(root, &why);
	assert_non_null(spool);
	assert_int_equal(why.len, 0);
	for EACH (names, i) {
		assert_int_equal(stat(in(names[i], "."), &s), 0);
		assert_int_equal(s.st_mode & 07777, 0700);
	}
}

static void
a_spool_that_cannot_be_opened(void **state)
{
	struct buf why = {0};

	(void)state;
	assert_null(spool_open(in("queue", "not/there"), &why));
	assert_non_null(strstr(buf_text(&why), "not/there"));
	buf_clear(&why);
	write_file(in("queue", "file"), "x", 1);
	assert_null(spool_open(in("queue", "file"), &why));
	assert_non_null(strstr(buf_text(&why), strerror(ENOTDIR)));
	assert_non_null(strstr(buf_text(&why), "directory = none"));
	assert_null(strchr(buf_text(&why), '\n'));
	buf_free(&why);
}

/* Whether somebody else may use the spool: asked in a process of its own. */
static bool
others_can_open_it(void)
{
	pid_t child = fork();
	struct buf why = {0};
	int status;

	if (child == 0) {
		if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
			_exit(2);
		_exit(spool_open(root, &why) ? 0 : why.len ? 1 : 3);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
	return WEXITSTATUS(status) == 0;
}

/* Where a commit, a removal or setting aside would fail, it is said at the
 * start and not with the first message. */
static void
all_of_it_must_be_writable(void **state)
{
	static const char *const names[] = {".", "incoming", "queue",
		"failed"};

	(void)state;
	if (geteuid() != 0)
		skip();
	for EACH (names, i)
		assert_int_equal(chown(in(names[i], "."), NOBODY, NOBODY), 0);
	assert_true(others_can_open_it());
	for (size_t i = 1; i < COUNT(names); i++) {
		assert_int_equal(chmod(in(names[i], "."), 0500), 0);
		if (others_can_open_it())
			fail_msg("%s/ is not writable, and nothing is said",
			    names[i]);
		assert_int_equal(chmod(in(names[i], "."), 0300), 0);
		if (others_can_open_it() && strcmp(names[i], "failed") != 0)
			fail_msg("%s/ is not readable, and nothing is said",
			    names[i]);
		assert_int_equal(chmod(in(names[i], "."), 0700), 0);
	}
}

static void
the_lock_is_no_symlink(void **state)
{
	struct buf why = {0};

	(void)state;
	assert_int_equal(symlink(in("queue", "elsewhere"), in(".", "lock")),
	    0);
	assert_false(spool_own(spool, LOCK_DAEMON, &why));
	assert_non_null(strstr(buf_text(&why), root));
	assert_false(exists(in("queue", "elsewhere")));
	buf_free(&why);
}

static void
room(void **state)
{
	(void)state;
	assert_true(spool_has_room(spool, 1));
	assert_false(spool_has_room(spool, UINT64_MAX));
}

/* --- A body in its own file, before it is mail --------------------------- */

enum { LARGE = 600 * 1000 };

static int
begin(void *context, uint64_t *base)
{
	return spool_begin(spool, context, base);
}

/* A large message under that name, whose body goes to its file if it is
 * begun, and else to a nameless one. */
static struct message *
make_large(const char *id, bool begun)
{
	struct message *m = make("a@example.test", "Subject: x\r\n", "", 0);
	char piece[4000];

	snprintf(m->id, sizeof(m->id), "%s", id);
	m->arrived_at = 1700000000;
	message_add_recipient(m, "b@example.test");
	message_add_recipient(m, "c@example.test");
	m->body.make_file = begun ? begin : NULL;
	m->body.context = m;
	for (size_t i = 0; i < sizeof(piece); i++)
		piece[i] = (char)(i % 251);
	for (size_t done = 0; done < LARGE; done += sizeof(piece))
		assert_true(body_write(&m->body, piece, sizeof(piece)));
	assert_int_equal(m->file >= 0, begun);
	/* known only at the end: */
	m->eight_bit = true;
	return m;
}

/* The file's bytes; it is removed. */
static struct buf
commit_and_remove(struct message *m)
{
	struct buf bytes;

	assert_true(spool_commit(spool, m));
	assert_int_equal(m->incoming, -1);
	bytes = read_file(in("queue", m->id));
	assert_true(spool_remove(spool, m));
	message_free(m);
	return bytes;
}

static void
a_begun_file_is_the_same_file(void **state)
{
	struct buf plain, begun;

	(void)state;
	plain = commit_and_remove(make_large(odd_id, false));
	begun = commit_and_remove(make_large(odd_id, true));
	assert_non_null(strstr(buf_text(&begun), "\neight-bit 1\n"));
	assert_non_null(strstr(buf_text(&begun),
	    "\ncontent 00000000000000600014\n"));
	assert_same_bytes(&plain, &begun);
	buf_free(&plain);
	buf_free(&begun);
}

/* While it is being received, and there and back. */
static void
a_begun_body_is_there_all_the_time(void **state)
{
	struct message *plain = make_large(odd_id, false);
	struct message *m = make_large(odd_id, true);
	struct buf expected = body_of(plain), body = body_of(m);

	(void)state;
	assert_same_bytes(&expected, &body);
	buf_free(&body);
	assert_int_equal(count_names("incoming"), 1);
	assert_int_equal(count_names("queue"), 0);
	assert_true(spool_commit(spool, m));
	assert_int_equal(count_names("incoming"), 0);
	assert_true(spool_remove(spool, m));
	body = body_of(m); /* a courier may be reading it */
	assert_same_bytes(&expected, &body);
	buf_free(&body);
	message_free(m);
	m = make_large(odd_id, true);
	assert_true(spool_commit(spool, m));
	message_free(m);
	m = load(odd_id);
	assert_same(plain, m);
	assert_true(m->eight_bit);
	message_free(m);
	message_free(plain);
	buf_free(&expected);
}

/* The content is not written again. */
static void
the_order_of_a_begun_commit(void **state)
{
	struct message *m;

	(void)state;
	hook_reset();
	m = make_large(odd_id, true);
	assert_string_equal(hook.trace, "lw");
	hook_reset();
	assert_true(spool_commit(spool, m));
	assert_string_equal(hook.trace, "wfrd");
	message_free(m);
}

static void
an_unfinished_file_goes_with_its_message(void **state)
{
	struct message *m = make_large(odd_id, true);

	(void)state;
	assert_true(exists(in("incoming", odd_id)));
	message_free(m);
	assert_int_equal(count_names("incoming"), 0);
	m = make_large(odd_id, true);
	assert_true(spool_commit(spool, m));
	message_free(m); /* and it does not when it is mail */
	assert_int_equal(count_names("queue"), 1);
}

/* Until then nobody takes it for mail or for a leftover. */
static void
a_begun_file_is_locked(void **state)
{
	struct message *m = make_large(odd_id, true);
	struct buf why = {0};

	(void)state;
	assert_true(spool_own(spool, LOCK_DAEMON, &why));
	assert_true(exists(in("incoming", odd_id)));
	assert_int_equal(refusal(odd_id), LOAD_GONE);
	assert_true(spool_commit(spool, m));
	assert_int_equal(refusal(odd_id), LOAD_BUSY);
	message_free(m);
	message_free(load(odd_id));
}

/* DU-22 */
static void
a_crash_leaves_no_begun_file(void **state)
{
	struct buf why = {0};
	pid_t child = fork();
	int status = -1;

	(void)state;
	if (child == 0) {
		(void)make_large(odd_id, true);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(exists(in("incoming", odd_id)));
	assert_true(spool_own(spool, LOCK_DAEMON, &why));
	assert_int_equal(count_names("incoming"), 0);
	assert_int_equal(count_names("queue"), 0);
}

static void
a_begin_that_fails_leaves_nothing(void **state)
{
	uint64_t base;
	int fd;

	(void)state;
	for (size_t number = 1;; number++) {
		struct message *m = make_small();

		hook_reset();
		hook.letter = '*';
		hook.number = number;
		hook.error = ENOSPC;
		fd = spool_begin(spool, m, &base);
		hook_reset();
		if (fd >= 0) {
			assert_true(number > 2);
			close(fd);
			message_free(m);
			break;
		}
		assert_int_equal(errno, ENOSPC);
		assert_int_equal(m->file, -1);
		assert_int_equal(count_names("incoming"), 0);
		message_free(m);
	}
	assert_int_equal(count_names("incoming"), 0);
}

/* The body is where it was, in a file without a name, and may be committed
 * once more. */
static void
a_begun_commit_that_fails_leaves_nothing(void **state)
{
	struct message *plain = make_large(odd_id, false), *m, *back;
	size_t number = 1;
	bool ok;

	(void)state;
	do {
		m = make_large(odd_id, true);
		hook_reset();
		hook.letter = '*';
		hook.number = number;
		hook.error = EIO;
		ok = spool_commit(spool, m);
		hook_reset();
		if (!ok) {
			assert_int_equal(m->file, -1);
			assert_int_equal(m->incoming, -1);
			assert_int_equal(count_names("incoming"), 0);
			assert_int_equal(count_names("queue"), 0);
			assert_same(plain, m);
			assert_true(spool_commit(spool, m));
		}
		message_free(m);
		back = load(odd_id);
		assert_same(plain, back);
		assert_true(spool_remove(spool, back));
		message_free(back);
	} while (!ok && number++ < 100);
	assert_in_range(number, 5, 10);
	message_free(plain);
}

/* With a disk that fills up while the body is coming in. */
static void
a_body_that_does_not_fit(void **state)
{
	char piece[4096] = "";
	struct message *m;

	(void)state;
	mount_small("size=400k");
	m = make("a@x", "A: b\r\n", "", 0);
	message_add_recipient(m, "b@x");
	m->body.make_file = begin;
	m->body.context = m;
	while (body_write(&m->body, piece, sizeof(piece)))
		assert_true(m->body.size < 400 * 1024);
	assert_int_equal(errno, ENOSPC);
	message_free(m);
	assert_int_equal(count_names("incoming"), 0);
	store(piece);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* --- Written anew -------------------------------------------------------- */

/* With other recipients, of whom one has got it. */
static struct message *
load_and_change(const char *id)
{
	struct message *m = load(id);

	message_add_recipient(m, "new@example.test");
	message_add_recipient(m, "newer@example.test");
	recipient_set(&m->recipients[m->recipient_count - 1], SENT, 250, "ok");
	return m;
}

static void
a_rewritten_one_is_the_same_but_for_its_recipients(void **state)
{
	char id[QUEUE_ID_SIZE];
	struct message *m, *back;
	size_t count;

	(void)state;
	store(id);
	m = load_and_change(id);
	count = m->recipient_count;
	assert_true(spool_rewrite(spool, m));
	assert_int_equal(refusal(id), LOAD_BUSY);
	assert_true(spool_mark(m)); /* it is the new file that is marked */
	message_free(m);
	back = load(id);
	assert_int_equal(back->recipient_count, count);
	assert_int_equal(back->recipients[count - 2].outcome, WAITING);
	assert_int_equal(back->recipients[count - 1].outcome, SENT);
	m = make_small();
	memcpy(m->id, id, QUEUE_ID_SIZE);
	m->arrived_at = back->arrived_at;
	message_add_recipient(m, "new@example.test");
	message_add_recipient(m, "newer@example.test");
	assert_same(m, back);
	message_free(m);
	message_free(back);
	assert_int_equal(count_names("queue"), 1);
	assert_int_equal(count_names("incoming"), 0);
}

/* Whichever call fails, there is one of the two, whole, and whoever has it
 * still has its lock. */
static void
a_rewriting_that_fails_leaves_the_one_or_the_other(void **state)
{
	bool done = false;
	size_t number = 0;

	(void)state;
	while (!done) {
		char id[QUEUE_ID_SIZE];
		struct message *m;

		store(id);
		m = load_and_change(id);
		hook_reset();
		hook.letter = '*';
		hook.number = ++number;
		hook.error = EIO;
		done = spool_rewrite(spool, m) && hook.len < number;
		hook_reset();
		assert_int_equal(count_names("incoming"), 0);
		assert_int_equal(refusal(id), LOAD_BUSY);
		message_free(m);
		m = load(id);
		assert_true(spool_remove(spool, m));
		message_free(m);
		assert_in_range(number, 1, 50);
	}
	assert_in_range(number, 5, 50);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_byte_in_an_address),
		TEST(odd_addresses),
		TEST(what_is_asked_of_notices),
		TEST(what_is_asked_for_each_recipient),
		TEST(an_endless_envelope),
		TEST(every_byte_in_the_content),
		TEST(content_that_looks_like_an_envelope),
		TEST(every_size),
		TEST(the_end_of_the_envelope_anywhere),
		TEST(thousands_of_recipients),
		TEST(a_commit_writes_all_as_waiting),
		TEST(it_is_a_file_that_a_person_can_read),
		TEST(the_order_of_a_commit),
		TEST(cut_anywhere),
		TEST(nuls_from_anywhere),
		TEST(trailing_bytes),
		TEST(every_byte_changed),
		TEST(every_digit_of_the_size_changed),
		TEST(odd_envelopes),
		TEST(no_recipients),
		TEST(an_unknown_version_is_left_alone),
		TEST(marks_survive),
		TEST(odd_replies),
		TEST(every_code),
		TEST(the_next_try_is_the_mtime),
		TEST(a_new_one_is_due),
		TEST(the_order_of_a_removal),
		TEST(a_removal_that_is_cut_short_has_its_marks),
		TEST(who_has_it_has_it_alone),
		TEST(a_lock_dies_with_its_holder),
		TEST(the_name_must_be_that_of_the_locked_file),
		TEST(one_daemon),
		TEST(the_daemons_lock_dies_with_it),
		TEST(leftovers_are_removed),
		TEST(a_writer_at_work_keeps_its_file),
		TEST(only_messages_are_listed),
		TEST(all_messages_are_listed),
		TEST(no_files),
		TEST(hard_links),
		TEST(sparse_files),
		TEST(set_aside),
		TEST(set_aside_overwrites_nothing),
		TEST(a_commit_that_fails_leaves_nothing),
		TEST(short_writes),
		TEST(interrupted_writes),
		TEST(a_name_that_is_taken),
		TEST(marks_that_fail_are_told),
		TEST(without_locks_there_is_no_spool),
		TEST(full_of_bytes),
		TEST(full_of_files),
		TEST(nearly_full),
		TEST(read_only),
		TEST(opening_makes_what_is_missing),
		TEST(a_spool_that_cannot_be_opened),
		TEST(all_of_it_must_be_writable),
		TEST(the_lock_is_no_symlink),
		TEST(room),
		TEST(a_begun_file_is_the_same_file),
		TEST(a_begun_body_is_there_all_the_time),
		TEST(the_order_of_a_begun_commit),
		TEST(an_unfinished_file_goes_with_its_message),
		TEST(a_begun_file_is_locked),
		TEST(a_crash_leaves_no_begun_file),
		TEST(a_begin_that_fails_leaves_nothing),
		TEST(a_begun_commit_that_fails_leaves_nothing),
		TEST(a_body_that_does_not_fit),
		TEST(a_rewritten_one_is_the_same_but_for_its_recipients),
		TEST(a_rewriting_that_fails_leaves_the_one_or_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
