/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_WORK_H
#define QUEUE_WORK_H

#include "inquiry.h"
#include "listing.h"
#include "queue_command.h"

/* What the files of the queue command share, and nobody else sees. */

struct queue_work {
	const struct queue_place *place;
	struct inquiry inquiry;
	char *control; /* for inquiry, if it is not the configuration's */
	char name[32]; /* of this user, for the log: "uid 0" */
	struct asker asker;
	bool wait;     /* --wait */
	bool quiet;
};

void work_begin(struct queue_work *, const struct queue_place *);
void work_end(struct queue_work *);

/* The spool of the configuration; NULL: there is none, or who knows. */
const char *work_spool(const struct queue_work *);

/* Whether this process may look into the spool, or knows that there is nothing
 * to look into. */
bool work_may_look(const struct queue_work *);

/* Asks the daemon: on the control socket, or, where that is not for this user
 * and neither is the spool, on the public one. INQUIRY_NOBODY: there is no
 * daemon, as far as one can see; what now depends on work_may_look(). */
enum inquiry_result work_ask(struct queue_work *, const char *question,
    listing_write *, void *context);

/* Prints "program: sentence" for each line and returns the status. */
int work_complain(const struct queue_work *, const char *sentences,
    int status);

/* What the daemon answered, without "2.0.0 ". */
const char *work_reply(const struct queue_work *);

/* The exit status for what the daemon said, which is printed unless it is a
 * yes. */
int work_conclude(const struct queue_work *, enum inquiry_result);

/* Nobody answers, and this process may not do it by itself. */
int work_give_up(const struct queue_work *);

/* Logs what this process does itself, where sendmail does. */
void work_open_log(const struct queue_work *);

/* The verb RETRY: the IDs, or all if there are none. */
int work_retry(struct queue_work *, char **ids, size_t count);

#endif
