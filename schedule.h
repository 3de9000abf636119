/* SPDX-License-Identifier: ISC */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue_id;

/*
 * What is due when: a heap of queue IDs, 24 bytes a message, the earliest
 * first. Times are on clock_now(). Zero it to start. The caller holds the
 * lock.
 */
struct schedule {
	struct due *heap;
	size_t count, room;
};

void schedule_add(struct schedule *, const char *id, int64_t when);

/* When the earliest is due; -1 when there is none. */
int64_t schedule_next(const struct schedule *);

/* Takes the earliest out if it is due; its ID goes to id, which has room for
 * QUEUE_ID_SIZE bytes. */
bool schedule_take(struct schedule *, int64_t now, char *id);

/* The same with what has arrived before that time (in seconds since 1970, as
 * its ID says), due or not, beginning the search at *cursor, 0 at first. What
 * moves while it goes on may be passed over. */
bool schedule_take_older(struct schedule *, int64_t arrived, size_t *cursor,
    char *id);

/* Makes due at that time what would be later: everything, or, with ids, those
 * of the sorted IDs that are in it. How many it found. */
size_t schedule_hurry(struct schedule *, const struct queue_id *ids,
    size_t count, int64_t when);
void schedule_free(struct schedule *);

#endif
