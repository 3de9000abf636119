/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_H
#define LOCAL_H

#include <stdbool.h>
#include <sys/types.h>

struct buf;

/* A listening unix socket and the name that it has in the file system. */
struct local {
	const char *path;
	int fd;       /* -1: it is not open */
	dev_t device; /* what was bound, so that we remove only our own */
	ino_t inode;  /* 0: nothing was; the socket was made by another */
};

/* Binds and listens; one that nobody answers on is left over from a crash and
 * makes way. False with errno set and a sentence in why. */
bool local_open(struct local *, const char *path, mode_t, struct buf *why);

/* Root, about to become that user, gives it to him. */
void local_give(const struct local *, uid_t);

/* Removes the name, if it is still ours; the descriptor is the caller's. */
void local_remove(struct local *);

#endif
