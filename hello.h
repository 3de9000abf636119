/* SPDX-License-Identifier: ISC */
#ifndef HELLO_H
#define HELLO_H

#include <stdbool.h>

#include "buf.h"

struct chat;
struct tls_trust;
struct upstream;
struct verdict;

enum feature {
	HAS_STARTTLS = 1,
	HAS_PIPELINING = 2,
	HAS_SIZE = 4,
	HAS_8BITMIME = 8,
	HAS_DSN = 16,
	HAS_SMTPUTF8 = 32,
	HAS_CHUNKING = 64,
};

/* What the last EHLO answer offered, but for what we are not to use. Zero it
 * to start; free auth. */
struct offers {
	unsigned features;
	struct buf auth; /* mechanisms, separated by blanks */
};

/* What it takes to begin a conversation. */
struct hello {
	struct chat *chat; /* connected */
	const struct upstream *upstream;
	const struct tls_trust *trust;
	struct offers *offers;
};

/* Hears the greeting, says EHLO (or HELO, where neither TLS nor a login is
 * wanted), and has TLS as the configuration demands it. What was offered
 * before TLS is forgotten. False with a verdict on the upstream. */
bool hello_open(struct hello *, struct verdict *);

#endif
