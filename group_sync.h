/* SPDX-License-Identifier: ISC */
#ifndef GROUP_SYNC_H
#define GROUP_SYNC_H

#include <pthread.h>
#include <stdbool.h>

/*
 * One fsync() for everybody who waits for it at the same time. A sync serves
 * only those who asked before it began; who asks while one is under way waits
 * for the next.
 */
struct group_sync {
	pthread_mutex_t lock;
	pthread_cond_t ended[2];     /* of the even syncs, of the odd ones */
	struct sync_waiter *waiting; /* for a sync that has not begun */
	unsigned number;             /* of that sync */
	unsigned ended_before;       /* what has a smaller number has ended */
	bool busy;                   /* one is under way */
	bool failed;                 /* once was enough */
};

void group_sync_init(struct group_sync *);
void group_sync_destroy(struct group_sync *);

/* Returns when a sync of that descriptor, the same for all callers, has ended
 * that began behind this call. False with errno set if it failed, for everybody
 * whom it was to serve. */
bool group_sync(struct group_sync *, int fd);

/* Whether somebody waits for one. */
bool group_sync_is_busy(struct group_sync *);

/* The number of the next sync that will begin, and whether the one with that
 * number has ended well; never again, when one has failed. */
unsigned group_sync_next(struct group_sync *);
bool group_sync_is_done(struct group_sync *, unsigned number);

#endif
