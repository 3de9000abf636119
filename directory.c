/* SPDX-License-Identifier: ISC */
/*
 * The spool's directories: opened, made, owned by one daemon, and listed.
 */
#include "spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "ground.h"
#include "lock.h"
#include "log.h"
#include "message.h"
#include "spool_internal.h"

enum { HEIR_PATIENCE_MS = 30000, LOOK_MS = 50 };

static int
open_directory(int at, const char *name)
{
	if (mkdirat(at, name, 0700) != 0 && errno != EEXIST)
		return -1;
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool
can_write(const struct spool *s, const char *name)
{
	return faccessat(s->directory, name, R_OK | W_OK | X_OK, 0) == 0;
}

/* Whether the file system has flock(), without which nothing here is safe. */
static bool
can_lock(const struct spool *s)
{
	return flock(s->queue, LOCK_SH | LOCK_NB) == 0 &&
	    flock(s->queue, LOCK_UN) == 0;
}

void
spool_close(struct spool *s)
{
	int fds[] = {s->directory, s->incoming, s->queue, s->failed, s->lock};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	spares_remove(&s->spares);
	pthread_mutex_destroy(&s->spares.lock);
	group_sync_destroy(&s->commits);
	free(s->path);
	free(s);
}

struct spool *
spool_open(const char *directory, struct buf *why)
{
	struct spool *s = xcalloc(1, sizeof(*s));
	struct stat queue;

	s->path = xstrdup(directory);
	group_sync_init(&s->commits);
	spares_init(&s->spares, &s->commits);
	s->incoming = s->queue = s->failed = s->lock = -1;
	s->directory = open_directory(AT_FDCWD, directory);
	if (s->directory >= 0)
		s->incoming = open_directory(s->directory, "incoming");
	if (s->incoming >= 0)
		s->queue = open_directory(s->directory, "queue");
	if (s->queue >= 0)
		s->failed = open_directory(s->directory, "failed");
	if (s->failed >= 0 && can_write(s, "incoming") &&
	    can_write(s, "queue") && can_write(s, "failed") && can_lock(s) &&
	    fstat(s->queue, &queue) == 0) {
		s->owner = queue.st_uid;
		s->spares.incoming = s->incoming;
		s->spares.queue = s->queue;
		return s;
	}
	buf_addf(why, "cannot use the spool %s: %s; make it, owned by the "
	    "user that runs smarthost, mount a volume there, or set [queue] "
	    "directory = none", directory, strerror(errno));
	spool_close(s);
	return NULL;
}

/* Puts the directory of that name in the place of the one behind fd, if that
 * has been removed. Other threads may use fd meanwhile. */
static bool
renew(const struct spool *s, int fd, const char *name)
{
	struct stat found;
	int fresh;
	bool done;

	if (fstat(fd, &found) != 0 || found.st_nlink > 0)
		return false;
	fresh = open_directory(s->directory, name);
	done = fresh >= 0 && dup3(fresh, fd, O_CLOEXEC) >= 0;
	if (fresh >= 0)
		close(fresh);
	return done;
}

bool
spool_renew(struct spool *s)
{
	int error = errno;
	bool incoming = renew(s, s->incoming, "incoming");
	bool queue = renew(s, s->queue, "queue");
	bool failed = renew(s, s->failed, "failed");

	if (incoming || queue || failed) {
		spares_remove(&s->spares);
		log_message(LEVEL_WARNING, "somebody has removed directories "
		    "of the spool %s%s; they are used as they are now",
		    s->path, queue ? ", and what was in its queue" : "");
	}
	errno = error;
	return error == ENOENT;
}

/* What is in incoming/ and not locked has lost its writer. */
static void
remove_leftovers(const struct spool *s)
{
	int fd = openat(s->incoming, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		int file = openat(s->incoming, entry->d_name,
		    O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

		if (file < 0)
			continue;
		if (flock(file, LOCK_EX | LOCK_NB) == 0)
			unlinkat(s->incoming, entry->d_name, 0);
		close(file);
	}
	if (directory)
		closedir(directory);
}

bool
spool_is_owned(const struct spool *s)
{
	return lock_is_held(s->directory);
}

/* Waits for a run through the queue, which ends what it has begun when it sees
 * us wait. */
static void
inherit(struct spool *s)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
	int64_t deadline = clock_now() + HEIR_PATIENCE_MS;
	int waits = lock_wait(s->directory);

	log_message(LEVEL_INFO, "waiting for a run through the queue to leave "
	    "the spool %s", s->path);
	do {
		nanosleep(&pause, NULL);
		s->lock = lock_take(s->directory, LOCK_DAEMON);
	} while (s->lock < 0 && errno == EWOULDBLOCK &&
	    clock_now() < deadline);
	if (waits >= 0)
		close(waits);
}

bool
spool_is_wanted(const struct spool *s)
{
	return lock_is_held_by(s->directory, LOCK_HEIR);
}

bool
spool_own(struct spool *s, enum lock_role role, struct buf *why)
{
	s->lock = lock_take(s->directory, role);
	if (s->lock < 0 && errno == EWOULDBLOCK && role == LOCK_DAEMON &&
	    lock_is_held_by(s->directory, LOCK_RUN))
		inherit(s);
	if (s->lock >= 0) {
		remove_leftovers(s);
		return true;
	}
	if (errno == EWOULDBLOCK)
		buf_addf(why, "another smarthost runs on the spool %s; stop "
		    "it, or give this one its own [queue] directory", s->path);
	else
		buf_addf(why, "cannot lock the spool %s: %s", s->path,
		    strerror(errno));
	return false;
}

static bool
is_id(const char *name)
{
	return strlen(name) == QUEUE_ID_SIZE - 1 &&
	    strspn(name, "0123456789abcdef") == QUEUE_ID_SIZE - 1;
}

long
spool_list(struct spool *s, spool_found *found, void *context)
{
	int fd = openat(s->queue, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct stat file;
	long foreign = 0;
	bool go_on = true;

	if (!directory)
		return -1;
	while (go_on && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		if (!is_id(entry->d_name) || fstatat(s->queue, entry->d_name,
			&file, AT_SYMLINK_NOFOLLOW) != 0 ||
		    !S_ISREG(file.st_mode))
			foreign++;
		else
			go_on = found(context, entry->d_name,
			    file.st_mtim.tv_sec);
	}
	closedir(directory);
	return foreign;
}

bool
spool_has_room(const struct spool *s, uint64_t need)
{
	return ground_has_room(s->directory, need);
}

uint64_t
spool_room(const struct spool *s)
{
	return ground_room(s->directory);
}

/* It may have been moved away, or another one mounted upon it: what is kept
 * then, nobody finds after the next start. */
static bool
has_its_name(const struct spool *s)
{
	char *path = xasprintf("%s/queue", s->path);
	struct stat ours, named;
	bool same = fstat(s->queue, &ours) == 0 && stat(path, &named) == 0 &&
	    ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;

	free(path);
	return same;
}

static bool
can_make_file(const struct spool *s)
{
	static const char name[] = "probe";
	int fd = openat(s->incoming, name,
	    O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool made = fd >= 0 && write(fd, "", 1) == 1;
	int error = errno;

	if (fd >= 0) {
		close(fd);
		unlinkat(s->incoming, name, 0);
	}
	errno = error;
	return made;
}

bool
spool_check(struct spool *s, struct buf *why)
{
	bool named, writable;

	(void)spool_renew(s);
	named = has_its_name(s);
	writable = named && can_make_file(s);
	if (!named)
		buf_addf(why, "the spool %s is not the directory any more that "
		    "it was when the daemon started; start it again", s->path);
	else if (!writable)
		buf_addf(why, "the spool %s cannot be written: %s", s->path,
		    strerror(errno));
	return writable;
}
