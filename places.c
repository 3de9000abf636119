/* SPDX-License-Identifier: ISC */
/*
 * Who may have how many connections at a time.
 */
#include "places.h"

#include <stdlib.h>

#include "buf.h"

enum {
	LOCAL_PLACES = 2,   /* that only the unix socket may use */
	KEEPER_PLACES = 2,  /* on top, for root and our own user */
	SHARES = 4,         /* a user may have one of so many parts */
	SHARE_LEAST = 2,
};

struct share {
	uid_t uid;
	unsigned taken;
};

void
places_open(struct places *p, unsigned max_clients, uid_t own)
{
	*p = (struct places){.max_clients = max_clients, .own = own};
}

void
places_free(struct places *p)
{
	free(p->shares);
}

static struct share *
find_share(struct places *p, uid_t uid)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->shares[i].uid == uid)
			return &p->shares[i];
	return NULL;
}

static bool
is_keeper(const struct places *p, uid_t uid)
{
	return uid == 0 || uid == p->own;
}

static bool
has_share_left(struct places *p, uid_t uid)
{
	const struct share *share = find_share(p, uid);
	unsigned most = p->max_clients / SHARES;

	if (most < SHARE_LEAST)
		most = SHARE_LEAST;
	return is_keeper(p, uid) || !share || share->taken < most;
}

static unsigned
places_for(const struct places *p, bool local, uid_t uid)
{
	if (!local)
		return p->max_clients - LOCAL_PLACES;
	return p->max_clients + (is_keeper(p, uid) ? KEEPER_PLACES : 0);
}

static void
add_to_share(struct places *p, uid_t uid)
{
	struct share *share = find_share(p, uid);

	if (!share) {
		p->shares = xrealloc(p->shares, p->count + 1,
		    sizeof(*p->shares));
		share = &p->shares[p->count++];
		*share = (struct share){.uid = uid};
	}
	share->taken++;
}

bool
places_take(struct places *p, bool local, uid_t uid)
{
	if (p->taken >= places_for(p, local, uid) ||
	    (local && !has_share_left(p, uid)))
		return false;
	p->taken++;
	if (local)
		add_to_share(p, uid);
	return true;
}

void
places_leave(struct places *p, bool local, uid_t uid)
{
	struct share *share = local ? find_share(p, uid) : NULL;

	p->taken--;
	if (share && --share->taken == 0)
		*share = p->shares[--p->count];
}
