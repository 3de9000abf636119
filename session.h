/* SPDX-License-Identifier: ISC */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <sys/types.h>

struct config;
struct conn;
struct queue;

/* Who is at the other end of a session. */
struct client {
	char name[80];   /* "192.0.2.1:4711" or "uid 1000", printable */
	uid_t uid;       /* of the unix socket's peer, or NO_OWNER */
	bool may_relay;
	bool local;      /* it came by a unix socket, */
	bool controls;   /* the one that is for administrators */
};

/* Runs one SMTP server conversation to its end: greeting, commands, and each
 * message to the queue and its verdict back. The connection is closed by the
 * caller. Returns when the client quits, vanishes, is timed out or thrown
 * out, or the process stops. */
void session_run(struct conn *, const struct client *, const struct config *,
    struct queue *);

#endif
