/* SPDX-License-Identifier: ISC */
#ifndef GENERATION_H
#define GENERATION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "setup.h"

struct queue;

/* A configuration, what it refers to, and the queue that works by it. */
struct generation {
	struct setup setup;
	struct queue *queue; /* NULL before it is made */
	unsigned sessions;   /* that it serves */
	struct generation *newer;
};

/*
 * What the daemon serves by: the newest generation, and after a reload those
 * before it that somebody still uses. One lock for the list and the counts.
 */
struct generations {
	pthread_mutex_t lock;
	struct generation *oldest, *newest;
};

/* With one generation, all zero, for the caller to fill. */
void generations_init(struct generations *);
void generations_free(struct generations *);

/* The newest generation, which stays until generation_leave(). */
struct generation *generation_enter(struct generations *);
void generation_leave(struct generations *, struct generation *);

/* Has a complete one, from malloc(), take over: its queue from the newest
 * one's. False if the system gives no thread; then nothing has happened. */
bool generations_replace(struct generations *, struct generation *);

/* Frees those before the newest that nobody uses any more; false if some are
 * left. */
bool generations_sweep(struct generations *);

/* Stops every queue; and waits until the last courier of each has left: false
 * when the time is over. */
void generations_stop(struct generations *);
bool generations_wait_for_couriers(struct generations *, int64_t deadline);

void generation_free(struct generation *);

#endif
