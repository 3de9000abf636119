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
#include "queue_command.h"
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
	struct draft draft;
	struct setup setup;   /* if the configuration could be read */
	bool configured;
	bool daemon_may_read; /* what this process may not */
	struct buf config_error;
	char hostname[256];
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
	if (reply_enhanced(v->text) && strncmp(v->text, "5.7.", 4) == 0)
		return EX_NOPERM;
	if (v->stage == STAGE_RCPT ||
	    (reply_enhanced(v->text) && strncmp(v->text, "5.1.", 4) == 0))
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

/* Whether the daemon's 4xx is the last word for now. Where a person has to cure
 * something before the relay takes mail, one more login from here would only
 * bring a ban closer; where the relay may have the message, an attempt at once
 * would only make a second copy. */
static bool
is_last_word(const struct verdict *v)
{
	const char *text = v->text + reply_enhanced(v->text);

	if (v->code / 100 != 4 || v->code == 421 || v->stage != STAGE_END)
		return false;
	return strncmp(v->text, "4.7.0 ", 6) == 0 ||
	    strncmp(text + strspn(text, " "), REPLY_MAY_BE_DELIVERED,
		strlen(REPLY_MAY_BE_DELIVERED)) == 0;
}

/* To the daemon, by SMTP over its socket. False when the next way is to be
 * tried: it is not there, does not answer, or cannot take the message now. */
static bool
submit_to_daemon(struct job *j, const char *path, int *status)
{
	char self[] = "localhost";
	const struct upstream daemon = {
		.ehlo = self,
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
	/* What the relay means by it, the daemon has judged already. */
	if (v.outcome == HOLD && v.code >= 500 && v.stage >= STAGE_MAIL)
		v.outcome = NEVER;
	*status = status_of(&v);
	if (*status != EX_OK)
		explain(j, "the daemon", &v);
	return v.outcome == SENT || v.outcome == NEVER || is_last_word(&v);
}

/* From this process, as the configuration says. */
static int
submit_here(struct job *j)
{
	struct config *config = &j->setup.config;
	struct origin origin = {.protocol = "local"};
	struct buf from = {0};
	struct verdict v;
	struct queue *q;

	buf_addf(&from, "%s (uid %u)", buf_text(&j->draft.user),
	    (unsigned)getuid());
	origin.from = from.data;
	config_complete_hostname(config);
	message_qualify(j->draft.message, config->hostname);
	message_add_received(j->draft.message, &origin, config->hostname);
	setup_relays(&j->setup, -1, j->options.verbose);
	q = queue_new(config, j->setup.relays, NULL, true);
	queue_submit(q, j->draft.message, &v);
	j->draft.message = NULL;
	queue_free(q);
	buf_free(&from);
	if (v.outcome != SENT)
		explain(j, "the relay", &v);
	return status_of(&v);
}

static void
add_sentence(struct buf *out, const struct buf *sentences)
{
	size_t len = strcspn(buf_text(sentences), "\n");

	buf_adds(out, out->len ? "; " : "");
	buf_add(out, buf_text(sentences), len);
}

/* There is no daemon, or it cannot take the message now. What is wrong with
 * the configuration for this process need not be wrong for the daemon, which
 * will be back. */
static int
submit_directly(struct job *j, bool daemon_is_there)
{
	struct buf why = {0};
	int status = daemon_is_there || j->daemon_may_read ? EX_TEMPFAIL
							   : EX_CONFIG;

	if (!j->configured) {
		if (!daemon_is_there)
			add_sentence(&j->draft.why, &j->config_error);
		return status;
	}
	log_open(access("/dev/log", F_OK) == 0 ? LOG_TO_SYSLOG
					       : LOG_TO_NOWHERE,
	    LOG_AS_TEXT, j->setup.config.log_level);
	setup_forbid_core_files();
	if (setup_prepare(&j->setup, &why))
		status = submit_here(j);
	else if (!daemon_is_there)
		add_sentence(&j->draft.why, &why);
	buf_free(&why);
	return status;
}

/* The socket of the daemon, or NULL when there is to be none: named by the
 * environment, by the configuration if the caller may read it, or the
 * default. -C means this process and that file. */
static const char *
daemon_socket(const struct job *j)
{
	const char *named = getenv("SMARTHOST_LISTEN_SOCKET");

	if (j->options.config)
		return NULL;
	if (named && *named)
		return strcmp(named, "none") == 0 ? NULL : named;
	return j->configured ? j->setup.config.listen.socket : default_socket;
}

static int
deliver(struct job *j)
{
	const char *path = daemon_socket(j);
	int status = compose(&j->draft);

	if (status == EX_OK &&
	    (!path || !submit_to_daemon(j, path, &status)))
		status = submit_directly(j, status == EX_TEMPFAIL);
	return status == EX_OK ? EX_OK : complain(j, status);
}

/* Reads what can be read: a caller without access to the configuration has
 * the daemon. */
static void
configure(struct job *j, const char *option)
{
	const char *path = setup_config_path(
	    j->options.config ? j->options.config : option);

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
