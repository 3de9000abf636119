/* SPDX-License-Identifier: ISC */
#ifndef REPAIR_H
#define REPAIR_H

#include <stdbool.h>

struct message;

/* What was wrong with a message as it came, and was put right: bits behind
 * those of fold.h. */
enum {
	REPAIR_STRAY = 16,  /* a bare CR is a space now */
	REPAIR_NUL = 32,    /* a NUL of the body is */
	REPAIR_BROKEN = 64, /* lines of the body over 998 bytes were broken */
	REPAIR_MIME = 128,  /* 8-bit text has got MIME fields */
};

/* Adds what there is not of MIME-Version, Content-Type and
 * Content-Transfer-Encoding to a message with bytes over 127 in its body and
 * without MIME-Version, as far as it has been read: of one that memory does not
 * hold, the header is needed before its end is known. */
void repair_add_mime(struct message *);

/* NULL, or the SMTP reply to a message that has come by here so often that it
 * will not stop: the relay sends it back to us, or is ourselves. */
const char *repair_find_loop(const struct message *, const char *hostname);

/* Whether a person may want to know what was repaired. */
bool repair_is_notable(const struct message *);

/* Logs it, if so. */
void repair_report(const struct message *);

#endif
