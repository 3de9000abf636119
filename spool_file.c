/* SPDX-License-Identifier: ISC */
/*
 * A message's file as a whole, written and read: its envelope, which record.c
 * makes and takes apart, and its content. The format is in spool.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "message.h"
#include "record.h"
#include "spool.h"
#include "spool_internal.h"

enum {
	HEADER_MAX = 4 * 1024 * 1024,
	PIECE = 32 * 1024,
};

bool
spool_write_at(int fd, const char *data, size_t len, off_t offset)
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

/* The start of a file, which goes with the first piece of the body, and then
 * the rest of that, piece by piece. */
static bool
write_content(int fd, const struct message *m, struct buf *start)
{
	char *piece = xmalloc(PIECE);
	uint64_t at = 0;
	off_t offset = 0;
	ptrdiff_t got;
	bool ok;

	buf_add(start, buf_text(&m->header), m->header.len);
	buf_adds(start, "\r\n");
	do {
		got = body_read(&m->body, at, piece, PIECE);
		if (got > 0)
			buf_add(start, piece, (size_t)got);
		ok = got >= 0 &&
		    spool_write_at(fd, buf_text(start), start->len, offset);
		offset += (off_t)start->len;
		at += got > 0 ? (uint64_t)got : 0;
		buf_clear(start);
	} while (ok && got > 0 && at < m->body.size);
	free(piece);
	return ok;
}

bool
spool_write_as(int fd, const struct message *m, bool fresh, bool content)
{
	struct buf start = {0};
	off_t size;
	bool ok;

	record_add(&start, m, fresh);
	size = (off_t)(start.len + message_size(m));
	errno = EFBIG; /* nobody would read such an envelope again */
	ok = start.len <= RECORD_MAX &&
	    (content ? write_content(fd, m, &start)
		     : spool_write_at(fd, start.data, start.len, 0)) &&
	    (m->old_size <= size || ftruncate(fd, size) == 0) &&
	    fsync(fd) == 0;
	buf_free(&start);
	return ok;
}

bool
spool_write(int fd, const struct message *m)
{
	return spool_write_as(fd, m, true, true);
}

/* Header and body, of which the start of the file may have all that there is:
 * then they are kept in memory. */
static bool
read_content(struct message *m, const struct buf *start, size_t envelope,
    size_t header, size_t body)
{
	size_t body_at = envelope + header + 2;
	char *bytes;
	bool ok;

	if (start->len == body_at + body) {
		buf_add(&m->header, start->data + envelope, header);
		return body_write(&m->body, start->data + body_at, body);
	}
	bytes = xmalloc(header + 1);
	ok = pread(m->file, bytes, header, (off_t)envelope) ==
	    (ssize_t)header;
	buf_add(&m->header, bytes, header);
	free(bytes);
	return ok && body_use_file(&m->body, m->file, body_at, body);
}

/* Fills the message from its file. False if it is damaged. */
static bool
read_message(struct message *m, off_t file_size)
{
	uint64_t header = 0, content = 0;
	struct buf start = {0};
	size_t envelope = 0;
	char *text = record_load(m->file, RECORD_MAX, &start, &envelope);
	bool ok = text && record_read(text, m, &header, &content) &&
	    content >= header + 2 && header < HEADER_MAX &&
	    (uint64_t)file_size == envelope + content &&
	    read_content(m, &start, envelope, header, content - header - 2);

	free(text);
	buf_free(&start);
	return ok;
}

enum load_result
spool_read(struct message *m, off_t size)
{
	errno = 0;
	if (read_message(m, size))
		return LOADED;
	if (errno && errno != ERANGE) /* which a number has caused */
		return LOAD_TROUBLE;
	return record_is_other_version(m->file) ? LOAD_UNKNOWN : LOAD_DAMAGED;
}
