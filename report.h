/* SPDX-License-Identifier: ISC */
#ifndef REPORT_H
#define REPORT_H

#include <stdint.h>

#include "health.h"

struct attempt;
struct message;
struct upstream;
struct verdict;

/* The log lines of an attempt: sent, deferred or refused, one a recipient. */
void report_results(const struct message *, const struct upstream *,
    const struct verdict *, const struct attempt *);

/* The log line of one that is kept: queued or held. */
void report_kept(const char *id, const char *sender, const struct verdict *);

/* The log line of a message that we have said yes to. client: who brought
 * it. */
void report_accepted(const char *id, const char *sender,
    const char *recipients, uint64_t size, const char *client);

/* upstream_down and upstream_up. */
void report_health(enum health_change, const struct upstream *,
    const struct verdict *);

#endif
