/* SPDX-License-Identifier: ISC */
#ifndef CATALOGUE_H
#define CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "reply.h"

/* A set of stages. */
#define AT(stage) (1U << (stage))
#define AT_ANY (AT(STAGE_END + 1) - 1)

/* Replies that providers are known for and that mean something else than their
 * code says, or of which a person wants to know more. There are many: the rows
 * are kept small. */
struct known_reply {
	uint16_t stages;    /* at which it is said */
	const char *codes;  /* "550 554", or "5" for all of a class */
	const char *status; /* enhanced codes, "5.4.5 5.7.500-699", of which it
	                     * has one; NULL: it need not have any */
	const char *words;  /* "daily+limit": both are in it, in lower case; or
	                     * NULL */

	uint8_t outcome;    /* enum outcome */
	uint8_t scope;      /* enum scope; below SCOPE_SENDER: what the stage
	                     * makes of it */
	uint8_t advice;     /* enum advice */
	int32_t pause, pause_max; /* ms */
	const char *hint;   /* or NULL */
};

/* All of them, ended by one that has no codes. */
extern const struct known_reply catalogue[];

/* The first row that fits a reply of this code at one of these stages, or NULL.
 * The text begins with the enhanced code, if there is one. */
const struct known_reply *catalogue_find(unsigned stages, int code,
    const char *text);

#endif
