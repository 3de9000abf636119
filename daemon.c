/* SPDX-License-Identifier: ISC */
/*
 * The daemon's life: read, bind, give up root, prepare, serve, stop. Signals
 * are blocked before the first thread and taken by one thread.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "arrivals.h"
#include "clock.h"
#include "conn.h"
#include "dial.h"
#include "ground.h"
#include "listen.h"
#include "maildrop.h"
#include "notify.h"
#include "owner.h"
#include "queue.h"
#include "queue_command.h"
#include "setup.h"
#include "spool.h"
#include "thread.h"

enum {
	HEALTH_PATIENCE_MS = 5000,
	DESCRIPTORS_MAX = 65536, /* of those allowed; more we never need */
};

static void
log_warnings(const struct config *config)
{
	char *text = xstrdup(buf_text(&config->warnings)), *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest))
		log_message(LEVEL_WARNING, "%s", line);
	free(text);
}

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
	if (setgroups(0, NULL) == 0 && setgid(gid) == 0 && setuid(uid) == 0)
		return true;
	buf_addf(why, "run_as: cannot become %s: %s", name, strerror(errno));
	return false;
}

/* The signal thread: the first SIGTERM or SIGINT makes the stop pipe readable
 * for everybody who waits. Its only byte is the signal, for the log: nothing
 * may come before the stop, least of all a log that is stuck. */
struct stopper {
	sigset_t signals;
	int write_fd;
};

static void *
wait_for_signal(void *argument)
{
	struct stopper *s = argument;
	int signal;
	char byte;

	while (sigwait(&s->signals, &signal) == 0 && signal == SIGHUP)
		log_message(LEVEL_WARNING, "SIGHUP: this version does not "
		    "reload; restart it to have it read its configuration");
	byte = (char)signal;
	(void)!write(s->write_fd, &byte, 1);
	close(s->write_fd);
	free(s);
	return NULL;
}

/* Returns the pipe's reading end, or -1. */
static int
watch_signals(void)
{
	struct stopper *s = xcalloc(1, sizeof(*s));
	int fds[2];

	sigemptyset(&s->signals);
	sigaddset(&s->signals, SIGTERM);
	sigaddset(&s->signals, SIGINT);
	sigaddset(&s->signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &s->signals, NULL);
	if (pipe2(fds, O_CLOEXEC) == 0) {
		s->write_fd = fds[1];
		if (thread_start(wait_for_signal, s))
			return fds[0];
	}
	free(s);
	return -1;
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

/* SIGTERM has come: what can end in time ends, the rest ends with us. */
static bool
stop(struct listener *l, struct queue *q, int stop_fd, int64_t timeout)
{
	int64_t deadline = clock_now() + timeout;
	char signal = 0;

	queue_stop(q);
	(void)!read(stop_fd, &signal, 1);
	log_event(LEVEL_INFO, "stopping", "signal",
	    signal == SIGINT ? "SIGINT" : "SIGTERM", NULL);
	return listen_wait_for_sessions(l, deadline) &&
	    queue_wait_for_couriers(q, deadline);
}

static int
serve(struct setup *s, struct listener *l, struct queue *q, int stop_fd)
{
	struct notify manager;
	bool clean;

	announce(s);
	notify_open(&manager);
	notify_send(&manager, "READY=1");
	listen_run(l, q, stop_fd, &manager);
	notify_send(&manager, "STOPPING=1");
	notify_close(&manager);
	clean = stop(l, q, stop_fd, s->config.stop_timeout);
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
	if (!*spool || !spool_own(*spool, why))
		return false;
	prepare_ground(config->queue.directory);
	return true;
}

static int
serve_queue(struct setup *s, struct listener *l, struct spool *spool,
    struct buf *why)
{
	int status = EX_OSERR, stop_fd = watch_signals();
	struct arrivals *arrivals = NULL;
	struct queue *q;

	config_complete_hostname(&s->config);
	setup_relays(s, stop_fd, false);
	q = queue_new(&s->config, s->relays, spool, false);
	if (spool)
		arrivals = arrivals_new(q, stop_fd);
	if (stop_fd < 0) {
		buf_addf(why, "cannot start: %s", strerror(errno));
		arrivals_free(arrivals);
	} else if (!queue_start(q, why)) {
		arrivals_free(arrivals);
	} else {
		arrivals_start(arrivals);
		status = serve(s, l, q, stop_fd);
	}
	queue_free(q);
	return status;
}

/* Everything that is done as the user that the daemon runs as. */
static int
run(struct setup *s, struct listener *l, struct buf *why)
{
	struct spool *spool = NULL;
	int status = EX_CONFIG;

	if (setup_prepare(s, why) && open_spool(&s->config, &spool, why)) {
		log_warnings(&s->config);
		status = serve_queue(s, l, spool, why);
	}
	if (spool)
		spool_close(spool);
	return status;
}

static int
start(struct setup *s, struct buf *why)
{
	struct listener *l;
	int status = EX_CONFIG;

	log_open(s->config.log, s->config.log_format, s->config.log_level);
	raise_descriptor_limit(&s->config);
	l = listen_open(&s->config, why);
	if (!l)
		return EX_CONFIG;
	if (become(s->config.run_as, l, why) &&
	    become_owner(&s->config, l, why))
		status = run(s, l, why);
	listen_free(l);
	return status;
}

int
daemon_run(const char *config_path)
{
	struct setup s;
	struct buf why = {0};
	int status = EX_CONFIG;

	setup_forbid_core_files();
	if (setup_read(&s, setup_config_path(config_path), &why)) {
		status = start(&s, &why);
		setup_free(&s);
	}
	if (why.len)
		setup_print(stderr, "smarthost: ", &why);
	buf_free(&why);
	return status;
}

static struct conn *
reach_address(const struct endpoint *e)
{
	struct sockaddr_storage address = e->address;
	const struct addrinfo there = {
		.ai_family = address.ss_family,
		.ai_addr = (struct sockaddr *)&address,
		.ai_addrlen = e->size,
	};
	const struct upstream self = {.family = FAMILY_ANY};
	struct buf ignored = {0};
	struct conn *c = dial_tcp(&self, &there,
	    clock_now() + HEALTH_PATIENCE_MS, -1, &ignored);

	buf_free(&ignored);
	return c;
}

/* Connects where the daemon should answer: its socket, or, where that could
 * not be made, its first address. */
static struct conn *
reach(const struct config *config)
{
	const struct endpoints *addresses = &config->listen.addresses;
	struct conn *c = NULL;

	if (config->listen.socket)
		c = dial_unix(config->listen.socket, -1);
	if (!c && addresses->count)
		c = reach_address(&addresses->list[0]);
	return c;
}

/* Whether it greets us. */
static bool
answers(const struct config *config)
{
	struct conn *c = reach(config);
	struct buf line = {0};
	bool ok;

	if (!c)
		return false;
	conn_set_deadline(c, clock_now() + HEALTH_PATIENCE_MS);
	ok = conn_line(c, &line, 512) == LINE_OK &&
	    strncmp(line.data, "220", 3) == 0;
	conn_printf(c, "QUIT\r\n");
	(void)conn_line(c, &line, 512);
	conn_close(c);
	buf_free(&line);
	return ok;
}

int
daemon_health(const char *config_path, bool relay)
{
	struct setup s;
	struct queue_place place = {.program = "smarthost", .setup = &s};
	struct buf why = {0};
	bool ok = setup_read(&s, setup_config_path(config_path), &why);

	if (ok && !answers(&s.config)) {
		buf_adds(&why, "the daemon does not answer");
		ok = false;
	}
	ok = ok && (!relay || queue_command_health(&place, &why));
	setup_print(stderr, "smarthost: ", &why);
	setup_free(&s);
	buf_free(&why);
	return ok ? EX_OK : 1;
}
