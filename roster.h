/* SPDX-License-Identifier: ISC */
#ifndef ROSTER_H
#define ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which stored messages the daemon knows of, whether they are scheduled or in
 * somebody's hand, so that a look at the directory finds only what is new. A
 * set of numbers made from queue IDs, some 16 bytes a message. Zero it to
 * start. The caller holds the lock.
 */
struct roster {
	uint64_t *keys; /* 0: free */
	size_t count, room;
};

bool roster_has(const struct roster *, const char *id);

/* False if it was there already. */
bool roster_add(struct roster *, const char *id);
void roster_remove(struct roster *, const char *id);
void roster_free(struct roster *);

#endif
