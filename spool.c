/* SPDX-License-Identifier: ISC */
/*
 * The spool. A directory with
 *
 *     lock        held (flock) by the daemon for life
 *     incoming/   being written; not mail yet, removed when its writer is gone;
 *                 and spare files, see spare.h
 *     queue/      mail: a file is here completely or not at all
 *     failed/     what was not delivered to everybody, under the ID of the
 *                 notice about it until that is delivered; and what is
 *                 damaged
 *     maildrop/   what anybody has left for the daemon, see maildrop.h
 *
 * and in queue/ one file a message, named by its queue ID. Its mtime is the
 * time of the next try; whoever attempts it holds its flock. It begins with
 *
 *     smarthost 1
 *     id ID
 *     arrived SECONDS
 *     owner UID                                (- for a stranger's)
 *     sender ADDRESS
 *     envelope-id ENVID                        (- for none)
 *     return F, H or -                         (RET of RFC 3461)
 *     utf8 0 or 1
 *     eight-bit 0 or 1
 *     header BYTES
 *     content BYTES
 *     recipient STATE CODE REPLY NOTIFY ORCPT ADDRESS   (a line for each)
 *     end
 *
 * and goes on with the content as it will be sent: header, blank line, body.
 * Every field that changes has a fixed width and is overwritten in place.
 *
 *     STATE  W waiting   L put off   H held   S sent   N refused, a notice
 *            is owed   R refused, and a notice is on its way, or nobody
 *            wants one
 *
 * A message moves by these steps, each of which a crash may be the last:
 *
 *     step                          a crash behind it leaves
 *     write incoming/ID             a leftover, no mail
 *     fsync it, rename to queue/    mail, perhaps; nobody was told
 *     fsync queue/                  mail; from here on we may say yes
 *     relay says 250                mail that will be sent twice
 *     mark in place, fdatasync      a done message, removed at the next look
 *     unlink, or move to incoming/  nothing, or a leftover
 */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "header.h"
#include "message.h"
#include "record.h"
#include "spool_internal.h"

/* --- Commit -------------------------------------------------------------- */

/* A fsync that failed is never tried again: the kernel may have forgotten
 * what it could not write. */
static bool
publish(struct spool *s, const struct message *m)
{
	const char *name = message_name(m);
	bool moved = renameat(s->incoming, name, s->queue, m->id) == 0;

	if (!moved && spool_renew(s))
		moved = renameat(s->incoming, name, s->queue, m->id) == 0;
	return moved && group_sync(&s->commits, s->queue);
}

static int
make_file(const struct spool *s, const char *id)
{
	return openat(s->incoming, id,
	    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* The message's file in incoming/, locked; its writer removes it unless it is
 * published. */
static bool
create(struct spool *s, struct message *m)
{
	int fd = make_file(s, m->id);

	if (fd < 0 && spool_renew(s))
		fd = make_file(s, m->id);
	if (fd < 0)
		return false;
	m->file = fd;
	m->incoming = s->incoming;
	return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

static void
give_up(struct message *m)
{
	int error = errno;

	message_drop_file(m);
	errno = error;
}

int
spool_begin(struct spool *s, struct message *m, uint64_t *base)
{
	struct buf start = {0};
	int fd = -1;

	record_add(&start, m, true);
	buf_add(&start, buf_text(&m->header), m->header.len);
	buf_adds(&start, "\r\n");
	*base = start.len;
	if (create(s, m) && spool_write_at(m->file, start.data, start.len, 0) &&
	    lseek(m->file, (off_t)start.len, SEEK_SET) >= 0)
		fd = fcntl(m->file, F_DUPFD_CLOEXEC, 0);
	buf_free(&start);
	if (fd < 0)
		give_up(m);
	return fd;
}

bool
spool_commit(struct spool *s, struct message *m)
{
	bool begun = m->file >= 0;

	if ((begun || spares_take(&s->spares, m) || create(s, m)) &&
	    spool_write_as(m->file, m, true, !begun) && publish(s, m)) {
		m->incoming = -1;
		*m->old_name = '\0';
		m->old_size = 0;
		return true;
	}
	if (m->file >= 0) {
		int error = errno;

		unlinkat(s->queue, m->id, 0);
		errno = error;
		give_up(m);
	}
	return false;
}

bool
spool_rewrite(struct spool *s, struct message *m)
{
	int old = m->file, error;
	bool ok;

	(void)unlinkat(s->incoming, m->id, 0); /* of a crash */
	m->file = -1;
	ok = create(s, m) && spool_write_as(m->file, m, false, true) &&
	    renameat(s->incoming, m->id, s->queue, m->id) == 0;
	if (ok) {
		m->incoming = -1;
		close(old);
		return fsync(s->queue) == 0;
	}
	error = errno;
	message_drop_file(m);
	m->file = old;
	errno = error;
	return false;
}

/* --- Load ---------------------------------------------------------------- */

/* What could not be opened: errno says why. */
static enum load_result
judge_closed(const struct spool *s, const char *id)
{
	struct stat named;
	int error = errno;
	bool foreign = error == EACCES &&
	    fstatat(s->queue, id, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    named.st_uid != s->owner;

	errno = error;
	if (foreign)
		return LOAD_FOREIGN;
	return error == ENOENT ? LOAD_GONE : LOAD_TROUBLE;
}

/* Opens and locks; the name must still be that of the locked file. */
static enum load_result
open_locked(struct spool *s, const char *id, int *fd, struct stat *file)
{
	struct stat named;

	*fd = openat(s->queue, id,
	    O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd < 0)
		return judge_closed(s, id);
	if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? LOAD_BUSY : LOAD_TROUBLE;
	if (fstat(*fd, file) != 0)
		return LOAD_TROUBLE;
	if (fstatat(s->queue, id, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
	    named.st_ino != file->st_ino || named.st_dev != file->st_dev)
		return LOAD_GONE;
	if (file->st_uid != s->owner)
		return LOAD_FOREIGN;
	return S_ISREG(file->st_mode) && file->st_nlink == 1 ? LOADED
							     : LOAD_DAMAGED;
}

enum load_result
spool_load(struct spool *s, const char *id, struct message **out)
{
	struct stat file;
	struct message *m;
	int fd;
	enum load_result result = open_locked(s, id, &fd, &file);

	if (result != LOADED) {
		int error = errno;

		if (fd >= 0)
			close(fd);
		errno = error;
		return result;
	}
	m = message_new(NULL, UINT64_MAX);
	snprintf(m->id, sizeof(m->id), "%s", id);
	m->file = fd;
	result = spool_read(m, file.st_size);
	if (result == LOADED) {
		*out = m;
	} else {
		int error = errno;

		message_free(m);
		errno = error;
	}
	return result;
}

/* --- Afterwards ---------------------------------------------------------- */

static bool
write_marks(const struct message *m)
{
	struct buf envelope = {0};
	bool ok;

	record_add(&envelope, m, false);
	ok = spool_write_at(m->file, envelope.data, envelope.len, 0);
	buf_free(&envelope);
	return ok;
}

bool
spool_mark(struct message *m)
{
	return write_marks(m) && fdatasync(m->file) == 0;
}

bool
spool_put_off(struct message *m, time_t next_try)
{
	struct timespec times[2] = {
		{.tv_sec = next_try}, {.tv_sec = next_try}};

	return write_marks(m) && futimens(m->file, times) == 0 &&
	    fdatasync(m->file) == 0;
}

bool
spool_remove(struct spool *s, struct message *m)
{
	return spool_mark(m) &&
	    (unlinkat(s->queue, m->id, 0) == 0 || errno == ENOENT);
}

/* What a digest is about is there under its ID and a number each. */
void
spool_forget_failed(struct spool *s, const char *id)
{
	char name[64];
	unsigned number = 0;

	if (unlinkat(s->failed, id, 0) == 0)
		return;
	do
		snprintf(name, sizeof(name), "%s.%u", id, ++number);
	while (unlinkat(s->failed, name, 0) == 0);
}

/* If it is a notice: ours say so. */
static void
forget_its_cause(struct spool *s, const struct message *m)
{
	if (!*m->sender || header_count(buf_text(&m->header), m->header.len,
			       "Auto-Submitted"))
		spool_forget_failed(s, m->id);
}

bool
spool_complete(struct spool *s, struct message *m)
{
	if (!spool_mark(m))
		return false;
	forget_its_cause(s, m);
	if (!spares_keep(&s->spares, m) &&
	    unlinkat(s->queue, m->id, 0) != 0 && errno != ENOENT)
		return false;
	forget_its_cause(s, m); /* that has found it, and come there since */
	return true;
}

void
spool_rest(struct spool *s)
{
	spares_remove(&s->spares);
}

bool
spool_set_aside_from(struct spool *s, int directory, const char *name,
    const char *as)
{
	struct stat there;

	/* Nothing is overwritten: whatever has that name came first. */
	if (fstatat(s->failed, as, &there, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return false;
	}
	return renameat(directory, name, s->failed, as) == 0 &&
	    fsync(s->failed) == 0 && fsync(directory) == 0;
}

bool
spool_set_aside(struct spool *s, const char *id, const char *as)
{
	return spool_set_aside_from(s, s->queue, id, as);
}

int64_t
spool_changed(const struct spool *s)
{
	struct stat queue;

	if (fstat(s->queue, &queue) != 0)
		return 0;
	return (int64_t)queue.st_mtim.tv_sec * 1000000000 +
	    queue.st_mtim.tv_nsec;
}

bool
spool_has(struct spool *s, const char *id)
{
	return faccessat(s->queue, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

bool
spool_next_try(struct spool *s, const char *id, time_t *when)
{
	struct stat file;

	if (fstatat(s->queue, id, &file, AT_SYMLINK_NOFOLLOW) != 0)
		return false;
	*when = file.st_mtim.tv_sec;
	return true;
}
