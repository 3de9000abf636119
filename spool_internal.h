/* SPDX-License-Identifier: ISC */
#ifndef SPOOL_INTERNAL_H
#define SPOOL_INTERNAL_H

#include <sys/types.h>

#include "group_sync.h"
#include "spare.h"

/* What spool.c (the states), spool_file.c (a file) and directory.c (the
 * directories) share. */

struct spool {
	char *path;
	int directory, incoming, queue, failed; /* descriptors */
	int lock;                               /* -1: not ours */
	uid_t owner;                            /* of the queue */
	struct group_sync commits;              /* syncs of queue/ */
	struct spares spares;
};

/* --- spool_file.c --------------------------------------------------------- */

/* All of it, there. False with errno set. */
bool spool_write_at(int fd, const char *data, size_t len, off_t offset);

/* The envelope, with all results or as a fresh one (see record.h), and the
 * content unless it is there already; and waits for the disk. False with errno
 * set. */
bool spool_write_as(int fd, const struct message *, bool fresh, bool content);

/* --- directory.c ---------------------------------------------------------- */

/* Opens, or makes, those of the directories that somebody has removed, unless
 * another thread has done so. Whether a call that has just failed may have
 * failed for that, and is worth another try; errno stays as it was. */
bool spool_renew(struct spool *);

#endif
