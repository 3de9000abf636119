/* SPDX-License-Identifier: ISC */
#ifndef COMPOSE_H
#define COMPOSE_H

#include <stdint.h>

#include "buf.h"

struct message;
struct sendmail_options;

/* What the sendmail command is about to send. The caller sets options,
 * hostname and limit, zeroes the rest, and frees with compose_free(). */
struct draft {
	const struct sendmail_options *options;
	struct message *message;
	const char *hostname;
	uint64_t limit;  /* bytes; what is more is read, and left out */
	struct buf user; /* the calling user's name */
	unsigned notify; /* -N, see message.h */
	struct buf why;  /* what to tell the person when it fails */
};

/* Appends the name of the calling user, or "uid1000" if there is none. */
void compose_add_user(struct buf *);

/* Reads stdin to its end into a complete message with its envelope. EX_OK, or
 * the exit status, with a sentence in why. */
int compose(struct draft *);

/* The same for the recipients alone; stdin is read only with -t. */
int compose_recipients(struct draft *);
void compose_free(struct draft *);

#endif
