/* SPDX-License-Identifier: ISC */
/*
 * Which senders wait for a person to verify them.
 */
#include "pauses.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"

enum {
	MINUTE = 60 * 1000,
	FIRST = 15 * MINUTE,
	LONGEST = 60 * MINUTE,
	COUNT_MAX = 1000, /* senders; one more and the oldest is forgotten */
};

struct pause {
	struct pause *next;
	char *sender;
	int64_t until;
	int64_t length;
	struct verdict verdict;
};

/* Where the pointer to the sender's pause is; to NULL if there is none. */
static struct pause **
find(struct pauses *p, const char *sender)
{
	struct pause **at = &p->first;

	while (*at && strcmp((*at)->sender, sender) != 0)
		at = &(*at)->next;
	return at;
}

static void
remove_at(struct pauses *p, struct pause **at)
{
	struct pause *gone = *at;

	*at = gone->next;
	free(gone->sender);
	free(gone);
	p->count--;
}

bool
pauses_hold(struct pauses *p, const char *sender, int64_t now,
    int64_t *until, struct verdict *v)
{
	struct pause *there = *find(p, sender);

	if (!there || there->until <= now)
		return false;
	*until = there->until;
	*v = there->verdict;
	return true;
}

static struct pause *
append(struct pauses *p, const char *sender)
{
	struct pause **end = &p->first, *new = xcalloc(1, sizeof(*new));

	if (p->count == COUNT_MAX)
		remove_at(p, &p->first);
	while (*end)
		end = &(*end)->next;
	new->sender = xstrdup(sender);
	*end = new;
	p->count++;
	return new;
}

void
pauses_add(struct pauses *p, const char *sender, const struct verdict *v,
    int64_t now)
{
	struct pause *there = *find(p, sender);

	/* Attempts that were under way meanwhile are part of the same
	 * refusal. */
	if (there && there->until > now)
		return;
	if (!there)
		there = append(p, sender);
	there->length = there->length ? 2 * there->length : FIRST;
	if (there->length > LONGEST)
		there->length = LONGEST;
	if (v->pause)
		there->length = v->pause;
	there->until = now + there->length;
	there->verdict = *v;
}

void
pauses_end(struct pauses *p, const char *sender)
{
	struct pause **at = find(p, sender);

	if (*at)
		remove_at(p, at);
}

void
pauses_clear(struct pauses *p)
{
	while (p->first)
		remove_at(p, &p->first);
}
