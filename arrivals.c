/* SPDX-License-Identifier: ISC */
/*
 * Waits for mail that other processes leave in the spool.
 */
#include "arrivals.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "clock.h"
#include "collect.h"
#include "config.h"
#include "log.h"
#include "queue.h"
#include "queue_internal.h"
#include "thread.h"

enum {
	MINUTE = 60 * 1000,
	EVENTS_SIZE = 4096,
};

struct arrivals {
	struct queue *queue;
	struct collector collector;
	int stop_fd;
	int inotify; /* -1: the system has none left */
	int64_t next_look;
	int64_t seen; /* of the queue */
};

static int
watch(const struct config *config)
{
	char *path = xasprintf("%s/maildrop", config->queue.directory);
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd >= 0 && inotify_add_watch(fd, path,
		IN_CREATE | IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW) < 0) {
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		log_message(LEVEL_WARNING, "no inotify for %s: %s; it is "
		    "looked at once a minute", path, strerror(errno));
	free(path);
	return fd;
}

struct arrivals *
arrivals_new(struct queue *q, int stop_fd)
{
	struct arrivals *a = xcalloc(1, sizeof(*a));

	a->queue = q;
	a->stop_fd = stop_fd;
	a->inotify = -1;
	collect_open(&a->collector, q, stop_fd);
	if (a->collector.directory >= 0)
		a->inotify = watch(q->config);
	collect_after_crash(&a->collector);
	return a;
}

void
arrivals_free(struct arrivals *a)
{
	if (!a)
		return;
	if (a->inotify >= 0)
		close(a->inotify);
	collect_close(&a->collector);
	free(a);
}

/* What is being written has a dot, and what is made without one is an
 * announcement, or somebody's who does not play by the rules. */
static void
hear(struct arrivals *a, const struct inotify_event *event, const char *name)
{
	if (event->mask & IN_Q_OVERFLOW)
		a->next_look = 0;
	else if (event->len && *name != '.')
		collect_one(&a->collector, name);
}

/* Takes in what inotify tells of. */
static void
hear_all(struct arrivals *a)
{
	char *events = xmalloc(EVENTS_SIZE);
	struct inotify_event event;
	ssize_t len = read(a->inotify, events, EVENTS_SIZE);

	for (ssize_t at = 0; at < len;
	     at += (ssize_t)(sizeof(event) + event.len)) {
		memcpy(&event, events + at, sizeof(event));
		hear(a, &event, events + at + sizeof(event));
	}
	free(events);
}

/* After a reload it is the new queue that all this is for. */
static void
follow(struct arrivals *a)
{
	struct queue *q = a->queue, *newest = queue_lock_newest(q);

	newest->present++;
	pthread_mutex_unlock(&newest->lock);
	a->queue = a->collector.queue = newest;
	queue_courier_left(q);
}

/* False when it is time to stop. */
static bool
wait_for_something(struct arrivals *a)
{
	int64_t left = a->next_look - clock_now();
	struct pollfd fds[2] = {
		{.fd = a->stop_fd, .events = POLLIN},
		{.fd = a->inotify, .events = POLLIN},
	};

	(void)poll(fds, 2, left > 0 ? (int)left : 0);
	follow(a);
	if (fds[1].revents)
		hear_all(a);
	return !fds[0].revents;
}

static void *
run_arrivals(void *argument)
{
	struct arrivals *a = argument;
	struct queue *q;

	do {
		if (clock_now() >= a->next_look) {
			a->next_look = clock_now() + MINUTE;
			collect_all(&a->collector);
			backlog_look_again(a->queue, &a->seen);
		}
	} while (wait_for_something(a));
	q = a->queue;
	arrivals_free(a);
	queue_courier_left(q);
	return NULL;
}

void
arrivals_start(struct arrivals *a)
{
	struct queue *q;

	if (!a || a->collector.directory < 0) {
		arrivals_free(a);
		return;
	}
	q = a->queue;
	pthread_mutex_lock(&q->lock);
	q->present++;
	pthread_mutex_unlock(&q->lock);
	if (thread_start(run_arrivals, a))
		return;
	log_message(LEVEL_ERROR, "cannot start a thread: mail that is left in "
	    "the maildrop is not taken in");
	arrivals_free(a);
	queue_courier_left(q);
}
