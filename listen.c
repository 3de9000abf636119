/* SPDX-License-Identifier: ISC */
/*
 * Accept, one thread a connection, and an orderly stop. Refuses more clients
 * than it may have, and survives the system running out of descriptors, threads
 * or memory.
 */
#include "listen_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients.h"
#include "clock.h"
#include "config.h"
#include "conn.h"
#include "dial.h"
#include "generation.h"
#include "message.h"
#include "notify.h"
#include "orphans.h"
#include "peer.h"
#include "queue.h"
#include "session.h"
#include "thread.h"

enum {
	REST_MS = 100,        /* when the system has nothing left to give */
	HEADROOM = 16 << 20,  /* bytes: what the messages that wait may take */
};

struct guest {
	struct listener *listener;
	struct generation *generation;
	struct conn *conn;
	struct client client;
};

static void
leave(struct guest *g)
{
	struct listener *l = g->listener;

	generation_leave(l->generations, g->generation);
	if (!g->client.local)
		clients_leave(l->clients, g->client.key);
	pthread_mutex_lock(&l->lock);
	places_leave(&l->places, g->client.local, g->client.uid);
	pthread_cond_signal(&l->ended);
	pthread_mutex_unlock(&l->lock);
	free(g);
}

static void *
run_session(void *argument)
{
	struct guest *g = argument;

	session_run(g->conn, &g->client, &g->generation->setup.config,
	    g->generation->queue);
	conn_close(g->conn);
	leave(g);
	return NULL;
}

static bool
take_place(struct guest *g)
{
	struct listener *l = g->listener;
	bool taken;

	if (!g->client.local && !clients_enter(l->clients, g->client.key,
	    &g->generation->setup.config.listen.limits))
		return false;
	pthread_mutex_lock(&l->lock);
	taken = places_take(&l->places, g->client.local, g->client.uid);
	pthread_mutex_unlock(&l->lock);
	if (!taken && !g->client.local)
		clients_leave(l->clients, g->client.key);
	return taken;
}

/* Whoever begins with TLS would not understand. */
static void
turn_away(int fd, bool tls_first, const char *text)
{
	if (!tls_first)
		(void)!send(fd, text, strlen(text),
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

/* Whether the clients that are here could have what they need, were there one
 * more: a process that has no memory at all ends. */
static bool
has_memory(void)
{
	void *most = mmap(NULL, HEADROOM, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return most != MAP_FAILED && munmap(most, HEADROOM) == 0;
}

static bool
begins_with_tls(const struct listener *l, int listening)
{
	for (size_t i = 0; i < l->tls_count; i++)
		if (l->tls_fds[i] == listening)
			return true;
	return false;
}

static void
start_session(struct listener *l, int fd, const struct sockaddr *peer,
    int listening)
{
	struct guest *g = xcalloc(1, sizeof(*g));

	g->listener = l;
	g->generation = generation_enter(l->generations);
	g->client.tls_first = begins_with_tls(l, listening);
	peer_identify(&g->client, fd, peer,
	    &g->generation->setup.config.listen);
	g->client.clients = l->clients;
	if (!take_place(g)) {
		turn_away(fd, g->client.tls_first, "421 4.7.0 Too many "
		    "connections, try again later\r\n");
		generation_leave(l->generations, g->generation);
		free(g);
		return;
	}
	g->client.controls = listening == l->control.fd;
	g->client.tls = g->client.local ? NULL : g->generation->setup.tls;
	g->conn = conn_new(fd, l->fds[l->count].fd);
	if (thread_start(run_session, g))
		return;
	conn_printf(g->conn, "421 4.3.2 No thread for this connection, try "
			     "again later\r\n");
	conn_flush(g->conn);
	conn_close(g->conn);
	leave(g);
}

/* Takes one connection. False when the system has nothing left to give, which
 * will pass; a connection that has gone already is no reason to rest. */
static bool
accept_one(struct listener *l, int listening)
{
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);
	int fd = accept4(listening, (struct sockaddr *)&peer, &len,
	    SOCK_CLOEXEC);

	if (fd < 0)
		return !dial_is_shortage(errno);
	if (listening == l->socket.fd || listening == l->control.fd)
		peer.ss_family = AF_UNIX;
	if (has_memory())
		start_session(l, fd, (struct sockaddr *)&peer, listening);
	else
		turn_away(fd, begins_with_tls(l, listening), "421 4.3.2 No "
		    "memory for this connection, try again later\r\n");
	return true;
}

/* How long the main thread may sleep: until somebody wants a sign of life, or
 * an orphan may be there. -1: for ever. */
static int
patience(const struct notify *n)
{
	int orphans = orphans_patience();

	if (!n->interval || (orphans >= 0 && orphans < n->interval))
		return orphans;
	return (int)n->interval;
}

void
listen_reload(struct listener *l, const struct config *config)
{
	pthread_mutex_lock(&l->lock);
	l->places.max_clients = config->listen.max_clients;
	pthread_mutex_unlock(&l->lock);
}

static bool
is_alive(const struct listener *l)
{
	struct generation *g = generation_enter(l->generations);
	bool alive = queue_is_alive(g->queue);

	generation_leave(l->generations, g);
	return alive;
}

void
listen_start(struct listener *l, struct generations *generations)
{
	l->generations = generations;
	places_open(&l->places, l->config->listen.max_clients, geteuid());
}

void
listen_run(struct listener *l, int stop_fd, const struct notify *n)
{
	struct pollfd *stop = &l->fds[l->count];

	*stop = (struct pollfd){.fd = stop_fd, .events = POLLIN};
	while (!stop->revents) {
		bool rest = false;

		orphans_reap();
		if (n->interval && is_alive(l))
			notify_alive(n);
		if (poll(l->fds, l->count + 1, patience(n)) < 0)
			continue;
		for (size_t i = 0; i < l->count; i++)
			if (l->fds[i].revents &&
			    !accept_one(l, l->fds[i].fd))
				rest = true;
		if (rest)
			(void)poll(stop, 1, REST_MS);
	}
	listen_close(l);
}

bool
listen_wait_for_sessions(struct listener *l, int64_t deadline)
{
	bool all;

	pthread_mutex_lock(&l->lock);
	while (l->places.taken && thread_wait(&l->ended, &l->lock, deadline))
		;
	all = l->places.taken == 0;
	pthread_mutex_unlock(&l->lock);
	return all;
}
