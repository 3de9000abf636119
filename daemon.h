/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_H
#define DAEMON_H

/* smarthost run: the daemon, in the foreground, until SIGTERM. Returns the
 * exit status. */
int daemon_run(const char *config_path);

#endif
