/* SPDX-License-Identifier: ISC */
#ifndef CATALOG_H
#define CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "queue_id.h"
#include "spool.h"

enum { CATALOG_NAME_SIZE = QUEUE_ID_SIZE + 16 };

/*
 * The messages in one directory of a spool, queue/ or failed/, in order of
 * arrival: first their names alone, then a look at each. Takes no lock and
 * changes nothing; what goes or comes meanwhile may be missing.
 */
struct catalog {
	struct catalog_name {
		struct queue_id id;
		unsigned number; /* of "ID.NUMBER" in failed/; 0: none */
	} *names;
	size_t count;
	size_t foreign; /* names that are none of ours */
	bool failed;    /* it is failed/ */
	int directory;  /* descriptor */
};

/* One of them. */
struct entry {
	char name[CATALOG_NAME_SIZE]; /* its queue ID; in failed/ that of the
	                               * notice about it, if there is one,
	                               * perhaps with a number behind */
	bool failed;              /* it is in failed/ */
	struct message *message;  /* NULL: cannot be read */
	const char *trouble;      /* why not, constant text */
	struct stat file;
};

/* Opens queue/, or failed/, and the second one reads its names too. False with
 * errno set; a spool that is not there is an empty one. The caller frees in
 * either case. */
bool catalog_open(struct catalog *, const char *spool, bool failed);
bool catalog_read(struct catalog *, const char *spool, bool failed);
void catalog_free(struct catalog *);

void catalog_name(const struct catalog *, size_t, char[CATALOG_NAME_SIZE]);

/* Looks at one of them; the first one from outside only, without its message.
 * False if it has gone; otherwise the caller closes. */
bool entry_glance(struct entry *, const struct catalog *, const char *name);
bool entry_open(struct entry *, const struct catalog *, const char *name);
void entry_close(struct entry *);

#endif
