/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_COMMAND_H
#define QUEUE_COMMAND_H

#include <stdbool.h>

struct buf;
struct setup;

/* What a command knows of where the queue is. */
struct queue_place {
	const char *program; /* for error sentences: "smarthost", "mailq" */
	struct setup *setup; /* NULL: this process has no configuration, */
	const char *why;     /* for this reason */
};

/* smarthost queue: argv[0] is that word. Returns the exit status. */
int queue_command(int argc, char **argv, const char *config);

/* mailq and sendmail -bp. */
int queue_command_list(const struct queue_place *);

/* sendmail -q: has everything tried, or the message with that ID. EX_OK when
 * the daemon was told, or the run is over. */
int queue_command_run(const struct queue_place *, const char *id);

/* smarthost health --relay: whether nothing is wrong that a person should look
 * at: an upstream that is away, mail that is held, a failed message. False
 * with a sentence. */
bool queue_command_health(const struct queue_place *, struct buf *why);

#endif
