/* SPDX-License-Identifier: ISC */
/*
 * The spool. A directory with
 *
 *     lock        held (flock) by the daemon for life
 *     incoming/   being written; not mail yet, removed when its writer is gone
 *     queue/      mail: a file is here completely or not at all
 *     failed/     what was not delivered to everybody, under the ID of the
 *                 notice about it until that is delivered; and what is
 *                 damaged
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
 *            is owed   R refused, and a notice is on its way
 *
 * A message moves by these steps, each of which a crash may be the last:
 *
 *     step                          a crash behind it leaves
 *     write incoming/ID             a leftover, no mail
 *     fsync it, rename to queue/    mail, perhaps; nobody was told
 *     fsync queue/                  mail; from here on we may say yes
 *     relay says 250                mail that will be sent twice
 *     mark in place, fdatasync      a done message, removed at the next look
 *     unlink                        nothing
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
#include <sys/statvfs.h>
#include <unistd.h>

#include "message.h"
#include "record.h"

enum {
	ENVELOPE_MAX = 4 * 1024 * 1024,
	PIECE = 32 * 1024,
};

struct spool {
	char *path;
	int directory, incoming, queue, failed; /* descriptors */
	int lock;                               /* -1: not ours */
};

static bool
write_at(int fd, const char *data, size_t len, off_t offset)
{
	while (len) {
		ssize_t put = pwrite(fd, data, len, offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		data += put;
		offset += put;
		len -= (size_t)put;
	}
	return true;
}

/* --- Commit -------------------------------------------------------------- */

static bool
write_content(int fd, const struct message *m, off_t offset)
{
	char *piece = xmalloc(PIECE);
	uint64_t at = 0;
	ptrdiff_t got;
	bool ok = write_at(fd, buf_text(&m->header), m->header.len, offset) &&
	    write_at(fd, "\r\n", 2, offset + (off_t)m->header.len);

	offset += (off_t)m->header.len + 2;
	while (ok && (got = body_read(&m->body, at, piece, PIECE)) != 0) {
		ok = got > 0 &&
		    write_at(fd, piece, (size_t)got, offset + (off_t)at);
		at += ok ? (uint64_t)got : 0;
	}
	free(piece);
	return ok;
}

static bool
write_message(int fd, const struct message *m)
{
	struct buf envelope = {0};
	bool ok;

	record_add(&envelope, m, true);
	ok = write_at(fd, envelope.data, envelope.len, 0) &&
	    write_content(fd, m, (off_t)envelope.len) && fsync(fd) == 0;
	buf_free(&envelope);
	return ok;
}

/* A fsync that failed is never tried again: the kernel may have forgotten
 * what it could not write. */
static bool
publish(struct spool *s, const char *id)
{
	return renameat(s->incoming, id, s->queue, id) == 0 &&
	    fsync(s->queue) == 0;
}

bool
spool_commit(struct spool *s, struct message *m)
{
	int error, fd = openat(s->incoming, m->id,
	    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return false;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && write_message(fd, m) &&
	    publish(s, m->id)) {
		m->file = fd;
		return true;
	}
	error = errno;
	unlinkat(s->incoming, m->id, 0);
	unlinkat(s->queue, m->id, 0);
	close(fd);
	errno = error;
	return false;
}

/* --- Load ---------------------------------------------------------------- */

/* The envelope's text, up to and with its end; NULL if there is none. */
static char *
read_envelope(int fd, size_t *len)
{
	struct buf text = {0};
	char *piece = xmalloc(PIECE), *end = NULL;
	ssize_t got = 1;

	while (!end && got > 0 && text.len < ENVELOPE_MAX) {
		got = pread(fd, piece, PIECE, (off_t)text.len);
		if (got > 0)
			buf_add(&text, piece, (size_t)got);
		end = strstr(buf_text(&text), "\nend\n");
	}
	free(piece);
	if (!end) {
		buf_free(&text);
		return NULL;
	}
	*len = (size_t)(end - text.data) + 5;
	text.data[*len] = '\0';
	return buf_take(&text);
}

/* Whether it is a message of another version, which is not ours to judge. */
static bool
is_of_other_version(int fd)
{
	static const char own[] = "smarthost 1\n";
	char start[sizeof(own)] = "";

	return pread(fd, start, sizeof(own) - 1, 0) > 10 &&
	    strncmp(start, own, 10) == 0 && start[10] >= '0' &&
	    start[10] <= '9' && atoi(start + 10) != 1;
}

/* Fills the message from its file. False if it is damaged. */
static bool
read_message(struct message *m, off_t file_size)
{
	uint64_t header = 0, content = 0;
	size_t envelope = 0;
	char *text = read_envelope(m->file, &envelope), *bytes;
	bool ok = text && record_read(text, m, &header, &content) &&
	    content >= header + 2 && header < ENVELOPE_MAX &&
	    (uint64_t)file_size == envelope + content;

	free(text);
	if (!ok)
		return false;
	bytes = xmalloc(header + 1);
	ok = pread(m->file, bytes, header, (off_t)envelope) ==
	    (ssize_t)header;
	buf_add(&m->header, bytes, header);
	free(bytes);
	return ok && body_use_file(&m->body, m->file, envelope + header + 2,
	    content - header - 2);
}

/* Opens and locks; the name must still be that of the locked file. */
static enum load_result
open_locked(struct spool *s, const char *id, int *fd, struct stat *file)
{
	struct stat named;

	*fd = openat(s->queue, id,
	    O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd < 0)
		return errno == ENOENT ? LOAD_GONE : LOAD_TROUBLE;
	if (flock(*fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? LOAD_BUSY : LOAD_TROUBLE;
	if (fstat(*fd, file) != 0)
		return LOAD_TROUBLE;
	if (fstatat(s->queue, id, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
	    named.st_ino != file->st_ino || named.st_dev != file->st_dev)
		return LOAD_GONE;
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
	if (read_message(m, file.st_size)) {
		*out = m;
		return LOADED;
	}
	result = is_of_other_version(m->file) ? LOAD_UNKNOWN : LOAD_DAMAGED;
	message_free(m);
	return result;
}

/* --- Afterwards ---------------------------------------------------------- */

static bool
write_marks(const struct message *m)
{
	struct buf envelope = {0};
	bool ok;

	record_add(&envelope, m, false);
	ok = write_at(m->file, envelope.data, envelope.len, 0);
	buf_free(&envelope);
	return ok;
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
	return write_marks(m) && fdatasync(m->file) == 0 &&
	    unlinkat(s->queue, m->id, 0) == 0;
}

bool
spool_set_aside(struct spool *s, const char *id, const char *as)
{
	struct stat there;

	/* Nothing is overwritten: whatever has that name came first. */
	if (fstatat(s->failed, as, &there, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return false;
	}
	return renameat(s->queue, id, s->failed, as) == 0 &&
	    fsync(s->failed) == 0 && fsync(s->queue) == 0;
}

void
spool_forget_failed(struct spool *s, const char *id)
{
	(void)unlinkat(s->failed, id, 0);
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

	if (!directory)
		return -1;
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		if (!is_id(entry->d_name) || fstatat(s->queue, entry->d_name,
			&file, AT_SYMLINK_NOFOLLOW) != 0 ||
		    !S_ISREG(file.st_mode))
			foreign++;
		else
			found(context, entry->d_name, file.st_mtim.tv_sec);
	}
	closedir(directory);
	return foreign;
}

bool
spool_has_room(const struct spool *s, uint64_t need)
{
	struct statvfs room;

	if (fstatvfs(s->directory, &room) != 0)
		return false;
	return (uint64_t)room.f_bavail * room.f_frsize >= need &&
	    (room.f_files == 0 || room.f_favail > 0);
}

/* --- The directory ------------------------------------------------------- */

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
	free(s->path);
	free(s);
}

struct spool *
spool_open(const char *directory, struct buf *why)
{
	struct spool *s = xcalloc(1, sizeof(*s));

	s->path = xstrdup(directory);
	s->incoming = s->queue = s->failed = s->lock = -1;
	s->directory = open_directory(AT_FDCWD, directory);
	if (s->directory >= 0)
		s->incoming = open_directory(s->directory, "incoming");
	if (s->incoming >= 0)
		s->queue = open_directory(s->directory, "queue");
	if (s->queue >= 0)
		s->failed = open_directory(s->directory, "failed");
	if (s->failed >= 0 && can_write(s, "incoming") &&
	    can_write(s, "queue") && can_write(s, "failed") && can_lock(s))
		return s;
	buf_addf(why, "cannot use the spool %s: %s; make it, owned by the "
	    "user that runs smarthost, mount a volume there, or set [queue] "
	    "directory = none", directory, strerror(errno));
	spool_close(s);
	return NULL;
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
spool_own(struct spool *s, struct buf *why)
{
	s->lock = openat(s->directory, "lock",
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock >= 0 && flock(s->lock, LOCK_EX | LOCK_NB) == 0) {
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
