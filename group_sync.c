/* SPDX-License-Identifier: ISC */
/*
 * One sync for many: the first who finds none under way makes it, for all who
 * have come by then. Its failure is everybody's: the kernel may have forgotten
 * what it could not write, whoever wrote it, and says so only once.
 */
#include "group_sync.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

struct sync_waiter {
	struct sync_waiter *next;
	bool served;
	int error;
};

void
group_sync_init(struct group_sync *g)
{
	*g = (struct group_sync){0};
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->ended[0], NULL);
	pthread_cond_init(&g->ended[1], NULL);
}

void
group_sync_destroy(struct group_sync *g)
{
	pthread_cond_destroy(&g->ended[0]);
	pthread_cond_destroy(&g->ended[1]);
	pthread_mutex_destroy(&g->lock);
}

/* With the lock, which is given up meanwhile: serves all who wait now. */
static void
lead(struct group_sync *g, int fd)
{
	struct sync_waiter *served = g->waiting;
	unsigned number = g->number++;
	int error;

	g->waiting = NULL;
	g->busy = true;
	pthread_mutex_unlock(&g->lock);
	error = fsync(fd) == 0 ? 0 : errno;
	pthread_mutex_lock(&g->lock);
	g->busy = false;
	g->ended_before = number + 1;
	g->failed |= error != 0;
	for (; served; served = served->next) {
		served->error = error;
		served->served = true;
	}
	pthread_cond_broadcast(&g->ended[number % 2]);
	if (g->waiting) /* one of them makes the next */
		pthread_cond_signal(&g->ended[g->number % 2]);
}

bool
group_sync(struct group_sync *g, int fd)
{
	struct sync_waiter me = {.served = false};
	unsigned number;

	pthread_mutex_lock(&g->lock);
	number = g->number;
	me.next = g->waiting;
	g->waiting = &me;
	while (!me.served) {
		if (g->busy)
			pthread_cond_wait(&g->ended[number % 2], &g->lock);
		else
			lead(g, fd);
	}
	pthread_mutex_unlock(&g->lock);
	errno = me.error;
	return me.error == 0;
}

bool
group_sync_is_busy(struct group_sync *g)
{
	bool busy;

	pthread_mutex_lock(&g->lock);
	busy = g->busy || g->waiting;
	pthread_mutex_unlock(&g->lock);
	return busy;
}

unsigned
group_sync_next(struct group_sync *g)
{
	unsigned number;

	pthread_mutex_lock(&g->lock);
	number = g->number;
	pthread_mutex_unlock(&g->lock);
	return number;
}

bool
group_sync_is_done(struct group_sync *g, unsigned number)
{
	bool done;

	pthread_mutex_lock(&g->lock);
	done = !g->failed && (int)(g->ended_before - number) > 0;
	pthread_mutex_unlock(&g->lock);
	return done;
}
