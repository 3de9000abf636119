/* SPDX-License-Identifier: ISC */
#ifndef CATALOGUE_H
#define CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "reply.h"

/* A set of stages. */
#define AT(stage) (1U << (stage))
#define AT_ANY (~0U)

/* Replies that providers are known for and that mean something else than their
 * code says, or of which a person wants to know more. */
struct known_reply {
	const char *who;    /* says so, for the reader */
	unsigned stages;    /* at which it is said */
	const char *codes;  /* "550 554", or "5" for all of a class */
	const char *status; /* enhanced codes, "5.4.5 5.7.500-699", of which it
	                     * has one; NULL: it need not have any */
	const char *words[3]; /* all of them are in it, in lower case */

	enum outcome outcome;
	enum scope scope;   /* below SCOPE_SENDER: what the stage makes of it */
	int64_t pause, pause_max;
	enum advice advice;
	const char *hint;   /* or NULL */
};

/* All of them, ended by one that has no who. */
extern const struct known_reply catalogue[];

/* The first row that fits a reply of this code at one of these stages, or NULL.
 * The text begins with the enhanced code, if there is one. */
const struct known_reply *catalogue_find(unsigned stages, int code,
    const char *text);

#endif
