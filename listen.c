/* SPDX-License-Identifier: ISC */
/*
 * Sockets, accept, one thread a connection, and an orderly stop. Refuses more
 * clients than it may have, and survives the system running out of descriptors
 * or threads.
 */
#include "listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "conn.h"
#include "dial.h"
#include "generation.h"
#include "inherit.h"
#include "local.h"
#include "message.h"
#include "notify.h"
#include "orphans.h"
#include "places.h"
#include "queue.h"
#include "session.h"
#include "thread.h"

enum {
	BACKLOG = 512,
	REST_MS = 100,        /* when the system has nothing left to give */
};

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
};

/* --- Opening ----------------------------------------------------------- */

static void
add_socket(struct listener *l, int fd, const char *name)
{
	l->fds = xrealloc(l->fds, l->count + 2, sizeof(*l->fds));
	l->fds[l->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
	log_event(LEVEL_INFO, "listening", "address", name, NULL);
}

/* A bound and listening socket, or -1 with errno set. */
static int
open_socket(const struct sockaddr *address, socklen_t len)
{
	int fd = socket(address->sa_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, error;

	if (fd < 0)
		return -1;
	if (address->sa_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, address, len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static void
add_address(struct listener *l, int fd)
{
	struct sockaddr_storage bound = {0};
	socklen_t len = sizeof(bound);
	struct buf name = {0};

	getsockname(fd, (struct sockaddr *)&bound, &len);
	dial_add_address(&name, (struct sockaddr *)&bound);
	add_socket(l, fd, name.data);
	buf_free(&name);
}

/* The listening socket, or -1 with a sentence in why. */
static int
open_address(struct listener *l, const struct endpoint *e, struct buf *why)
{
	const struct sockaddr *address = (const struct sockaddr *)&e->address;
	const struct inherited *there = inherit_find(&l->inherited, address);
	int fd;

	if (there)
		return there->fd;
	fd = open_socket(address, e->size);
	if (fd < 0) {
		buf_addf(why, "cannot listen on %s: %s", e->text,
		    strerror(errno));
		if (errno == EACCES)
			buf_adds(why, "; ports below 1024 need root or "
				      "CAP_NET_BIND_SERVICE");
		return -1;
	}
	add_address(l, fd);
	return fd;
}

static bool
open_addresses(struct listener *l, struct buf *why)
{
	const struct endpoints *plain = &l->config->listen.addresses;
	const struct endpoints *tls = &l->config->listen.tls_addresses;
	int fd = 0;

	for (size_t i = 0; fd >= 0 && i < plain->count; i++)
		fd = open_address(l, &plain->list[i], why);
	l->tls_fds = xcalloc(tls->count, sizeof(l->tls_fds[0]));
	for (size_t i = 0; fd >= 0 && i < tls->count; i++)
		l->tls_fds[l->tls_count++] = fd =
		    open_address(l, &tls->list[i], why);
	return fd >= 0;
}

/* The directory of the default socket is ours to make. */
static void
make_directory(const struct config *config)
{
	char *slash, *directory;

	if (!config->listen.socket)
		return;
	directory = xstrdup(config->listen.socket);
	slash = strrchr(directory, '/');
	if (slash && slash != directory && config->listen.socket_is_default) {
		*slash = '\0';
		(void)mkdir(directory, 0755);
	}
	free(directory);
}

/* False with errno set and a sentence in why; no path, or one that we have
 * inherited: no socket to make. */
static bool
open_local(struct listener *l, struct local *local, const char *path,
    mode_t mode, struct buf *why)
{
	if (!path || local->fd >= 0)
		return true;
	if (!local_open(local, path, mode, why))
		return false;
	add_socket(l, local->fd, path);
	return true;
}

/* What is only there by default can be done without. */
static void
go_on_without(struct buf *why)
{
	log_message(LEVEL_WARNING, "%s; going on without it", buf_text(why));
	buf_clear(why);
}

static bool
open_locals(struct listener *l, struct buf *why)
{
	const struct listen_config *c = &l->config->listen;

	make_directory(l->config);
	if (!open_local(l, &l->socket, c->socket, 0666, why)) {
		if (!c->socket_is_default ||
		    !(c->addresses.count + c->tls_addresses.count) ||
		    errno == EADDRINUSE)
			return false;
		go_on_without(why);
		if (c->control_is_default)
			return true;
	}
	if (!open_local(l, &l->control, c->control, 0600, why)) {
		if (!c->control_is_default || errno == EADDRINUSE)
			return false;
		go_on_without(why);
	}
	return true;
}

/* One of the two unix sockets, which the service manager keeps. */
static bool
adopt_local(struct listener *l, const struct inherited *i, struct buf *why)
{
	const struct sockaddr_un *name = (const void *)&i->address;
	const struct listen_config *c = &l->config->listen;
	bool controls = i->is_control || (c->control &&
	    strncmp(name->sun_path, c->control, sizeof(name->sun_path)) == 0);
	struct local *local = controls ? &l->control : &l->socket;

	if (local->fd >= 0) {
		buf_addf(why, "LISTEN_FDS: %.108s is a second %s socket, and "
		    "there can be one; the one for administrators has "
		    "FileDescriptorName=control", name->sun_path,
		    controls ? "control" : "public");
		return false;
	}
	*local = (struct local){.path = "", .fd = i->fd};
	add_socket(l, i->fd, name->sun_path);
	return true;
}

static bool
adopt(struct listener *l, const struct inherited *i, struct buf *why)
{
	const struct sockaddr *address = (const struct sockaddr *)&i->address;

	if (address->sa_family == AF_UNIX)
		return adopt_local(l, i, why);
	add_address(l, i->fd);
	if (access_is_loopback(address) || l->config->listen.allow.count ||
	    l->config->listen.allow.anyone)
		return true;
	buf_adds(why, "LISTEN_FDS: others than this machine can reach ");
	dial_add_address(why, address);
	buf_adds(why, "; write [listen] allow, with the networks that may "
	    "send");
	return false;
}

static bool
adopt_all(struct listener *l, struct buf *why)
{
	bool ok = inherit_sockets(&l->inherited, why);

	for (size_t i = 0; ok && i < l->inherited.count; i++)
		ok = adopt(l, &l->inherited.sockets[i], why);
	return ok;
}

void
listen_give_control(struct listener *l, uid_t uid)
{
	local_give(&l->control, uid);
}

struct listener *
listen_open(const struct config *config, struct buf *why)
{
	struct listener *l = xcalloc(1, sizeof(*l));

	l->config = config;
	l->socket.fd = l->control.fd = -1;
	pthread_mutex_init(&l->lock, NULL);
	thread_cond_init(&l->ended);
	if (adopt_all(l, why) && open_locals(l, why) && open_addresses(l, why))
		return l;
	listen_free(l);
	return NULL;
}

/* --- Sessions ---------------------------------------------------------- */

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

static void
identify_local(struct client *client, int fd)
{
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);

	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	client->uid = message_owner(peer.uid);
	snprintf(client->name, sizeof(client->name), "uid %u",
	    (unsigned)peer.uid);
	client->may_relay = client->local = true;
}

static void
identify(struct guest *g, int fd, const struct sockaddr *peer)
{
	struct buf name = {0};

	if (peer->sa_family == AF_UNIX) {
		identify_local(&g->client, fd);
		return;
	}
	g->client.uid = NO_OWNER;
	dial_add_address(&name, peer);
	snprintf(g->client.name, sizeof(g->client.name), "%s", name.data);
	g->client.may_relay =
	    access_allows(&g->generation->setup.config.listen.allow, peer);
	buf_free(&name);
}

static bool
take_place(struct guest *g)
{
	struct listener *l = g->listener;
	bool taken;

	pthread_mutex_lock(&l->lock);
	taken = places_take(&l->places, g->client.local, g->client.uid);
	pthread_mutex_unlock(&l->lock);
	return taken;
}

static void
turn_away(int fd)
{
	static const char text[] =
	    "421 4.7.0 Too many connections, try again later\r\n";

	(void)!send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
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
	identify(g, fd, peer);
	if (!take_place(g)) {
		turn_away(fd);
		generation_leave(l->generations, g->generation);
		free(g);
		return;
	}
	g->client.controls = listening == l->control.fd;
	g->client.tls = g->client.local ? NULL : g->generation->setup.tls;
	g->client.tls_first = begins_with_tls(l, listening);
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
	start_session(l, fd, (struct sockaddr *)&peer, listening);
	return true;
}

static void
close_sockets(struct listener *l)
{
	for (size_t i = 0; i < l->count; i++)
		close(l->fds[i].fd);
	l->count = 0;
	local_remove(&l->socket);
	local_remove(&l->control);
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
listen_run(struct listener *l, struct generations *generations, int stop_fd,
    const struct notify *n)
{
	struct pollfd *stop = &l->fds[l->count];

	l->generations = generations;
	places_open(&l->places, l->config->listen.max_clients, geteuid());
	*stop = (struct pollfd){.fd = stop_fd, .events = POLLIN};
	while (!stop->revents) {
		bool rest = false;

		orphans_reap();
		if (n->interval && is_alive(l))
			notify_send(n, "WATCHDOG=1");
		if (poll(l->fds, l->count + 1, patience(n)) < 0)
			continue;
		for (size_t i = 0; i < l->count; i++)
			if (l->fds[i].revents &&
			    !accept_one(l, l->fds[i].fd))
				rest = true;
		if (rest)
			(void)poll(stop, 1, REST_MS);
	}
	close_sockets(l);
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

void
listen_free(struct listener *l)
{
	close_sockets(l);
	pthread_cond_destroy(&l->ended);
	pthread_mutex_destroy(&l->lock);
	places_free(&l->places);
	free(l->tls_fds);
	free(l->fds);
	free(l);
}
