/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_H
#define DAEMON_H

/* smarthost run: the daemon, in the foreground, until SIGTERM. Returns the
 * exit status. */
int daemon_run(const char *config_path);

/* smarthost health: 0 if a daemon answers, else 1. Leaves no line in its
 * log. */
int daemon_health(const char *config_path);

#endif
