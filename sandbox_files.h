/* SPDX-License-Identifier: ISC */
#ifndef SANDBOX_FILES_H
#define SANDBOX_FILES_H

#include <stdbool.h>

struct setup;

/* Confines this thread, and all that it starts, to the directories of what the
 * configuration names: whole directories, since files are replaced by renaming.
 * False with errno set if the kernel does not know how. */
bool sandbox_files(const struct setup *, const char *path);

#endif
