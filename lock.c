/* SPDX-License-Identifier: ISC */
/*
 * The lock of the one process that has a spool to itself. flock() decides who
 * has it. The lock of the other kind beside it is there to be seen, since only
 * of that kind the system can be asked whether there is one.
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

static const char name[] = "lock";

int
lock_take(int directory)
{
	struct flock seen = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int error, fd = openat(directory, name,
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		(void)fcntl(fd, F_OFD_SETLK, &seen);
		return fd;
	}
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

bool
lock_is_held(int directory)
{
	struct flock found = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = openat(directory, name,
	    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool held = fd >= 0 && fcntl(fd, F_OFD_GETLK, &found) == 0 &&
	    found.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	return held;
}
