/* SPDX-License-Identifier: ISC */
#ifndef SAME_FILE_H
#define SAME_FILE_H

#include <stdbool.h>

struct stat;

/* Whether a file is the same, with the same content, as when it was looked at
 * before, as far as that can be seen without reading it. */
bool same_file(const struct stat *, const struct stat *);

#endif
