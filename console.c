/* SPDX-License-Identifier: ISC */
/*
 * An SMTP session with whoever has started us: the session's end of a pair of
 * sockets is served by its thread, and the other one is where this process's
 * input goes and its output comes from, pipes or whatever they are.
 */
#include "console.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "body.h"
#include "conn.h"
#include "message.h"
#include "session.h"
#include "thread.h"
#include "ways.h"

enum { PIECE = 16 * 1024 };

struct console {
	struct job *job;
	struct conn *conn;
	struct config config; /* the job's, or what stands for it */
	atomic_bool well;     /* it ended as it should */
};

/* The reply to what became of a message: the daemon's or the relay's, if one
 * of them has the last word. */
static void
conclude(const struct job *j, int status, const char *id, struct buf *reply)
{
	struct verdict v = j->verdict;
	bool good = status == EX_OK;

	if (good && v.outcome != SENT && !v.kept) {
		buf_addf(reply, "250 2.0.0 %s is kept", id);
		return;
	}
	if (!v.code || good != (v.outcome == SENT || v.kept))
		verdict_set(&v, status == EX_TEMPFAIL || status == EX_CONFIG
			? LATER : NEVER, SCOPE_MESSAGE, STAGE_END, "%s",
		    buf_text(&j->draft.why));
	if (good && j->by_daemon)
		buf_addf(reply, "250 %s", v.text);
	else
		reply_to_client(reply, &v, id);
}

/* The session's message takes the ways of one from stdin. */
static void
submit(void *context, struct message *m, struct buf *reply)
{
	struct job *j = context;
	char id[QUEUE_ID_SIZE];

	memcpy(id, m->id, sizeof(id));
	buf_clear(&j->draft.why);
	j->verdict = (struct verdict){0};
	j->draft.message = m;
	conclude(j, ways_submit(j), id, reply);
	message_free(j->draft.message);
	j->draft.message = NULL;
}

static void *
serve(void *argument)
{
	struct console *console = argument;
	struct client client = {.uid = console->job->uid, .may_relay = true,
		.local = true, .submit = submit, .context = console->job};

	snprintf(client.name, sizeof(client.name), "uid %u",
	    (unsigned)client.uid);
	atomic_store(&console->well, session_run(console->conn, &client,
	    &console->config, NULL));
	conn_close(console->conn); /* which the other end hears */
	return NULL;
}

static ssize_t
read_piece(int from, char *piece)
{
	ssize_t got;

	do
		got = read(from, piece, PIECE);
	while (got < 0 && errno == EINTR);
	return got;
}

/* Moves what is there; false at the end, or when it cannot be handed on. */
static bool
move_bytes(int from, int to, char *piece)
{
	ssize_t got = read_piece(from, piece);

	return got > 0 && body_write_all(to, piece, (size_t)got);
}

/* How the client ends its lines: the first one says it for all. A shell's
 * here-document has LF alone, also around the dot. */
struct line_ends {
	bool known, bare;
	char last; /* byte that was read */
};

static void
add_line(struct line_ends *ends, struct buf *out, const char *text, size_t len)
{
	bool ended = text[len - 1] == '\n', bare;

	if (len > 1)
		ends->last = text[len - 2];
	bare = ended && ends->last != '\r';
	ends->bare = ends->known ? ends->bare : bare;
	ends->known |= ended;
	buf_add(out, text, len - ended);
	if (ended)
		buf_adds(out, bare && ends->bare ? "\r\n" : "\n");
	ends->last = text[len - 1];
}

/* As move_bytes(), from the client. */
static bool
move_lines(struct line_ends *ends, int to, char *piece)
{
	ssize_t got = read_piece(STDIN_FILENO, piece);
	size_t left = got > 0 ? (size_t)got : 0, len;
	struct buf out = {0};
	bool moved;

	for (const char *at = piece; left; at += len, left -= len) {
		const char *end = memchr(at, '\n', left);

		len = end ? (size_t)(end - at) + 1 : left;
		add_line(ends, &out, at, len);
	}
	moved = got > 0 && body_write_all(to, out.data, out.len);
	buf_free(&out);
	return moved;
}

/* Carries bytes both ways until the session closes its end, also when nobody
 * hears it any more. */
static void
carry(int end)
{
	struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = end, .events = POLLIN}};
	struct line_ends ends = {.known = false};
	char *piece = xmalloc(PIECE);

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents && !move_bytes(end, STDOUT_FILENO, piece))
			break;
		if (fds[0].revents && !move_lines(&ends, end, piece)) {
			shutdown(end, SHUT_WR);
			fds[0].fd = -1;
		}
	}
	shutdown(end, SHUT_WR);
	while (read(end, piece, PIECE) > 0)
		;
	free(piece);
}

/* What the session needs to know where the configuration cannot be read. */
static void
stand_in(struct job *j, struct config *config)
{
	if (j->configured) {
		*config = j->setup.config;
		return;
	}
	*config = (struct config){.hostname = j->hostname,
		.listen.max_message = INT32_MAX,
		.listen.session_timeout = 300000,
		/* not NULL: there may well be one */
		.queue.directory = j->hostname};
}

int
console_session(struct job *j)
{
	struct console console = {.job = j};
	int ends[2];

	compose_add_user(&j->draft.user);
	stand_in(j, &console.config);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
		buf_addf(&j->draft.why, "cannot begin a session: %s",
		    strerror(errno));
		return EX_OSERR;
	}
	console.conn = conn_new(ends[0], -1);
	if (!thread_start(serve, &console)) {
		conn_close(console.conn);
		close(ends[1]);
		buf_adds(&j->draft.why, "cannot start a thread");
		return EX_OSERR;
	}
	carry(ends[1]);
	close(ends[1]);
	return atomic_load(&console.well) ? EX_OK : EX_PROTOCOL;
}
