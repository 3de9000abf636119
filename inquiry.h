/* SPDX-License-Identifier: ISC */
#ifndef INQUIRY_H
#define INQUIRY_H

#include <stdbool.h>

#include "buf.h"
#include "listing.h"

/* Where a daemon may be asked about its queue. */
struct inquiry {
	const char *control; /* paths; NULL: none */
	const char *socket;
	bool own;            /* set: it told about the asker's messages only,
	                      * because control is not for this user */
	struct buf reply;    /* the last line of its reply, without the code;
	                      * or what went wrong */
};

enum inquiry_result {
	INQUIRY_OK,
	INQUIRY_LATER,   /* it says 4xx, or broke off */
	INQUIRY_REFUSED, /* it says 5xx */
	INQUIRY_NOBODY,  /* nobody answers on control, or there is none */
};

/* Asks one question, such as "LIST JSON", over a connection of its own, and
 * passes on the lines of the answer as they come. The caller frees reply. */
enum inquiry_result inquiry_ask(struct inquiry *, const char *question,
    listing_write *, void *context);

/* The same on the socket that is for everybody: one's own messages, and
 * STATUS. */
enum inquiry_result inquiry_ask_publicly(struct inquiry *,
    const char *question, listing_write *, void *context);

#endif
