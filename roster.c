/* SPDX-License-Identifier: ISC */
/*
 * A hash table with open addressing. A queue ID has 64 random bits, so it is
 * its own hash; that two of a million messages share a key has a chance of one
 * in 30 million, and then one of them waits for the next start.
 */
#include "roster.h"

#include <stdlib.h>

#include "buf.h"
#include "message.h"

static uint64_t
key_of(const char *id)
{
	uint64_t numbers[2], key;

	queue_id_numbers(id, numbers);
	/* The arrival counts too: IDs made by hand may differ only there. */
	key = numbers[1] ^ numbers[0] * UINT64_C(0x9e3779b97f4a7c15);
	return key ? key : 1;
}

/* Where the key is, or the free place where it belongs. */
static size_t
find(const struct roster *r, uint64_t key)
{
	size_t at = key & (r->room - 1);

	while (r->keys[at] && r->keys[at] != key)
		at = (at + 1) & (r->room - 1);
	return at;
}

static void
grow(struct roster *r)
{
	struct roster old = *r;

	r->room = old.room ? 2 * old.room : 64;
	r->keys = xcalloc(r->room, sizeof(*r->keys));
	for (size_t i = 0; i < old.room; i++)
		if (old.keys[i])
			r->keys[find(r, old.keys[i])] = old.keys[i];
	free(old.keys);
}

bool
roster_has(const struct roster *r, const char *id)
{
	return r->room && r->keys[find(r, key_of(id))];
}

bool
roster_add(struct roster *r, const char *id)
{
	uint64_t key = key_of(id);
	size_t at;

	if (r->count + 1 > r->room / 4 * 3)
		grow(r);
	at = find(r, key);
	if (r->keys[at])
		return false;
	r->keys[at] = key;
	r->count++;
	return true;
}

/* What stands behind the hole and was put there only because the place was
 * taken moves up, or it would not be found any more. */
void
roster_remove(struct roster *r, const char *id)
{
	size_t mask = r->room - 1, hole, at;

	if (!roster_has(r, id))
		return;
	hole = find(r, key_of(id));
	for (at = (hole + 1) & mask; r->keys[at]; at = (at + 1) & mask) {
		size_t home = r->keys[at] & mask;

		if (((at - home) & mask) >= ((at - hole) & mask)) {
			r->keys[hole] = r->keys[at];
			hole = at;
		}
	}
	r->keys[hole] = 0;
	r->count--;
}

void
roster_free(struct roster *r)
{
	free(r->keys);
	*r = (struct roster){0};
}
