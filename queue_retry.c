/* SPDX-License-Identifier: ISC */
/*
 * The verb RETRY from the asking side: told to the daemon, waited for, or done
 * here.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "catalog.h"
#include "progress.h"
#include "queue_work.h"
#include "runqueue.h"
#include "setup.h"

enum { POLL_MS = 250 };

/* The IDs of the command line, sorted; none: everything. */
struct wanted {
	struct queue_id *ids;
	size_t count;
};

/* A message, and the word that changes when it has been tried. */
struct mark {
	struct queue_id id;
	uint64_t stamp;
	bool paused; /* it is not going to be, for now */
};

/* What LIST BRIEF has said. */
struct survey {
	struct mark *marks; /* in order of arrival */
	size_t count, room;
	bool may_try;       /* an upstream is up, or being tried */
	struct buf trouble; /* the lines about those that are away */
	struct buf line;    /* not yet complete */
};

static void
survey_free(struct survey *s)
{
	free(s->marks);
	buf_free(&s->trouble);
	buf_free(&s->line);
	*s = (struct survey){0};
}

static uint64_t
hash(const char *text)
{
	uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
	return hash;
}

/* "ID STAMP" or "ID STAMP paused". */
static void
note_message(struct survey *s, char *line)
{
	char *blank = strchr(line, ' '), *rest;
	struct mark mark;

	if (!blank || !blank[1] || blank[1] == ' ')
		return;
	*blank = '\0';
	if (!queue_id_read(&mark.id, line))
		return;
	mark.paused = strstr(blank + 1, " paused") != NULL;
	mark.stamp = hash(strtok_r(blank + 1, " ", &rest));
	if (s->count == s->room) {
		s->room = s->room ? s->room + s->room / 2 : 64;
		s->marks = xrealloc(s->marks, s->room, sizeof(*s->marks));
	}
	s->marks[s->count++] = mark;
}

/* "upstream NAME: up" or "upstream NAME: away, next try in 3 s: reason". */
static void
note_upstream(struct survey *s, const char *line)
{
	const char *state = strstr(line, ": ");

	if (state && strncmp(state, ": away, next try", 16) == 0)
		buf_addf(&s->trouble, "%s\n", line);
	else
		s->may_try = true;
}

static bool
note(void *context, const char *text, size_t len)
{
	struct survey *s = context;

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\n') {
			buf_addc(&s->line, text[i]);
			continue;
		}
		if (strncmp(buf_text(&s->line), "upstream ", 9) == 0)
			note_upstream(s, s->line.data);
		else if (s->line.len)
			note_message(s, s->line.data);
		buf_clear(&s->line);
	}
	return true;
}

static enum inquiry_result
survey(struct queue_work *w, struct survey *s)
{
	survey_free(s);
	return work_ask(w, "LIST BRIEF", note, s);
}

/* Leaves those with these IDs. */
static void
keep_only(struct survey *s, const struct queue_id *ids, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->count; i++)
		if (bsearch(&s->marks[i].id, ids, count, sizeof(*ids),
			queue_id_compare))
			s->marks[kept++] = s->marks[i];
	s->count = kept;
}

/* How many of them are still there, and how many have not been tried since. */
static size_t
compare(const struct survey *before, const struct survey *now,
    size_t *untried)
{
	size_t left = 0;

	*untried = 0;
	for (size_t i = 0; now->count && i < before->count; i++) {
		const struct mark *found = bsearch(&before->marks[i].id,
		    now->marks, now->count, sizeof(*now->marks),
		    queue_id_compare);

		left += found != NULL;
		*untried += found && !found->paused &&
		    found->stamp == before->marks[i].stamp;
	}
	return left;
}

static int
report_left(const struct queue_work *w, size_t left, const char *trouble)
{
	struct buf text = {0};

	if (!left)
		return EX_OK;
	buf_addf(&text, "%s%zu message%s left; smarthost queue says why",
	    trouble, left, left == 1 ? " is" : "s are");
	work_complain(w, text.data, EX_TEMPFAIL);
	buf_free(&text);
	return EX_TEMPFAIL;
}

/* Waits until each has been tried, or nothing can be. */
static int
wait_for(struct queue_work *w, const struct survey *before)
{
	size_t left = before->count, untried = left;
	enum inquiry_result result = INQUIRY_OK;
	struct survey now = {.may_try = true};
	struct progress progress;
	int status;

	progress_start(&progress, before->count, false);
	while (result == INQUIRY_OK && untried && now.may_try) {
		poll(NULL, 0, POLL_MS);
		result = survey(w, &now);
		if (result == INQUIRY_OK)
			left = compare(before, &now, &untried);
		progress_show(&progress, untried);
	}
	progress_end(&progress);
	status = result == INQUIRY_OK
	    ? report_left(w, left, buf_text(&now.trouble))
	    : work_conclude(w, result);
	survey_free(&now);
	return status;
}

/* Tells the daemon; false if there is none. What it says about one message is
 * no reason not to go on with the next. */
static bool
tell(struct queue_work *w, const struct wanted *wanted, int *status)
{
	char id[QUEUE_ID_SIZE], question[QUEUE_ID_SIZE + 8] = "RETRY";
	enum inquiry_result result;
	size_t i = 0;

	do {
		if (wanted->count) {
			queue_id_write(&wanted->ids[i], id);
			snprintf(question, sizeof(question), "RETRY %s", id);
		}
		result = work_ask(w, question, NULL, NULL);
		if (result != INQUIRY_OK && result != INQUIRY_NOBODY)
			*status = work_conclude(w, result);
	} while (++i < wanted->count && result != INQUIRY_NOBODY);
	return result != INQUIRY_NOBODY;
}

/* Without a daemon. */
static int
retry_here(struct queue_work *w, const struct wanted *wanted)
{
	struct run run = {.ids = wanted->ids, .count = wanted->count,
		.quiet = w->quiet};
	struct buf why = {0};
	int status = EX_OK;

	if (!work_spool(w))
		return EX_OK;
	work_open_log(w);
	status = runqueue(w->place->setup, &run, &why);
	if (status != EX_OK)
		work_complain(w, buf_text(&why), status);
	else if (!w->quiet)
		status = report_left(w, run.left, buf_text(&why));
	buf_free(&why);
	return status;
}

static int
retry(struct queue_work *w, const struct wanted *wanted)
{
	struct survey before = {0};
	enum inquiry_result result = INQUIRY_OK;
	int status = EX_OK, waited = EX_OK;

	if (w->wait)
		result = survey(w, &before);
	if (wanted->count)
		keep_only(&before, wanted->ids, wanted->count);
	if (result == INQUIRY_OK && !tell(w, wanted, &status))
		result = INQUIRY_NOBODY;
	if (result == INQUIRY_NOBODY)
		status = work_may_look(w) ? retry_here(w, wanted)
					  : work_give_up(w);
	else if (result != INQUIRY_OK)
		status = work_conclude(w, result);
	else if (w->wait)
		waited = wait_for(w, &before);
	else if (!w->quiet && !status)
		printf("%s\n", work_reply(w));
	survey_free(&before);
	return status ? status : waited;
}

int
work_retry(struct queue_work *w, char **words, size_t count)
{
	struct wanted wanted = {.count = count};
	int status;

	wanted.ids = count ? xcalloc(count, sizeof(*wanted.ids)) : NULL;
	for (size_t i = 0; i < count; i++)
		(void)queue_id_read(&wanted.ids[i], words[i]);
	if (count)
		qsort(wanted.ids, count, sizeof(*wanted.ids),
		    queue_id_compare);
	status = retry(w, &wanted);
	free(wanted.ids);
	return status;
}
