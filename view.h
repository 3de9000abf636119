/* SPDX-License-Identifier: ISC */
#ifndef VIEW_H
#define VIEW_H

#include <stdbool.h>
#include <time.h>

struct buf;
struct entry;

/* What the files do not say: how the upstreams stand. A zeroed one says that
 * nobody knows. */
struct standing {
	const char *upstream; /* the one that messages go to first; or NULL */
	bool paused;          /* nothing is tried before then */
	bool hold;            /* because a person has to change something */
	time_t until;
	const char *hint;     /* for a person; constant text or NULL */
	char reason[512];     /* one printable line */
};

/* A message of the queue, for people: lines in the manner of mailq. */
void view_add_text(struct buf *, const struct entry *,
    const struct standing *);

/* All that is known of its envelope, line by line, each "Name: value". */
void view_add_envelope(struct buf *, const struct entry *,
    const struct standing *);

/* A JSON object, without a line end behind it. */
void view_add_json(struct buf *, const struct entry *,
    const struct standing *);

/* "later", "hold", or "failed" for one in failed/. */
const char *view_outcome(const struct entry *, const struct standing *);

#endif
