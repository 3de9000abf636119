/* SPDX-License-Identifier: ISC */
/*
 * The relay for development: a directory of .eml files.
 */
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "message.h"

enum {
	PIECE = 32 * 1024,
	LINE_LIMIT = 990,
};

static bool
write_body(int fd, const struct message *m)
{
	char *piece = xmalloc(PIECE);
	uint64_t offset = 0;
	ptrdiff_t got;
	bool ok = true;

	while (ok && (got = body_read(&m->body, offset, piece, PIECE)) != 0) {
		ok = got > 0 && body_write_all(fd, piece, (size_t)got);
		offset += ok ? (uint64_t)got : 0;
	}
	free(piece);
	return ok;
}

/* All recipients in one field, folded before a line gets too long. */
static void
add_envelope(struct buf *out, const struct message *m)
{
	struct buf address = {0};
	size_t line_start;

	buf_addf(out, "X-Envelope-From: %s\r\n",
	    *m->sender ? m->sender : "<>");
	line_start = out->len;
	buf_adds(out, "X-Envelope-To: ");
	for (size_t i = 0; i < m->recipient_count; i++) {
		buf_clear(&address);
		recipient_add_address(&address, &m->recipients[i]);
		buf_adds(out, i ? "," : "");
		if (out->len - line_start + address.len > LINE_LIMIT) {
			buf_adds(out, "\r\n");
			line_start = out->len;
		}
		buf_addf(out, "%s%s", i ? " " : "", address.data);
	}
	buf_adds(out, "\r\n");
	buf_free(&address);
}

static bool
write_message(int fd, const struct message *m)
{
	struct buf head = {0};
	bool ok;

	add_envelope(&head, m);
	buf_add(&head, buf_text(&m->header), m->header.len);
	buf_adds(&head, "\r\n");
	ok = body_write_all(fd, head.data, head.len) && write_body(fd, m) &&
	    fsync(fd) == 0;
	buf_free(&head);
	return ok;
}

/* Writes under a name that nobody reads, then renames. False with errno. */
static bool
store(int directory, const struct message *m)
{
	char temporary[QUEUE_ID_SIZE + 8], name[QUEUE_ID_SIZE + 8];
	int fd, error;

	snprintf(temporary, sizeof(temporary), ".%s.tmp", m->id);
	snprintf(name, sizeof(name), "%s.eml", m->id);
	unlinkat(directory, temporary, 0); /* of a crash */
	fd = openat(directory, temporary,
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	if (write_message(fd, m) &&
	    renameat(directory, temporary, directory, name) == 0 &&
	    fsync(directory) == 0) {
		close(fd);
		return true;
	}
	error = errno;
	close(fd);
	unlinkat(directory, temporary, 0);
	errno = error;
	return false;
}

void
capture_deliver(const struct upstream *u, struct message *m, struct verdict *v)
{
	int directory = open(u->directory,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (directory >= 0 && store(directory, m)) {
		verdict_set(v, SENT, SCOPE_MESSAGE, STAGE_END,
		    "2.0.0 written to %s.eml", m->id);
		v->code = 250;
	} else {
		verdict_set(v, LATER, SCOPE_UPSTREAM, STAGE_CONNECT,
		    "cannot write to directory %s: %s", u->directory,
		    strerror(errno));
	}
	if (directory >= 0)
		close(directory);
	for (size_t i = 0; i < m->recipient_count; i++)
		recipient_set(&m->recipients[i], v->outcome, v->code, v->text);
}
