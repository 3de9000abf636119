/* SPDX-License-Identifier: ISC */
#ifndef OWNER_H
#define OWNER_H

#include <stdbool.h>
#include <sys/types.h>

struct buf;

/* If this process is root and the spool in that directory is not root's,
 * becomes its owner, user and group, for good: what root wrote into it the
 * owner could not read. Nothing happens where there is no such directory. False
 * with a sentence in why if it cannot, and the spool must then not be used. */
bool owner_become(const char *directory, struct buf *why);

/* Whether that would change who we are, and into whom. */
bool owner_is_another(const char *directory, uid_t *uid);

#endif
