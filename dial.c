/* SPDX-License-Identifier: ISC */
/*
 * Making connections: resolve, bind, connect, each with a sentence about what
 * went wrong.
 */
#include "dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "config.h"
#include "conn.h"

static int
family_of(enum address_family family)
{
	if (family == FAMILY_ANY)
		return AF_UNSPEC;
	return family == FAMILY_IPV4 ? AF_INET : AF_INET6;
}

bool
dial_is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS ||
	    error == ENOMEM;
}

void
dial_blame(struct verdict *v, enum stage stage, int error,
    const struct buf *why)
{
	bool ours = dial_is_shortage(error) || error == ECANCELED;

	verdict_set(v, LATER, ours ? SCOPE_MESSAGE : SCOPE_UPSTREAM, stage,
	    "%s", buf_text(why));
	v->cut_short = ours;
}

/* The shortage behind a resolver's error, or 0. Without descriptors for its
 * files and sockets it says the same as of a name that does not exist. */
static int
resolver_shortage(int error)
{
	int fd, cause = 0;

	if (error == EAI_MEMORY)
		return ENOMEM;
	if (error == EAI_SYSTEM && dial_is_shortage(errno))
		return errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		cause = errno;
	else
		close(fd);
	return dial_is_shortage(cause) ? cause : 0;
}

struct addrinfo *
dial_resolve(const struct upstream *u, struct buf *why)
{
	struct addrinfo hints = {
		.ai_family = family_of(u->family),
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *list = NULL;
	char port[8];
	const char *text;
	int error, shortage;

	snprintf(port, sizeof(port), "%u", (unsigned)u->port);
	error = getaddrinfo(u->host, port, &hints, &list);
	if (!error)
		return list;
	text = error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error);
	shortage = resolver_shortage(error);
	buf_addf(why, "cannot resolve %s: %s", u->host,
	    shortage ? strerror(shortage) : text);
	errno = shortage;
	return NULL;
}

static const void *
host_of(const struct sockaddr *address)
{
	const struct sockaddr_in6 *v6 = (const void *)address;
	const struct sockaddr_in *v4 = (const void *)address;

	if (address->sa_family == AF_INET6)
		return &v6->sin6_addr;
	return &v4->sin_addr;
}

static unsigned
port_of(const struct sockaddr *address)
{
	const struct sockaddr_in6 *v6 = (const void *)address;
	const struct sockaddr_in *v4 = (const void *)address;

	return ntohs(address->sa_family == AF_INET6 ? v6->sin6_port
						    : v4->sin_port);
}

void
dial_add_address(struct buf *out, const struct sockaddr *address)
{
	bool v6 = address->sa_family == AF_INET6;
	char text[INET6_ADDRSTRLEN];

	if (!v6 && address->sa_family != AF_INET) {
		buf_adds(out, "local");
		return;
	}
	inet_ntop(address->sa_family, host_of(address), text, sizeof(text));
	buf_addf(out, v6 ? "[%s]:%u" : "%s:%u", text, port_of(address));
}

void
dial_add_local_literal(struct buf *out, const struct conn *c)
{
	struct sockaddr_storage own = {0};
	struct sockaddr *address = (struct sockaddr *)&own;
	socklen_t len = sizeof(own);
	char text[INET6_ADDRSTRLEN] = "127.0.0.1";

	if (getsockname(conn_fd(c), address, &len) == 0 &&
	    (address->sa_family == AF_INET || address->sa_family == AF_INET6))
		inet_ntop(address->sa_family, host_of(address), text,
		    sizeof(text));
	buf_addf(out, strchr(text, ':') ? "[IPv6:%s]" : "[%s]", text);
}

static int
bind_source(int fd, const struct upstream *u, int family)
{
	struct addrinfo hints = {
		.ai_family = family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST,
	};
	struct addrinfo *source;
	int result;

	if (!u->source_address)
		return 0;
	if (getaddrinfo(u->source_address, NULL, &hints, &source) != 0) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	result = bind(fd, source->ai_addr, source->ai_addrlen);
	freeaddrinfo(source);
	return result;
}

/* Once we stop, no relay is bothered any more for those who stand in line. */
static bool
is_stopped(int stop_fd)
{
	struct pollfd stop = {.fd = stop_fd, .events = POLLIN};

	return poll(&stop, 1, 0) > 0;
}

/* Waits for a connect in progress; 0 or an errno. */
static int
await_connect(int fd, int64_t deadline, int stop_fd)
{
	struct pollfd fds[2] = {
		{.fd = fd, .events = POLLOUT},
		{.fd = stop_fd, .events = POLLIN},
	};
	int error = 0, ready;
	socklen_t len = sizeof(error);

	do {
		int64_t left = deadline - clock_now();

		ready = poll(fds, 2, left > 0 ? (int)left : 0);
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return errno;
	if (fds[1].revents)
		return ECANCELED;
	if (!ready)
		return ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return error;
}

/* A descriptor, or -1 with errno set. */
static int
connect_to(const struct upstream *u, const struct addrinfo *address,
    int64_t deadline, int stop_fd)
{
	int fd = socket(address->ai_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;

	if (fd < 0)
		return -1;
	if (is_stopped(stop_fd))
		error = ECANCELED;
	else if (bind_source(fd, u, address->ai_family) != 0)
		error = errno;
	else if (connect(fd, address->ai_addr, address->ai_addrlen) != 0)
		error = errno;
	if (error == EINPROGRESS || error == EINTR)
		error = await_connect(fd, deadline, stop_fd);
	if (!error)
		return fd;
	close(fd);
	errno = error;
	return -1;
}

struct conn *
dial_tcp(const struct upstream *u, const struct addrinfo *address,
    int64_t deadline, int stop_fd, struct buf *why)
{
	int fd = connect_to(u, address, deadline, stop_fd);
	int error = errno;

	if (fd >= 0)
		return conn_new(fd, stop_fd);
	buf_adds(why, "connect to ");
	dial_add_address(why, address->ai_addr);
	buf_addf(why, ": %s", error == ECANCELED ? "smarthost is stopping"
						 : strerror(error));
	if (error == ETIMEDOUT && u->provider && u->provider->other_ports)
		buf_addf(why, "; if this network blocks the port, try %s",
		    u->provider->other_ports);
	errno = error;
	return NULL;
}

struct conn *
dial_unix(const char *path, int stop_fd)
{
	static const struct timeval patience = {.tv_sec = 10};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	/* A full backlog would block connect() for as long as it is full. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
	    sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return conn_new(fd, stop_fd);
	error = errno;
	close(fd);
	errno = error;
	return NULL;
}
