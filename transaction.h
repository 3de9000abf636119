/* SPDX-License-Identifier: ISC */
#ifndef TRANSACTION_H
#define TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>

struct answer;
struct chat;
struct message;
struct offers;
struct recipient;
struct verdict;

/* One mail transaction: the recipients still waiting, and what was said. */
struct transaction {
	struct chat *chat;
	const struct offers *offers;
	struct message *message;
	bool all_or_nothing;    /* one refused recipient: nobody gets it */
	bool envelope_only;     /* no DATA: whether it would be let in */
	bool eager;             /* one round trip, where that can be */
	size_t recipients_max;  /* of those waiting, the first; 0: all */
	bool left_open;         /* the relay needs a RSET before the next one */

	struct recipient **recipients; /* NULL: has left it */
	size_t count;
	bool utf8;              /* MAIL says SMTPUTF8 */
	bool data_asked;        /* DATA went with the envelope */
	bool chunk_asked;       /* or all of the content did */
	struct answer *answers; /* to MAIL, each RCPT, DATA or BDAT */
};

/* Envelope, body, final dot, for the waiting recipients of the message. The
 * first eight fields are the caller's. Each recipient that was told something
 * gets its result; the verdict sums up, and holds for those who were told
 * nothing. But where the relay spoke of itself (SCOPE_UPSTREAM), those without
 * a final result are waiting still. Whatever fails, no dot is sent behind a
 * broken body. */
void transaction_run(struct transaction *, struct verdict *);

#endif
