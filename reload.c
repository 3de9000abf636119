/* SPDX-License-Identifier: ISC */
/*
 * Reading the configuration again while the daemon serves. Everything is read
 * and judged before anything changes, as the user that the daemon runs as: a
 * configuration that is wrong, or that needs what only a start can give, is
 * refused with a line in the log, and the old one stays.
 */
#include "reload.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "generation.h"
#include "helper.h"
#include "listen.h"
#include "log.h"
#include "maildrop.h"
#include "notify.h"
#include "queue.h"
#include "thread.h"

enum { SWEEP_MS = 5000 };

char **
reload_copy_environment(char **environment)
{
	size_t count = 0;
	char **copy;

	while (environment && environment[count])
		count++;
	copy = xcalloc(count + 1, sizeof(*copy));
	for (size_t i = 0; i < count; i++)
		copy[i] = xstrdup(environment[i]);
	return copy;
}

void
reload_free_environment(char **copy)
{
	for (char **e = copy; e && *e; e++) {
		explicit_bzero(*e, strlen(*e));
		free(*e);
	}
	free(copy);
}

static bool
differs(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) != 0 : a != b;
}

static bool
addresses_differ(const struct endpoints *a, const struct endpoints *b)
{
	if (a->count != b->count)
		return true;
	for (size_t i = 0; i < a->count; i++)
		if (differs(a->list[i].text, b->list[i].text))
			return true;
	return false;
}

/* A command that the process which runs them has never heard of. */
static bool
has_new_command(const struct config *c, const struct helper *helper)
{
	for (size_t i = 0; i < c->upstream_count; i++) {
		char **words = c->upstreams[i].password.words;

		if (words && !helper_knows(helper, words))
			return true;
	}
	return false;
}

/* The key that has changed and that only a start can heed, or NULL. */
static const char *
needs_restart(const struct config *now, const struct config *then)
{
	const struct listen_config *a = &now->listen, *b = &then->listen;

	if (differs(now->run_as, then->run_as))
		return "[smarthost] run_as";
	if (now->log != then->log || now->log_format != then->log_format)
		return "[smarthost] log or log_format";
	if (differs(a->socket, b->socket) || differs(a->control, b->control))
		return "[listen] socket or control";
	if (addresses_differ(&a->addresses, &b->addresses) ||
	    addresses_differ(&a->tls_addresses, &b->tls_addresses))
		return "[listen] address or tls_address";
	if (differs(now->queue.directory, then->queue.directory))
		return "[queue] directory";
	return NULL;
}

/* The confinement to the directories of the start looks like missing rights. */
static void
explain_denial(struct buf *why)
{
	const char *text = buf_text(why);

	if (!strstr(text, strerror(EACCES)))
		return;
	buf_addf(why, "%sthe daemon keeps to the directories that its "
	    "configuration named at the start; another one needs a restart",
	    text[why->len - 1] == '\n' ? "" : "\n");
}

/* Without it, its names would be sent elsewhere than until now. */
static bool
has_good_aliases(const struct setup *s, struct buf *why)
{
	struct buf warnings = {0};
	size_t before = why->len;

	setup_read_aliases(s, why, &warnings);
	buf_free(&warnings);
	return why->len == before;
}

/* Reads and judges a new configuration. NULL with sentences in why. */
static struct generation *
prepare(const struct reloader *r, const struct config *now, struct buf *why)
{
	struct generation *g = xcalloc(1, sizeof(*g));
	char **environment = reload_copy_environment(r->environment);
	const char *key = NULL;
	bool ok = config_load(&g->setup.config, r->path, environment, why);

	reload_free_environment(environment);
	if (ok)
		key = needs_restart(now, &g->setup.config);
	if (ok && !key && has_new_command(&g->setup.config, r->helper))
		key = "[upstream] password_command";
	if (key)
		buf_addf(why, "%s has changed, which needs a restart", key);
	if (ok && !key && setup_prepare(&g->setup, why) &&
	    setup_prepare_listener(&g->setup, why) &&
	    has_good_aliases(&g->setup, why)) {
		config_complete_hostname(&g->setup.config);
		setup_use_helper(&g->setup, r->helper);
		setup_relays(&g->setup, r->stop_fd, false);
		g->queue = queue_new(&g->setup.config, g->setup.relays,
		    r->spool, false);
		return g;
	}
	explain_denial(why);
	generation_free(g);
	return NULL;
}

/* Between these two the service manager waits with what depends on it. */
static void
tell_manager(const struct reloader *r, bool begins)
{
	char *state = begins ? xasprintf("RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)clock_now() * 1000) : xstrdup("READY=1");

	notify_send(r->manager, state);
	free(state);
}

/* The thread that waits for arrivals sees at the next one that its queue is no
 * longer the newest, and the old one, with all its configuration, stays until
 * then: so one is announced, of a message that there is not. */
static void
move_arrivals(const struct config *config)
{
	if (config->queue.directory)
		maildrop_announce(config->queue.directory,
		    "00000000000000000000000000000000");
}

static void
reload(struct reloader *r)
{
	const struct config *now = &r->generations->newest->setup.config;
	struct buf why = {0};
	struct generation *g;

	tell_manager(r, true);
	g = prepare(r, now, &why);
	if (g && !generations_replace(r->generations, g)) {
		buf_adds(&why, "the system gives no thread");
		generation_free(g);
		g = NULL;
	}
	if (g) {
		log_set_level(g->setup.config.log_level);
		listen_reload(r->listener, &g->setup.config);
		move_arrivals(&g->setup.config);
		log_sentences(LEVEL_WARNING, "",
		    buf_text(&g->setup.config.warnings));
		log_event(LEVEL_INFO, "reloaded", NULL);
	} else {
		log_sentences(LEVEL_ERROR, "the old configuration stays: ",
		    buf_text(&why));
	}
	buf_free(&why);
	tell_manager(r, false);
}

static void *
run_reloader(void *argument)
{
	struct reloader *r = argument;
	struct pollfd fds[2] = {
		{.fd = r->stop_fd, .events = POLLIN},
		{.fd = r->ask_fd, .events = POLLIN},
	};
	char asked[64]; /* so often, meanwhile: once is enough */

	do {
		bool swept = generations_sweep(r->generations);

		(void)poll(fds, 2, swept ? -1 : SWEEP_MS);
		if (!fds[0].revents && fds[1].revents &&
		    read(r->ask_fd, asked, sizeof(asked)) > 0)
			reload(r);
	} while (!fds[0].revents);
	pthread_mutex_lock(&r->lock);
	r->running = false;
	pthread_cond_signal(&r->ended);
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

bool
reload_start(struct reloader *r)
{
	pthread_mutex_init(&r->lock, NULL);
	thread_cond_init(&r->ended);
	r->running = true;
	if (thread_start(run_reloader, r))
		return true;
	r->running = false;
	return false;
}

bool
reload_wait(struct reloader *r, int64_t deadline)
{
	bool ended;

	pthread_mutex_lock(&r->lock);
	while (r->running && thread_wait(&r->ended, &r->lock, deadline))
		;
	ended = !r->running;
	pthread_mutex_unlock(&r->lock);
	return ended;
}
