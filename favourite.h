/* SPDX-License-Identifier: ISC */
#ifndef FAVOURITE_H
#define FAVOURITE_H

struct addrinfo;

/*
 * Which address of a relay served last: it is tried first, so that one that is
 * away costs time once and not for every connection. All couriers of a relay
 * share one. Thread safe.
 */
struct favourite;
struct favourite *favourite_new(void);
void favourite_free(struct favourite *); /* NULL is fine */

/* The one in the list that is the favourite; NULL if none is. */
const struct addrinfo *favourite_of(struct favourite *,
    const struct addrinfo *list);
void favourite_set(struct favourite *, const struct addrinfo *);

#endif
