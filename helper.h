/* SPDX-License-Identifier: ISC */
#ifndef HELPER_H
#define HELPER_H

#include <stdbool.h>

struct buf;
struct config;

/*
 * A process of its own that runs the configured commands, so that the daemon
 * need not be able to start any program. It is asked for one by its number in
 * the list that it has had from the start, and by nothing else.
 */
struct helper;

/* Starts it, for a process without threads; it ends with this one. *out is
 * NULL where no command is configured. False with errno set. */
bool helper_start(const struct config *, struct helper **out);
void helper_free(struct helper *);

/* Whether it knows this command: one that a reload has brought in needs a
 * restart. */
bool helper_knows(const struct helper *, char *const *words);

/* As secret_read() of that command; in any thread. */
bool helper_ask(const struct helper *, char *const *words, int stop_fd,
    struct buf *out, struct buf *why);

#endif
