/* SPDX-License-Identifier: ISC */
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "identity.h"

struct favourite;
struct message;
struct queue;
struct smtp_terms;
struct tls_trust;
struct upstream;
struct verdict;

/* One upstream as the couriers see it. */
struct relay {
	const struct upstream *upstream;
	const struct tls_trust *trust; /* NULL for tls = none and capture */
	struct favourite *favourite;   /* or NULL */
	bool another;                  /* relay comes after it */
	int stop_fd;                   /* -1: none */
	bool trace;                    /* the dialogue on stderr */
	struct identity identity;
};

/* How an attempt went, beyond the verdict. */
struct attempt {
	char tls[96]; /* "TLSv1.2 ...", or "" */
};

/*
 * One connection to one relay, kept from message to message: what a courier
 * owns, and what a process without couriers uses once.
 */
struct delivery;
struct delivery *delivery_new(const struct relay *);

/* Makes sure that there is a usable connection. False with a verdict on the
 * upstream. deadline (0: none) is for this call. */
bool delivery_prepare(struct delivery *, int64_t deadline, struct verdict *);

/* Offers the message, in as many transactions as its recipients need. A kept
 * connection that turns out to be dead is replaced, once, before anything is
 * counted as an attempt. */
struct submission;
void delivery_send(struct queue *, struct delivery *, struct submission *,
    const struct smtp_terms *, struct verdict *, struct attempt *);

/* Between messages, with the verdict handed over: makes the connection ready
 * for another, or hangs up. */
void delivery_rest(struct delivery *);
void delivery_free(struct delivery *);

/* Starts a courier for that upstream of the queue: a thread that takes its
 * messages until there are none for the upstream's idle time. False when the
 * system gives no thread. */
bool relay_start_courier(struct queue *, unsigned upstream);

#endif
