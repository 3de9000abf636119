/* SPDX-License-Identifier: ISC */
#ifndef SPARE_H
#define SPARE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "message.h"

struct group_sync;

/*
 * Files of messages that are done, kept in incoming/ for messages to come:
 * file systems need longer to make and to remove a file than to write it. A
 * spare is locked like anything else in incoming/, and goes, at the latest,
 * when there has been nothing to do for a while.
 *
 * Its old name in queue/ must be gone from the disk before anything is written
 * into it, or a crash could leave that name with what is not its message: so
 * it waits for the next sync of queue/.
 */
struct spare {
	int fd;
	off_t size;
	unsigned sync;  /* of queue/, by its number, that it waits for */
	char name[QUEUE_ID_SIZE]; /* in incoming/ */
};

enum { SPARES_MAX = 32, SPARE_SIZE = 16 * 1024 };

struct spares {
	pthread_mutex_t lock;
	int incoming, queue; /* the directories */
	struct group_sync *commits;
	size_t count;
	struct spare list[SPARES_MAX]; /* the oldest first */
};

/* The caller sets the directories, and destroys the lock. */
void spares_init(struct spares *, struct group_sync *);

/* Takes a message's file out of queue/ to keep it, which is only worth it while
 * others are being stored. False if it is still where it was. */
bool spares_keep(struct spares *, struct message *);

/* Gives a message, which has no file yet, a spare one to be written into;
 * false if there is none. */
bool spares_take(struct spares *, struct message *);

/* Removes them all. */
void spares_remove(struct spares *);

#endif
