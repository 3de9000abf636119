/* SPDX-License-Identifier: ISC */
#ifndef STAGING_H
#define STAGING_H

#include <stdbool.h>

struct buf;
struct config;
struct message;

/* The guard of a copy of production: nobody outside hears of it. */

/* Redirects the waiting recipients that [staging] allow does not name, each of
 * them with an X-Original-To field, or, without redirect, refuses them. Whether
 * there are other recipients now, or results. */
bool staging_apply(const struct config *, struct message *);

/* Appends a line that says what the guard does; nothing without one. */
void staging_add_text(struct buf *, const struct config *);

#endif
