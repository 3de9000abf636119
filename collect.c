/* SPDX-License-Identifier: ISC */
/*
 * What is made of the files in the maildrop. Whoever left one may change it at
 * any time, so its content is judged by the copy that goes into the queue.
 *
 * A crash between the commit and the removal leaves both, and the ID, which
 * comes from the file, says so. Nothing is sent before the removal is on the
 * disk.
 */
#include "collect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "dropped.h"
#include "maildrop.h"
#include "message.h"
#include "queue.h"
#include "queue_internal.h"
#include "record.h"
#include "repair.h"
#include "report.h"
#include "spool.h"
#include "stranger.h"

enum {
	RECIPIENTS_SHOWN = 400, /* bytes */
	QUIET = 3600 * 1000,    /* ms between two warnings of junk */
};

/* A file that is taken in. */
struct drop {
	struct collector *collector;
	struct dropped file;
	struct message *message;
	bool completed;
};

static void
leave_alone(struct collector *c, const char *name, const char *reason)
{
	if (c->junk++)
		return;
	c->reason = reason;
	snprintf(c->example, sizeof(c->example), "%s", name);
}

/* --- Taking it in -------------------------------------------------------- */

/* What cannot be removed would be taken in again and again, so that is the end
 * of collecting. */
static bool
remove_drop(struct drop *d)
{
	if (dropped_remove(&d->file))
		return true;
	log_message(LEVEL_ERROR, "cannot remove %s from the maildrop: %s; "
	    "nothing more is taken from there until a restart", d->file.name,
	    strerror(errno));
	collect_close(d->collector);
	return false;
}

static void
set_aside(struct drop *d, const char *as)
{
	struct collector *c = d->collector;
	struct spool *spool = c->queue->spool;

	if (!spool_set_aside_from(spool, c->directory, d->file.name, as) &&
	    (errno != EEXIST || !spool_set_aside_from(spool, c->directory,
				    d->file.name, d->file.id)))
		leave_alone(c, d->file.name, "cannot be moved to failed/");
}

static bool
has_refused(const struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == NEVER)
			return true;
	return false;
}

/* It is refused, and its sender is told, or does not want to be. It stays in
 * failed/ until the notice is delivered; or for good, where there is none. */
static void
put_away(struct drop *d, const struct message *m,
    const struct told *told)
{
	if (*told->name) {
		set_aside(d, told->name);
		owed_release(d->collector->queue, told);
	} else if (has_refused(m)) {
		set_aside(d, d->file.id);
	} else {
		(void)remove_drop(d);
	}
}

/* Tells the sender why it is not sent. Where too many such notices are on their
 * way to him already, only the log does. */
static void
refuse(struct drop *d, struct message *m, const char *fault)
{
	struct told told = {.pause = 0};

	for (size_t i = 0; i < m->recipient_count; i++)
		recipient_set(&m->recipients[i], NEVER, atoi(fault),
		    fault + 4);
	message_drop_file(m);
	if (owed_notify(d->collector->queue, m, &told)) {
		put_away(d, m, &told);
	} else if (told.pause) {
		log_message(LEVEL_ERROR, "%s, left in the maildrop by uid %u, "
		    "is refused: %s; it was set aside in failed/", m->id,
		    (unsigned)d->file.owner, fault);
		set_aside(d, d->file.id);
	}
}

/* Gives the header what is missing, and the Received field; once. */
static void
complete(struct drop *d)
{
	const char *hostname = d->collector->queue->config->hostname;
	struct origin origin = {.protocol = "local"};
	struct message *m = d->message;
	size_t before = m->header.len;
	struct buf from = {0};

	if (d->completed)
		return;
	buf_addf(&from, "local (uid %u)", (unsigned)d->file.owner);
	origin.from = from.data;
	queue_route(d->collector->queue, m);
	message_complete(m, hostname, NULL);
	message_add_received(m, &origin, hostname);
	m->limit += m->header.len - before;
	d->completed = true;
	buf_free(&from);
}

/* The body is too large for the memory. */
static int
make_file(void *context, uint64_t *base)
{
	struct drop *d = context;

	complete(d);
	return queue_make_file(d->collector->queue, d->message, base);
}

static void
report(const struct drop *d, const struct message *m)
{
	struct buf recipients = {0};
	char client[32];
	const struct report_source source = {.client = client};

	message_add_recipients_text(m, &recipients, RECIPIENTS_SHOWN);
	snprintf(client, sizeof(client), "uid %u", (unsigned)d->file.owner);
	report_accepted(m->id, m->sender, buf_text(&recipients),
	    message_size(m), &source);
	buf_free(&recipients);
}

/* A full disk, say: a fault of our own is no reason to refuse it. */
static void
postpone(struct collector *c, const char *why)
{
	if (!c->failing)
		log_message(LEVEL_ERROR, "cannot store mail from the maildrop: "
		    "%s; it stays there and is tried again every minute", why);
	c->failing = true;
}

/* Makes it ours. It stays locked until it has left the maildrop, so that
 * nobody sends it before. */
static bool
store(struct drop *d, struct message *m)
{
	complete(d);
	if (!stored_commit(d->collector->queue, m)) {
		postpone(d->collector, strerror(errno));
		return false;
	}
	d->collector->failing = false;
	if (!remove_drop(d))
		return false;
	report(d, m);
	return true;
}

/* True if it is in the queue now. */
static bool
judge(struct drop *d, struct message *m)
{
	const char *fault = m->fault;

	if (!fault && m->recipient_count >
		queue_recipient_limit(d->collector->queue, m, true))
		fault = "550 5.5.3 More recipients than one message may have";
	if (!fault)
		fault = repair_find_loop(m,
		    d->collector->queue->config->hostname);
	if (!fault) {
		repair_report(m);
		return store(d, m);
	}
	if (fault[0] == '4')
		postpone(d->collector, fault);
	else
		refuse(d, m, fault);
	return false;
}

static void
judge_bad(struct drop *d)
{
	if (record_is_other_version(d->file.fd)) {
		leave_alone(d->collector, d->file.name,
		    "of an unknown version");
		return;
	}
	log_message(LEVEL_ERROR, "%s in the maildrop, left by uid %u, is no "
	    "message, or not a whole one; it was set aside in failed/ as %s",
	    d->file.name, (unsigned)d->file.owner, d->file.id);
	set_aside(d, d->file.id);
}

static void
take_in(struct drop *d)
{
	struct queue *q = d->collector->queue;
	struct message *m = message_new(queue_budget(q),
	    q->config->listen.max_message);
	bool stored = false;

	memcpy(m->id, d->file.id, sizeof(m->id));
	m->owner = message_owner(d->file.owner);
	m->body.make_file = make_file;
	m->body.context = d;
	d->message = m;
	if (stranger_read(m, d->file.fd, d->file.size))
		stored = judge(d, m);
	else
		judge_bad(d);
	message_free(m);
	if (stored)
		backlog_plan(q, d->file.id, clock_now());
}

static void
take_open(struct drop *d)
{
	struct queue *q = d->collector->queue;

	if (spool_has(q->spool, d->file.id)) {
		if (remove_drop(d))
			backlog_notice(q, d->file.id);
	} else if (!d->collector->crash_only) {
		take_in(d);
	}
}

static void
take_drop(struct collector *c, const char *name)
{
	struct drop d = {.collector = c,
		.file = {.directory = c->directory, .name = name, .fd = -1}};
	const char *why;
	enum dropped_state state = dropped_open(&d.file, &why);

	if (state == DROPPED_JUNK)
		leave_alone(c, name, why);
	else if (state == DROPPED_OPEN)
		take_open(&d);
	dropped_close(&d.file);
}

/* Another process of the spool's owner has put a message into queue/. */
static void
take_announcement(struct collector *c, const char *id)
{
	struct stat file;

	if (fstatat(c->directory, id, &file, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	if (!S_ISREG(file.st_mode) || file.st_uid != geteuid()) {
		leave_alone(c, id, "not of the spool's owner");
	} else if (!c->crash_only) {
		(void)unlinkat(c->directory, id, 0);
		backlog_notice(c->queue, id);
	}
}

void
collect_one(struct collector *c, const char *name)
{
	if (c->directory < 0)
		return;
	if (dropped_is_name(name))
		take_drop(c, name);
	else if (dropped_is_id(name))
		take_announcement(c, name);
	else if (name[0] == '.' && dropped_is_name(name + 1))
		dropped_remove_leftover(c->directory, name);
	else
		leave_alone(c, name, "not a name of ours");
}

/* --- All of it ----------------------------------------------------------- */

static bool
is_stopping(const struct collector *c)
{
	struct pollfd stop = {.fd = c->stop_fd, .events = POLLIN};

	return poll(&stop, 1, 0) > 0;
}

/* A directory full of junk must not fill the log. */
static void
tell_of_junk(struct collector *c)
{
	if (c->junk == c->junk_told || clock_now() < c->quiet_until)
		return;
	c->junk_told = c->junk;
	c->quiet_until = clock_now() + QUIET;
	if (c->junk)
		log_message(LEVEL_WARNING, "%s in the maildrop is no mail and "
		    "is left alone: %s (%zu in all)", c->example, c->reason,
		    c->junk);
}

void
collect_all(struct collector *c)
{
	int fd = openat(c->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	c->junk = 0;
	while (directory && !is_stopping(c) && (entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			collect_one(c, entry->d_name);
	if (directory)
		closedir(directory);
	tell_of_junk(c);
}

void
collect_after_crash(struct collector *c)
{
	c->crash_only = true;
	collect_all(c);
	c->crash_only = false;
}

void
collect_open(struct collector *c, struct queue *q, int stop_fd)
{
	char *path = xasprintf("%s/maildrop", q->config->queue.directory);
	struct stat found;

	*c = (struct collector){.queue = q, .stop_fd = stop_fd};
	c->directory = open(path,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	free(path);
	/* In somebody else's nothing could be removed. */
	if (c->directory >= 0 && (fstat(c->directory, &found) != 0 ||
		found.st_uid != geteuid()))
		collect_close(c);
}

void
collect_close(struct collector *c)
{
	if (c->directory >= 0)
		close(c->directory);
	c->directory = -1;
}
