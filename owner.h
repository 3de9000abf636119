/* SPDX-License-Identifier: ISC */
#ifndef OWNER_H
#define OWNER_H

#include <stdbool.h>

struct buf;

/* Root becomes the user that a spool belongs to, for good, so that the daemon
 * can use what this process makes in it. Nothing happens to anybody else, or
 * where there is no such directory. False with a sentence in why. */
bool owner_become(const char *directory, struct buf *why);

#endif
