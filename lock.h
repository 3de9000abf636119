/* SPDX-License-Identifier: ISC */
#ifndef LOCK_H
#define LOCK_H

#include <stdbool.h>

/* The lock of the one process that has a spool to itself: the daemon for its
 * life, or a run through the queue, which ends early when a daemon waits to be
 * its heir. directory is the spool's descriptor. */
enum lock_role {
	LOCK_DAEMON,
	LOCK_RUN,
	LOCK_HEIR,
};

/* Takes it; a descriptor that holds it until it is closed. -1 with errno set,
 * EWOULDBLOCK if somebody else has it. */
int lock_take(int directory, enum lock_role);

/* Says that a daemon waits for it, until the descriptor is closed; -1 with
 * errno set. */
int lock_wait(int directory);

/* Whether somebody has it; and whether there is somebody in that role. Looks
 * only: trying to take it could make a daemon fail that starts just then. */
bool lock_is_held(int directory);
bool lock_is_held_by(int directory, enum lock_role);

#endif
