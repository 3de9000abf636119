/* SPDX-License-Identifier: ISC */
/*
 * A byte stream with absolute deadlines. Only this file, dial.c and listen.c
 * wait on the network; conn_tls.c is what there is more to do under TLS.
 */
#include "conn_internal.h"

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

#include "clock.h"
#include "tls.h"

enum { FAREWELL_MS = 1000 };

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

void
conn_set_error(struct conn *c, const char *text)
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
	conn_set_error(c, text);
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

short
conn_wait(struct conn *c, short events)
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
	if (ready < 0)
		conn_fail(c, "poll: %s", strerror(errno));
	return ready > 0 ? fds[0].revents : 0;
}

bool
conn_expired(struct conn *c)
{
	if (!c->deadline || clock_now() < c->deadline)
		return false;
	c->timed_out = true;
	conn_fail(c, "timed out");
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
	conn_set_error(c, got ? strerror(errno)
			 : "connection closed by the other side");
	c->read_over = true;
	return true;
}

/* Fills the empty input buffer, waiting if need be. */
static bool
fill(struct conn *c)
{
	bool asked = c->output.len > 0;

	c->input_start = c->input_end = 0;
	if (asked)
		conn_flush(c);
	if (asked && !c->tls && !c->read_over)
		conn_wait(c, POLLIN); /* an answer takes a moment */
	while (!c->read_over && !conn_expired(c)) {
		unsigned state = TLS_WANTS_READ;
		bool done = c->tls ? conn_read_tls(c, &state) : read_plain(c);

		if (done)
			break;
		conn_wait(c, conn_tls_events(state));
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
	return c->tls ? conn_read_tls(c, &state) : read_plain(c);
}

void
conn_write(struct conn *c, const void *data, size_t len)
{
	if (!c->write_over)
		buf_add(&c->output, data, len);
}

size_t
conn_discard_output(struct conn *c)
{
	size_t len = c->output.len;

	buf_clear(&c->output);
	return len;
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

void
conn_sent(struct conn *c, size_t len)
{
	c->output.len -= len;
	memmove(c->output.data, c->output.data + len, c->output.len);
}

/* As conn_push_tls(). */
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
		conn_sent(c, (size_t)put);
		return c->output.len ? POLLOUT : 0;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return POLLOUT;
	conn_set_error(c, strerror(errno));
	c->write_over = true;
	return 0;
}

static bool
flush(struct conn *c, bool unless_input)
{
	while (!c->write_over && !conn_expired(c)) {
		short events = c->tls ? conn_push_tls(c) : push_plain(c);

		if (!events)
			break;
		if (unless_input && conn_input_waits(c))
			return false;
		conn_wait(c, unless_input ? events | POLLIN : events);
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
	(void)conn_discard_output(c);
	conn_printf(c, "%s\r\n", line);
	conn_flush(c);
}

void
conn_close(struct conn *c)
{
	if (!c)
		return;
	if (c->tls)
		conn_end_tls(c);
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
