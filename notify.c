/* SPDX-License-Identifier: ISC */
/*
 * Talking to the service manager.
 */
#include "notify.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

enum { PATIENCE = 5 * 1000 }; /* ms */

/* A connected socket, or -1. A name that begins with @ is an abstract one. */
static int
reach(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = name ? strlen(name) : 0;
	int fd;

	if (!len || len >= sizeof(address.sun_path))
		return -1;
	memcpy(address.sun_path, name, len);
	if (*name == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0)
		return fd;
	close(fd);
	return -1;
}

void
notify_open(struct notify *n)
{
	const char *every = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	n->fd = reach(getenv("NOTIFY_SOCKET"));
	n->interval = 0;
	if (every && (!pid || atol(pid) == getpid()))
		n->interval = atoll(every) / 2000;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void
notify_close(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

/* Whether it has gone, or will never. */
static bool
try_to_send(const struct notify *n, const char *state)
{
	return send(n->fd, state, strlen(state),
	    MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != EAGAIN;
}

void
notify_send(const struct notify *n, const char *state)
{
	int64_t deadline = clock_now() + PATIENCE, left = PATIENCE;

	while (n->fd >= 0 && !try_to_send(n, state) && left > 0) {
		struct pollfd room = {.fd = n->fd, .events = POLLOUT};

		(void)poll(&room, 1, (int)left);
		left = deadline - clock_now();
	}
}

void
notify_alive(const struct notify *n)
{
	if (n->fd >= 0)
		(void)try_to_send(n, "WATCHDOG=1");
}
