/* SPDX-License-Identifier: ISC */
/*
 * The maildrop, as those see it who leave a message there. No setgid program
 * is needed: the directory's setgid bit gives each file the daemon's group,
 * which may read it; its sticky bit keeps others from removing it.
 */
#include "maildrop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ground.h"
#include "message.h"
#include "spool.h"

enum {
	DIRECTORY_MODE = 03733,
	FILE_MODE = 0640,
	SEARCHABLE = 0111,
};

/* --- Making it ----------------------------------------------------------- */

/* Everybody has to pass through the spool to get there. */
static bool
open_the_way(int spool)
{
	struct stat found;

	return fstat(spool, &found) == 0 &&
	    ((found.st_mode & SEARCHABLE) == SEARCHABLE ||
		fchmod(spool, (found.st_mode & 07777) | SEARCHABLE) == 0);
}

/* With our group, since others are not ours to give; the system takes the
 * setgid bit away where that is not so. */
static bool
set_mode(int fd)
{
	struct stat found;

	if (fchown(fd, (uid_t)-1, getegid()) != 0 ||
	    fchmod(fd, DIRECTORY_MODE) != 0 || fstat(fd, &found) != 0)
		return false;
	errno = EPERM;
	return (found.st_mode & 07777) == DIRECTORY_MODE &&
	    found.st_uid == geteuid();
}

static bool
make_in(int spool)
{
	int error, fd;
	bool made;

	if (mkdirat(spool, "maildrop", 0700) != 0 && errno != EEXIST)
		return false;
	fd = openat(spool, "maildrop",
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	made = set_mode(fd) && open_the_way(spool);
	error = errno;
	close(fd);
	errno = error;
	return made;
}

bool
maildrop_make(const char *spool, struct buf *why)
{
	int fd = open(spool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool made = fd >= 0 && make_in(fd);

	if (!made)
		buf_addf(why, "cannot make %s/maildrop: %s; sendmail has no "
		    "place to leave mail while the daemon is away", spool,
		    strerror(errno));
	if (fd >= 0)
		close(fd);
	return made;
}

/* --- Leaving a message --------------------------------------------------- */

/* A descriptor to name files by, which needs no permission to read; -1 if it
 * is not there, or not what the daemon makes. */
static int
open_directory(const char *spool)
{
	char *path = xasprintf("%s/maildrop", spool);
	int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat found;

	free(path);
	if (fd >= 0 && (fstat(fd, &found) != 0 ||
		(found.st_mode & 07777) != DIRECTORY_MODE)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* A dot, then 96 random bits. */
static void
make_name(char name[DROP_NAME_LEN + 2])
{
	uint32_t random[3];

	while (getrandom(random, sizeof(random), 0) != sizeof(random))
		;
	snprintf(name, DROP_NAME_LEN + 2, ".%08x%08x%08x",
	    (unsigned)random[0], (unsigned)random[1], (unsigned)random[2]);
}

/* Gives a finished file its name, and waits for the disk. What the daemon has
 * taken away meanwhile it has on stable storage itself. */
static bool
publish(int at, const char *name, int fd)
{
	int error;

	if (renameat(at, name, at, name + 1) != 0)
		return false;
	if (syncfs(fd) == 0)
		return true;
	error = errno;
	if (unlinkat(at, name + 1, 0) != 0 && errno == ENOENT)
		return true;
	errno = error;
	return false;
}

/* Whether the daemon will read it. */
static bool
has_short_envelope(int fd, const struct message *m)
{
	struct stat found;
	bool is_short = fstat(fd, &found) == 0 &&
	    (uint64_t)found.st_size - message_size(m) <= DROP_ENVELOPE_MAX;

	if (!is_short)
		errno = EFBIG;
	return is_short;
}

static bool
leave(int at, const struct message *m)
{
	char name[DROP_NAME_LEN + 2];
	bool left;
	int fd, error;

	make_name(name);
	fd = openat(at, name,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	left = fchmod(fd, FILE_MODE) == 0 && spool_write(fd, m) &&
	    has_short_envelope(fd, m) && publish(at, name, fd);
	error = errno;
	if (!left)
		(void)unlinkat(at, name, 0);
	close(fd);
	errno = error;
	return left;
}

bool
maildrop_leave(const char *spool, const struct message *m, uint64_t spare,
    struct buf *why)
{
	int at = open_directory(spool);
	bool left = false;

	if (at < 0)
		return false;
	errno = ENOSPC;
	if (ground_has_room(at, message_size(m) + spare))
		left = leave(at, m);
	if (!left)
		buf_addf(why, "cannot leave the message in %s/maildrop: %s",
		    spool, strerror(errno));
	close(at);
	return left;
}

void
maildrop_announce(const char *spool, const char *id)
{
	char *path = xasprintf("%s/maildrop/%s", spool, id);
	int fd = open(path,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	free(path);
}
