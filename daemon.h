/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_H
#define DAEMON_H

#include <stdbool.h>

/* smarthost run: the daemon, in the foreground, until SIGTERM. Returns the
 * exit status. */
int daemon_run(const char *config_path);

/* smarthost health: 0 if a daemon answers, else 1; with relay, 1 too when
 * something is wrong with an upstream or the mail that waits. Leaves no line
 * in its log. */
int daemon_health(const char *config_path, bool relay);

#endif
