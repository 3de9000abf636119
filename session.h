/* SPDX-License-Identifier: ISC */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct clients;
struct config;
struct conn;
struct message;
struct queue;
struct tls_server;

/* Who is at the other end of a session. */
struct client {
	char name[80];   /* "192.0.2.1:4711" or "uid 1000", printable */
	uid_t uid;       /* of the unix socket's peer, or NO_OWNER */
	bool may_relay;
	bool loopback;   /* it is on this machine: by address, or */
	bool local;      /* by a unix socket, */
	bool controls;   /* the one that is for administrators */
	struct clients *clients; /* of the network, that it is one of */
	uint8_t key[16];  /* its address there */
	struct tls_server *tls; /* for STARTTLS, or NULL */
	bool tls_first;  /* it begins with TLS */
	/* Where there is no queue: takes over the message and appends the
	 * reply. Date, Message-ID and From are there; its envelope is as the
	 * client has said it, and a Received field is not yet in it. */
	void (*submit)(void *context, struct message *, struct buf *reply);
	void *context;
};

/* Runs one SMTP server conversation to its end: greeting, commands, and each
 * message to the queue, or, if that is NULL, to the client's submit(), and its
 * verdict back. The connection is closed by the caller. Returns when the client
 * quits, vanishes, is timed out or thrown out, or the process stops; whether
 * it was a good end, by QUIT, or between two messages without an error. */
bool session_run(struct conn *, const struct client *, const struct config *,
    struct queue *);

#endif
