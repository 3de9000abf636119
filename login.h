/* SPDX-License-Identifier: ISC */
#ifndef LOGIN_H
#define LOGIN_H

#include <stdbool.h>

struct chat;
struct upstream;
struct verdict;

/* Logs in to the relay (RFC 4954) with the configured mechanism, or the best
 * of those offered: the words behind AUTH in the last EHLO answer, separated
 * by blanks; "" if there were none. One try. False with a verdict, which is
 * never final for a message and never holds a secret. */
bool login(struct chat *, const struct upstream *, const char *offered,
    struct verdict *);

#endif
