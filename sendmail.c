/* SPDX-License-Identifier: ISC */
/*
 * Be sendmail, in each of its modes. A whole message is here, in memory or in
 * a nameless file, before anybody is bothered with it. Nothing here needs a
 * privilege.
 */
#include "sendmail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "aliases.h"
#include "console.h"
#include "daemon.h"
#include "forwards.h"
#include "message.h"
#include "queue_command.h"
#include "ways.h"

#define LARGEST_MESSAGE (UINT64_C(2) << 30) /* bytes, of any configuration */

static int
complain(const struct job *j, int status)
{
	if (!j->options.quiet)
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

static int
hold_session(struct job *j)
{
	int status = console_session(j);

	if (status == EX_OK)
		return status;
	if (!j->draft.why.len)
		buf_adds(&j->draft.why, "the SMTP session of -bs ended in the "
		    "middle, or with commands that were refused; what had no "
		    "250 is not sent");
	return complain(j, status);
}

static void
add_way(const struct job *j, struct buf *out)
{
	const char *socket = ways_socket(j);
	const struct upstream *u = j->setup.config.upstreams;

	if (socket && access(socket, W_OK) == 0)
		buf_addf(out, ": by the daemon at %s", socket);
	if (j->configured && u->host)
		buf_addf(out, "%s relay %s port %u", out->len ? "," : ":",
		    u->host, (unsigned)u->port);
	else if (j->configured)
		buf_addf(out, "%s as a file in %s", out->len ? "," : ":",
		    u->directory);
}

/* Those who get it; the daemon knows better if we may not know. */
static void
find_readers(struct job *j, struct message *m)
{
	const char *domain = j->setup.config.identity.domain;
	struct forwards *r;

	if (!j->configured)
		return;
	r = forwards_new(&j->setup.config);
	(void)forwards_apply(r, m);
	forwards_free(r);
	for (size_t i = 0; i < m->recipient_count; i++)
		m->recipients[i].domain = domain;
}

/* Where each recipient's mail would go; nothing is sent. */
static int
verify(struct job *j)
{
	int status = compose_recipients(&j->draft);
	struct message *m = j->draft.message;
	struct buf way = {0};

	if (status != EX_OK)
		return complain(j, status);
	add_way(j, &way);
	find_readers(j, m);
	for (size_t i = 0; i < m->recipient_count; i++) {
		const struct recipient *r = &m->recipients[i];
		struct buf address = {0};

		recipient_add_address(&address, r);
		if (r->unrouted)
			printf("%s... held: %s\n", address.data, r->reply);
		else
			printf("%s... deliverable%s\n", address.data,
			    buf_text(&way));
		buf_free(&address);
	}
	buf_free(&way);
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

/* As init scripts call it, with the system's configuration: one that the
 * command line names could make anybody's command run. */
static int
serve(struct job *j, const char *config)
{
	if (!j->options.config)
		return daemon_run(config);
	buf_adds(&j->draft.why, "-bd takes no -C; the daemon with another "
	    "configuration is smarthost -c FILE run");
	return complain(j, EX_USAGE);
}

/* Reads what can be read: a caller without access to the configuration has
 * the daemon. */
static void
configure(struct job *j, const char *option)
{
	const char *path = setup_config_path(
	    j->options.config ? j->options.config : option);
	char *name;

	j->uid = getuid();
	j->configured = j->options.config
		? setup_read_option(&j->setup, path, &j->config_error)
		: setup_read(&j->setup, path, &j->config_error);
	j->daemon_may_read = geteuid() != 0 && !j->options.config &&
	    (j->configured ||
		(path && access(path, R_OK) != 0 && errno == EACCES));
	name = config_own_name();
	snprintf(j->hostname, sizeof(j->hostname), "%s", name);
	free(name);
	j->draft.hostname = j->configured ? j->setup.config.hostname
					  : j->hostname;
	j->draft.limit = j->configured ? j->setup.config.listen.max_message
				       : LARGEST_MESSAGE;
}

/* newaliases: the file is read where it is used, so there is nothing to make;
 * this says whether it can be. */
static int
check_aliases(struct job *j)
{
	const struct identity_config *identity = &j->setup.config.identity;
	const char *file = j->configured ? identity->aliases : "/etc/aliases";
	struct buf errors = {0}, warnings = {0};
	const struct aliases_talk talk = {&errors, &warnings};
	struct aliases *all = file ? aliases_read(file, &talk) : NULL;
	bool optional = !j->configured || identity->aliases_is_default;
	int status = errors.len ? EX_DATAERR : EX_OK;

	if (all && !errors.len)
		printf("%s: %zu aliases\n", file, all->count);
	if (file && !all && !(errno == ENOENT && optional)) {
		buf_addf(&errors, "%s: cannot be read: %s\n", file,
		    strerror(errno));
		status = EX_CONFIG;
	}
	setup_print(stderr, "sendmail: ", &errors);
	setup_print(stderr, "sendmail: warning: ", &warnings);
	aliases_free(all);
	buf_free(&errors);
	buf_free(&warnings);
	return status;
}

static int
run_mode(struct job *j)
{
	const struct queue_place place = {
		.program = "sendmail",
		.setup = j->configured ? &j->setup : NULL,
		.why = buf_text(&j->config_error),
	};

	if (j->options.config && !j->configured) {
		buf_add(&j->draft.why, buf_text(&j->config_error),
		    strcspn(buf_text(&j->config_error), "\n"));
		return complain(j, EX_CONFIG);
	}
	switch (j->options.mode) {
	case MODE_DELIVER:
		return deliver(j);
	case MODE_QUEUE_LIST:
		return queue_command_list(&place);
	case MODE_QUEUE_RUN:
		return queue_command_run(&place, j->options.queue_id);
	case MODE_ALIASES:
		return check_aliases(j);
	case MODE_SESSION:
		return hold_session(j);
	case MODE_VERIFY:
		return verify(j);
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

	if (sendmail_options(&j.options, argc, argv, &bad) &&
	    j.options.mode == MODE_DAEMON) {
		status = serve(&j, config);
	} else if (!bad) {
		configure(&j, config);
		status = run_mode(&j);
	} else {
		buf_addf(&j.draft.why, bad[1] == '-'
			? "%.20s is no option of sendmail"
			: "the option %.20s needs a value", bad);
		status = complain(&j, EX_USAGE);
	}
	compose_free(&j.draft);
	setup_free(&j.setup);
	buf_free(&j.config_error);
	return status;
}
