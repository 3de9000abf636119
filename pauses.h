/* SPDX-License-Identifier: ISC */
#ifndef PAUSES_H
#define PAUSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reply.h"

/*
 * Senders that the relay does not let send, until somebody has verified the
 * address there: each is tried again after a while, with one message. Zero it
 * to start. The caller holds the lock and brings the time (clock_now()).
 */
struct pauses {
	struct pause *first;
	size_t count;
};

/* Whether the sender has to wait, and until when; then the verdict is what the
 * relay said. */
bool pauses_hold(struct pauses *, const char *sender, int64_t now,
    int64_t *until, struct verdict *);

/* The relay has refused this sender once more. */
void pauses_add(struct pauses *, const char *sender, const struct verdict *,
    int64_t now);

/* The relay has taken a message of this sender. */
void pauses_end(struct pauses *, const char *sender);
void pauses_clear(struct pauses *);

#endif
