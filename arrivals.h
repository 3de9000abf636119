/* SPDX-License-Identifier: ISC */
#ifndef ARRIVALS_H
#define ARRIVALS_H

#include <stdbool.h>

struct queue;

/*
 * The thread that waits for mail which other processes leave in the spool: in
 * the maildrop, where it is told of by inotify, and looks by itself once a
 * minute, since inotify may be missing or lose something.
 *
 *     a = arrivals_new(queue, stop_fd);    before the queue's clock starts
 *     queue_start(queue, &why);
 *     arrivals_start(a);
 */
struct arrivals;

/* Never fails. The queue has a spool. */
struct arrivals *arrivals_new(struct queue *, int stop_fd);

/* Starts the thread, which then owns it, counts as one of the queue's and ends
 * when stop_fd is readable; where the system gives none, that is logged. */
void arrivals_start(struct arrivals *); /* NULL: nothing */

/* For one that was not started, or NULL. */
void arrivals_free(struct arrivals *);

#endif
