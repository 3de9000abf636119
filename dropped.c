/* SPDX-License-Identifier: ISC */
/*
 * One file in the maildrop.
 */
#include "dropped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "maildrop.h"

enum { LEFTOVER_AGE = 24 * 3600 }; /* seconds */

static bool
is_hexadecimal(const char *name, size_t len)
{
	return strlen(name) == len &&
	    strspn(name, "0123456789abcdef") == len;
}

bool
dropped_is_name(const char *name)
{
	return is_hexadecimal(name, DROP_NAME_LEN);
}

bool
dropped_is_id(const char *name)
{
	return is_hexadecimal(name, QUEUE_ID_SIZE - 1);
}

static const char *
why_no_mail(const struct stat *file)
{
	if (!S_ISREG(file->st_mode))
		return "not a file";
	return file->st_nlink == 1 ? NULL : "has another name elsewhere";
}

/* NULL if it is open. A device would hear of that, so it is looked at before
 * as well. "" when it cannot be opened now. */
static const char *
open_file(struct dropped *d)
{
	const char *reason;

	if (fstatat(d->directory, d->name, &d->found, AT_SYMLINK_NOFOLLOW) != 0)
		return "";
	reason = why_no_mail(&d->found);
	if (reason)
		return reason;
	d->fd = openat(d->directory, d->name,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (d->fd < 0)
		return errno == EACCES ? "may not be read" : "";
	return fstat(d->fd, &d->found) == 0 ? why_no_mail(&d->found) : "";
}

/* Whether it is still what we have opened. */
static bool
is_there(const struct dropped *d)
{
	struct stat named;

	return fstatat(d->directory, d->name, &named, AT_SYMLINK_NOFOLLOW) ==
		0 &&
	    named.st_ino == d->found.st_ino && named.st_dev == d->found.st_dev;
}

static void
make_id(struct dropped *d)
{
	const struct timespec *t = &d->found.st_ctim;

	snprintf(d->id, sizeof(d->id), "%016llx%.16s",
	    (unsigned long long)t->tv_sec * 1000000 +
		(unsigned long long)t->tv_nsec / 1000,
	    d->name);
}

enum dropped_state
dropped_open(struct dropped *d, const char **why)
{
	*why = open_file(d);
	if (*why)
		return **why ? DROPPED_JUNK : DROPPED_AWAY;
	/* Another process that collects may have it, or have been faster. */
	if (flock(d->fd, LOCK_EX | LOCK_NB) != 0 || !is_there(d))
		return DROPPED_AWAY;
	d->owner = d->found.st_uid;
	d->size = (uint64_t)d->found.st_size;
	make_id(d);
	return DROPPED_OPEN;
}

bool
dropped_remove(const struct dropped *d)
{
	return (unlinkat(d->directory, d->name, 0) == 0 || errno == ENOENT) &&
	    fsync(d->directory) == 0;
}

void
dropped_close(struct dropped *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

/* Its writer was killed. If it was not, it will find that it cannot give the
 * file its name, and say so. */
void
dropped_remove_leftover(int directory, const char *name)
{
	struct stat file;

	if (fstatat(directory, name, &file, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(file.st_mode) &&
	    file.st_ctim.tv_sec < time(NULL) - LEFTOVER_AGE)
		(void)unlinkat(directory, name, 0);
}
