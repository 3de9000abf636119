/* SPDX-License-Identifier: ISC */
#ifndef INHERIT_H
#define INHERIT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct buf;

enum { INHERIT_MAX = 16 };

/* Listening sockets that whoever started us has opened: LISTEN_PID, LISTEN_FDS
 * and LISTEN_FDNAMES, as sd_listen_fds(3) has them. */
struct inheritance {
	struct inherited {
		int fd;
		bool is_control; /* its name there is "control" */
		struct sockaddr_storage address;
	} sockets[INHERIT_MAX];
	size_t count;
};

/* Takes them over, close-on-exec and without waiting, and the variables out
 * of the environment. None is no failure; false with a sentence in why if one
 * of them is nothing to accept connections on. */
bool inherit_sockets(struct inheritance *, struct buf *why);

/* The one that listens on this address already, or NULL. */
const struct inherited *inherit_find(const struct inheritance *,
    const struct sockaddr *);

#endif
