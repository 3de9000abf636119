/* SPDX-License-Identifier: ISC */
/*
 * A client that says anything: the real session, from the greeting to the end,
 * over a connection whose other end is the input. What it said is judged from
 * the bytes alone, by a reader that goes along both sides:
 *
 *     each command has one answer, well formed and in its order; nothing
 *     comes behind the last one;
 *     content is no command, from the 354 to CR LF dot CR LF, nor are the
 *     bytes of a chunk, whether it was taken or not;
 *     as many messages as these ends that were answered with a yes, each for
 *     the recipients that were accepted since MAIL;
 *     no MAIL without a hello, or for a stranger who has not logged in, no
 *     RCPT without MAIL, no content without a recipient, no XQUEUE on a
 *     network;
 *     nobody logs in before a hello, twice, or from afar without TLS.
 *
 * The input: some bytes that choose the circumstances, then the client's. With
 * the queue, messages go to a relay that writes them into a directory in
 * memory; without, to a function that counts them.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "conn.h"
#include "message.h"
#include "queue.h"
#include "relay.h"
#include "session.h"

enum { CHOICES = 3, MESSAGES_MAX = 256 };
enum { LINE_LIMIT = 4096, LOGIN_LIMIT = 12288 };
enum { WITH_QUEUE = 1, SILENT_END = 2, REJECT_BARE = 4, NO_RELAY = 8,
	CLUMSY = 16, WITH_LOGIN = 32, FAR = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	const char *input;
	size_t size, at;
	size_t piece;      /* bytes that come at once */
	bool pause;        /* nothing is there just now */
	uint8_t choices;
	int64_t offset;    /* of the clock, in ms */
	struct buf said;
	size_t messages;
	size_t recipients[MESSAGES_MAX]; /* of each, without the queue */
} wire;

__attribute__((noinline)) static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* --- The other end, in place of the system's ------------------------------ */

ssize_t recv(int fd, void *data, size_t size, int flags);
ssize_t send(int fd, const void *data, size_t size, int flags);
int poll(struct pollfd *fds, nfds_t count, int timeout);
int clock_gettime(clockid_t id, struct timespec *now);
int fsync(int fd);

ssize_t
recv(int fd, void *data, size_t size, int flags)
{
	size_t len = wire.size - wire.at;

	(void)fd, (void)flags;
	len = len < size ? len : size;
	len = len < wire.piece ? len : wire.piece;
	if (wire.pause || (!len && (wire.choices & SILENT_END))) {
		errno = EAGAIN;
		return -1;
	}
	wire.pause = wire.choices & CLUMSY;
	if (len)
		memcpy(data, wire.input + wire.at, len);
	wire.at += len;
	return (ssize_t)len;
}

ssize_t
send(int fd, const void *data, size_t size, int flags)
{
	(void)fd, (void)flags;
	if ((wire.choices & CLUMSY) && size > 7)
		size = 7;
	buf_add(&wire.said, data, size);
	return (ssize_t)size;
}

int
poll(struct pollfd *fds, nfds_t count, int timeout)
{
	for (nfds_t i = 0; i < count; i++)
		fds[i].revents = 0;
	if (!(fds[0].events & POLLOUT) && wire.at == wire.size &&
	    (wire.choices & SILENT_END)) {
		require(timeout >= 0);
		wire.offset += timeout + 1;
		return 0;
	}
	wire.pause = false;
	fds[0].revents = fds[0].events;
	return 1;
}

int
clock_gettime(clockid_t id, struct timespec *now)
{
	long result = syscall(SYS_clock_gettime, id, now);

	if (id == CLOCK_MONOTONIC)
		now->tv_sec += wire.offset / 1000 + 1;
	return (int)result;
}

int
fsync(int fd)
{
	(void)fd;
	return 0;
}

/* --- Both sides, read anew ------------------------------------------------ */

/* What the client may conclude. */
struct view {
	size_t in, out;    /* read so far */
	bool hello, mail;
	bool chunks;       /* the message has begun with BDAT */
	bool asked;        /* the next line answers a challenge */
	bool known;        /* has logged in */
	bool over;
	size_t recipients; /* accepted since MAIL */
	size_t messages;
};

static bool
is_text(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			return false;
	return true;
}

/* One whole reply of lines with one code, which is returned; 0 if there is
 * none left. */
static int
read_reply(struct view *v)
{
	const char *s = wire.said.data + v->out, *end;
	int code = 0;
	bool more = true;

	if (v->out == wire.said.len)
		return 0;
	while (more) {
		end = memchr(s, '\n', wire.said.len - (size_t)(s -
		    wire.said.data));
		require(end && end - s >= 5 && end - s < 512);
		require(end[-1] == '\r' && is_text(s, (size_t)(end - s) - 1));
		require(s[0] >= '2' && s[0] <= '5');
		require(isdigit((unsigned char)s[1]));
		require(isdigit((unsigned char)s[2]));
		require(!code || code == atoi(s));
		code = atoi(s);
		more = s[3] == '-';
		require(more || s[3] == ' ');
		s = end + 1;
	}
	v->out = (size_t)(s - wire.said.data);
	return code;
}

/* Behind the one true end of content that begins there; 0: it has none. */
static size_t
find_end(size_t at)
{
	const char *s = wire.input + at;
	size_t len = wire.size - at;

	if (len >= 3 && !memcmp(s, ".\r\n", 3))
		return at + 3;
	for (size_t i = 0; i + 5 <= len; i++)
		if (!memcmp(s + i, "\r\n.\r\n", 5))
			return at + i + 5;
	return 0;
}

static bool
is_verb(const char *line, const char *verb)
{
	size_t len = strlen(verb);

	return strncasecmp(line, verb, len) == 0 &&
	    (!line[len] || line[len] == ' ' || line[len] == '\t');
}

/* The size of a chunk; false if the line does not say one. */
static bool
read_chunk(const char *line, uint64_t *size, bool *last)
{
	const char *s = is_verb(line, "BDAT") ? line + 4 : "";
	size_t digits;

	s += strspn(s, " \t");
	digits = strspn(s, "0123456789");
	if (!digits || digits > 18)
		return false;
	*size = strtoull(s, NULL, 10);
	s += digits;
	*last = *s == ' ';
	s += strspn(s, " ");
	return !*s || (*last && !strcasecmp(s, "LAST"));
}

static void
end_message(struct view *v, int code)
{
	require(v->mail && v->recipients);
	if (code == 250) {
		require(v->messages < MESSAGES_MAX);
		if (!(wire.choices & WITH_QUEUE))
			require(wire.recipients[v->messages] == v->recipients);
		v->messages++;
	}
	v->mail = v->chunks = false;
}

static void
follow_content(struct view *v)
{
	size_t end = find_end(v->in);
	int code;

	if (!end) {
		v->over = true;
		return;
	}
	v->in = end;
	code = read_reply(v);
	require(code == 250 || code / 100 == 4 || code / 100 == 5);
	end_message(v, code);
}

/* The bytes of a chunk, which have to be there before its answer. */
static int
follow_chunk(struct view *v, uint64_t size, bool last)
{
	int code;

	if (size > wire.size - v->in) {
		v->over = true;
		return 0;
	}
	v->in += size;
	code = read_reply(v);
	require(code == 250 || code / 100 == 4 || code / 100 == 5);
	if (code == 250)
		require(v->mail && v->recipients);
	if (code == 250 && last)
		end_message(v, code);
	else if (code == 250)
		v->chunks = true;
	else if (v->mail && v->recipients)
		v->mail = v->chunks = false;
	return code;
}

static void
conclude_login(struct view *v, int code)
{
	v->asked = code == 334;
	if (code == 334 || code == 235)
		require((wire.choices & WITH_LOGIN) &&
		    !(wire.choices & FAR) && v->hello && !v->known);
	v->known |= code == 235;
}

static void
conclude(struct view *v, const char *line, int code)
{
	if (is_verb(line, "EHLO") || is_verb(line, "HELO")) {
		v->hello |= code == 250;
		v->mail &= code != 250;
		v->chunks &= code != 250;
	} else if (is_verb(line, "RSET")) {
		v->mail = v->chunks = false;
	} else if (is_verb(line, "MAIL") && code == 250) {
		require(v->hello && !v->mail);
		require(v->known || !(wire.choices & NO_RELAY));
		v->mail = true;
		v->recipients = 0;
	} else if (is_verb(line, "RCPT") && code == 250) {
		require(v->mail && !v->chunks);
		v->recipients++;
	} else if (code == 354) {
		require(is_verb(line, "DATA") && v->mail && v->recipients &&
		    !v->chunks);
		follow_content(v);
	} else if (is_verb(line, "AUTH")) {
		conclude_login(v, code);
	} else if (is_verb(line, "XQUEUE")) {
		require(code / 100 == 5 || code == 421);
	}
}

static bool
has_control(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < ' ' && s[i] != '\t')
			return true;
	return false;
}

static bool
is_http(const char *line)
{
	const char *last = strrchr(line, ' ');

	return last && !strncasecmp(last + 1, "HTTP/", 5);
}

/* A whole line of so many bytes, but for its end, and what comes of it. */
static void
follow_line(struct view *v, const char *start, size_t len)
{
	char *line = xstrndup(start, len);
	uint64_t size = 0;
	bool last = false, plain = !has_control(start, len);
	bool is_long = len > LINE_LIMIT && strncasecmp(line, "AUTH", 4);
	int code;

	while (len && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		line[--len] = '\0';
	if (v->asked) {
		code = read_reply(v);
		require(code == 235 || code == 334 || code == 421 ||
		    code == 454 || code / 100 == 5);
		conclude_login(v, code);
	} else if (is_long) {
		code = read_reply(v);
		require(code == 500 || code == 421);
	} else if (plain && !is_http(line) && read_chunk(line, &size, &last)) {
		code = follow_chunk(v, size, last);
	} else {
		code = read_reply(v);
		require(code || v->over);
		require(plain || code == 500 || code == 421);
		if (plain)
			conclude(v, line, code);
	}
	v->over |= code == 421 || code == 221 || code == 521;
	free(line);
}

/* With its end, whatever that is, no line is longer. */
static size_t
line_limit(void)
{
	return 2 + (wire.choices & WITH_LOGIN ? LOGIN_LIMIT : LINE_LIMIT);
}

/* The answer comes when all of the line is there. */
static void
follow_long_line(struct view *v, bool is_whole)
{
	bool foreign = !v->hello && !v->asked;
	int code;

	if (!foreign && !is_whole)
		return;
	code = read_reply(v);
	require(code == 421 || (code == 500 && !foreign));
	v->over = code == 421;
	v->asked = false;
}

static void
follow(struct view *v)
{
	require(read_reply(v) == 220);
	while (!v->over && v->in < wire.size) {
		const char *line = wire.input + v->in;
		const char *end = memchr(line, '\n', wire.size - v->in);
		size_t len = end ? (size_t)(end - line) : wire.size - v->in;

		v->in += end ? len + 1 : len;
		if (len + 1 > line_limit()) {
			follow_long_line(v, end != NULL);
		} else if (end) {
			len -= len && line[len - 1] == '\r';
			follow_line(v, line, len);
		}
	}
	/* A farewell at most. */
	if (v->out < wire.said.len)
		require((wire.choices & SILENT_END) && read_reply(v) == 421);
	require(v->out == wire.said.len);
}

/* --- One conversation ----------------------------------------------------- */

static void
count_message(void *context, struct message *m, struct buf *reply)
{
	(void)context;
	require(wire.messages < MESSAGES_MAX);
	wire.recipients[wire.messages++] = m->recipient_count;
	message_free(m);
	buf_adds(reply, "250 2.0.0 Ok");
}

/* What the relay has got. */
static void
count_files(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;

	require(directory != NULL);
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		wire.messages++;
		require(!unlinkat(dirfd(directory), entry->d_name, 0));
	}
	closedir(directory);
}

static struct {
	struct config config;
	struct relay relay;
	struct queue *queue;
	char directory[64];
	char accounts[64];
} house;

static void
remove_house(void)
{
	(void)rmdir(house.directory);
	(void)unlink(house.accounts);
}

/* A user "a" with the password "b". */
static void
write_accounts(void)
{
	static const char line[] = "a:$5$rounds=1000$s$"
	    "yB8UNockmGIVTihfzF9xINSvZU7a7wV6cPleBUbWyD1:@b.test\n";
	int fd;

	snprintf(house.accounts, sizeof(house.accounts),
	    "/dev/shm/fuzz_accounts.XXXXXX");
	fd = mkostemp(house.accounts, O_CLOEXEC);
	require(fd >= 0 && write(fd, line, sizeof(line) - 1) > 0);
	close(fd);
}

static void
build_house(void)
{
	struct buf error = {0}, text = {0};

	if (house.queue)
		return;
	snprintf(house.directory, sizeof(house.directory),
	    "/dev/shm/fuzz_session.XXXXXX");
	require(mkdtemp(house.directory) != NULL);
	write_accounts();
	atexit(remove_house);
	buf_addf(&text, "[smarthost]\nhostname = h.example.com\n"
	    "[upstream]\nprovider = capture\ndirectory = %s\n"
	    "[listen]\nmax_message = 3000\nmax_recipients = 5\n"
	    "address = 127.0.0.1:25\nsocket = none\n"
	    "[queue]\ndirectory = none\n", house.directory);
	if (!config_parse(&house.config, "fuzz", text.data, text.len, NULL,
		&error)) {
		fputs(buf_text(&error), stderr);
		abort();
	}
	house.relay = (struct relay){
		.upstream = house.config.upstreams, .stop_fd = -1};
	house.queue = queue_new(&house.config, &house.relay, NULL, true);
	buf_free(&text);
}

static void
converse(void)
{
	bool queued = wire.choices & WITH_QUEUE;
	struct client client = {.name = "192.0.2.1:4711", .uid = NO_OWNER,
		.may_relay = !(wire.choices & NO_RELAY),
		.loopback = !(wire.choices & FAR),
		.submit = count_message};
	struct conn *conn = conn_new(open("/dev/null", O_RDWR | O_CLOEXEC),
	    -1);
	struct view view = {0};

	house.config.listen.auth_file =
	    wire.choices & WITH_LOGIN ? house.accounts : NULL;
	house.config.listen.reject_bare_newline = wire.choices & REJECT_BARE;
	session_run(conn, &client, &house.config,
	    queued ? house.queue : NULL);
	conn_close(conn);
	if (queued)
		count_files(house.directory);
	follow(&view);
	require(view.messages == wire.messages);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < CHOICES)
		return -1;
	build_house();
	wire.choices = data[0];
	wire.piece = data[1] ? data[1] * (1u + data[2]) : SIZE_MAX;
	wire.input = (const char *)data + CHOICES;
	wire.size = size - CHOICES;
	wire.at = 0;
	wire.pause = false;
	wire.messages = 0;
	wire.offset = 0;
	converse();
	buf_free(&wire.said);
	return 0;
}
