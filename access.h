/* SPDX-License-Identifier: ISC */
#ifndef ACCESS_H
#define ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct sockaddr;

/* A network; IPv4 is kept as ::ffff:a.b.c.d, so that an IPv4-mapped address
 * and the plain one are the same to every rule. */
struct network {
	uint8_t address[16];
	unsigned bits; /* of 128 */
};

/* Who may use the listener. A zeroed struct lets only loopback in. */
struct access {
	struct network *networks;
	size_t count;
	bool anyone;
};

/* Adds one word: CIDR, an address, "private" (10/8, 172.16/12, 192.168/16,
 * 100.64/10, 169.254/16, fc00::/7, fe80::/10), "loopback" or "anyone".
 * false with half a sentence about the word in why ("is not ..."). */
bool access_add(struct access *, const char *word, struct buf *why);

/* Whether that peer may relay. Loopback always may. */
bool access_allows(const struct access *, const struct sockaddr *);

/* Whether a network in it is so wide that strangers must be meant: less than 8
 * bits of IPv4, or than 16 of IPv6 outside of what is private there. */
bool access_is_open(const struct access *);

/* 127/8, ::1, ::ffff:127/104, and a unix socket: there is no nearer peer. */
bool access_is_loopback(const struct sockaddr *);

/* The peer's address as 16 bytes, to count by: IPv4 as above, and of IPv6 the
 * network of 64 bits, since whoever has one address there has all of them.
 * False for a family without addresses. */
bool access_key(const struct sockaddr *, uint8_t key[16]);

/* The struct is as good as new. */
void access_free(struct access *);

#endif
