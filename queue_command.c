/* SPDX-License-Identifier: ISC */
/*
 * smarthost queue, and what sendmail does with the queue: ask the daemon, over
 * its control socket or, as somebody without that right, over the public one;
 * where there is no daemon, work on the spool itself.
 */
#include "queue_command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "catalog.h"
#include "drop.h"
#include "owner.h"
#include "queue_work.h"
#include "setup.h"
#include "staging.h"

/* --- Output -------------------------------------------------------------- */

/* A message must not be able to play tricks with a terminal. */
static bool
write_out(void *context, const char *text, size_t len)
{
	const bool *terminal = context;

	if (!*terminal)
		return fwrite(text, 1, len, stdout) == len;
	for (size_t i = 0; i < len; i++) {
		bool harmless = (unsigned char)text[i] >= ' ' ||
		    text[i] == '\n' || text[i] == '\t';

		putchar(harmless && text[i] != 0x7f ? text[i] : '?');
	}
	return !ferror(stdout);
}

/* What could not be written was not said. */
static int
end_output(const struct queue_work *w, int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return work_complain(w, "cannot write the output", EX_IOERR);
}

/* --- list and show ------------------------------------------------------- */

/* Has a question answered, by the daemon or by the files themselves. here:
 * false with errno set, or 0: there is no such thing. */
struct question {
	const char *text;
	bool (*here)(const struct listing *, const struct question *);
	enum listing_form form;
	bool failed;
	const char *id;
};

static int
answer_here(const struct queue_work *w, const struct question *q,
    bool *terminal)
{
	struct buf notes = {0};
	struct listing listing = {
		.spool = work_spool(w),
		.asker = w->asker,
		.standing.upstream = w->place->setup->config.upstreams[0].name,
		.write = write_out,
		.context = terminal,
	};
	char *why;

	staging_add_text(&notes, &w->place->setup->config);
	listing.notes = buf_text(&notes);
	errno = 0;
	if (q->here(&listing, q)) {
		buf_free(&notes);
		return EX_OK;
	}
	buf_free(&notes);
	if (!errno)
		return work_complain(w, "there is no such message",
		    EX_DATAERR);
	why = xasprintf("cannot read the spool %s: %s", work_spool(w),
	    strerror(errno));
	work_complain(w, why, EX_TEMPFAIL);
	free(why);
	return EX_TEMPFAIL;
}

static int
answer(struct queue_work *w, const struct question *q)
{
	bool terminal = isatty(STDOUT_FILENO) == 1;
	enum inquiry_result result;
	int status;

	signal(SIGPIPE, SIG_DFL); /* "| head" is no error */
	result = work_ask(w, q->text, write_out, &terminal);
	if (result != INQUIRY_NOBODY)
		status = work_conclude(w, result);
	else if (work_may_look(w))
		status = answer_here(w, q, &terminal);
	else
		status = work_give_up(w);
	return end_output(w, status);
}

static bool
list_here(const struct listing *l, const struct question *q)
{
	size_t count;

	return listing_list(l, q->form, q->failed, &count);
}

static bool
show_here(const struct listing *l, const struct question *q)
{
	if (listing_show(l, q->id))
		return true;
	errno = 0;
	return false;
}

static int
list(struct queue_work *w, bool json, bool failed)
{
	char *text = xasprintf("LIST%s%s", json ? " JSON" : "",
	    failed ? " FAILED" : "");
	const struct question q = {
		.text = text,
		.here = list_here,
		.form = json ? LISTING_JSON : LISTING_TEXT,
		.failed = failed,
	};
	int status = answer(w, &q);

	free(text);
	return status;
}

static int
show(struct queue_work *w, const char *id)
{
	char *text = xasprintf("SHOW %s", id);
	const struct question q = {.text = text, .here = show_here, .id = id};
	int status = answer(w, &q);

	free(text);
	return status;
}

/* --- drop ---------------------------------------------------------------- */

/* NULL with a sentence in why. One that is not there is not made. */
static struct spool *
open_spool(const struct queue_work *w, struct buf *why)
{
	const char *directory = work_spool(w);

	if (directory && access(directory, F_OK) == 0)
		return owner_become(directory, why)
		    ? spool_open(directory, why)
		    : NULL;
	buf_adds(why, "the queue is empty");
	return NULL;
}

static int
drop_here(struct queue_work *w, const char *id)
{
	struct buf why = {0};
	enum load_result result = LOAD_GONE;
	struct spool *spool;

	work_open_log(w);
	spool = open_spool(w, &why);
	if (spool) {
		result = drop_message(spool, id, &w->asker);
		drop_explain(&why, id, result);
		spool_close(spool);
	}
	if (result != LOADED)
		work_complain(w, buf_text(&why), EX_TEMPFAIL);
	buf_free(&why);
	if (result == LOADED)
		return EX_OK;
	return result == LOAD_BUSY || result == LOAD_TROUBLE ? EX_TEMPFAIL
							     : EX_DATAERR;
}

static int
drop(struct queue_work *w, const char *id)
{
	char *text = xasprintf("DROP %s", id);
	enum inquiry_result result = work_ask(w, text, NULL, NULL);
	int status;

	if (result != INQUIRY_NOBODY)
		status = work_conclude(w, result);
	else if (work_may_look(w))
		status = drop_here(w, id);
	else
		status = work_give_up(w);
	free(text);
	return status;
}

/* --- The command line ---------------------------------------------------- */

static int
usage(void)
{
	fprintf(stderr, "usage: smarthost queue [list [--json] [--failed] | "
	    "show ID | retry [--wait] [ID...] | drop ID...]\n");
	return EX_USAGE;
}

/* Takes the option out of the words; false if it is not there. */
static bool
take_option(int *argc, char **argv, const char *option)
{
	for (int i = 1; i < *argc; i++)
		if (strcmp(argv[i], option) == 0) {
			memmove(&argv[i], &argv[i + 1],
			    (size_t)(*argc - i - 1) * sizeof(*argv));
			(*argc)--;
			return true;
		}
	return false;
}

static bool
are_ids(const struct queue_work *w, char **words, int count)
{
	struct queue_id id;

	for (int i = 0; i < count; i++)
		if (!queue_id_read(&id, words[i])) {
			struct buf why = {0};

			buf_adds(&why, "\"");
			buf_add_printable(&why, words[i], strlen(words[i]),
			    100);
			buf_adds(&why, "\" is no queue ID; smarthost queue "
			    "lists them");
			work_complain(w, why.data, EX_USAGE);
			buf_free(&why);
			return false;
		}
	return true;
}

static int
run_list(struct queue_work *w, int argc, char **argv)
{
	bool json = take_option(&argc, argv, "--json");
	bool failed = take_option(&argc, argv, "--failed");

	return argc > 1 ? usage() : list(w, json, failed);
}

static int
run_show(struct queue_work *w, int argc, char **argv)
{
	if (argc != 2)
		return usage();
	return are_ids(w, argv + 1, 1) ? show(w, argv[1]) : EX_USAGE;
}

static int
run_retry(struct queue_work *w, int argc, char **argv)
{
	w->wait = take_option(&argc, argv, "--wait");
	if (argc > 1 && argv[1][0] == '-')
		return usage();
	return are_ids(w, argv + 1, argc - 1)
	    ? work_retry(w, argv + 1, (size_t)(argc - 1))
	    : EX_USAGE;
}

/* The status of the first that could not be dropped; the others are. */
static int
run_drop(struct queue_work *w, int argc, char **argv)
{
	int status = EX_OK;

	if (argc < 2)
		return usage();
	if (!are_ids(w, argv + 1, argc - 1))
		return EX_USAGE;
	for (int i = 1; i < argc; i++) {
		int one = drop(w, argv[i]);

		status = status ? status : one;
	}
	return status;
}

static const struct {
	const char *name;
	int (*run)(struct queue_work *, int argc, char **argv);
} verbs[] = {
	{"list", run_list},
	{"show", run_show},
	{"retry", run_retry},
	{"drop", run_drop},
};

static int
run(struct queue_work *w, int argc, char **argv)
{
	char word[] = "list", *none[] = {word, NULL};

	if (argc < 2)
		return run_list(w, 1, none);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(w, argc - 1, argv + 1);
	return usage();
}

int
queue_command(int argc, char **argv, const char *config)
{
	struct queue_place place = {.program = "smarthost"};
	struct buf why = {0};
	struct queue_work w;
	struct setup s;
	int status = EX_CONFIG;

	if (setup_read(&s, setup_config_path(config), &why))
		place.setup = &s;
	else
		place.why = buf_text(&why);
	work_begin(&w, &place);
	/* Who names a file does not mean another daemon. */
	if (config && !place.setup)
		work_complain(&w, place.why, status);
	else
		status = run(&w, argc, argv);
	work_end(&w);
	setup_free(&s);
	buf_free(&why);
	return status;
}

int
queue_command_list(const struct queue_place *place)
{
	struct queue_work w;
	int status;

	work_begin(&w, place);
	status = list(&w, false, false);
	work_end(&w);
	return status;
}

int
queue_command_run(const struct queue_place *place, const char *id)
{
	char *ids[1] = {id ? xstrdup(id) : NULL};
	struct queue_work w;
	int status = EX_USAGE;

	work_begin(&w, place);
	w.quiet = true;
	if (are_ids(&w, ids, id != NULL))
		status = work_retry(&w, ids, id != NULL);
	work_end(&w);
	free(ids[0]);
	return status;
}
