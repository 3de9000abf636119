/* SPDX-License-Identifier: ISC */
/*
 * The lock of the one process that has a spool to itself. flock() decides who
 * has it. The locks of the other kind beside it, a byte of the file each, are
 * there to be seen, since only of that kind the system can be asked whether
 * there is one.
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

static const char name[] = "lock";

static int
open_file(int directory)
{
	return openat(directory, name,
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Lets everybody see that this descriptor is that. */
static void
show(int fd, enum lock_role role)
{
	struct flock seen = {.l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = role, .l_len = 1};

	(void)fcntl(fd, F_OFD_SETLK, &seen);
}

static bool
is_seen(int fd, enum lock_role first, enum lock_role last)
{
	struct flock found = {.l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = first, .l_len = last - first + 1};

	return fcntl(fd, F_OFD_GETLK, &found) == 0 && found.l_type != F_UNLCK;
}

int
lock_take(int directory, enum lock_role role)
{
	int error, fd = open_file(directory);

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		show(fd, role);
		return fd;
	}
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int
lock_wait(int directory)
{
	int fd = open_file(directory);

	if (fd >= 0)
		show(fd, LOCK_HEIR);
	return fd;
}

static bool
look(int directory, enum lock_role first, enum lock_role last)
{
	int fd = openat(directory, name,
	    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool seen = fd >= 0 && is_seen(fd, first, last);

	if (fd >= 0)
		close(fd);
	return seen;
}

bool
lock_is_held(int directory)
{
	return look(directory, LOCK_DAEMON, LOCK_RUN);
}

bool
lock_is_held_by(int directory, enum lock_role role)
{
	return look(directory, role, role);
}
