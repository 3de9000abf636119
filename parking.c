/* SPDX-License-Identifier: ISC */
/*
 * When stored messages can be put in line; and where they wait who are due
 * while the upstreams for their senders are away or have enough to do, so that
 * the mail of others goes on. Nobody is ever parked where all senders have the
 * same route.
 */
#include <stdlib.h>

#include "clock.h"
#include "config.h"
#include "message.h"
#include "queue_internal.h"
#include "route.h"

/* Those of one route, none of whom is later than now. */
struct parking {
	uint64_t route;
	struct schedule schedule;
};

/* Whether it has enough stored messages. The first one of all goes alone, for a
 * relay that is away would be asked by each of the others too. */
static bool
is_full(const struct queue *q, size_t upstream)
{
	const struct line *line = &q->lines[upstream];
	unsigned waiting = line->lanes[LANE_STORED].waiting;

	if (!line->met)
		return waiting || line->couriers > line->idle;
	return waiting >= q->config->upstreams[upstream].connections;
}

/* When a stored message with that route can be put in line: the first upstream
 * that is worth trying would have it. While that one's line has enough of them
 * the others wait on the disk: INT64_MAX. */
static int64_t
route_opens(const struct queue *q, uint64_t route, int64_t now)
{
	int64_t first = INT64_MAX;

	for (unsigned i = 0; i < q->config->upstream_count; i++) {
		int64_t opens = line_opens(q, i, now);

		if (!(route >> i & 1))
			continue;
		if (opens <= now)
			return is_full(q, i) ? INT64_MAX : now;
		if (opens < first)
			first = opens;
	}
	return first;
}

/* The same for who is on the disk, with a sender that nobody has looked at. */
static int64_t
any_opens(const struct queue *q, int64_t now)
{
	int64_t first = INT64_MAX;

	if (!route_is_split(q->config))
		return route_opens(q, UINT64_MAX, now);
	for (size_t i = 0; i < q->config->upstream_count; i++) {
		int64_t opens = route_opens(q, UINT64_C(1) << i, now);

		first = opens < first ? opens : first;
	}
	return first;
}

/* When something stored can be tried that cannot be before open. What the disk
 * would not mark is not sent: one message that it has not marked may be that
 * file's trouble, two are the disk's. */
static int64_t
disk_opens(const struct queue *q, int64_t open)
{
	if (q->unmarked && q->unmarked->next)
		return INT64_MAX;
	return open > q->disk_opens ? open : q->disk_opens;
}

/* When to look again at those who can be put in line from then on. */
static int64_t
look_at(const struct queue *q, const struct schedule *s, int64_t opens,
    bool *now)
{
	int64_t next = schedule_next(s), time_now = clock_now();

	if (next < 0)
		return INT64_MAX;
	opens = disk_opens(q, opens);
	*now |= next <= time_now && opens <= time_now;
	return next > opens ? next : opens;
}

int64_t
parking_look(const struct queue *q, bool *now)
{
	int64_t time_now = clock_now(), next;

	*now = false;
	next = look_at(q, &q->schedule, any_opens(q, time_now), now);
	for (size_t i = 0; i < q->parked_count; i++) {
		const struct parking *p = &q->parked[i];
		int64_t at = look_at(q, &p->schedule,
		    route_opens(q, p->route, time_now), now);

		next = at < next ? at : next;
	}
	return next;
}

bool
parking_take(struct queue *q, char *id)
{
	int64_t now = clock_now();

	for (size_t i = 0; i < q->parked_count; i++) {
		struct parking *p = &q->parked[i];

		if (route_opens(q, p->route, now) <= now &&
		    schedule_take(&p->schedule, now, id))
			return true;
	}
	return schedule_take(&q->schedule, now, id);
}

bool
parking_is_passed(struct queue *q, const struct submission *s)
{
	int64_t now = clock_now();
	const struct schedule *each;

	for (size_t i = 0; (each = parking_each(q, i)); i++)
		if (schedule_next(each) >= 0 && schedule_next(each) <= now)
			return false;
	return disk_opens(q, route_opens(q, ~s->tried, now)) <= now;
}

static struct parking *
find(struct queue *q, uint64_t route)
{
	for (size_t i = 0; i < q->parked_count; i++)
		if (q->parked[i].route == route)
			return &q->parked[i];
	q->parked = xrealloc(q->parked, q->parked_count + 1,
	    sizeof(*q->parked));
	q->parked[q->parked_count] = (struct parking){.route = route};
	return &q->parked[q->parked_count++];
}

bool
parking_keeps(struct queue *q, const struct submission *s)
{
	uint64_t route = ~s->tried;
	int64_t now = clock_now();

	if (!route_is_split(q->config) || route_opens(q, route, now) <= now)
		return false;
	schedule_add(&find(q, route)->schedule, s->message->id, now);
	return true;
}

struct schedule *
parking_each(struct queue *q, size_t i)
{
	if (i == 0)
		return &q->schedule;
	return i <= q->parked_count ? &q->parked[i - 1].schedule : NULL;
}

size_t
parking_count(struct queue *q)
{
	const struct schedule *s;
	size_t count = 0;

	for (size_t i = 0; (s = parking_each(q, i)); i++)
		count += s->count;
	return count;
}

size_t
parking_hurry(struct queue *q, const struct queue_id *ids, size_t count)
{
	struct schedule *s;
	size_t found = 0;

	for (size_t i = 0; (s = parking_each(q, i)); i++)
		found += schedule_hurry(s, ids, count, clock_now());
	return found;
}

void
parking_clear(struct queue *old, struct queue *heir)
{
	char id[QUEUE_ID_SIZE];
	struct schedule *s;

	for (size_t i = 1; (s = parking_each(old, i)); i++)
		while (schedule_take(s, INT64_MAX, id))
			schedule_add(&heir->schedule, id, clock_now());
}

void
parking_free(struct queue *q)
{
	struct schedule *s;

	for (size_t i = 0; (s = parking_each(q, i)); i++)
		schedule_free(s);
	free(q->parked);
}
