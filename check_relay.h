/* SPDX-License-Identifier: ISC */
#ifndef CHECK_RELAY_H
#define CHECK_RELAY_H

#include <stdbool.h>

#include "check_report.h"

struct config;
struct tls_trust;
struct upstream;

/* One run of the check command over one upstream after the other. */
struct check {
	struct check_report report;
	const struct config *config;
	const char *to; /* or NULL */
	bool send;      /* a message, and not only its envelope */
	int status;     /* of the first trouble */
};

/* Resolves, connects to each address, logs in, tries an envelope or sends a
 * message; shows each step as it comes. */
void check_relay(struct check *, const struct upstream *,
    const struct tls_trust *);

#endif
