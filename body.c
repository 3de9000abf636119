/* SPDX-License-Identifier: ISC */
/*
 * Where the bytes of a waiting message are while nobody has said yes to it.
 * Nothing here is durable.
 */
#include "body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	MEMORY_MAX = 256 * 1024,
	MEMORY_MAX_CROWDED = 32 * 1024,
	MEMORY_MAX_TOGETHER = 16 * 1024 * 1024,
};

void
body_init(struct body *b, struct body_budget *budget)
{
	*b = (struct body){.budget = budget, .fd = -1};
}

/* A nameless file, or -1 with errno set. */
static int
open_nameless(void)
{
	const char *directory = getenv("TMPDIR");
	int fd = -1;

	if (directory && *directory)
		fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = memfd_create("smarthost", MFD_CLOEXEC);
	return fd;
}

bool
body_write_all(int fd, const void *data, size_t len)
{
	const char *next = data;

	while (len) {
		ssize_t put = write(fd, next, len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		next += put;
		len -= (size_t)put;
	}
	return true;
}

static void
account(const struct body *b, size_t taken, size_t returned)
{
	if (!b->budget)
		return;
	atomic_fetch_add(&b->budget->used, taken);
	atomic_fetch_sub(&b->budget->used, returned);
}

static size_t
memory_limit(const struct body *b)
{
	if (b->budget &&
	    atomic_load(&b->budget->used) > MEMORY_MAX_TOGETHER)
		return MEMORY_MAX_CROWDED;
	return MEMORY_MAX;
}

static bool
spill(struct body *b)
{
	int fd = b->make_file ? b->make_file(b->context, &b->base)
			      : open_nameless();

	if (fd < 0)
		return false;
	if (!body_write_all(fd, buf_text(&b->memory), b->memory.len)) {
		int saved = errno;

		close(fd);
		errno = saved;
		return false;
	}
	account(b, 0, b->memory.len);
	buf_free(&b->memory);
	b->fd = fd;
	return true;
}

bool
body_write(struct body *b, const void *data, size_t len)
{
	if (b->fd < 0 && b->memory.len + len > memory_limit(b) && !spill(b))
		return false;
	if (b->fd >= 0) {
		if (!body_write_all(b->fd, data, len))
			return false;
	} else {
		buf_add(&b->memory, data, len);
		account(b, len, 0);
	}
	b->size += len;
	return true;
}

bool
body_use_file(struct body *b, int fd, uint64_t base, uint64_t size)
{
	body_free(b);
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (b->fd < 0)
		return false;
	b->base = base;
	b->size = size;
	return true;
}

ptrdiff_t
body_read(const struct body *b, uint64_t offset, void *data, size_t len)
{
	uint64_t left = offset < b->size ? b->size - offset : 0;
	ssize_t got;

	if (len > left)
		len = (size_t)left;
	if (!len)
		return 0;
	if (b->fd < 0) {
		memcpy(data, b->memory.data + offset, len);
		return (ptrdiff_t)len;
	}
	do
		got = pread(b->fd, data, len, (off_t)(b->base + offset));
	while (got < 0 && errno == EINTR);
	if (got == 0) /* shorter than what we wrote: never send it cut */
		errno = EIO;
	return got > 0 ? got : -1;
}

void
body_free(struct body *b)
{
	account(b, 0, b->memory.len);
	buf_free(&b->memory);
	if (b->fd >= 0)
		close(b->fd);
	body_init(b, b->budget);
}
