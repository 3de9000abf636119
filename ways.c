/* SPDX-License-Identifier: ISC */
/*
 * The ways that a message can take out of the sendmail command. Each of them
 * says whether the next one is to be tried; yes is said only by one that has
 * it at the relay or on stable storage.
 */
#include "ways.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "clock.h"
#include "conn.h"
#include "dial.h"
#include "maildrop.h"
#include "message.h"
#include "owner.h"
#include "queue.h"
#include "repair.h"
#include "report.h"
#include "smtp.h"
#include "spool.h"

enum {
	GREETING_PATIENCE_MS = 10000,
	DAEMON_TIMEOUT_MS = 5 * 60000,
	USUAL_MIN_FREE = 75 * 1024 * 1024,
};

static const char usual_socket[] = "/run/smarthost/socket";
static const char usual_spool[] = "/var/spool/smarthost";

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

static void
add_sentence(struct buf *out, const struct buf *sentences)
{
	size_t len = strcspn(buf_text(sentences), "\n");

	buf_adds(out, out->len && len ? "; " : "");
	buf_add(out, buf_text(sentences), len);
}

/* --- To the daemon ------------------------------------------------------- */

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

/* What is said to a yes of the kind "2.0.0 ID held: ...", where a person has to
 * do something, and, with -v, to one of the kind "queued". */
static void
show_if_kept(const struct job *j, const char *reply)
{
	const char *text = reply + reply_enhanced(reply);
	const char *behind_id;

	text += strspn(text, " ");
	if (strlen(text) < QUEUE_ID_SIZE)
		return;
	behind_id = text + QUEUE_ID_SIZE - 1;
	if (strncmp(behind_id, " held: ", 7) == 0 ||
	    (j->options.verbose && strncmp(behind_id, " queued: ", 9) == 0))
		fprintf(stderr, "sendmail: %s\n", text);
}

static bool
offer_to_daemon(struct job *j, struct conn *c, int64_t patience,
    int *status)
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
	struct smtp *s = smtp_new(&daemon, NULL, -1);
	struct verdict v;

	smtp_set_trace(s, j->options.verbose);
	if (smtp_open_on(s, c, patience, &v))
		smtp_deliver(s, j->draft.message, &terms, &v);
	smtp_close(s);
	/* There the daemon speaks for itself, not for the relay. */
	if (v.stage == STAGE_MAIL || v.stage == STAGE_RCPT)
		v.hint = NULL;
	/* What the relay means by it, the daemon has judged already. */
	if (v.outcome == HOLD && v.code >= 500 && v.stage >= STAGE_MAIL)
		v.outcome = NEVER;
	*status = verdict_status(&v);
	if (v.stage == STAGE_MAIL && v.code == 552) /* larger than it takes */
		*status = EX_DATAERR;
	j->verdict = v;
	j->by_daemon = true;
	if (*status != EX_OK)
		explain(j, "the daemon", &v);
	else
		show_if_kept(j, v.text);
	return v.outcome == SENT || v.outcome == NEVER || is_last_word(&v);
}

/* The socket of the daemon, or NULL when there is to be none: named by the
 * environment, by the configuration if the caller may read it, or the usual
 * one. -C means this process and that file. */
const char *
ways_socket(const struct job *j)
{
	const char *named = getenv("SMARTHOST_LISTEN_SOCKET");

	if (j->options.config)
		return NULL;
	if (named && *named)
		return strcmp(named, "none") == 0 ? NULL : named;
	return j->configured ? j->setup.config.listen.socket : usual_socket;
}

/* By SMTP over its socket. False when the next way is to be tried: it is not
 * there, does not answer, or cannot take the message now. */
static bool
to_daemon(struct job *j, int *status)
{
	int64_t patience = clock_now() + GREETING_PATIENCE_MS;
	const char *path = ways_socket(j);
	struct conn *c;

	if (!path)
		return false;
	c = dial_unix(path, -1);
	if (c)
		return offer_to_daemon(j, c, patience, status);
	buf_addf(&j->draft.why, "no daemon at %s (%s)", path, strerror(errno));
	return false;
}

/* --- Where it is kept ---------------------------------------------------- */

/* The spool's directory, or NULL where there is none. Who may not read the
 * configuration assumes the usual one. */
static const char *
spool_directory(const struct job *j)
{
	const char *named = getenv("SMARTHOST_QUEUE_DIRECTORY");

	if (j->configured)
		return j->setup.config.queue.directory;
	if (named && *named)
		return strcmp(named, "none") == 0 ? NULL : named;
	return usual_spool;
}

/* Bytes on the disk that are not ours to use up. */
static uint64_t
spare(const struct job *j)
{
	return j->configured ? j->setup.config.queue.min_free : USUAL_MIN_FREE;
}

/* What the daemon does with a message when it takes one. */
static void
complete(struct job *j)
{
	struct config *config = &j->setup.config;
	struct origin origin = {.protocol = "local"};
	struct buf from = {0};

	buf_addf(&from, "%s (uid %u)", buf_text(&j->draft.user),
	    (unsigned)j->uid);
	origin.from = from.data;
	config_complete_hostname(config);
	message_add_received(j->draft.message, &origin, config->hostname);
	j->draft.message->owner = message_owner(j->uid);
	buf_free(&from);
}

static void
open_log(struct job *j)
{
	if (!j->has_log)
		log_open(access("/dev/log", F_OK) == 0 ? LOG_TO_SYSLOG
						       : LOG_TO_NOWHERE,
		    LOG_AS_TEXT, j->setup.config.log_level);
	j->has_log = true;
}

/* Once, though a session has many messages. */
static bool
prepare(struct job *j, struct buf *why)
{
	if (j->prepared)
		return true;
	open_log(j);
	setup_forbid_core_files();
	j->setup.hasty = true;
	j->prepared = setup_prepare(&j->setup, why);
	if (j->prepared)
		setup_relays(&j->setup, -1, j->options.verbose);
	return j->prepared;
}

/* Makes one attempt from this process; with a spool, what the relay does not
 * take is kept in it. Returns the exit status. */
static int
attempt(struct job *j, struct spool *spool)
{
	char id[QUEUE_ID_SIZE], *sender = xstrdup(j->draft.message->sender);
	struct buf reply = {0};
	struct verdict v;
	struct queue *q;

	memcpy(id, j->draft.message->id, sizeof(id));
	q = queue_new(&j->setup.config, j->setup.relays, spool, true);
	queue_submit(q, j->draft.message, &v);
	j->draft.message = NULL;
	queue_free(q);
	j->verdict = v;
	j->by_daemon = false;
	if (verdict_status(&v) != EX_OK) /* what it takes later is kept */
		explain(j, spool && v.outcome == LATER ? "the spool"
						       : "the relay", &v);
	if (v.kept && v.outcome != SENT) {
		report_kept(id, sender, &v);
		reply_to_client(&reply, &v, id);
		show_if_kept(j, reply.data + 4); /* behind the code */
	}
	buf_free(&reply);
	free(sender);
	return verdict_status(&v);
}

/* Puts it into the queue as it is, for whoever attempts it later; a daemon that
 * is told of it finds it unlocked. */
static bool
store(struct job *j, struct spool *spool)
{
	char id[QUEUE_ID_SIZE];

	memcpy(id, j->draft.message->id, sizeof(id));
	if (!spool_commit(spool, j->draft.message)) {
		buf_addf(&j->draft.why, "%scannot keep the message: %s",
		    j->draft.why.len ? "; " : "", strerror(errno));
		return false;
	}
	message_free(j->draft.message);
	j->draft.message = NULL;
	if (spool_is_owned(spool))
		maildrop_announce(j->setup.config.queue.directory, id);
	return true;
}

/* What is wrong on our own side is no reason to send the caller away. */
static bool
hold(struct job *j, struct spool *spool, const struct buf *why)
{
	char id[QUEUE_ID_SIZE];

	memcpy(id, j->draft.message->id, sizeof(id));
	if (!store(j, spool))
		return false;
	fprintf(stderr, "sendmail: %s held: %.*s\n", id,
	    (int)strcspn(buf_text(why), "\n"), buf_text(why));
	return true;
}

static void
add_no_room(struct job *j)
{
	const struct queue_config *queue = &j->setup.config.queue;

	buf_addf(&j->draft.why, "%sno room for the message on the disk of %s, "
	    "where [queue] min_free keeps %llu bytes free",
	    j->draft.why.len ? "; " : "", queue->directory,
	    (unsigned long long)queue->min_free);
}

/* With the spool in hand. While a daemon has it, which did not take the
 * message, the attempt is the daemon's, when it is well again. */
static bool
use_spool(struct job *j, struct spool *spool, int *status)
{
	bool owned = spool_is_owned(spool), taken = true;
	struct buf why = {0};
	int own_status = EX_OK;

	if (owned && j->options.config)
		return false;
	if (!spool_has_room(spool, message_size(j->draft.message) +
		spare(j))) {
		add_no_room(j);
		return false;
	}
	complete(j);
	if (owned || j->options.queue_only)
		taken = store(j, spool);
	else if (prepare(j, &why))
		own_status = attempt(j, spool);
	else
		taken = hold(j, spool, &why);
	*status = taken ? own_status : *status;
	buf_free(&why);
	return taken;
}

/* Whoever may not write the spool is not meant to where there is a maildrop:
 * what is wrong with that is said then. */
static bool
has_maildrop(const struct job *j, const char *directory)
{
	char *path = xasprintf("%s/maildrop", directory);
	bool there = !j->options.config && access(path, F_OK) == 0;

	free(path);
	return there;
}

/* Into the spool, if this process may write it: root, as its owner, and the
 * owner. Nobody makes the usual one on the way: where there is no daemon,
 * nobody looks into it. */
static bool
to_spool(struct job *j, int *status)
{
	const char *directory = spool_directory(j);
	struct buf why = {0};
	struct spool *spool = NULL;
	bool taken = false;

	if (!j->configured || !directory ||
	    (j->setup.config.queue.directory_is_default &&
		access(directory, F_OK) != 0))
		return false;
	if (owner_become(directory, &why))
		spool = spool_open(directory, &why);
	if (spool) {
		taken = use_spool(j, spool, status);
		spool_close(spool);
	}
	if (!has_maildrop(j, directory))
		add_sentence(&j->draft.why, &why);
	buf_free(&why);
	return taken;
}

/* For the daemon, who will look there when it is back. */
static bool
to_maildrop(struct job *j, int *status)
{
	const char *directory = spool_directory(j);
	struct buf why = {0};
	bool left;

	if (j->options.config || !directory)
		return false;
	left = maildrop_leave(directory, j->draft.message, spare(j), &why);
	*status = left ? EX_OK : *status;
	/* Not without -v: cron makes mail of what is said. */
	if (left && j->options.verbose)
		fprintf(stderr, "sendmail: left in %s/maildrop for the daemon, "
		    "or for sendmail -q as root\n", directory);
	add_sentence(&j->draft.why, &why);
	buf_free(&why);
	return left;
}

/* --- To the relay -------------------------------------------------------- */

/* Nobody can keep it. What is wrong with the configuration for this process
 * need not be wrong for the daemon, which will be back. */
static int
to_relay(struct job *j, bool daemon_is_there)
{
	struct buf why = {0};
	int status = daemon_is_there || j->daemon_may_read ? EX_TEMPFAIL
							   : EX_CONFIG;

	if (j->configured && prepare(j, &why)) {
		complete(j);
		status = attempt(j, NULL);
	} else if (!daemon_is_there) {
		add_sentence(&j->draft.why,
		    j->configured ? &why : &j->config_error);
	}
	buf_free(&why);
	return status;
}

static bool
is_too_large(struct job *j)
{
	uint64_t max = j->setup.config.listen.max_message;

	if (!j->configured || message_size(j->draft.message) <= max)
		return false;
	buf_addf(&j->draft.why, "%sthe message has %llu bytes, which is more "
	    "than max_message, %llu", j->draft.why.len ? "; " : "",
	    (unsigned long long)message_size(j->draft.message),
	    (unsigned long long)max);
	return true;
}

int
ways_submit(struct job *j)
{
	int status = EX_OK;

	if (repair_is_notable(j->draft.message)) {
		open_log(j);
		repair_report(j->draft.message);
	}
	if (to_daemon(j, &status))
		return status;
	if (is_too_large(j))
		return EX_DATAERR;
	if (to_spool(j, &status) || to_maildrop(j, &status))
		return status;
	return to_relay(j, status == EX_TEMPFAIL);
}
