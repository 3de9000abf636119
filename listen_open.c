/* SPDX-License-Identifier: ISC */
/*
 * The listening sockets: those that the service manager has opened, and those
 * that the configuration names beyond that.
 */
#include "listen_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "clients.h"
#include "config.h"
#include "dial.h"
#include "log.h"
#include "thread.h"

enum { BACKLOG = 512 };

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
	    l->config->listen.allow.anyone || l->config->listen.auth_file)
		return true;
	buf_adds(why, "LISTEN_FDS: others than this machine can reach ");
	dial_add_address(why, address);
	buf_adds(why, "; write [listen] allow, with the networks that may "
	    "send, or auth_file");
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

void
listen_close(struct listener *l)
{
	for (size_t i = 0; i < l->count; i++)
		close(l->fds[i].fd);
	l->count = 0;
	local_remove(&l->socket);
	local_remove(&l->control);
}

void
listen_free(struct listener *l)
{
	listen_close(l);
	pthread_cond_destroy(&l->ended);
	pthread_mutex_destroy(&l->lock);
	places_free(&l->places);
	clients_free(l->clients);
	free(l->tls_fds);
	free(l->fds);
	free(l);
}

struct listener *
listen_open(const struct config *config, struct buf *why)
{
	struct listener *l = xcalloc(1, sizeof(*l));

	l->config = config;
	l->clients = clients_new();
	l->socket.fd = l->control.fd = -1;
	pthread_mutex_init(&l->lock, NULL);
	thread_cond_init(&l->ended);
	if (adopt_all(l, why) && open_locals(l, why) && open_addresses(l, why))
		return l;
	listen_free(l);
	return NULL;
}
