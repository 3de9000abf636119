/* SPDX-License-Identifier: ISC */
#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct tls_peer;
struct tls_server;
struct tls_trust;

/*
 * A byte stream over a connected socket, plain or under TLS, with absolute
 * deadlines and a sticky error: the first cause is kept, and from then on
 * calls do nothing and say so. Act, act, act, and ask once a stage.
 *
 *     conn_set_deadline(c, clock_now() + timeout);
 *     conn_printf(c, "EHLO %s\r\n", name);
 *     while (conn_line(c, &line, 4096) == LINE_OK)
 *             ...
 *     if (conn_error(c))
 *             ...
 *
 * Output is buffered until somebody waits for input, or flushes it because it
 * has grown. One thread at a time.
 */
struct conn;

/* Takes over the descriptor of a connected stream socket. stop_fd becomes
 * readable when the process is to stop; -1 if there is none. */
struct conn *conn_new(int fd, int stop_fd);

/* No call waits past this time on clock_now(); 0: none. */
void conn_set_deadline(struct conn *, int64_t);

/* Whether a wait also ends, with an error, when the process is to stop. */
void conn_heed_stop(struct conn *, bool);

enum line_result {
	LINE_OK,
	LINE_TOO_LONG, /* no line end within max bytes; the rest of the line
	                * is still to come, see conn_skip_line() */
	LINE_NONE,     /* end of input or error: see conn_error() */
};

/* Reads one line, without its CRLF or LF, replacing what line holds. */
enum line_result conn_line(struct conn *, struct buf *line, size_t max);

/* Throws input away up to the next LF; false at the end of input. */
bool conn_skip_line(struct conn *);

/* Waits until there is input and points to it; it stays until
 * conn_consume(). false at the end of input or on error. */
bool conn_peek(struct conn *, const char **data, size_t *len);
void conn_consume(struct conn *, size_t len);

/* Whether something could be read right now: bytes, or the end of input. */
bool conn_input_waits(struct conn *);

void conn_write(struct conn *, const void *data, size_t len);
void conn_printf(struct conn *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Drops what is buffered and not handed on yet; returns how many bytes. */
size_t conn_discard_output(struct conn *);

/* Sends what is buffered. After it has failed, input that came before the
 * failure can still be read. */
bool conn_flush(struct conn *);

/* As conn_flush(), but gives up, keeping the rest, when it would have to
 * wait and there is input: the peer answers before we are done. True when
 * all is sent. */
bool conn_flush_unless_input(struct conn *);

/* After a wait for input that timed out or was stopped: sends one last line. */
void conn_farewell(struct conn *, const char *line);

/* Begins TLS as the client and waits for the handshake. What was buffered in
 * plain text is gone: the caller has made sure that there was none. */
bool conn_start_tls(struct conn *, const struct tls_trust *,
    const char *name);

/* The same as the server, who must outlive the connection. */
bool conn_start_tls_server(struct conn *, struct tls_server *);

/* "TLSv1.2 ...", or NULL while the connection is plain. */
const char *conn_tls(const struct conn *);

/* What the peer's certificate says, see tls_peer(). */
bool conn_peer(const struct conn *, struct tls_peer *);

/* The first cause of trouble, one sentence, or NULL. */
const char *conn_error(const struct conn *);
bool conn_timed_out(const struct conn *);
bool conn_stopped(const struct conn *);

/* Records trouble that the caller found, unless there was some before. */
void conn_fail(struct conn *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The descriptor, for questions like SO_PEERCRED; and the one that becomes
 * readable when the process is to stop, for other waits. */
int conn_fd(const struct conn *);
int conn_stop_fd(const struct conn *);

/* Says goodbye in TLS if the connection is healthy; never waits. Frees. */
void conn_close(struct conn *);

#endif
