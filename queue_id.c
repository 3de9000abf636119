/* SPDX-License-Identifier: ISC */
/*
 * A queue ID as two numbers.
 */
#include "queue_id.h"

#include <stdio.h>
#include <string.h>

bool
queue_id_read(struct queue_id *id, const char *text)
{
	if (strlen(text) != QUEUE_ID_SIZE - 1 ||
	    strspn(text, "0123456789abcdef") != QUEUE_ID_SIZE - 1)
		return false;
	queue_id_numbers(text, id->half);
	return true;
}

void
queue_id_write(const struct queue_id *id, char text[QUEUE_ID_SIZE])
{
	snprintf(text, QUEUE_ID_SIZE, "%016llx%016llx",
	    (unsigned long long)id->half[0], (unsigned long long)id->half[1]);
}

int
queue_id_compare(const void *a, const void *b)
{
	const struct queue_id *x = a, *y = b;

	if (x->half[0] != y->half[0])
		return x->half[0] < y->half[0] ? -1 : 1;
	return (x->half[1] > y->half[1]) - (x->half[1] < y->half[1]);
}
