/* SPDX-License-Identifier: ISC */
#ifndef FORWARDS_H
#define FORWARDS_H

#include <stdbool.h>

struct config;
struct message;

/*
 * Who a message is for: names of this host become the addresses that aliases
 * and local_to give them, each a recipient with a result of its own. Shared by
 * all threads.
 */
struct forwards;

/* Never fails. The configuration must outlive it. */
struct forwards *forwards_new(const struct config *);
void forwards_free(struct forwards *);

/* Gives the waiting recipients that are names of this host the addresses of
 * those who read their mail; the aliases file is read again if it has changed.
 * A name that nothing says anything about gets HOLD for a result, and is
 * unrouted. Whether there are other recipients now than before. */
bool forwards_apply(struct forwards *, struct message *);

/* Whether one of its recipients is unrouted: nobody can be asked about it. */
bool forwards_has_unrouted(const struct message *);

/* Who, and what to do. */
struct verdict;
void forwards_explain(const struct message *, struct verdict *);

#endif
