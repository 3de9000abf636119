/* SPDX-License-Identifier: ISC */
/*
 * What is made of the files in the maildrop. Whoever left one may change it,
 * or put another one in its place, at any time: so a file is judged by its
 * descriptor, and its content by the copy that goes into the queue.
 *
 * The queue ID comes from the file, its name and the time when the system saw
 * it appear. A crash between the commit and the removal leaves both, and the
 * same ID says so; nothing is sent before the removal is on the disk.
 */
#include "collect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "maildrop.h"
#include "message.h"
#include "queue.h"
#include "queue_internal.h"
#include "record.h"
#include "report.h"
#include "spool.h"
#include "stranger.h"

enum {
	LEFTOVER_AGE = 24 * 3600, /* seconds */
	QUIET = 3600 * 1000,      /* ms between two warnings of junk */
};

/* One file. */
struct drop {
	struct collector *collector;
	const char *name;
	int fd;
	struct stat file;
	char id[QUEUE_ID_SIZE]; /* what it gets as a message */
	struct message *message;
	bool completed;
};

/* --- Names --------------------------------------------------------------- */

static bool
is_hexadecimal(const char *name, size_t len)
{
	return strlen(name) == len &&
	    strspn(name, "0123456789abcdef") == len;
}

static void
leave_alone(struct collector *c, const char *name, const char *reason)
{
	if (c->junk++)
		return;
	c->reason = reason;
	snprintf(c->example, sizeof(c->example), "%s", name);
}

/* --- Opening ------------------------------------------------------------- */

static const char *
why_no_mail(const struct stat *file)
{
	if (!S_ISREG(file->st_mode))
		return "not a file";
	return file->st_nlink == 1 ? NULL : "has another name elsewhere";
}

static void
make_id(struct drop *d)
{
	const struct timespec *t = &d->file.st_ctim;

	snprintf(d->id, sizeof(d->id), "%016llx%.16s",
	    (unsigned long long)t->tv_sec * 1000000 +
		(unsigned long long)t->tv_nsec / 1000,
	    d->name);
}

/* Whether it is still what we have opened. */
static bool
is_there(const struct drop *d)
{
	struct stat named;

	return fstatat(d->collector->directory, d->name, &named,
		   AT_SYMLINK_NOFOLLOW) == 0 &&
	    named.st_ino == d->file.st_ino && named.st_dev == d->file.st_dev;
}

/* Opens it, unless it has gone or is none of ours. A device would hear of
 * that, so it is looked at before as well. */
static bool
open_drop(struct drop *d)
{
	struct collector *c = d->collector;
	const char *reason;

	if (fstatat(c->directory, d->name, &d->file, AT_SYMLINK_NOFOLLOW) != 0)
		return false;
	reason = why_no_mail(&d->file);
	if (!reason)
		d->fd = openat(c->directory, d->name, O_RDONLY | O_NOFOLLOW |
		    O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (!reason && d->fd < 0 && errno == EACCES)
		reason = "may not be read";
	if (d->fd >= 0 && fstat(d->fd, &d->file) == 0)
		reason = why_no_mail(&d->file);
	if (reason)
		leave_alone(c, d->name, reason);
	return !reason && d->fd >= 0;
}

/* Keeps out another process that collects, which may have been faster. */
static bool
lock_drop(struct drop *d)
{
	if (flock(d->fd, LOCK_EX | LOCK_NB) != 0 || !is_there(d))
		return false;
	make_id(d);
	return true;
}

/* --- Taking it in -------------------------------------------------------- */

/* What cannot be removed would be taken in again and again, so that is the end
 * of collecting. */
static bool
remove_drop(struct drop *d)
{
	struct collector *c = d->collector;

	if ((unlinkat(c->directory, d->name, 0) == 0 || errno == ENOENT) &&
	    fsync(c->directory) == 0)
		return true;
	log_message(LEVEL_ERROR, "cannot remove %s from the maildrop: %s; "
	    "nothing more is taken from there until a restart", d->name,
	    strerror(errno));
	collect_close(c);
	return false;
}

static bool
set_aside(struct drop *d, const char *as)
{
	struct collector *c = d->collector;
	struct spool *spool = c->queue->spool;

	if (spool_set_aside_from(spool, c->directory, d->name, as))
		return true;
	if (errno != EEXIST ||
	    !spool_set_aside_from(spool, c->directory, d->name, d->id))
		leave_alone(c, d->name, "cannot be moved to failed/");
	return false;
}

/* Tells the sender why it is not sent. Where too many such notices are on their
 * way to him already, it only goes to failed/, as does what has none. */
static void
refuse(struct drop *d, struct message *m, const char *fault)
{
	struct told told = {.pause = 0};

	for (size_t i = 0; i < m->recipient_count; i++)
		recipient_set(&m->recipients[i], NEVER, atoi(fault),
		    fault + 4);
	message_drop_file(m);
	if (!owed_notify(d->collector->queue, m, &told)) {
		if (!told.pause)
			return; /* it could not be stored */
		log_message(LEVEL_ERROR, "%s, left in the maildrop by uid %u, "
		    "is refused: %s; it was set aside in failed/", m->id,
		    (unsigned)d->file.st_uid, fault);
	}
	(void)set_aside(d, *told.name ? told.name : d->id);
	owed_release(d->collector->queue, &told);
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
	buf_addf(&from, "local (uid %u)", (unsigned)d->file.st_uid);
	origin.from = from.data;
	message_qualify(m, hostname);
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

/* Makes it ours. It stays locked until it has left the maildrop, so that
 * nobody sends it before. */
static bool
store(struct drop *d, struct message *m)
{
	struct collector *c = d->collector;
	char client[32];
	bool stored;

	complete(d);
	stored = stored_commit(c->queue, m);
	if (!stored && !c->failing)
		log_message(LEVEL_ERROR, "cannot store mail from the maildrop: "
		    "%s; it stays there and is tried again every minute",
		    strerror(errno));
	c->failing = !stored;
	if (!stored || !remove_drop(d))
		return false;
	snprintf(client, sizeof(client), "uid %u", (unsigned)d->file.st_uid);
	report_accepted(m, client);
	return true;
}

/* True if it is in the queue now. A fault of our own, such as a full disk, is
 * no reason to refuse it. */
static bool
judge(struct drop *d, struct message *m)
{
	const struct config *config = d->collector->queue->config;
	const char *fault = m->fault;

	if (!fault && m->recipient_count > config->listen.max_recipients)
		fault = "550 5.5.3 More recipients than max_recipients";
	if (fault && fault[0] != '4')
		refuse(d, m, fault);
	return !fault && store(d, m);
}

static void
judge_bad(struct drop *d)
{
	if (record_is_other_version(d->fd)) {
		leave_alone(d->collector, d->name, "of an unknown version");
		return;
	}
	log_message(LEVEL_ERROR, "%s in the maildrop, left by uid %u, is no "
	    "message, or not a whole one; it was set aside in failed/ as %s",
	    d->name, (unsigned)d->file.st_uid, d->id);
	(void)set_aside(d, d->id);
}

static void
take_in(struct drop *d)
{
	struct queue *q = d->collector->queue;
	struct message *m = message_new(queue_budget(q),
	    q->config->listen.max_message);
	bool stored = false;

	memcpy(m->id, d->id, sizeof(m->id));
	m->owner = message_owner(d->file.st_uid);
	m->body.make_file = make_file;
	m->body.context = d;
	d->message = m;
	if (stranger_read(m, d->fd, (uint64_t)d->file.st_size))
		stored = judge(d, m);
	else
		judge_bad(d);
	message_free(m);
	if (stored)
		backlog_plan(q, d->id, clock_now());
}

static void
take_drop(struct collector *c, const char *name)
{
	struct drop d = {.collector = c, .name = name, .fd = -1};

	if (open_drop(&d) && lock_drop(&d)) {
		if (!spool_has(c->queue->spool, d.id)) {
			if (!c->crash_only)
				take_in(&d);
		} else if (remove_drop(&d)) {
			backlog_notice(c->queue, d.id);
		}
	}
	if (d.fd >= 0)
		close(d.fd);
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

/* What a submitter left that was killed. If it was not, it will find that it
 * cannot give the file its name, and say so. */
static void
take_leftover(struct collector *c, const char *name)
{
	struct stat file;

	if (!is_hexadecimal(name + 1, DROP_NAME_LEN))
		leave_alone(c, name, "not a name of ours");
	else if (fstatat(c->directory, name, &file, AT_SYMLINK_NOFOLLOW) ==
		0 && S_ISREG(file.st_mode) &&
	    file.st_ctim.tv_sec < time(NULL) - LEFTOVER_AGE)
		(void)unlinkat(c->directory, name, 0);
}

void
collect_one(struct collector *c, const char *name)
{
	if (c->directory < 0)
		return;
	if (is_hexadecimal(name, DROP_NAME_LEN))
		take_drop(c, name);
	else if (is_hexadecimal(name, QUEUE_ID_SIZE - 1))
		take_announcement(c, name);
	else if (name[0] == '.')
		take_leftover(c, name);
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
