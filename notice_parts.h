/* SPDX-License-Identifier: ISC */
#ifndef NOTICE_PARTS_H
#define NOTICE_PARTS_H

#include <stdbool.h>

#include "buf.h"

struct message;
struct notice_settings;
struct recipient;

/* What notice.c, which makes a message of them, and notice_parts.c, which
 * fills them, share about the parts of a notice. */

/* What a notice is about. */
struct subject {
	bool (*concerns)(const struct recipient *);
	const char *title;
	const char *story;  /* goes on after "accepted on DATE, " */
	const char *action; /* RFC 3464 section 2.3.3 */
	const char *status; /* if the reply has none of its class */
};

struct notice {
	const struct subject *subject;
	const struct message *original;
	const struct notice_settings *settings;
	struct message *message;
	bool whole; /* copy is all of the original, not only its header */
	struct buf text, status, copy; /* the parts */
	struct buf boundary;
	struct buf now;
};

/* Fills copy; not more than the header when the body is too large or cannot be
 * read, and whole is false then. */
void notice_copy_original(struct notice *);

/* Fills text and status. */
void notice_describe(struct notice *);

#endif
