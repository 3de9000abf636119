/* SPDX-License-Identifier: ISC */
#ifndef LISTING_H
#define LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "view.h"

struct entry;
struct message;

/* Who asks about the queue: an administrator about everything, or somebody
 * about the messages that are his. */
struct asker {
	bool everything;
	uid_t uid;        /* whose messages, otherwise; NO_OWNER: none */
	const char *name; /* for the log: "uid 1000" */
};

/* message: NULL for one that cannot be read. */
bool asker_may_see(const struct asker *, const struct message *);

/* Takes a piece of text, lines with '\n' behind them; false: no more. */
typedef bool listing_write(void *context, const char *text, size_t len);

/*
 * Questions about a spool, answered from its files one at a time: without a
 * lock, in memory that grows with the number of messages by 16 bytes each,
 * and in order of arrival. The answer is written while it is found.
 */
struct listing {
	const char *spool; /* the directory; NULL: there is none */
	struct asker asker;
	struct standing standing;
	void (*add_sender)(void *context, const char *sender,
	    struct standing *); /* adds how a sender stands; or NULL */
	void *sender_context;
	const char *notes; /* lines to go below a list that is not JSON, above
	                    * the sum of it; or NULL */
	listing_write *write;
	void *context;
};

enum listing_form {
	LISTING_TEXT,  /* as mailq writes it */
	LISTING_JSON,  /* an array */
	LISTING_BRIEF, /* ID and a word that is another one after each try,
	                * perhaps the word paused behind */
};

/* Lists queue/, or failed/, and counts. False with errno set. */
bool listing_list(const struct listing *, enum listing_form, bool failed,
    size_t *count);

/* Shows one message, of queue/ or failed/, by its ID or that of its notice:
 * its envelope, an empty line, and its content with '\n' as line end. False
 * if there is none, or none of the asker's. */
bool listing_show(const struct listing *, const char *id);

/* Whether it is in the queue, and the asker's. */
bool listing_has(const struct listing *, const char *id);

/* Calls found for each message in the queue that is the asker's. False with
 * errno set. */
typedef void listing_found(void *context, const struct entry *);
bool listing_each(const struct listing *, bool failed, listing_found *,
    void *context);

#endif
