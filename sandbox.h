/* SPDX-License-Identifier: ISC */
#ifndef SANDBOX_H
#define SANDBOX_H

struct setup;

/*
 * What the daemon gives up once its sockets are bound, its spool is open and
 * the process that runs commands has been started: privileges, all files but
 * those that the configuration leads to, and all system calls but those that
 * serving mail takes. What the kernel does not know is done without, with a
 * line in the log. For a process without threads.
 */

/* path: of the configuration, or NULL. */
void sandbox_enter(const struct setup *, const char *path);

#endif
