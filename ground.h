/* SPDX-License-Identifier: ISC */
#ifndef GROUND_H
#define GROUND_H

/* What the spool stands on. */

/* The kind of file system when it is one that forgets at a restart: "tmpfs",
 * "ramfs", "overlayfs" (a container without a volume); else NULL. */
const char *ground_volatile_kind(const char *directory);

#endif
