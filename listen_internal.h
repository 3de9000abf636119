/* SPDX-License-Identifier: ISC */
#ifndef LISTEN_INTERNAL_H
#define LISTEN_INTERNAL_H

#include <poll.h>
#include <pthread.h>

#include "inherit.h"
#include "listen.h"
#include "local.h"
#include "places.h"

/* What listen_open.c (sockets) and listen.c (sessions) share. */

struct listener {
	const struct config *config; /* of the start */
	struct pollfd *fds;  /* listening sockets, and the stop pipe last */
	size_t count;
	struct local socket;  /* for everybody on this machine */
	struct local control; /* for its administrators */
	struct inheritance inherited;
	int *tls_fds;         /* of the sockets that begin with TLS */
	size_t tls_count;
	struct generations *generations;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	struct places places;
	struct clients *clients;
};

/* Closes the listening sockets. */
void listen_close(struct listener *);

#endif
