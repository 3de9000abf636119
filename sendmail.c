/* SPDX-License-Identifier: ISC */
/*
 * Be sendmail: the whole message is here, in memory or in a nameless file,
 * before anybody is bothered with it. Then it goes to the daemon; and when no
 * daemon takes it, to the relay from this process, with the same submit().
 * Nothing here needs a privilege.
 */
#include "sendmail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "clock.h"
#include "compose.h"
#include "conn.h"
#include "dial.h"
#include "message.h"
#include "queue.h"
#include "sendmail_options.h"
#include "setup.h"
#include "smtp.h"

enum {
	GREETING_PATIENCE_MS = 10000,
	DAEMON_TIMEOUT_MS = 5 * 60000,
};

static const char default_socket[] = "/run/smarthost/socket";

struct job {
	struct sendmail_options options;
	const char *config;     /* -c or -C, or NULL */
	struct draft draft;
};

static int
complain(const struct job *j, int status)
{
	fprintf(stderr, "sendmail: %s\n", buf_text(&j->draft.why));
	return status;
}

static int
status_of(const struct verdict *v)
{
	if (v->outcome == SENT)
		return EX_OK;
	if (v->outcome != NEVER)
		return EX_TEMPFAIL;
	if (strstr(v->text, "5.7."))
		return EX_NOPERM;
	if (strstr(v->text, "5.1.") || v->stage == STAGE_RCPT)
		return EX_NOUSER;
	return EX_UNAVAILABLE;
}

static void
explain(struct job *j, const char *who, const struct verdict *v)
{
	buf_addf(&j->draft.why, "%s%s: ", j->draft.why.len ? "; " : "", who);
	if (v->code)
		buf_addf(&j->draft.why, "%d ", v->code);
	buf_adds(&j->draft.why, v->text);
	if (v->hint)
		buf_addf(&j->draft.why, " (%s)", v->hint);
}

/* To the daemon, by SMTP over its socket. False when the next way is to be
 * tried: it is not there, does not answer, or cannot take the message now. */
static bool
submit_to_daemon(struct job *j, const char *path, int *status)
{
	static const struct upstream daemon = {
		.tls = TLS_MODE_NONE,
		.auth = AUTH_NONE,
		.messages_per_connection = 1,
		.timeout = DAEMON_TIMEOUT_MS,
		.pipelining = true,
	};
	struct smtp_terms terms = {.all_or_nothing = true};
	struct conn *c = dial_unix(path, -1);
	struct verdict v;
	struct smtp *s;

	if (!c) {
		buf_addf(&j->draft.why, "no daemon at %s (%s)", path,
		    strerror(errno));
		return false;
	}
	s = smtp_new(&daemon, NULL, -1);
	smtp_set_trace(s, j->options.verbose);
	if (smtp_open_on(s, c, clock_now() + GREETING_PATIENCE_MS, &v))
		smtp_deliver(s, j->draft.message, &terms, &v);
	smtp_close(s);
	*status = status_of(&v);
	if (*status != EX_OK)
		explain(j, "the daemon", &v);
	return v.outcome == SENT || v.outcome == NEVER;
}

/* From this process, as the configuration says. */
static int
submit_here(struct job *j, struct setup *s)
{
	struct buf from = {0};
	struct origin origin = {.protocol = "local"};
	struct verdict v;
	struct queue *q;

	buf_addf(&from, "%s (uid %u)", buf_text(&j->draft.user),
	    (unsigned)getuid());
	origin.from = from.data;
	message_add_received(j->draft.message, &origin, s->config.hostname);
	buf_free(&from);
	setup_relays(s, -1, j->options.verbose);
	q = queue_new(&s->config, s->relays, true);
	message_forget_results(j->draft.message);
	queue_submit(q, j->draft.message, &v);
	j->draft.message = NULL;
	queue_free(q);
	if (v.outcome != SENT)
		explain(j, "the relay", &v);
	return status_of(&v);
}

/* Whether somebody else may be able to send it later although this process
 * has no configuration: the daemon, which may read it. */
static bool
may_pass_later(const char *path, bool daemon_is_there)
{
	return daemon_is_there ||
	    (path && access(path, R_OK) != 0 && errno == EACCES);
}

/* There is no daemon, or it cannot take the message now. */
static int
submit_directly(struct job *j, bool daemon_is_there)
{
	const char *path = setup_config_path(j->config);
	struct buf why = {0};
	struct setup s;
	int status = EX_CONFIG;

	if (setup_read(&s, path, &why)) {
		log_open(access("/dev/log", F_OK) == 0 ? LOG_TO_SYSLOG
						       : LOG_TO_NOWHERE,
		    LOG_AS_TEXT, s.config.log_level);
		if (setup_prepare(&s, &why))
			status = submit_here(j, &s);
		setup_free(&s);
	} else if (may_pass_later(path, daemon_is_there)) {
		status = EX_TEMPFAIL;
	}
	if (why.len && why.data[why.len - 1] == '\n')
		why.data[--why.len] = '\0';
	if (why.len)
		buf_addf(&j->draft.why, "%s%s", j->draft.why.len ? "; " : "", why.data);
	buf_free(&why);
	return status;
}

/* Where the daemon listens, for a caller that may not read its configuration:
 * the environment, the configuration if it can be read, the default. */
static void
find_socket(const struct job *j, struct buf *path)
{
	const char *named = getenv("SMARTHOST_LISTEN_SOCKET");
	struct buf ignored = {0};
	struct setup s;

	if (named && *named) {
		buf_adds(path, named);
	} else if (setup_read(&s, setup_config_path(j->config), &ignored)) {
		if (s.config.listen.socket)
			buf_adds(path, s.config.listen.socket);
		setup_free(&s);
	} else {
		buf_adds(path, default_socket);
	}
	buf_free(&ignored);
}

static int
deliver(struct job *j)
{
	struct buf path = {0};
	int status = compose(&j->draft);
	bool done = status != EX_OK;

	/* -C means this process and that file. */
	if (!done && !j->options.config) {
		find_socket(j, &path);
		if (path.len && strcmp(path.data, "none") != 0)
			done = submit_to_daemon(j, path.data, &status);
		buf_free(&path);
	}
	if (!done)
		status = submit_directly(j, status == EX_TEMPFAIL);
	return status == EX_OK ? EX_OK : complain(j, status);
}

static int
run_mode(struct job *j)
{
	switch (j->options.mode) {
	case MODE_DELIVER:
		return deliver(j);
	case MODE_QUEUE_LIST:
		printf("Mail queue is empty: this version keeps none\n");
		return EX_OK;
	case MODE_QUEUE_RUN:
	case MODE_ALIASES:
		return EX_OK;
	default:
		buf_addf(&j->draft.why, "%.3s is not supported by this version",
		    j->options.unsupported);
		return complain(j, EX_USAGE);
	}
}

int
sendmail_main(int argc, char **argv, const char *config)
{
	struct job j = {.config = config, .draft.options = &j.options};
	const char *bad = NULL;
	int status;

	if (sendmail_options(&j.options, argc, argv, &bad)) {
		if (j.options.config)
			j.config = j.options.config;
		status = run_mode(&j);
	} else {
		buf_addf(&j.draft.why, "the option %.20s needs a value", bad);
		status = complain(&j, EX_USAGE);
	}
	compose_free(&j.draft);
	return status;
}
