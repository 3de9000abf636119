/* SPDX-License-Identifier: ISC */
#ifndef CHECK_HINT_H
#define CHECK_HINT_H

#include <stdbool.h>

struct buf;
struct upstream;
struct verdict;

/* Appends what a person can do about an upstream that cannot be resolved, or
 * about such a verdict of a conversation with it; nothing where the sentence
 * itself says it. v6: it is about an IPv6 address. */
void check_hint_resolve(struct buf *, const struct upstream *);
void check_hint(struct buf *, const struct upstream *, const struct verdict *,
    bool v6);

#endif
