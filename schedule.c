/* SPDX-License-Identifier: ISC */
/*
 * What is due when, in as little memory as a million messages ask for.
 */
#include "schedule.h"

#include <stdio.h>
#include <stdlib.h>

#include "buf.h"
#include "queue_id.h"

struct due {
	int64_t when;
	uint64_t id[2]; /* the two halves of a queue ID, as numbers */
};

/* Earlier time first; of the same time, the message that arrived first. */
static bool
before(const struct due *a, const struct due *b)
{
	if (a->when != b->when)
		return a->when < b->when;
	return a->id[0] < b->id[0];
}

static void
swap(struct due *a, struct due *b)
{
	struct due t = *a;

	*a = *b;
	*b = t;
}

static void
move_up(struct schedule *s, size_t at)
{
	while (at && before(&s->heap[at], &s->heap[(at - 1) / 2])) {
		swap(&s->heap[at], &s->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
}

void
schedule_add(struct schedule *s, const char *id, int64_t when)
{
	size_t at = s->count++;

	if (s->count > s->room) {
		s->room = s->room ? s->room + s->room / 2 : 64;
		s->heap = xrealloc(s->heap, s->room, sizeof(*s->heap));
	}
	s->heap[at].when = when;
	queue_id_numbers(id, s->heap[at].id);
	move_up(s, at);
}

int64_t
schedule_next(const struct schedule *s)
{
	return s->count ? s->heap[0].when : -1;
}

static void
move_down(struct schedule *s, size_t at)
{
	size_t child;

	while ((child = 2 * at + 1) < s->count) {
		if (child + 1 < s->count &&
		    before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!before(&s->heap[child], &s->heap[at]))
			break;
		swap(&s->heap[child], &s->heap[at]);
		at = child;
	}
}

/* Takes out what is there; the last one takes its place. */
static void
take_at(struct schedule *s, size_t at, char *id)
{
	snprintf(id, QUEUE_ID_SIZE, "%016llx%016llx",
	    (unsigned long long)s->heap[at].id[0],
	    (unsigned long long)s->heap[at].id[1]);
	s->heap[at] = s->heap[--s->count];
	move_up(s, at);
	move_down(s, at);
}

bool
schedule_take(struct schedule *s, int64_t now, char *id)
{
	if (!s->count || s->heap[0].when > now)
		return false;
	take_at(s, 0, id);
	return true;
}

bool
schedule_take_older(struct schedule *s, int64_t arrived, size_t *cursor,
    char *id)
{
	const int64_t second = 1000000; /* an ID counts microseconds */
	uint64_t limit = arrived > 0 ? (uint64_t)(arrived * second) : 0;

	while (*cursor < s->count && s->heap[*cursor].id[0] >= limit)
		++*cursor;
	if (*cursor >= s->count)
		return false;
	take_at(s, *cursor, id);
	return true;
}

size_t
schedule_hurry(struct schedule *s, const struct queue_id *ids, size_t count,
    int64_t when)
{
	size_t found = 0;

	for (size_t i = 0; i < s->count; i++) {
		struct due *due = &s->heap[i];
		const struct queue_id id = {{due->id[0], due->id[1]}};

		if (ids && !bsearch(&id, ids, count, sizeof(*ids),
			queue_id_compare))
			continue;
		if (due->when > when)
			due->when = when;
		found++;
	}
	for (size_t i = s->count / 2; i-- > 0;)
		move_down(s, i);
	return found;
}

void
schedule_free(struct schedule *s)
{
	free(s->heap);
	*s = (struct schedule){0};
}
