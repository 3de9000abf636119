/* SPDX-License-Identifier: ISC */
/*
 * What each address of the network has.
 */
#include "clients.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "clock.h"

enum {
	ABSENT_MAX = 1024, /* addresses remembered without a connection */
	MINUTE = 60 * 1000,
};

/* Enough for a person, and for a program with an old password. */
static const struct rates guesses_max = {{{20, MINUTE}, {100, 60 * MINUTE}}};

struct entry {
	uint8_t key[16];
	unsigned connections;
	int64_t left; /* when the last one ended, by an order of our own */
	struct pace messages, guesses;
};

struct clients {
	pthread_mutex_t lock;
	struct entry *entries;
	size_t count;
	size_t absent;  /* of them, without a connection */
	int64_t leaves; /* so far */
};

struct clients *
clients_new(void)
{
	struct clients *c = xcalloc(1, sizeof(*c));

	pthread_mutex_init(&c->lock, NULL);
	return c;
}

void
clients_free(struct clients *c)
{
	pthread_mutex_destroy(&c->lock);
	free(c->entries);
	free(c);
}

static struct entry *
find(struct clients *c, const uint8_t key[16])
{
	for (size_t i = 0; i < c->count; i++)
		if (memcmp(c->entries[i].key, key, 16) == 0)
			return &c->entries[i];
	return NULL;
}

static struct entry *
add(struct clients *c, const uint8_t key[16])
{
	struct entry *e;

	c->entries = xrealloc(c->entries, c->count + 1, sizeof(*e));
	e = &c->entries[c->count++];
	*e = (struct entry){.connections = 0};
	memcpy(e->key, key, 16);
	c->absent++;
	return e;
}

static bool
is_marked(const struct entry *e)
{
	static const struct pace none;

	return memcmp(&e->messages, &none, sizeof(none)) ||
	    memcmp(&e->guesses, &none, sizeof(none));
}

static void
forget(struct clients *c, struct entry *e)
{
	*e = c->entries[--c->count];
	c->absent--;
}

/* Whoever has done nothing, or else the one that has been away for longest, if
 * there are too many of those. */
static void
tidy(struct clients *c, struct entry *last)
{
	struct entry *oldest = last;

	if (!is_marked(last)) {
		forget(c, last);
	} else if (c->absent > ABSENT_MAX) {
		for (size_t i = 0; i < c->count; i++)
			if (!c->entries[i].connections &&
			    c->entries[i].left < oldest->left)
				oldest = &c->entries[i];
		forget(c, oldest);
	}
}

static bool
has_room(const struct entry *e, const struct client_limits *limits)
{
	int64_t now = clock_now();

	return pace_opens(&e->messages, &limits->messages, now) <= now;
}

bool
clients_enter(struct clients *c, const uint8_t key[16],
    const struct client_limits *limits)
{
	struct entry *e;
	bool enters;

	pthread_mutex_lock(&c->lock);
	e = find(c, key);
	if (!e)
		e = add(c, key);
	enters = has_room(e, limits) && (!limits->connections ||
	    e->connections < limits->connections);
	if (enters && !e->connections++)
		c->absent--;
	pthread_mutex_unlock(&c->lock);
	return enters;
}

void
clients_leave(struct clients *c, const uint8_t key[16])
{
	struct entry *e;

	pthread_mutex_lock(&c->lock);
	e = find(c, key);
	if (e && !--e->connections) {
		e->left = ++c->leaves;
		c->absent++;
		tidy(c, e);
	}
	pthread_mutex_unlock(&c->lock);
}

bool
clients_may_send(struct clients *c, const uint8_t key[16],
    const struct client_limits *limits)
{
	struct entry *e;
	bool may;

	pthread_mutex_lock(&c->lock);
	e = find(c, key);
	may = !e || has_room(e, limits);
	if (e && may)
		pace_count(&e->messages, &limits->messages, 1, clock_now());
	pthread_mutex_unlock(&c->lock);
	return may;
}

bool
clients_may_log_in(struct clients *c, const uint8_t key[16])
{
	int64_t now = clock_now();
	const struct entry *e;
	bool may;

	pthread_mutex_lock(&c->lock);
	e = find(c, key);
	may = !e || pace_opens(&e->guesses, &guesses_max, now) <= now;
	pthread_mutex_unlock(&c->lock);
	return may;
}

void
clients_guessed(struct clients *c, const uint8_t key[16])
{
	struct entry *e;

	pthread_mutex_lock(&c->lock);
	e = find(c, key);
	if (e)
		pace_count(&e->guesses, &guesses_max, 1, clock_now());
	pthread_mutex_unlock(&c->lock);
}
