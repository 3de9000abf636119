/* SPDX-License-Identifier: ISC */
/*
 * Sockets from the service manager. They are there before the daemon is and
 * stay when it restarts, so that no client is refused meanwhile, and a port
 * below 1024 needs no privilege.
 */
#include "inherit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"

enum { FIRST_FD = 3 }; /* SD_LISTEN_FDS_START */

static bool
is_listening_stream(int fd)
{
	int type = 0, listens = 0;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
	    type == SOCK_STREAM &&
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 &&
	    listens;
}

static bool
take(struct inheritance *all, int fd, struct buf *why)
{
	struct inherited *one = &all->sockets[all->count];
	socklen_t size = sizeof(one->address);
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || !is_listening_stream(fd) ||
	    getsockname(fd, (struct sockaddr *)&one->address, &size) != 0) {
		buf_addf(why, "LISTEN_FDS: descriptor %d is no listening "
		    "stream socket; the socket unit needs ListenStream=, and "
		    "Accept=no", fd);
		return false;
	}
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	one->fd = fd;
	all->count++;
	return true;
}

/* Steps behind the next of the names that colons separate. */
static bool
next_is_control(const char **names)
{
	size_t len = strcspn(*names, ":");
	bool is_control = len == 7 && strncmp(*names, "control", 7) == 0;

	*names += len + ((*names)[len] == ':');
	return is_control;
}

bool
inherit_sockets(struct inheritance *all, struct buf *why)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	long count = pid && fds && atol(pid) == getpid() ? atol(fds) : 0;
	bool ok = true;

	*all = (struct inheritance){.count = 0};
	if (count > INHERIT_MAX) {
		buf_addf(why, "LISTEN_FDS: %ld sockets, and at most %d are "
		    "taken", count, INHERIT_MAX);
		return false;
	}
	names = names ? names : "";
	for (int i = 0; ok && i < count; i++) {
		bool is_control = next_is_control(&names);

		all->sockets[i].is_control = is_control;
		ok = take(all, FIRST_FD + i, why);
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return ok;
}

static bool
same_address(const struct sockaddr *a, const struct sockaddr *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
	const struct sockaddr_un *au = (const void *)a, *bu = (const void *)b;

	if (a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_UNIX)
		return strncmp(au->sun_path, bu->sun_path,
			   sizeof(au->sun_path)) == 0;
	if (a->sa_family == AF_INET6)
		return a6->sin6_port == b6->sin6_port &&
		    memcmp(&a6->sin6_addr, &b6->sin6_addr,
			sizeof(a6->sin6_addr)) == 0;
	return a4->sin_port == b4->sin_port &&
	    a4->sin_addr.s_addr == b4->sin_addr.s_addr;
}

const struct inherited *
inherit_find(const struct inheritance *all, const struct sockaddr *address)
{
	for (size_t i = 0; i < all->count; i++)
		if (same_address((const struct sockaddr *)&all->sockets[i]
			.address, address))
			return &all->sockets[i];
	return NULL;
}
