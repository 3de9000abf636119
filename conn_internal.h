/* SPDX-License-Identifier: ISC */
#ifndef CONN_INTERNAL_H
#define CONN_INTERNAL_H

#include "buf.h"
#include "conn.h"

/* What conn.c (waiting, plain bytes) and conn_tls.c share. */

struct tls;

enum {
	INPUT_SIZE = 8192,
	ERROR_SIZE = 512,
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

/* Keeps the text if it is the first cause of trouble. */
void conn_set_error(struct conn *, const char *text);

/* Waits for events on the socket; what it got, or 0 after an error. */
short conn_wait(struct conn *, short events);

/* Whether the deadline has passed, which is an error: data that never stops
 * coming must not keep it from that. */
bool conn_expired(struct conn *);

/* Drops len sent bytes from the front of the output. */
void conn_sent(struct conn *, size_t len);

/* What to poll for, of a set of enum tls_state. */
short conn_tls_events(unsigned state);

/* Reads what has arrived, without waiting. True if something is there now or
 * nothing ever will be. The input must be empty. */
bool conn_read_tls(struct conn *, unsigned *state);

/* Sends what goes without waiting and returns the events to wait for, 0 when
 * everything is sent or nothing ever will be. */
short conn_push_tls(struct conn *);

/* Says goodbye if the connection is healthy, and frees. */
void conn_end_tls(struct conn *);

#endif
