/* SPDX-License-Identifier: ISC */
/*
 * A relay that says anything at any time: the real client, from the greeting
 * to QUIT, over a connection whose other end is the input. What it may conclude
 * is judged by the forwarder's rules, from the bytes alone:
 *
 *     nobody is SENT the message unless whole, well-formed answers to MAIL, to
 *     his RCPT and to the end of the content say so, the last of them said
 *     after that end was;
 *     no byte of the content goes out without a 354, and nothing behind its end
 *     before the answer; nothing else goes out ahead of an answer either, but
 *     the group that PIPELINING allows;
 *     whoever may have the message is marked as such;
 *     nothing is NEVER but by a 5xx to MAIL, RCPT, DATA or the end, and not by
 *     one that speaks of ourselves.
 *
 * The input: some bytes that choose the circumstances, then what the relay
 * says, with these marks in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "conn.h"
#include "message.h"
#include "smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	PAUSE = 1,   /* what follows comes when somebody waits for it */
	SILENCE = 2, /* nothing does, and the wait is in vain */
	RESET = 3,
	GONE = 4,    /* the end, before somebody waits for it */
	LATE = 5,    /* what follows comes when something has been sent */
	LAST_MARK = LATE,
};
enum { CHOICES = 4, COMMANDS_MAX = 32, REPLIES_MAX = 64 };

/* Both directions, and which bytes went before which. */
static struct {
	const uint8_t *script;
	size_t left;
	bool over;         /* there is nothing more */
	bool reset;
	unsigned sloth;    /* how sending goes */
	int64_t offset;    /* of the clock, in ms */
	struct buf heard;  /* what the client has been given */
	struct buf said;   /* what it has sent */
	size_t *heard_by;  /* for each byte sent: how many it had been given... */
	size_t *there_by;  /* ...and could have been given */
} wire;

static void
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

/* How many bytes are there now. */
static size_t
count_there(void)
{
	size_t run = 0;

	while (run < wire.left && wire.script[run] > LAST_MARK)
		run++;
	return run;
}

ssize_t
recv(int fd, void *data, size_t size, int flags)
{
	size_t run = count_there();

	(void)fd, (void)flags;
	run = run < size ? run : size;
	if (run) {
		memcpy(data, wire.script, run);
		buf_add(&wire.heard, data, run);
		wire.script += run;
		wire.left -= run;
		return (ssize_t)run;
	}
	if (wire.over || (wire.left && *wire.script == GONE))
		return 0;
	errno = wire.reset ? ECONNRESET : EAGAIN;
	return -1;
}

ssize_t
send(int fd, const void *data, size_t size, int flags)
{
	(void)fd, (void)flags;
	if (wire.sloth == 1 && size > 1 && wire.said.len % 3 == 0)
		size = 1 + size / 2;
	if (wire.sloth == 2 && size > 200)
		size = 200;
	if (wire.sloth == 2 && wire.said.len > 300) {
		errno = EPIPE;
		return -1;
	}
	if (wire.sloth == 3 && wire.said.len % 2 == 0) {
		wire.sloth = 1;
		errno = EAGAIN;
		return -1;
	}
	wire.heard_by = xrealloc(wire.heard_by, wire.said.len + size,
	    sizeof(*wire.heard_by));
	wire.there_by = xrealloc(wire.there_by, wire.said.len + size,
	    sizeof(*wire.there_by));
	for (size_t i = 0; i < size; i++) {
		wire.heard_by[wire.said.len + i] = wire.heard.len;
		wire.there_by[wire.said.len + i] =
		    wire.heard.len + count_there();
	}
	buf_add(&wire.said, data, size);
	if (wire.left && *wire.script == LATE)
		wire.script++, wire.left--;
	return (ssize_t)size;
}

int
poll(struct pollfd *fds, nfds_t count, int timeout)
{
	for (nfds_t i = 0; i < count; i++)
		fds[i].revents = 0;
	if (fds[0].events & POLLOUT) {
		fds[0].revents = POLLOUT;
		return 1;
	}
	if (!wire.left || timeout < 0)
		wire.over = true;
	else if (*wire.script == RESET)
		wire.reset = true;
	else if (*wire.script == SILENCE)
		wire.offset += timeout + 1;
	if (wire.left && (*wire.script <= SILENCE || *wire.script == LATE)) {
		bool silent = *wire.script == SILENCE;

		wire.script++, wire.left--;
		if (silent)
			return 0;
	}
	fds[0].revents = POLLIN;
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

/* --- What was said, read anew --------------------------------------------- */

struct reply {
	int code;   /* 0: not whole, or malformed, and so is the rest */
	size_t start, end;
	const char *text;
};

static bool
is_line(const char *s, size_t len)
{
	if (len < 3 || s[0] < '2' || s[0] > '5')
		return false;
	if (s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9')
		return false;
	return len == 3 || s[3] == ' ' || s[3] == '-';
}

static struct reply
read_reply(size_t at)
{
	struct reply r = {.start = at, .text = wire.heard.data + at};
	int code = 0;

	for (;;) {
		const char *s = wire.heard.data + at, *end;
		size_t len;

		end = at < wire.heard.len
		    ? memchr(s, '\n', wire.heard.len - at) : NULL;
		if (!end)
			return r;
		len = (size_t)(end - s);
		at += len + 1;
		if (len && s[len - 1] == '\r')
			len--;
		if (!is_line(s, len) || (code && code != atoi(s)))
			return r;
		code = atoi(s);
		if (len == 3 || s[3] == ' ')
			break;
	}
	r.code = code;
	r.end = at;
	return r;
}

enum what { SAID_HELLO, SAID_MAIL, SAID_RCPT, SAID_DATA, SAID_BDAT,
	SAID_CONTENT, SAID_OTHER };

struct said {
	enum what what;
	size_t start, end; /* in what was sent */
	bool whole;
};

/* One delivery, as the bytes tell it. */
struct account {
	struct said commands[COMMANDS_MAX];
	struct reply replies[REPLIES_MAX]; /* that of the greeting first */
	size_t count, replies_count;
	struct buf content, stuffed;
	bool pipelining, eager;
};

static enum what
what_is(const char *line)
{
	static const struct {
		const char *verb;
		enum what what;
	} verbs[] = {
		{"EHLO ", SAID_HELLO}, {"HELO ", SAID_HELLO},
		{"MAIL FROM:<s@x>", SAID_MAIL}, {"RCPT TO:<", SAID_RCPT},
		{"DATA\r\n", SAID_DATA}, {"BDAT ", SAID_BDAT},
		{"RSET\r\n", SAID_OTHER}, {"QUIT\r\n", SAID_OTHER},
	};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strncmp(line, verbs[i].verb, strlen(verbs[i].verb)))
			return verbs[i].what;
	abort();
}

/* How many bytes of the content are there, whose end is as it has to be. */
static struct said
read_content(size_t at, const struct buf *wanted)
{
	size_t left = wire.said.len - at;
	struct said s = {.what = SAID_CONTENT, .start = at};

	if (wire.said.data[at] == '.') { /* to nobody */
		s.end = at + (left < 3 ? left : 3);
		require(!memcmp(wire.said.data + at, ".\r\n", s.end - at));
		return s;
	}
	if (left > wanted->len)
		left = wanted->len;
	require(!memcmp(wire.said.data + at, wanted->data, left));
	s.end = at + left;
	s.whole = left == wanted->len;
	return s;
}

static const struct reply *
reply_to(const struct account *a, size_t command)
{
	static const struct reply none;

	return command + 1 < a->replies_count ? &a->replies[command + 1]
					      : &none;
}

static void
read_all(struct account *a)
{
	size_t at = 0;

	do {
		a->replies[a->replies_count] = read_reply(at);
		at = a->replies[a->replies_count].end;
	} while (a->replies[a->replies_count++].code &&
	    a->replies_count < REPLIES_MAX);
	for (at = 0; at < wire.said.len && a->count < COMMANDS_MAX;) {
		struct said *s = &a->commands[a->count];
		const char *line = wire.said.data + at;
		const char *end = memchr(line, '\n', wire.said.len - at);
		bool granted = a->count && s[-1].what == SAID_DATA &&
		    reply_to(a, a->count - 1)->code / 100 == 3;

		if (granted) {
			*s = read_content(at, &a->stuffed);
		} else if (!end) {
			return;
		} else {
			*s = (struct said){what_is(line), at, at +
			    (size_t)(end - line) + 1, true};
		}
		at = s->end;
		if (s->what == SAID_BDAT && s->whole) {
			struct said chunk = read_content(at, &a->content);

			at = s->end = chunk.end;
			s->whole = chunk.whole;
		}
		a->count++;
	}
}

/* --- The rules ------------------------------------------------------------ */

static bool
is_end(const struct said *s)
{
	return s->what == SAID_CONTENT || s->what == SAID_BDAT;
}

/* Whether it may go out before the one before it was answered. */
static bool
may_hurry(const struct account *a, const struct said *s)
{
	if (!a->pipelining)
		return false;
	if (s->what == SAID_BDAT)
		return a->eager;
	return s->what == SAID_RCPT || s->what == SAID_DATA;
}

static void
check_order(const struct account *a)
{
	for (size_t i = 0; i < a->count; i++) {
		const struct said *s = &a->commands[i];
		const struct reply *before = &a->replies[i];

		if (i && may_hurry(a, s))
			continue;
		require(i < a->replies_count && before->code);
		require(wire.heard_by[s->start] >= before->end);
	}
}

static void
check_sent(const struct account *a, const struct message *m)
{
	size_t end = 0, mail = 0;

	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == SENT)
			end = 1;
	if (!end)
		return;
	for (end = 0; end < a->count && !is_end(&a->commands[end]); end++)
		if (a->commands[end].what == SAID_MAIL)
			mail = end;
	require(end < a->count && a->commands[end].whole);
	require(reply_to(a, mail)->code / 100 == 2);
	require(reply_to(a, end)->code / 100 == 2);
	require(reply_to(a, end)->start >= (a->eager ? wire.heard_by
		: wire.there_by)[a->commands[end].end - 1]);
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == SENT)
			require(reply_to(a, mail + 1 + i)->code / 100 == 2);
}

/* Whether the end of the content went out, and no answer took it back. */
static void
check_doubt(const struct account *a, const struct verdict *v)
{
	for (size_t i = 0; i < a->count; i++) {
		const struct said *s = &a->commands[i];

		if (!is_end(s) || !s->whole)
			continue;
		require(v->outcome == SENT || v->maybe_delivered ||
		    reply_to(a, i)->code >= 400 ||
		    (a->eager && v->code == 421));
	}
}

static bool
is_final(int code)
{
	return code >= 500 && code != 503 && code != 530 && code != 534 &&
	    code != 535 && code != 538;
}

/* Whether a command of a message was answered so. */
static bool
was_said(const struct account *a, int code)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->commands[i].what >= SAID_MAIL &&
		    a->commands[i].what <= SAID_CONTENT &&
		    reply_to(a, i)->code == code)
			return true;
	return reply_to(a, a->count)->code == code; /* before the content */
}

static void
check_never(const struct account *a, const struct message *m,
    const struct verdict *v)
{
	if (v->outcome == NEVER)
		require(v->stage >= STAGE_MAIL && is_final(v->code) &&
		    was_said(a, v->code));
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == NEVER)
			require(is_final(m->recipients[i].code) &&
			    was_said(a, m->recipients[i].code));
}

/* --- One conversation ----------------------------------------------------- */

static struct message *
new_message(const uint8_t *choices)
{
	static const char *const names[] = {"a@y", "b@y", "c@y"};
	struct message *m = message_new(NULL, UINT64_MAX);
	size_t lines = choices[2] % 32 == 31 ? 7000 : choices[2] % 8;

	message_set_sender(m, "s@x");
	for (size_t i = 0; i <= choices[1] % 3u; i++)
		message_add_recipient(m, names[i]);
	buf_adds(&m->header, "A: b\r\n");
	for (size_t i = 0; i < lines; i++)
		require(body_write(&m->body, ".QUIT\r\n.\r\n", 10));
	return m;
}

static void
add_content(struct account *a, const struct message *m)
{
	bool line_start = true;

	buf_adds(&a->content, "A: b\r\n\r\n");
	for (uint64_t at = 0; at < m->body.size; at += 10)
		buf_adds(&a->content, ".QUIT\r\n.\r\n");
	data_stuff(&line_start, a->content.data, a->content.len, &a->stuffed);
	buf_adds(&a->stuffed, ".\r\n");
}

static void
judge(const struct upstream *u, const struct message *m,
    const struct verdict *v)
{
	struct account a = {0};
	const char *offer;

	add_content(&a, m);
	buf_addc(&wire.heard, '\0');
	wire.heard.len--;
	offer = strcasestr(wire.heard.data, "PIPELINING");
	a.pipelining = u->pipelining && offer;
	a.eager = u->chunking == CHUNKING_EAGER && a.pipelining;
	read_all(&a);
	check_order(&a);
	check_sent(&a, m);
	check_doubt(&a, v);
	check_never(&a, m, v);
	buf_free(&a.content);
	buf_free(&a.stuffed);
}

static void
converse(const struct upstream *u, const uint8_t *choices)
{
	struct message *m = new_message(choices);
	struct smtp_terms terms = {.all_or_nothing = choices[1] & 16};
	struct smtp *s = smtp_new(u, NULL, -1);
	struct verdict v;

	if (smtp_open_on(s, conn_new(open("/dev/null", O_RDWR | O_CLOEXEC),
		-1), 0, &v)) {
		smtp_deliver(s, m, &terms, &v);
		if (choices[1] & 32)
			(void)smtp_rest(s);
	}
	smtp_close(s);
	judge(u, m, &v);
	message_free(m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[] = "h.example";
	struct upstream u = {
		.ehlo = name,
		.tls = TLS_MODE_NONE,
		.auth = AUTH_NONE,
		.messages_per_connection = 100,
		.timeout = 300000,
	};

	if (size < CHOICES)
		return -1;
	u.pipelining = !(data[0] & 1);
	u.chunking = data[0] / 2 % 3;
	wire.sloth = data[3] % 4;
	wire.script = data + CHOICES;
	wire.left = size - CHOICES;
	wire.over = wire.reset = false;
	wire.offset = 0;
	converse(&u, data);
	buf_free(&wire.heard);
	buf_free(&wire.said);
	free(wire.heard_by);
	free(wire.there_by);
	wire.heard_by = wire.there_by = NULL;
	return 0;
}
