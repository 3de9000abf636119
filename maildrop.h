/* SPDX-License-Identifier: ISC */
#ifndef MAILDROP_H
#define MAILDROP_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct message;

/*
 * The maildrop: a directory of the spool where anybody may leave a message
 * while the daemon is away, and where nobody but the daemon may look around.
 * That it is there says that this host has a daemon. In it
 *
 *     .NAME   being written; no mail
 *     NAME    a message as in queue/ (see spool.c), owned by who left it; NAME
 *             is 24 hexadecimal digits that nobody can guess
 *     ID      empty and of the spool's owner: queue/ has a new message of that
 *             queue ID, which another process has put there
 *
 * This is the side of those who leave something; intake.c is the daemon's.
 */
enum {
	DROP_NAME_LEN = 24,
	DROP_ENVELOPE_MAX = 4 * 1024 * 1024, /* bytes: some 10,000 recipients;
	                                      * what a stranger's file may
	                                      * have us keep in memory */
};

/* Makes it, in the spool of that directory, or repairs its mode; for the
 * daemon, in a spool that is its own. False with a sentence in why. */
bool maildrop_make(const char *spool, struct buf *why);

/* Leaves the message there, on stable storage. False if it could not, with a
 * sentence in why if there is a maildrop at all. spare: bytes that have to be
 * free on the disk besides. */
bool maildrop_leave(const char *spool, const struct message *, uint64_t spare,
    struct buf *why);

/* Tells the daemon that it has a new message in queue/. Where that fails, it
 * sees the message when it starts again. */
void maildrop_announce(const char *spool, const char *id);

#endif
