/* SPDX-License-Identifier: ISC */
#ifndef LIVENESS_H
#define LIVENESS_H

#include <stdbool.h>

/* smarthost health: 0 if a daemon answers, else 1; with relay, 1 too when
 * something is wrong with an upstream or the mail that waits. Leaves no line
 * in its log. */
int liveness(const char *config_path, bool relay);

#endif
