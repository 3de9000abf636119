/* SPDX-License-Identifier: ISC */
/*
 * The name of a listening unix socket: made, cleared, given away, removed.
 */
#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "conn.h"
#include "dial.h"

enum { BACKLOG = 512 };

/* Clears the way: one that nobody answers is left over from a
 * crash. False if somebody answers, or if it is something else. */
static bool
remove_leftover(const char *path)
{
	struct stat there;
	struct conn *c;

	if (lstat(path, &there) != 0)
		return true;
	if (!S_ISSOCK(there.st_mode)) {
		errno = EEXIST;
		return false;
	}
	c = dial_unix(path, -1);
	if (!c)
		return errno != ECONNREFUSED || unlink(path) == 0;
	conn_close(c);
	errno = EADDRINUSE;
	return false;
}

/* A bound and listening socket, or -1 with errno set. */
static int
bind_path(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static void
explain(const char *path, int error, struct buf *why)
{
	buf_addf(why, "cannot make the socket %s: %s%s", path,
	    strerror(error), error == EADDRINUSE
		? "; another smarthost answers on it"
		: "");
}

/* The mode has to be right from the start, whoever looks when. */
bool
local_open(struct local *l, const char *path, mode_t mode, struct buf *why)
{
	mode_t mask = umask(~mode & 0777);
	struct stat made;
	int error;

	*l = (struct local){.path = path, .fd = -1};
	if (remove_leftover(path))
		l->fd = bind_path(path);
	error = errno;
	umask(mask);
	if (l->fd < 0) {
		explain(path, error, why);
		errno = error;
		return false;
	}
	if (lstat(path, &made) == 0) {
		l->device = made.st_dev;
		l->inode = made.st_ino;
	}
	return true;
}

static bool
is_ours(const struct local *l, const struct stat *there)
{
	return there->st_dev == l->device && there->st_ino == l->inode;
}

void
local_give(const struct local *l, uid_t uid)
{
	int fd = l->inode == 0 ? -1 : open(l->path,
	    O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat there;

	if (fd < 0)
		return;
	if (fstat(fd, &there) == 0 && is_ours(l, &there))
		(void)!fchownat(fd, "", uid, (gid_t)-1, AT_EMPTY_PATH);
	close(fd);
}

void
local_remove(struct local *l)
{
	struct stat now;

	if (l->inode && lstat(l->path, &now) == 0 && is_ours(l, &now))
		unlink(l->path);
	l->inode = 0;
	l->fd = -1;
}
