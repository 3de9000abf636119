/* SPDX-License-Identifier: ISC */
#ifndef DROPPED_H
#define DROPPED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "message.h"

/* One file in the maildrop, known by its descriptor: whoever has left it may
 * put another one in its place. The caller sets the directory and the name,
 * fd to -1, and closes. */
struct dropped {
	int directory;
	const char *name;
	int fd;
	struct stat found;
	uid_t owner;            /* who has left it */
	uint64_t size;
	char id[QUEUE_ID_SIZE]; /* what it gets as a message: from its name,
	                         * and from when the system saw it appear */
};

/* Whether the name is a message's, or, with the other length, a queue ID. */
bool dropped_is_name(const char *name);
bool dropped_is_id(const char *name);

enum dropped_state {
	DROPPED_OPEN, /* and locked */
	DROPPED_AWAY, /* gone, or somebody else has it, or not possible now */
	DROPPED_JUNK, /* none of ours: *why says so, constant text */
};
enum dropped_state dropped_open(struct dropped *, const char **why);

/* Removes it, which is on the disk then. False with errno set. */
bool dropped_remove(const struct dropped *);
void dropped_close(struct dropped *);

/* Removes the beginning of a message that nobody goes on with. */
void dropped_remove_leftover(int directory, const char *name);

#endif
