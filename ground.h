/* SPDX-License-Identifier: ISC */
#ifndef GROUND_H
#define GROUND_H

#include <stdbool.h>
#include <stdint.h>

/* What the spool stands on. */

/* The kind of file system when it is one that forgets at a restart: "tmpfs",
 * "ramfs", "overlayfs" (a container without a volume); else NULL. */
const char *ground_volatile_kind(const char *directory);

/* Whether the disk that this directory is on has room for that many bytes, and
 * for another file. */
bool ground_has_room(int directory, uint64_t need);

/* The bytes that it has room for; 0 if for no file at all, or who knows. */
uint64_t ground_room(int directory);

#endif
