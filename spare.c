/* SPDX-License-Identifier: ISC */
/*
 * Files that are used again.
 */
#include "spare.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "group_sync.h"

void
spares_init(struct spares *s, struct group_sync *commits)
{
	*s = (struct spares){
		.incoming = -1, .queue = -1, .commits = commits};
	pthread_mutex_init(&s->lock, NULL);
}

static void
discard(const struct spares *s, const struct spare *spare)
{
	unlinkat(s->incoming, spare->name, 0);
	close(spare->fd);
}

/* Whether nobody reads or writes it but by this descriptor, and it is small. */
static bool
is_fit(const struct message *m, off_t *size)
{
	struct stat file;

	if (m->file < 0 || m->body.fd >= 0 || fstat(m->file, &file) != 0)
		return false;
	*size = file.st_size;
	return file.st_size <= SPARE_SIZE && file.st_nlink == 1;
}

bool
spares_keep(struct spares *s, struct message *m)
{
	struct spare spare = {.fd = m->file};
	bool room;

	if (!group_sync_is_busy(s->commits) || !is_fit(m, &spare.size) ||
	    renameat(s->queue, m->id, s->incoming, m->id) != 0)
		return false;
	m->file = -1;
	spare.sync = group_sync_next(s->commits);
	memcpy(spare.name, m->id, sizeof(spare.name));
	pthread_mutex_lock(&s->lock);
	room = s->count < SPARES_MAX;
	if (room)
		s->list[s->count++] = spare;
	pthread_mutex_unlock(&s->lock);
	if (!room)
		discard(s, &spare);
	return true;
}

bool
spares_take(struct spares *s, struct message *m)
{
	struct spare spare;
	bool found;

	pthread_mutex_lock(&s->lock);
	found = s->count && group_sync_is_done(s->commits, s->list[0].sync);
	if (found) {
		spare = s->list[0];
		s->count--;
		memmove(s->list, s->list + 1, s->count * sizeof(s->list[0]));
	}
	pthread_mutex_unlock(&s->lock);
	if (!found)
		return false;
	m->file = spare.fd;
	m->incoming = s->incoming;
	m->old_size = spare.size;
	memcpy(m->old_name, spare.name, sizeof(m->old_name));
	return true;
}

void
spares_remove(struct spares *s)
{
	struct spare spare;
	bool more = true;

	while (more) {
		pthread_mutex_lock(&s->lock);
		more = s->count > 0;
		if (more)
			spare = s->list[--s->count];
		pthread_mutex_unlock(&s->lock);
		if (more)
			discard(s, &spare);
	}
}
