/* SPDX-License-Identifier: ISC */
/*
 * One run through the spool by a process that is not the daemon: the queue,
 * the clock and the couriers, without listeners.
 */
#include "runqueue.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "catalog.h"
#include "clock.h"
#include "collect.h"
#include "owner.h"
#include "progress.h"
#include "queue.h"
#include "setup.h"

enum { LOOK_MS = 50 };

struct runner {
	struct setup *setup;
	struct run *run;
	struct spool *spool;
	int stop_fd; /* readable when a signal asks us to stop */
};

/* -1 with errno set. The signals stay blocked: nobody reads it, and so every
 * connection sees it too. */
static int
watch_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
		return -1;
	return signalfd(-1, &signals, SFD_CLOEXEC);
}

static bool
was_stopped(int stop_fd, int patience)
{
	struct pollfd stop = {.fd = stop_fd, .events = POLLIN};

	return poll(&stop, 1, patience) > 0;
}

/* Why it ended before everything was tried. */
static void
explain(const struct runner *r, struct queue *q, struct buf *why)
{
	const struct config *config = &r->setup->config;

	for (unsigned i = 0; i < config->upstream_count; i++) {
		struct pause_state state;

		queue_upstream_state(q, i, &state);
		if (state.paused)
			buf_addf(why, "upstream %s is away: %s\n",
			    config->upstreams[i].name, state.reason);
	}
}

/* Waits until there is nothing left to try. */
static void
attend(const struct runner *r, struct queue *q, struct buf *why)
{
	struct progress progress;
	size_t left;

	progress_start(&progress, r->run->count, r->run->quiet);
	while ((left = queue_left(q)) && !was_stopped(r->stop_fd, LOOK_MS) &&
	    !spool_is_wanted(r->spool))
		progress_show(&progress, left);
	if (!left)
		explain(r, q, why);
	else if (spool_is_wanted(r->spool))
		buf_adds(why, "a daemon has started, and goes on with it\n");
	progress_end(&progress);
}

static int
try_all(const struct runner *r, struct buf *why)
{
	struct config *config = &r->setup->config;
	int status = EX_OSERR;
	struct queue *q;

	setup_relays(r->setup, r->stop_fd, false);
	q = queue_new(config, r->setup->relays, r->spool, false);
	if (queue_start_once(q, r->run->ids, r->run->count, why)) {
		attend(r, q, why);
		queue_stop(q);
		if (!queue_wait_for_couriers(q,
			clock_now() + config->stop_timeout))
			_exit(EX_TEMPFAIL); /* threads still use all of it */
		status = EX_OK;
	}
	queue_free(q);
	return status;
}

/* How many of them are still in the queue. */
static size_t
count_left(const struct runner *r)
{
	struct catalog c;
	struct entry e;
	char id[QUEUE_ID_SIZE];
	size_t left = 0;

	(void)catalog_open(&c, r->setup->config.queue.directory, false);
	for (size_t i = 0; i < r->run->count; i++) {
		queue_id_write(&r->run->ids[i], id);
		left += entry_glance(&e, &c, id);
	}
	catalog_free(&c);
	return left;
}

static int
run(struct runner *r, struct buf *why)
{
	int status;

	if (!setup_prepare(r->setup, why))
		return EX_CONFIG;
	r->stop_fd = watch_signals();
	if (r->stop_fd < 0) {
		buf_addf(why, "cannot wait for signals: %s", strerror(errno));
		return EX_OSERR;
	}
	status = try_all(r, why);
	r->run->left = count_left(r);
	return status;
}

/* Everything that is in the queue. False with errno set. */
static bool
want_all(struct run *run, const char *directory, struct queue_id **ids)
{
	struct catalog all;
	bool ok = catalog_read(&all, directory, false);
	int error = errno;

	if (ok && all.count)
		*ids = xcalloc(all.count, sizeof(**ids));
	for (size_t i = 0; ok && i < all.count; i++)
		(*ids)[i] = all.names[i].id;
	run->ids = *ids;
	run->count = all.count;
	catalog_free(&all);
	errno = error;
	return ok;
}

/* What was left for a daemon is in the queue then. */
static void
collect_mail(struct runner *r)
{
	struct queue *q = queue_new(&r->setup->config, NULL, r->spool, true);
	struct collector collector;

	collect_open(&collector, q, -1);
	collect_all(&collector);
	collect_close(&collector);
	queue_free(q);
}

/* With the spool taken. */
static int
run_on_spool(struct runner *r, struct buf *why)
{
	const char *directory = r->setup->config.queue.directory;
	struct queue_id *all = NULL;
	int status = EX_TEMPFAIL;

	config_complete_hostname(&r->setup->config);
	if (!r->run->ids)
		collect_mail(r);
	if (!r->run->ids && !want_all(r->run, directory, &all))
		buf_addf(why, "cannot read the spool %s: %s", directory,
		    strerror(errno));
	else
		status = r->run->count ? run(r, why) : EX_OK;
	if (all)
		r->run->ids = NULL;
	free(all);
	return status;
}

static int
take_spool(struct runner *r, struct buf *why)
{
	const char *directory = r->setup->config.queue.directory;
	struct buf taken = {0};
	int status = EX_TEMPFAIL;

	r->spool = spool_open(directory, why);
	if (!r->spool)
		return EX_CONFIG;
	if (spool_own(r->spool, LOCK_RUN, &taken))
		status = run_on_spool(r, why);
	else
		buf_addf(why, "the spool %s is in use by a daemon that does "
		    "not answer here; see [listen] control", directory);
	buf_free(&taken);
	spool_close(r->spool);
	return status;
}

int
runqueue(struct setup *setup, struct run *run_this, struct buf *why)
{
	struct runner r = {.setup = setup, .run = run_this};
	const char *directory = setup->config.queue.directory;

	run_this->left = 0;
	if (access(directory, F_OK) != 0 && errno == ENOENT)
		return EX_OK;
	if (!owner_become(directory, why))
		return EX_OSERR;
	setup_forbid_core_files();
	return take_spool(&r, why);
}
