/* SPDX-License-Identifier: ISC */
#ifndef WAYS_H
#define WAYS_H

#include <stdbool.h>
#include <sys/types.h>

#include "compose.h"
#include "reply.h"
#include "sendmail_options.h"
#include "setup.h"

/* One call of the sendmail command. */
struct job {
	struct sendmail_options options;
	struct draft draft;
	struct setup setup;   /* if the configuration could be read */
	bool configured;
	bool daemon_may_read; /* what this process may not */
	struct buf config_error;
	char hostname[256];
	uid_t uid;            /* of the caller */
	bool has_log;         /* it is open */
	bool prepared;        /* relays are ready to be used */
	struct verdict verdict; /* what the daemon or the relay said last */
	bool by_daemon;         /* the daemon */
};

/* The daemon's socket, or NULL where there is to be none. */
const char *ways_socket(const struct job *);

/* Sends the draft's message by the first way that takes it: to the daemon, into
 * the spool after one attempt, into the maildrop, or to the relay. Returns the
 * exit status; unless it is EX_OK, draft.why says what was tried. One line on
 * stderr for a message that waits for a person. */
int ways_submit(struct job *);

#endif
