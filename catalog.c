/* SPDX-License-Identifier: ISC */
/*
 * What is in the spool, seen from outside: names, in as little memory as a
 * million of them ask for, and one look at a time.
 */
#include "catalog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "ID", or in failed/ "ID.NUMBER" too. */
static bool
read_name(struct catalog_name *n, const char *text, bool numbered)
{
	char id[QUEUE_ID_SIZE] = "";
	size_t len = strlen(text);
	char *end;

	memcpy(id, text, len < sizeof(id) ? len : sizeof(id) - 1);
	n->number = 0;
	if (!queue_id_read(&n->id, id))
		return false;
	text += QUEUE_ID_SIZE - 1;
	if (!*text)
		return true;
	if (!numbered || text[0] != '.' || text[1] < '1' || text[1] > '9')
		return false;
	n->number = (unsigned)strtoul(text + 1, &end, 10);
	return !*end && end - text < 10;
}

static void
add_name(struct catalog *c, size_t *room, const char *text)
{
	struct catalog_name name;

	if (text[0] == '.')
		return;
	if (!read_name(&name, text, c->failed)) {
		c->foreign++;
		return;
	}
	if (c->count == *room) {
		*room = *room ? *room + *room / 2 : 64;
		c->names = xrealloc(c->names, *room, sizeof(*c->names));
	}
	c->names[c->count++] = name;
}

static int
compare_names(const void *a, const void *b)
{
	const struct catalog_name *x = a, *y = b;
	int order = queue_id_compare(&x->id, &y->id);

	if (order)
		return order;
	return (x->number > y->number) - (x->number < y->number);
}

void
catalog_name(const struct catalog *c, size_t i, char name[CATALOG_NAME_SIZE])
{
	const struct catalog_name *n = &c->names[i];

	queue_id_write(&n->id, name);
	if (n->number)
		snprintf(name + QUEUE_ID_SIZE - 1,
		    CATALOG_NAME_SIZE - QUEUE_ID_SIZE + 1, ".%u", n->number);
}

/* -1 with errno set. */
static int
open_directory(const char *spool, const char *name)
{
	int at = open(spool, O_PATH | O_DIRECTORY | O_CLOEXEC), fd, error;

	if (at < 0)
		return -1;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	error = errno;
	close(at);
	errno = error;
	return fd;
}

static bool
read_names(struct catalog *c, DIR *names)
{
	struct dirent *entry;
	size_t room = 0;

	while ((errno = 0, entry = readdir(names)))
		add_name(c, &room, entry->d_name);
	return errno == 0;
}

bool
catalog_open(struct catalog *c, const char *spool, bool failed)
{
	*c = (struct catalog){.failed = failed};
	c->directory = open_directory(spool, failed ? "failed" : "queue");
	return c->directory >= 0 || errno == ENOENT;
}

bool
catalog_read(struct catalog *c, const char *spool, bool failed)
{
	int copy, error;
	DIR *names;
	bool ok;

	if (!catalog_open(c, spool, failed) || c->directory < 0)
		return c->directory < 0 && errno == ENOENT;
	copy = fcntl(c->directory, F_DUPFD_CLOEXEC, 0);
	names = copy < 0 ? NULL : fdopendir(copy);
	if (!names)
		return false;
	ok = read_names(c, names);
	error = errno;
	closedir(names);
	errno = error;
	if (c->count)
		qsort(c->names, c->count, sizeof(*c->names), compare_names);
	return ok;
}

void
catalog_free(struct catalog *c)
{
	if (c->directory >= 0)
		close(c->directory);
	free(c->names);
	*c = (struct catalog){.directory = -1};
}

void
entry_close(struct entry *e)
{
	message_free(e->message);
	e->message = NULL;
}

static const char *
trouble_of(enum load_result result)
{
	if (result == LOAD_UNKNOWN)
		return "this file is of a version that this one does not know";
	if (result == LOAD_DAMAGED)
		return "this file is damaged";
	return errno == EACCES || errno == EPERM
	    ? "this file may not be read"
	    : "this file cannot be read now";
}

/* In queue/ the name is the ID in the file; in failed/ that is at least one,
 * so that it can be shown. */
static bool
is_named_well(const struct entry *e)
{
	struct queue_id id;

	return e->failed ? queue_id_read(&id, e->message->id)
			 : strcmp(e->message->id, e->name) == 0;
}

/* The ID that the file's text has, which in failed/ need not be its name. */
static void
read_id(struct message *m)
{
	static const char before[] = "smarthost 1\nid ";
	char start[sizeof(before) - 1 + QUEUE_ID_SIZE] = "";

	if (pread(m->file, start, sizeof(start) - 1, 0) ==
		sizeof(start) - 1 &&
	    memcmp(start, before, sizeof(before) - 1) == 0)
		memcpy(m->id, start + sizeof(before) - 1, QUEUE_ID_SIZE);
}

/* A file of queue/ that has lost its name may be another message's by now; what
 * was read before that was its own. */
static bool
has_name(const struct entry *e, const struct catalog *c)
{
	struct stat named;

	return fstatat(c->directory, e->name, &named, AT_SYMLINK_NOFOLLOW) ==
	    0 && named.st_ino == e->file.st_ino &&
	    named.st_dev == e->file.st_dev;
}

/* Without the message's lock: to look at, never to change. */
static enum load_result
look(struct entry *e, const struct catalog *c)
{
	int fd = openat(c->directory, e->name,
	    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	enum load_result result = LOAD_DAMAGED;

	if (fd < 0)
		return errno == ENOENT ? LOAD_GONE : LOAD_TROUBLE;
	e->message = message_new(NULL, UINT64_MAX);
	e->message->file = fd;
	if (fstat(fd, &e->file) == 0 && S_ISREG(e->file.st_mode)) {
		read_id(e->message);
		result = spool_read(e->message, e->file.st_size);
	}
	if (result == LOADED && !is_named_well(e))
		result = LOAD_DAMAGED;
	if (!has_name(e, c))
		result = LOAD_GONE;
	if (result != LOADED)
		entry_close(e);
	return result;
}

bool
entry_glance(struct entry *e, const struct catalog *c, const char *name)
{
	*e = (struct entry){.failed = c->failed};
	snprintf(e->name, sizeof(e->name), "%s", name);
	return c->directory >= 0 && fstatat(c->directory, name, &e->file,
	    AT_SYMLINK_NOFOLLOW) == 0;
}

bool
entry_open(struct entry *e, const struct catalog *c, const char *name)
{
	enum load_result result;

	if (!entry_glance(e, c, name))
		return false;
	result = look(e, c);
	if (result != LOADED)
		e->trouble = trouble_of(result);
	return result != LOAD_GONE;
}
