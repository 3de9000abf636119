/* SPDX-License-Identifier: ISC */
#ifndef LOCK_H
#define LOCK_H

#include <stdbool.h>

/* The lock of the one process that has a spool to itself: the daemon for its
 * life, or a run through the queue. directory is the spool's descriptor. */

/* Takes it; a descriptor that holds it until it is closed. -1 with errno set,
 * EWOULDBLOCK if somebody else has it. */
int lock_take(int directory);

/* Whether somebody has it. Looks only: trying to take it could make a daemon
 * fail that starts just then. */
bool lock_is_held(int directory);

#endif
