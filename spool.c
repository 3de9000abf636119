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

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "message.h"
#include "record.h"
#include "spool_internal.h"

enum {
	ENVELOPE_MAX = 128 * 1024 * 1024, /* for the most recipients there are */
	HEADER_MAX = 4 * 1024 * 1024,
	PIECE = 32 * 1024,
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

/* The envelope, and the content unless it is there already. */
static bool
write_message(const struct message *m, bool content)
{
	struct buf envelope = {0};
	bool ok;

	record_add(&envelope, m, true);
	ok = write_at(m->file, envelope.data, envelope.len, 0) &&
	    (!content || write_content(m->file, m, (off_t)envelope.len)) &&
	    fsync(m->file) == 0;
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

/* The message's file in incoming/, locked; its writer removes it unless it is
 * published. */
static bool
create(struct spool *s, struct message *m)
{
	int fd = openat(s->incoming, m->id,
	    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

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
	if (create(s, m) && write_at(m->file, start.data, start.len, 0) &&
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

	if ((begun || create(s, m)) && write_message(m, !begun) &&
	    publish(s, m->id)) {
		m->incoming = -1;
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

/* --- Load ---------------------------------------------------------------- */

/* Appends the next piece of the file and looks for the end of the envelope in
 * it. False when there is no more, or it is no text. */
static bool
read_piece(int fd, struct buf *text, char **end)
{
	char *piece = xmalloc(PIECE);
	size_t seen = text->len > 4 ? text->len - 4 : 0; /* half an end */
	ssize_t got = pread(fd, piece, PIECE, (off_t)text->len);

	if (got > 0)
		buf_add(text, piece, (size_t)got);
	free(piece);
	if (got <= 0)
		return false;
	*end = strstr(text->data + seen, "\nend\n");
	return *end || seen + strlen(text->data + seen) == text->len;
}

/* The envelope's text, up to and with its end; NULL if there is none. */
static char *
read_envelope(int fd, size_t *len)
{
	struct buf text = {0};
	char *end = NULL;

	while (!end && text.len < ENVELOPE_MAX && read_piece(fd, &text, &end))
		;
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
	    content >= header + 2 && header < HEADER_MAX &&
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
static void
forget_failed(struct spool *s, const char *id)
{
	char name[64];
	unsigned number = 0;

	if (unlinkat(s->failed, id, 0) == 0)
		return;
	do
		snprintf(name, sizeof(name), "%s.%u", id, ++number);
	while (unlinkat(s->failed, name, 0) == 0);
}

bool
spool_complete(struct spool *s, struct message *m)
{
	if (!spool_mark(m))
		return false;
	forget_failed(s, m->id);
	return unlinkat(s->queue, m->id, 0) == 0 || errno == ENOENT;
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

bool
spool_has(struct spool *s, const char *id)
{
	return faccessat(s->queue, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
