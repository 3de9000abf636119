/* SPDX-License-Identifier: ISC */
#ifndef DROP_H
#define DROP_H

#include "spool.h"

struct asker;

struct buf;

/* Takes a message out of the queue because somebody wants it gone, under its
 * lock; nobody is told, but the log. LOADED: done. LOAD_GONE too when it is
 * not the asker's; LOAD_BUSY: it is in delivery now; LOAD_TROUBLE: errno. */
enum load_result drop_message(struct spool *, const char *id,
    const struct asker *);

/* A sentence about that. */
void drop_explain(struct buf *, const char *id, enum load_result);

#endif
