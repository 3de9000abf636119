/* SPDX-License-Identifier: ISC */
/*
 * A byte stream with absolute deadlines. Only this file, dial.c and listen.c
 * wait on the network; tls.c moves records and never waits.
 */
#include "conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "tls.h"

enum {
	INPUT_SIZE = 8192,
	ERROR_SIZE = 512,
	FAREWELL_MS = 1000,
};

struct conn {
	int fd;
	int stop_fd;
	bool heed_stop;
	bool read_over;  /* no more input will come */
	bool write_over; /* no more output will go */
	bool timed_out;
	bool stopped;
	int64_t deadline;
	struct tls *tls; /* NULL while plain */
	size_t input_start, input_end;
	struct buf output;
	char error[ERROR_SIZE];
	char input[INPUT_SIZE];
};

struct conn *
conn_new(int fd, int stop_fd)
{
	struct conn *c = xcalloc(1, sizeof(*c));
	int on = 1;

	/* Whole commands and whole messages are written at once, so waiting
	 * for more to send only costs time. Fails on unix sockets: fine. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->fd = fd;
	c->stop_fd = stop_fd;
	c->heed_stop = true;
	return c;
}

void
conn_set_deadline(struct conn *c, int64_t deadline)
{
	c->deadline = deadline;
}

void
conn_heed_stop(struct conn *c, bool heed)
{
	c->heed_stop = heed;
}

const char *
conn_error(const struct conn *c)
{
	return c->error[0] ? c->error : NULL;
}

bool
conn_timed_out(const struct conn *c)
{
	return c->timed_out;
}

bool
conn_stopped(const struct conn *c)
{
	return c->stopped;
}

int
conn_fd(const struct conn *c)
{
	return c->fd;
}

int
conn_stop_fd(const struct conn *c)
{
	return c->stop_fd;
}

const char *
conn_tls(const struct conn *c)
{
	return c->tls ? tls_description(c->tls) : NULL;
}

static void
set_error(struct conn *c, const char *text)
{
	if (!c->error[0])
		snprintf(c->error, sizeof(c->error), "%s", text);
}

void
conn_fail(struct conn *c, const char *format, ...)
{
	char text[ERROR_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	set_error(c, text);
	c->read_over = c->write_over = true;
}

/* How long poll may wait: -1 for ever, 0 when the time is over. */
static int
patience(int64_t deadline)
{
	int64_t left;

	if (!deadline)
		return -1;
	left = deadline - clock_now();
	if (left <= 0)
		return 0;
	return left > 3600000 ? 3600000 : (int)left;
}

/* Waits for events on the socket; what it got, or 0 after an error. */
static short
wait_for(struct conn *c, short events)
{
	struct pollfd fds[2] = {
		{.fd = c->fd, .events = events},
		{.fd = c->heed_stop ? c->stop_fd : -1, .events = POLLIN},
	};
	int ready;

	do
		ready = poll(fds, 2, patience(c->deadline));
	while (ready < 0 && errno == EINTR);
	if (ready > 0 && fds[1].revents) {
		c->stopped = true;
		conn_fail(c, "smarthost is stopping");
		return 0;
	}
	if (ready > 0)
		return fds[0].revents;
	if (ready < 0)
		conn_fail(c, "poll: %s", strerror(errno));
	return 0;
}

/* Data that never stops coming must not keep a deadline from passing. */
static bool
expired(struct conn *c)
{
	if (!c->deadline || clock_now() < c->deadline)
		return false;
	c->timed_out = true;
	conn_fail(c, "timed out");
	return true;
}

static short
events_for(unsigned tls_state)
{
	short events = 0;

	if (tls_state & TLS_WANTS_READ)
		events |= POLLIN;
	if (tls_state & TLS_WANTS_WRITE)
		events |= POLLOUT;
	return events;
}

static void
fail_tls(struct conn *c)
{
	struct buf why = {0};

	tls_explain(c->tls, &why);
	conn_fail(c, "%s", buf_text(&why));
	buf_free(&why);
}

/* Moves decrypted bytes to the input; true if there are any. */
static bool
take_decrypted(struct conn *c, unsigned state)
{
	size_t got = 0;

	if (state & (TLS_HAS_INPUT | TLS_CLOSED | TLS_FAILED))
		got = tls_take(c->tls, c->input, INPUT_SIZE);
	c->input_end = got;
	return got > 0;
}

/* Reads what has arrived, without waiting. True if something is there now or
 * nothing ever will be. The input must be empty. */
static bool
read_tls(struct conn *c, unsigned *state)
{
	*state = tls_pump(c->tls, c->fd);
	if (take_decrypted(c, *state))
		return true;
	if (*state & TLS_FAILED)
		fail_tls(c);
	else if (*state & TLS_CLOSED)
		set_error(c, "connection closed by the other side");
	else
		return false;
	c->read_over = true;
	return true;
}

static bool
read_plain(struct conn *c)
{
	ssize_t got;

	do
		got = recv(c->fd, c->input, INPUT_SIZE, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		c->input_end = (size_t)got;
		return true;
	}
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	set_error(c, got ? strerror(errno)
			 : "connection closed by the other side");
	c->read_over = true;
	return true;
}

/* Fills the empty input buffer, waiting if need be. */
static bool
fill(struct conn *c)
{
	c->input_start = c->input_end = 0;
	if (c->output.len)
		conn_flush(c);
	while (!c->read_over && !expired(c)) {
		unsigned state = TLS_WANTS_READ;
		bool done = c->tls ? read_tls(c, &state) : read_plain(c);

		if (done)
			break;
		wait_for(c, events_for(state));
	}
	return c->input_end > 0;
}

bool
conn_peek(struct conn *c, const char **data, size_t *len)
{
	if (c->input_start == c->input_end && !fill(c))
		return false;
	*data = c->input + c->input_start;
	*len = c->input_end - c->input_start;
	return true;
}

void
conn_consume(struct conn *c, size_t len)
{
	c->input_start += len;
}

enum line_result
conn_line(struct conn *c, struct buf *line, size_t max)
{
	const char *data, *end;
	size_t len;

	buf_clear(line);
	do {
		if (!conn_peek(c, &data, &len))
			return LINE_NONE;
		end = memchr(data, '\n', len);
		if (end)
			len = (size_t)(end - data) + 1;
		if (line->len + len > max + 2)
			return LINE_TOO_LONG;
		buf_add(line, data, len);
		conn_consume(c, len);
	} while (!end);
	line->len--;
	if (line->len && line->data[line->len - 1] == '\r')
		line->len--;
	line->data[line->len] = '\0';
	return LINE_OK;
}

bool
conn_skip_line(struct conn *c)
{
	const char *data, *end = NULL;
	size_t len;

	while (!end && conn_peek(c, &data, &len)) {
		end = memchr(data, '\n', len);
		conn_consume(c, end ? (size_t)(end - data) + 1 : len);
	}
	return end != NULL;
}

bool
conn_input_waits(struct conn *c)
{
	unsigned state;

	if (c->input_start < c->input_end || c->read_over)
		return true;
	c->input_start = c->input_end = 0;
	return c->tls ? read_tls(c, &state) : read_plain(c);
}

void
conn_write(struct conn *c, const void *data, size_t len)
{
	if (!c->write_over)
		buf_add(&c->output, data, len);
}

void
conn_discard_output(struct conn *c)
{
	buf_clear(&c->output);
}

void
conn_printf(struct conn *c, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0)
		conn_fail(c, "out of memory");
	else
		conn_write(c, text, (size_t)len);
	free(text);
}

/* Drops len sent bytes from the front of the output. */
static void
sent(struct conn *c, size_t len)
{
	c->output.len -= len;
	memmove(c->output.data, c->output.data + len, c->output.len);
}

/* Both send what goes without waiting and return the events to wait for, 0
 * when everything is sent or nothing ever will be. */
static short
push_plain(struct conn *c)
{
	ssize_t put;

	if (!c->output.len)
		return 0;
	do
		put = send(c->fd, c->output.data, c->output.len,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	while (put < 0 && errno == EINTR);
	if (put >= 0) {
		sent(c, (size_t)put);
		return c->output.len ? POLLOUT : 0;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return POLLOUT;
	set_error(c, strerror(errno));
	c->write_over = true;
	return 0;
}

static short
push_tls(struct conn *c)
{
	unsigned state = tls_pump(c->tls, c->fd);

	while (c->output.len && state & TLS_TAKES_OUTPUT) {
		sent(c, tls_give(c->tls, c->output.data, c->output.len));
		tls_flush(c->tls);
		state = tls_pump(c->tls, c->fd);
	}
	if (state & (TLS_FAILED | TLS_CLOSED)) {
		c->write_over = true;
		if (state & TLS_FAILED && !(state & TLS_HAS_INPUT))
			fail_tls(c);
		return 0;
	}
	if (!c->output.len && !(state & TLS_WANTS_WRITE))
		return 0;
	return POLLOUT | events_for(state);
}

static bool
flush(struct conn *c, bool unless_input)
{
	while (!c->write_over && !expired(c)) {
		short events = c->tls ? push_tls(c) : push_plain(c);

		if (!events)
			break;
		if (unless_input && conn_input_waits(c))
			return false;
		wait_for(c, unless_input ? events | POLLIN : events);
	}
	if (c->write_over)
		buf_clear(&c->output);
	return !c->write_over;
}

bool
conn_flush(struct conn *c)
{
	return flush(c, false);
}

bool
conn_flush_unless_input(struct conn *c)
{
	return flush(c, true);
}

void
conn_farewell(struct conn *c, const char *line)
{
	if (!c->timed_out && !c->stopped)
		return;
	c->write_over = false;
	c->heed_stop = false;
	conn_set_deadline(c, clock_now() + FAREWELL_MS);
	conn_discard_output(c);
	conn_printf(c, "%s\r\n", line);
	conn_flush(c);
}

bool
conn_start_tls(struct conn *c, const struct tls_trust *trust, const char *name)
{
	unsigned state = 0;

	conn_flush(c);
	c->tls = tls_client_new(trust, name);
	c->input_start = c->input_end = 0;
	while (!c->read_over && !expired(c)) {
		state = tls_pump(c->tls, c->fd);
		if (state & TLS_READY)
			break;
		if (state & (TLS_FAILED | TLS_CLOSED))
			fail_tls(c);
		else
			wait_for(c, events_for(state));
	}
	return state & TLS_READY && !c->error[0];
}

void
conn_close(struct conn *c)
{
	if (!c)
		return;
	if (c->tls && !c->error[0] && !c->write_over) {
		tls_goodbye(c->tls);
		tls_pump(c->tls, c->fd);
	}
	if (c->tls)
		tls_free(c->tls);
	/* Closing over unread input would reset the connection, and the other
	 * side could lose our last words. */
	shutdown(c->fd, SHUT_WR);
	while (recv(c->fd, c->input, INPUT_SIZE, MSG_DONTWAIT) == INPUT_SIZE)
		;
	close(c->fd);
	explicit_bzero(c->input, sizeof(c->input));
	buf_wipe(&c->output);
	free(c);
}
