/* SPDX-License-Identifier: ISC */
#ifndef PEER_H
#define PEER_H

struct client;
struct listen_config;
struct sockaddr;

/* Says who is at the other end of an accepted connection, and whether it may
 * relay: by its address, or at a unix socket by its uid. */
void peer_identify(struct client *, int fd, const struct sockaddr *,
    const struct listen_config *);

#endif
