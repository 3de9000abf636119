/* SPDX-License-Identifier: ISC */
/*
 * A message file in the spool, of bytes of any kind: what a disk that has lost
 * some of them may hold. What is taken for a message is a whole one: no shorter
 * file is, nor a longer one; with its marks written in place it is the same
 * message still, and so is a copy of it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "message.h"
#include "spool.h"

enum { CHOICES = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

__attribute__((noinline)) static void
require(bool holds)
{
	if (!holds)
		abort();
}

int fdatasync(int fd);
int fsync(int fd);

int
fdatasync(int fd)
{
	(void)fd;
	return 0;
}

int
fsync(int fd)
{
	(void)fd;
	return 0;
}

static struct message *
new_message(void)
{
	struct message *m = message_new(NULL, UINT64_MAX);

	memcpy(m->id, "0005f1e2d3c4b5a60123456789abcdef", QUEUE_ID_SIZE);
	m->file = memfd_create("fuzz", MFD_CLOEXEC);
	return m;
}

/* A message from the file in the first one's place; NULL: it is none. */
static struct message *
read_file(int fd, size_t size, enum load_result *result)
{
	struct message *m = new_message();

	require(dup2(fd, m->file) == m->file);
	*result = spool_read(m, (off_t)size);
	require(*result == LOADED || *result == LOAD_DAMAGED ||
	    *result == LOAD_UNKNOWN);
	if (*result == LOADED)
		return m;
	message_free(m);
	return NULL;
}

static void
require_same_text(const char *a, const char *b)
{
	require(!a == !b && (!a || !strcmp(a, b)));
}

static void
require_same_recipient(const struct recipient *a, const struct recipient *b)
{
	require(!strcmp(a->address, b->address));
	require_same_text(a->original, b->original);
	require(a->notify == b->notify);
}

static void
require_same_body(const struct message *a, const struct message *b)
{
	char *x = xmalloc(a->body.size + 1), *y = xmalloc(a->body.size + 1);
	ptrdiff_t size = (ptrdiff_t)a->body.size;

	require(b->body.size == a->body.size);
	require(body_read(&a->body, 0, x, a->body.size) == size);
	require(body_read(&b->body, 0, y, a->body.size) == size);
	require(!memcmp(x, y, a->body.size));
	free(x);
	free(y);
}

static void
require_same(const struct message *a, const struct message *b)
{
	require(!strcmp(a->sender, b->sender) && a->owner == b->owner);
	require(a->arrived_at == b->arrived_at && a->utf8 == b->utf8);
	require(a->eight_bit == b->eight_bit && a->returns == b->returns);
	require_same_text(a->envelope_id, b->envelope_id);
	require(a->recipient_count == b->recipient_count);
	for (size_t i = 0; i < a->recipient_count; i++)
		require_same_recipient(&a->recipients[i], &b->recipients[i]);
	require(a->header.len == b->header.len);
	require(!memcmp(buf_text(&a->header), buf_text(&b->header),
	    a->header.len));
	require_same_body(a, b);
}

static void
require_not_loaded(int fd, size_t size)
{
	enum load_result result;

	require(!ftruncate(fd, (off_t)size));
	require(!read_file(fd, size, &result));
}

/* The message itself is read from the file, as long as that is whole. */
static void
check(struct message *m, int fd, size_t size, size_t cut)
{
	enum load_result result;
	struct message *copy = new_message(), *again;
	off_t copied;

	require(spool_write(copy->file, m));
	copied = lseek(copy->file, 0, SEEK_END);
	again = read_file(copy->file, (size_t)copied, &result);
	require(again != NULL);
	require_same(m, again);
	message_free(again);
	message_free(copy);

	require(spool_mark(m));
	again = read_file(fd, size, &result);
	require(again != NULL);
	require_same(m, again);
	message_free(again);

	require_not_loaded(fd, size + 1);
	require_not_loaded(fd, size - 1);
	require_not_loaded(fd, cut % size);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum load_result result;
	struct message *m;
	size_t cut;
	int fd;

	if (size <= CHOICES)
		return -1;
	cut = data[0] * 256u + data[1];
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	data += CHOICES;
	size -= CHOICES;
	require(write(fd, data, size) == (ssize_t)size);
	m = read_file(fd, size, &result);
	if (m)
		check(m, fd, size, cut);
	message_free(m);
	close(fd);
	return 0;
}
