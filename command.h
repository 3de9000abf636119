/* SPDX-License-Identifier: ISC */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

/*
 * What MAIL and RCPT say. The caller sets the first group, zeroes the rest,
 * and frees with command_free(). Strings are as they came.
 */
struct command {
	uint64_t max_message; /* the most that SIZE may say */
	bool dsn;             /* the DSN parameters are offered */
	bool auth;            /* AUTH may be said of the sender */
	bool utf8;            /* MAIL has asked for SMTPUTF8; it sets this, and
	                       * the caller hands it to RCPT */

	struct buf mailbox;     /* empty: the null sender */
	uint64_t size;          /* SIZE; 0: not said */
	char returns;           /* RET: 'F', 'H', or 0 */
	struct buf envelope_id; /* ENVID, or empty */
	unsigned notify;        /* NOTIFY, see message.h; 0: not said */
	struct buf original;    /* ORCPT, or empty */
};

/* The arguments of MAIL and RCPT, as pure functions. Each takes what stands
 * behind the verb, and returns NULL, or the SMTP reply that refuses the
 * command; what it has put into the struct means nothing then. */

/* FROM:<path> [SIZE=n] [BODY=7BIT|8BITMIME] [SMTPUTF8] [RET=FULL|HDRS]
 * [ENVID=xtext] [AUTH=xtext], which is forgotten (RFC 5321, 1870, 6152, 6531,
 * 3461, 4954) */
const char *command_mail(struct command *, const char *arguments);

/* TO:<path> [NOTIFY=...] [ORCPT=type;xtext] (RFC 5321, 3461) */
const char *command_rcpt(struct command *, const char *arguments);
void command_free(struct command *);

#endif
