/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_ID_H
#define QUEUE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "message.h"

/* A queue ID as two numbers: for keeping a million of them, and in order. */
struct queue_id {
	uint64_t half[2];
};

/* False if the text is no queue ID. */
bool queue_id_read(struct queue_id *, const char *text);
void queue_id_write(const struct queue_id *, char text[QUEUE_ID_SIZE]);

/* For qsort() and bsearch(): in order of arrival. */
int queue_id_compare(const void *, const void *);

#endif
