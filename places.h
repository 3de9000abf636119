/* SPDX-License-Identifier: ISC */
#ifndef PLACES_H
#define PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Who may have how many connections at a time. Of max_clients places two are
 * for the unix socket alone; there a user may have a quarter of all, but root
 * and the daemon's own user as many as there are; and two more, on top, are
 * only for these. So neither the network nor one user of the host can keep the
 * others out, and nobody can keep out whoever looks after the daemon.
 * Pure state: the caller holds the lock.
 */
struct places {
	unsigned max_clients;
	uid_t own;            /* the daemon's user */
	unsigned taken;
	struct share *shares; /* of the users who have one */
	size_t count;
};

void places_open(struct places *, unsigned max_clients, uid_t own);
void places_free(struct places *);

/* Takes a place for a client of the network, or of the unix socket with its
 * uid. False if there is none for it. */
bool places_take(struct places *, bool local, uid_t);

/* Gives it back, with what was said then. */
void places_leave(struct places *, bool local, uid_t);

#endif
