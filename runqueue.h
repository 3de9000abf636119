/* SPDX-License-Identifier: ISC */
#ifndef RUNQUEUE_H
#define RUNQUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct queue_id;
struct setup;

/* What to try, and what was left of it. */
struct run {
	const struct queue_id *ids;
	size_t count;
	bool quiet;
	size_t left;
};

/* Where there is no daemon: tries stored messages from this process, each
 * once, with the couriers that the daemon would have, and keeps the spool for
 * itself as long as that takes. ids, sorted: only these; NULL: all there are,
 * and what is in the maildrop.
 * What somebody else has locked is left to him; when no upstream can be tried
 * any more, when a daemon wants the spool, or at SIGTERM and the like, the rest
 * stays as it is.
 *
 * Root becomes the owner of the spool. The configuration has been read, and
 * has a spool. Shows progress on stderr if asked to. EX_OK when that was done:
 * left says how many of them are still in the queue, and why, if an upstream
 * is away or a daemon has come, what is the matter. Otherwise another status,
 * with a sentence. */
int runqueue(struct setup *, struct run *, struct buf *why);

#endif
