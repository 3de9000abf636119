/* SPDX-License-Identifier: ISC */
#ifndef REPORT_H
#define REPORT_H

#include <stdint.h>

#include "health.h"

struct attempt;
struct message;
struct upstream;
struct verdict;

/* The log lines of an attempt: sent, deferred or refused, one a recipient.
 * What is final for one is said once, and not again with what becomes of the
 * others later. */
void report_results(struct message *, const struct upstream *,
    const struct verdict *, const struct attempt *);

/* Only those of them that are final. */
void report_final(struct message *, const struct upstream *,
    const struct verdict *, const struct attempt *);

/* The log line of one that is kept: queued or held. */
void report_kept(const char *id, const char *sender, const struct verdict *);

/* Who has brought a message, and how. */
struct report_source {
	const char *client; /* "192.0.2.1:4711", "uid 1000" */
	const char *tls;    /* "TLSv1.2 ...", or NULL */
	const char *user;   /* who has logged in, or NULL */
};

/* The log line of a message that we have said yes to. */
void report_accepted(const char *id, const char *sender,
    const char *recipients, uint64_t size, const struct report_source *);

/* upstream_down and upstream_up. */
void report_health(enum health_change, const struct upstream *,
    const struct verdict *);

#endif
