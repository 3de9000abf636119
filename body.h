/* SPDX-License-Identifier: ISC */
#ifndef BODY_H
#define BODY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* The memory that all waiting messages share. Zero it to start. */
struct body_budget {
	atomic_size_t used;
};

/*
 * Content of any size in bounded memory: up to 256 KiB are kept in memory
 * (32 KiB once all waiting messages together hold 16 MiB), more goes to a file:
 * the one that make_file gives, or else an unlinked one in TMPDIR or /tmp, or,
 * where neither can be written (a container without a /tmp), to anonymous
 * memory.
 */
struct body {
	struct body_budget *budget; /* or NULL */
	/* Returns a descriptor that stands at *base, where the content belongs
	 * and where nothing follows; or -1 with errno set. May be NULL. */
	int (*make_file)(void *context, uint64_t *base);
	void *context;
	struct buf memory;
	int fd;        /* -1 while in memory */
	uint64_t base; /* where it begins in that file */
	uint64_t size;
};

void body_init(struct body *, struct body_budget *);

/* Appends; false with errno set when it cannot be stored. */
bool body_write(struct body *, const void *data, size_t len);

/* Makes it the size bytes at base of a file, which is duplicated; false with
 * errno set when that fails. */
bool body_use_file(struct body *, int fd, uint64_t base, uint64_t size);
/* Writes everything, however many calls it takes; false with errno set. */
bool body_write_all(int fd, const void *data, size_t len);

/* Reads up to len bytes at offset; the count, 0 at the end, -1 with errno. */
ptrdiff_t body_read(const struct body *, uint64_t offset, void *, size_t len);
void body_free(struct body *);

#endif
