/* SPDX-License-Identifier: ISC */
/*
 * What a command needs to work on the queue: where the daemon may be asked,
 * where the spool is, and how to say what went wrong.
 */
#include "queue_work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "catalog.h"
#include "reply.h"
#include "setup.h"

static const char default_socket[] = "/run/smarthost/socket";

const char *
work_spool(const struct queue_work *w)
{
	return w->place->setup ? w->place->setup->config.queue.directory
			       : NULL;
}

bool
work_may_look(const struct queue_work *w)
{
	struct catalog c;
	bool ok;

	if (!w->place->setup)
		return false;
	if (!work_spool(w))
		return true;
	ok = catalog_open(&c, work_spool(w), false);
	catalog_free(&c);
	return ok;
}

enum inquiry_result
work_ask(struct queue_work *w, const char *question, listing_write *write,
    void *context)
{
	enum inquiry_result result = inquiry_ask(&w->inquiry, question, write,
	    context);

	if (result == INQUIRY_NOBODY && !work_may_look(w))
		result = inquiry_ask_publicly(&w->inquiry, question, write,
		    context);
	return result;
}

int
work_complain(const struct queue_work *w, const char *sentences, int status)
{
	char *prefix = xasprintf("%s: ", w->place->program);
	struct buf text = {0};

	buf_adds(&text, sentences);
	setup_print(stderr, prefix, &text);
	buf_free(&text);
	free(prefix);
	return status;
}

const char *
work_reply(const struct queue_work *w)
{
	const char *text = buf_text(&w->inquiry.reply);
	size_t code = reply_enhanced(text);

	return text + code + (code && text[code] == ' ');
}

int
work_conclude(const struct queue_work *w, enum inquiry_result result)
{
	if (result == INQUIRY_OK)
		return EX_OK;
	return work_complain(w, work_reply(w), result == INQUIRY_REFUSED
		? EX_DATAERR
		: EX_TEMPFAIL);
}

int
work_give_up(const struct queue_work *w)
{
	struct buf why = {0};
	int status = w->place->setup || geteuid() != 0 ? EX_TEMPFAIL
						       : EX_CONFIG;

	buf_adds(&why, buf_text(&w->inquiry.reply));
	if (w->place->why)
		buf_addf(&why, "; %.*s", (int)strcspn(w->place->why, "\n"),
		    w->place->why);
	else if (!work_may_look(w))
		buf_addf(&why, "; the spool %s %s: %s", work_spool(w),
		    errno == EACCES ? "is not for this user"
				    : "cannot be read", strerror(errno));
	work_complain(w, why.data, status);
	buf_free(&why);
	return status;
}

void
work_open_log(const struct queue_work *w)
{
	log_open(access("/dev/log", F_OK) == 0 ? LOG_TO_SYSLOG
					       : LOG_TO_NOWHERE,
	    LOG_AS_TEXT, w->place->setup->config.log_level);
}

/* The sockets of a daemon whose configuration we may not read. */
static void
guess_sockets(struct queue_work *w)
{
	const char *socket = getenv("SMARTHOST_LISTEN_SOCKET");
	const char *control = getenv("SMARTHOST_LISTEN_CONTROL");
	struct inquiry *q = &w->inquiry;

	q->socket = socket && *socket ? socket : default_socket;
	q->control = control && *control ? control : NULL;
	if (!q->control && strchr(q->socket, '/'))
		q->control = w->control = xasprintf("%.*s/control",
		    (int)(strrchr(q->socket, '/') - q->socket), q->socket);
	if (strcmp(q->socket, "none") == 0)
		q->socket = NULL;
	if (q->control && strcmp(q->control, "none") == 0)
		q->control = NULL;
}

void
work_begin(struct queue_work *w, const struct queue_place *place)
{
	*w = (struct queue_work){
		.place = place, .asker = {.everything = true}};
	snprintf(w->name, sizeof(w->name), "uid %u", (unsigned)getuid());
	w->asker.name = w->name;
	if (place->setup) {
		w->inquiry.socket = place->setup->config.listen.socket;
		w->inquiry.control = place->setup->config.listen.control;
	} else {
		guess_sockets(w);
	}
}

void
work_end(struct queue_work *w)
{
	free(w->control);
	buf_free(&w->inquiry.reply);
}
