/* SPDX-License-Identifier: ISC */
/*
 * Configurations in use: the present one, and those that a reload has replaced
 * while sessions and couriers went on by them.
 */
#include "generation.h"

#include <stdlib.h>

#include "buf.h"
#include "clock.h"
#include "queue.h"

void
generations_init(struct generations *all)
{
	pthread_mutex_init(&all->lock, NULL);
	all->oldest = all->newest = xcalloc(1, sizeof(struct generation));
}

void
generation_free(struct generation *g)
{
	if (g->queue)
		queue_free(g->queue);
	setup_free(&g->setup);
	free(g);
}

void
generations_free(struct generations *all)
{
	while (all->oldest) {
		struct generation *g = all->oldest;

		all->oldest = g->newer;
		generation_free(g);
	}
	pthread_mutex_destroy(&all->lock);
}

struct generation *
generation_enter(struct generations *all)
{
	struct generation *g;

	pthread_mutex_lock(&all->lock);
	g = all->newest;
	g->sessions++;
	pthread_mutex_unlock(&all->lock);
	return g;
}

void
generation_leave(struct generations *all, struct generation *g)
{
	pthread_mutex_lock(&all->lock);
	g->sessions--;
	pthread_mutex_unlock(&all->lock);
}

bool
generations_replace(struct generations *all, struct generation *g)
{
	if (!queue_succeed(all->newest->queue, g->queue))
		return false;
	pthread_mutex_lock(&all->lock);
	all->newest->newer = g;
	all->newest = g;
	pthread_mutex_unlock(&all->lock);
	return true;
}

/* The oldest, out of the list, if nobody uses it and there is a newer one. An
 * older queue leads to its heirs, so they go in this order. */
static struct generation *
take_unused(struct generations *all)
{
	struct generation *g;

	pthread_mutex_lock(&all->lock);
	g = all->oldest;
	if (g == all->newest || g->sessions ||
	    !queue_wait_for_couriers(g->queue, clock_now()))
		g = NULL;
	else
		all->oldest = g->newer;
	pthread_mutex_unlock(&all->lock);
	return g;
}

bool
generations_sweep(struct generations *all)
{
	struct generation *g;
	bool swept;

	while ((g = take_unused(all)))
		generation_free(g);
	pthread_mutex_lock(&all->lock);
	swept = all->oldest == all->newest;
	pthread_mutex_unlock(&all->lock);
	return swept;
}

void
generations_stop(struct generations *all)
{
	pthread_mutex_lock(&all->lock);
	for (struct generation *g = all->oldest; g; g = g->newer)
		queue_stop(g->queue);
	pthread_mutex_unlock(&all->lock);
}

bool
generations_wait_for_couriers(struct generations *all, int64_t deadline)
{
	bool left = true;

	for (struct generation *g = all->oldest; g && left; g = g->newer)
		left = queue_wait_for_couriers(g->queue, deadline);
	return left;
}
