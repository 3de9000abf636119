/* SPDX-License-Identifier: ISC */
#ifndef DIAL_H
#define DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "reply.h"

struct addrinfo;
struct buf;
struct conn;
struct sockaddr;
struct upstream;

/* Making connections. */

/* Whether this errno says that we have run out of something ourselves, which
 * is no news about who we wanted to talk to. */
bool dial_is_shortage(int error);

/* The verdict, at that stage, on what has failed with such an errno: it is on
 * the upstream, or in a shortage, and when we stop (ECANCELED), on this message
 * alone, so that nobody takes the relay for away. */
void dial_blame(struct verdict *, enum stage, int error, const struct buf *why);

/* All addresses of the relay, in the system's order and of the configured
 * family; looked up anew at each call. The caller frees with freeaddrinfo().
 * NULL with a sentence in why, and errno set if it is a shortage, else 0. */
struct addrinfo *dial_resolve(const struct upstream *, struct buf *why);

/* Connects to one address before the deadline; NULL with a sentence, the
 * address in it, appended to why, and errno set. */
struct conn *dial_tcp(const struct upstream *, const struct addrinfo *,
    int64_t deadline, int stop_fd, struct buf *why);

/* Connects to a unix socket; NULL with errno set. */
struct conn *dial_unix(const char *path, int stop_fd);

/* Appends "192.0.2.1:25" or "[2001:db8::1]:25". */
void dial_add_address(struct buf *, const struct sockaddr *);

/* Appends our own end of the connection as an address literal (RFC 5321
 * section 4.1.3): "[192.0.2.1]" or "[IPv6:2001:db8::1]". */
void dial_add_local_literal(struct buf *, const struct conn *);

#endif
