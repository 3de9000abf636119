/* SPDX-License-Identifier: ISC */
#ifndef LISTEN_H
#define LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct config;
struct generations;
struct notify;

/* The sockets that others connect to, and the sessions on them. */
struct listener;

/* Takes what the service manager has opened and binds what the configuration
 * names beyond that. NULL on failure, with a sentence in why; what is only a
 * pity (a default socket that cannot be made, when there is another listener)
 * is logged. */
struct listener *listen_open(const struct config *, struct buf *why);

/* Root, about to become that user, lets it use the control socket too. */
void listen_give_control(struct listener *, uid_t);

/* As the user that the daemon runs as, before listen_run() and any reload. */
void listen_start(struct listener *, struct generations *);

/* Accepts and starts sessions until stop_fd becomes readable, and gives signs
 * of life where they are wanted. Then the sockets are closed. */
void listen_run(struct listener *, int stop_fd, const struct notify *);

/* Takes over what a reload may change; in any thread. */
void listen_reload(struct listener *, const struct config *);

/* Waits until the last session has ended; false when the time is over. */
bool listen_wait_for_sessions(struct listener *, int64_t deadline);
void listen_free(struct listener *);

#endif
