/* SPDX-License-Identifier: ISC */
/*
 * Be sendmail: the whole message is here, in memory or in a nameless file,
 * before anybody is bothered with it. Nothing here needs a privilege.
 */
#include "sendmail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "queue_command.h"
#include "ways.h"

static int
complain(const struct job *j, int status)
{
	fprintf(stderr, "sendmail: %s\n", buf_text(&j->draft.why));
	return status;
}

static int
deliver(struct job *j)
{
	int status = compose(&j->draft);

	if (status == EX_OK)
		status = ways_submit(j);
	return status == EX_OK ? EX_OK : complain(j, status);
}

/* Reads what can be read: a caller without access to the configuration has
 * the daemon. */
static void
configure(struct job *j, const char *option)
{
	const char *path = setup_config_path(
	    j->options.config ? j->options.config : option);

	j->uid = getuid();
	j->configured = setup_read(&j->setup, path, &j->config_error);
	j->daemon_may_read = geteuid() != 0 && !j->options.config &&
	    (j->configured ||
		(path && access(path, R_OK) != 0 && errno == EACCES));
	if (gethostname(j->hostname, sizeof(j->hostname)) != 0 ||
	    !j->hostname[0])
		snprintf(j->hostname, sizeof(j->hostname), "localhost");
	j->hostname[sizeof(j->hostname) - 1] = '\0';
	j->draft.hostname = j->configured ? j->setup.config.hostname
					  : j->hostname;
}

static int
run_mode(struct job *j)
{
	const struct queue_place place = {
		.program = "sendmail",
		.setup = j->configured ? &j->setup : NULL,
		.why = buf_text(&j->config_error),
	};

	switch (j->options.mode) {
	case MODE_DELIVER:
		return deliver(j);
	case MODE_QUEUE_LIST:
		return queue_command_list(&place);
	case MODE_QUEUE_RUN:
		return queue_command_run(&place, j->options.queue_id);
	case MODE_ALIASES:
		return EX_OK;
	default:
		buf_addf(&j->draft.why,
		    "-b%c is not supported by this version",
		    j->options.unsupported);
		return complain(j, EX_USAGE);
	}
}

int
sendmail_main(int argc, char **argv, const char *config)
{
	struct job j = {.draft.options = &j.options};
	const char *bad = NULL;
	int status;

	if (sendmail_options(&j.options, argc, argv, &bad)) {
		configure(&j, config);
		status = run_mode(&j);
	} else {
		buf_addf(&j.draft.why, "the option %.20s needs a value", bad);
		status = complain(&j, EX_USAGE);
	}
	compose_free(&j.draft);
	setup_free(&j.setup);
	buf_free(&j.config_error);
	return status;
}
