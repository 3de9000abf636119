/* SPDX-License-Identifier: ISC */
#ifndef ROUTE_H
#define ROUTE_H

#include <stdbool.h>
#include <stdint.h>

struct config;

/*
 * Which upstreams a sender's mail may go to: those whose senders have a pattern
 * for him; if there is none, those without senders. A route is a set of bits:
 * 1 << i is upstream i of the configuration.
 */

/* sender is the envelope's; one without a domain is completed as on the way
 * out, and the null one is "<>" to the patterns. */
uint64_t route_of(const struct config *, const char *sender);

/* Whether one of the patterns, with a blank between two, is for the address. */
bool route_matches(const char *patterns, const char *address);

/* Whether not all senders have the same route. */
bool route_is_split(const struct config *);

/* The first upstream of a route; 0 if it is empty. */
unsigned route_first(uint64_t route);

#endif
