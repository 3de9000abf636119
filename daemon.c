/* SPDX-License-Identifier: ISC */
/*
 * The daemon's life: read, bind, give up root, prepare, serve, stop. Signals
 * are blocked before the first thread and taken by one thread.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "arrivals.h"
#include "clock.h"
#include "generation.h"
#include "ground.h"
#include "helper.h"
#include "listen.h"
#include "maildrop.h"
#include "notify.h"
#include "owner.h"
#include "queue.h"
#include "reload.h"
#include "sandbox.h"
#include "setup.h"
#include "spool.h"
#include "thread.h"

enum {
	DESCRIPTORS_MAX = 65536, /* of those allowed; more we never need */
};

/* As many descriptors as we may have. A session has its connection, a file for
 * a large message and one in the spool; a courier its connection, a stored
 * message, and what the resolver or a password_command needs. */
static void
raise_descriptor_limit(struct config *config)
{
	rlim_t need = 32 + 3 * (rlim_t)config->listen.max_clients, most;
	struct rlimit limit;

	for (size_t i = 0; i < config->upstream_count; i++)
		need += 5 * (rlim_t)config->upstreams[i].connections;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	most = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max
						: DESCRIPTORS_MAX;
	if (limit.rlim_cur < most) {
		limit.rlim_cur = most;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur < need)
		buf_addf(&config->warnings, "max_clients and the connections "
		    "to relays may need %llu open files, and the limit is "
		    "%llu: raise it (LimitNOFILE= in a unit, ulimit -n), or "
		    "lower them\n", (unsigned long long)need,
		    (unsigned long long)limit.rlim_cur);
}

static bool
become(const char *name, struct listener *l, struct buf *why)
{
	uid_t uid;
	gid_t gid;

	if (!name || geteuid() != 0)
		return true;
	if (!setup_find_user(name, &uid, &gid, why))
		return false;
	listen_give_control(l, uid);
	return setup_become(name, uid, gid, why);
}

/* The signal thread: the first SIGTERM or SIGINT makes the stop pipe readable
 * for everybody who waits. Its only byte is the signal, for the log: nothing
 * may come before the stop, least of all a log that is stuck. Each SIGHUP is a
 * byte for the reloader. */
struct signals {
	sigset_t set;
	int stop_fd;   /* to write to */
	int reload_fd;
};

static void *
wait_for_signal(void *argument)
{
	struct signals *s = argument;
	int signal = 0;

	while (signal != SIGTERM && signal != SIGINT &&
	    sigwait(&s->set, &signal) == 0) {
		char byte = (char)signal;

		(void)!write(signal == SIGHUP ? s->reload_fd : s->stop_fd,
		    &byte, 1);
	}
	close(s->stop_fd);
	free(s);
	return NULL;
}

/* Sets the reading ends of both pipes. False with errno set. */
static bool
watch_signals(int *stop_fd, int *reload_fd)
{
	struct signals *s = xcalloc(1, sizeof(*s));
	int stop[2], reload[2];

	sigemptyset(&s->set);
	sigaddset(&s->set, SIGTERM);
	sigaddset(&s->set, SIGINT);
	sigaddset(&s->set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &s->set, NULL);
	if (pipe2(stop, O_CLOEXEC) == 0 &&
	    pipe2(reload, O_CLOEXEC | O_NONBLOCK) == 0) {
		*stop_fd = stop[0];
		*reload_fd = reload[0];
		s->stop_fd = stop[1];
		s->reload_fd = reload[1];
		if (thread_start(wait_for_signal, s))
			return true;
	}
	free(s);
	return false;
}

static void
announce(const struct setup *s)
{
	for (size_t i = 0; i < s->config.upstream_count; i++) {
		const struct upstream *u = &s->config.upstreams[i];

		if (provider_is_capture(u->provider))
			log_message(LEVEL_WARNING, "provider = capture: "
			    "messages are written to %s and sent to nobody",
			    u->directory);
		else
			log_event(LEVEL_INFO, "upstream", "upstream", u->name,
			    "host", u->host, NULL);
	}
	log_event(LEVEL_INFO, "started", "version", SMARTHOST_VERSION, NULL);
}

/* What one daemon is made of. */
struct daemon {
	struct generations generations;
	struct listener *listener;
	struct spool *spool;      /* or NULL */
	struct reloader reloader;
	struct notify manager;
};

/* SIGTERM has come: what can end in time ends, the rest ends with us. */
static bool
stop(struct daemon *d)
{
	struct generation *now = generation_enter(&d->generations);
	int64_t deadline = clock_now() + now->setup.config.stop_timeout;
	char signal = 0;

	generation_leave(&d->generations, now);
	generations_stop(&d->generations);
	(void)!read(d->reloader.stop_fd, &signal, 1);
	log_event(LEVEL_INFO, "stopping", "signal",
	    signal == SIGINT ? "SIGINT" : "SIGTERM", NULL);
	if (!reload_wait(&d->reloader, deadline))
		return false;
	generations_stop(&d->generations); /* it may have made one */
	return listen_wait_for_sessions(d->listener, deadline) &&
	    generations_wait_for_couriers(&d->generations, deadline);
}

static int
serve(struct daemon *d)
{
	bool clean;

	announce(&d->generations.newest->setup);
	listen_start(d->listener, &d->generations);
	/* What this thread alone has changed so far may change from here on. */
	if (!reload_start(&d->reloader))
		log_message(LEVEL_ERROR, "cannot start a thread: SIGHUP does "
		    "nothing");
	notify_send(&d->manager, "READY=1");
	listen_run(d->listener, d->reloader.stop_fd, &d->manager);
	notify_send(&d->manager, "STOPPING=1");
	clean = stop(d);
	log_event(LEVEL_INFO, "stopped", "note",
	    clean ? NULL : "stop_timeout is over, the rest is cut off", NULL);
	if (!clean)
		_exit(EX_OK); /* threads still use what would be freed */
	return EX_OK;
}

/* Without run_as, root serves another user's spool as that user: secrets are
 * then read, and files written, as whoever runs sendmail on the spool has to
 * read and write them. */
static bool
become_owner(const struct config *config, struct listener *l, struct buf *why)
{
	const char *directory = config->queue.directory;
	uid_t uid;

	if (!directory || !owner_is_another(directory, &uid))
		return true;
	listen_give_control(l, uid);
	if (!owner_become(directory, why))
		return false;
	log_message(LEVEL_INFO, "became uid %u, whose spool %s is; run_as can "
	    "name another user", (unsigned)uid, directory);
	return true;
}

/* Whoever may not read the configuration leaves his mail in the maildrop of the
 * usual spool, if there is one. */
static void
warn_of_other_maildrop(const struct queue_config *config)
{
	static const char usual[] = "/var/spool/smarthost";

	if ((!config->directory || strcmp(config->directory, usual) != 0) &&
	    access("/var/spool/smarthost/maildrop", F_OK) == 0)
		log_message(LEVEL_WARNING, "%s/maildrop is not this daemon's: "
		    "mail that sendmail leaves there while this one is away "
		    "waits for a daemon with that spool; remove it if there "
		    "is none", usual);
}

/* Everything that a spool needs besides itself. */
static void
prepare_ground(const char *directory)
{
	const char *kind = ground_volatile_kind(directory);
	struct buf why = {0};

	if (!maildrop_make(directory, &why))
		log_message(LEVEL_WARNING, "%s", buf_text(&why));
	buf_free(&why);
	if (kind)
		log_message(LEVEL_WARNING, "the spool %s is on %s: mail that "
		    "waits here does not outlive the container or the machine; "
		    "mount a volume there", directory, kind);
}

/* The spool of the configuration, for this process alone; NULL if there is
 * to be none. */
static bool
open_spool(const struct config *config, struct spool **spool, struct buf *why)
{
	*spool = NULL;
	warn_of_other_maildrop(&config->queue);
	if (!config->queue.directory)
		return true;
	*spool = spool_open(config->queue.directory, why);
	if (!*spool || !spool_own(*spool, LOCK_DAEMON, why))
		return false;
	prepare_ground(config->queue.directory);
	return true;
}

static int
serve_queue(struct daemon *d, struct buf *why)
{
	struct generation *g = d->generations.newest;
	int status = EX_OSERR, stop_fd = d->reloader.stop_fd;
	struct arrivals *arrivals = NULL;

	config_complete_hostname(&g->setup.config);
	setup_relays(&g->setup, stop_fd, false);
	g->queue = queue_new(&g->setup.config, g->setup.relays, d->spool,
	    false);
	if (d->spool)
		arrivals = arrivals_new(g->queue, stop_fd);
	d->reloader.generations = &d->generations;
	d->reloader.listener = d->listener;
	d->reloader.spool = d->spool;
	d->reloader.manager = &d->manager;
	if (!queue_start(g->queue, why)) {
		arrivals_free(arrivals);
	} else {
		arrivals_start(arrivals);
		status = serve(d);
	}
	return status;
}

/* Everything that is done as the user that the daemon runs as. */
static int
run(struct daemon *d, struct buf *why)
{
	struct setup *s = &d->generations.newest->setup;
	int status = EX_CONFIG;

	if (!setup_prepare(s, why) || !setup_prepare_listener(s, why) ||
	    !open_spool(&s->config, &d->spool, why))
		return status;
	if (d->reloader.path && access(d->reloader.path, R_OK) != 0)
		buf_addf(&s->config.warnings, "%s cannot be read by the user "
		    "that the daemon runs as, so SIGHUP cannot have it read "
		    "again\n", d->reloader.path);
	log_sentences(LEVEL_WARNING, "", buf_text(&s->config.warnings));
	if (!helper_start(&s->config, &d->reloader.helper)) {
		buf_addf(why, "cannot start a process for commands: %s",
		    strerror(errno));
		return EX_OSERR;
	}
	setup_use_helper(s, d->reloader.helper);
	notify_open(&d->manager);
	sandbox_enter(s, d->reloader.path);
	if (watch_signals(&d->reloader.stop_fd, &d->reloader.ask_fd))
		return serve_queue(d, why);
	buf_addf(why, "cannot start: %s", strerror(errno));
	return EX_OSERR;
}

static int
start(struct daemon *d, struct buf *why)
{
	struct config *config = &d->generations.newest->setup.config;
	int status = EX_CONFIG;

	log_open(config->log, config->log_format, config->log_level);
	raise_descriptor_limit(config);
	d->listener = listen_open(config, why);
	if (!d->listener)
		return EX_CONFIG;
	if (become(config->run_as, d->listener, why) &&
	    become_owner(config, d->listener, why))
		status = run(d, why);
	return status;
}

static void
daemon_free(struct daemon *d)
{
	generations_free(&d->generations);
	if (d->listener)
		listen_free(d->listener);
	if (d->spool)
		spool_close(d->spool);
	helper_free(d->reloader.helper);
	notify_close(&d->manager);
	reload_free_environment(d->reloader.environment);
	free(d);
}

/* Who asks for a reload while we start gets it when we have started: the
 * signal would end us before somebody takes it. */
static void
put_off_reloads(void)
{
	sigset_t reload;

	sigemptyset(&reload);
	sigaddset(&reload, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &reload, NULL);
}

int
daemon_run(const char *config_path)
{
	struct daemon *d = xcalloc(1, sizeof(*d));
	struct buf why = {0};
	int status = EX_CONFIG;

	setup_forbid_core_files();
	put_off_reloads();
	generations_init(&d->generations);
	d->manager.fd = -1;
	d->reloader.path = setup_config_path(config_path);
	d->reloader.environment = reload_copy_environment(environ);
	if (setup_read(&d->generations.newest->setup, d->reloader.path, &why))
		status = start(d, &why);
	daemon_free(d);
	if (why.len)
		setup_print(stderr, "smarthost: ", &why);
	buf_free(&why);
	return status;
}
