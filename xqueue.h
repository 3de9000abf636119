/* SPDX-License-Identifier: ISC */
#ifndef XQUEUE_H
#define XQUEUE_H

struct buf;
struct client;
struct config;
struct conn;
struct queue;

/* The verb XQUEUE of the unix sockets, as smarthost(8) has it for those who
 * write tools. */
struct xqueue {
	struct conn *conn;
	const struct client *client;
	const struct config *config;
	struct queue *queue;
};

/* Runs it: writes the lines of the reply but the last one, which goes to
 * reply. Over the network there is no such command. */
void xqueue_run(const struct xqueue *, const char *arguments,
    struct buf *reply);

#endif
