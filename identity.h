/* SPDX-License-Identifier: ISC */
#ifndef IDENTITY_H
#define IDENTITY_H

#include "config.h"
#include "message.h"

/* As whom mail is sent through one upstream. The strings are the
 * configuration's. */
struct identity {
	const char *domain;   /* completes addresses; NULL: they stay */
	const char *from;     /* replaces senders, as rewrite says */
	enum rewrite rewrite;
	const char *add_header;    /* whole lines, or NULL */
	const char *remove_header; /* names, a blank between two; or NULL */
};

struct identity identity_of(const struct config *, const struct upstream *);

/* A message as it is said to a relay. Whatever is not changed belongs to the
 * stored one: recipients, whose results go there, body, most headers. */
struct outgoing {
	struct message message;
	char *sender;      /* made here, or NULL */
	struct buf header; /* made here; empty: the stored one's */
};

/* What is sent instead of m: sender and header with addresses completed and
 * replaced. m is not changed, but for the domain that its recipients are given
 * on the way, and must outlive the result; identity too. Every byte of the
 * header that is not part of such an address stays as it is; nothing is copied
 * if nothing changes. Cannot fail. The caller frees with outgoing_free(). */
struct message *identity_render(const struct identity *, struct message *m,
    struct outgoing *);
void outgoing_free(struct outgoing *);

/* Whether an address has no domain that means the same everywhere: none, one
 * without a dot, or localhost. */
bool identity_is_unqualified(const char *address);

#endif
