/* SPDX-License-Identifier: ISC */
/*
 * Be sendmail: the whole message is here, in memory or in a nameless file,
 * before anybody is bothered with it. Then it goes to the daemon; and when no
 * daemon takes it, to the relay from this process, with the same submit().
 * Nothing here needs a privilege.
 */
#include "sendmail.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "address.h"
#include "clock.h"
#include "conn.h"
#include "dial.h"
#include "header.h"
#include "message.h"
#include "queue.h"
#include "sendmail_options.h"
#include "setup.h"
#include "smtp.h"

enum {
	PIECE = 32 * 1024,
	GREETING_PATIENCE_MS = 10000,
	DAEMON_TIMEOUT_MS = 5 * 60000,
};

static const char default_socket[] = "/run/smarthost/socket";

struct job {
	struct sendmail_options options;
	const char *config;     /* -c or -C, or NULL */
	struct message *message;
	char hostname[256];
	struct buf user;        /* the calling user's name */
	struct buf why;         /* what to tell the person */
};

static int
complain(const struct job *j, int status)
{
	fprintf(stderr, "sendmail: %s\n", buf_text(&j->why));
	return status;
}

/* --- Who and what ------------------------------------------------------- */

static void
find_names(struct job *j)
{
	struct passwd *user = getpwuid(getuid());

	if (gethostname(j->hostname, sizeof(j->hostname)) != 0 ||
	    !j->hostname[0])
		snprintf(j->hostname, sizeof(j->hostname), "localhost");
	j->hostname[sizeof(j->hostname) - 1] = '\0';
	if (user && *user->pw_name)
		buf_adds(&j->user, user->pw_name);
	else
		buf_addf(&j->user, "uid%u", (unsigned)getuid());
}

/* An address from the command line, complete with a domain. NULL, with the
 * reason, if it is none. */
static char *
read_address(struct job *j, const char *text)
{
	enum address_status status = address_check(text, strlen(text));
	struct buf shown = {0};

	if (status == ADDRESS_OK)
		return address_is_qualified(text)
		    ? xstrdup(text)
		    : xasprintf("%s@%s", text, j->hostname);
	buf_add_printable(&shown, text, strlen(text), 100);
	buf_addf(&j->why, "the address \"%s\" %s", buf_text(&shown),
	    address_status_text(status));
	buf_free(&shown);
	return NULL;
}

static bool
set_sender(struct job *j)
{
	const char *given = j->options.sender;
	size_t len = given ? strlen(given) : 0;
	char *bare, *address;

	if (given && (!len || strcmp(given, "<>") == 0)) {
		message_set_sender(j->message, "");
		return true;
	}
	if (len > 2 && given[0] == '<' && given[len - 1] == '>')
		bare = xstrndup(given + 1, len - 2);
	else
		bare = xstrdup(given ? given : buf_text(&j->user));
	address = read_address(j, bare);
	free(bare);
	if (address)
		message_set_sender(j->message, address);
	free(address);
	return address != NULL;
}

static void
found_recipient(void *context, const char *mailbox, size_t len)
{
	struct job *j = context;
	char *text = xstrndup(mailbox, len);
	char *address = read_address(j, text);

	if (address)
		message_add_recipient(j->message, address);
	free(address);
	free(text);
}

/* Every address once: the same one in To and on the command line is one
 * recipient. Sorted to find them, since there may be thousands. */
static int
compare_recipients(const void *a, const void *b)
{
	const struct recipient *x = a, *y = b;

	return strcmp(x->address, y->address);
}

static void
drop_duplicates(struct message *m)
{
	size_t kept = 0;

	if (m->recipient_count < 2)
		return;
	qsort(m->recipients, m->recipient_count, sizeof(*m->recipients),
	    compare_recipients);
	for (size_t i = 1; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];

		if (strcmp(m->recipients[kept].address, r->address) != 0)
			m->recipients[++kept] = *r;
		else
			free(r->address);
	}
	m->recipient_count = kept + 1;
}

/* -t: the recipients are in the header; with Resent- fields, in those. */
static size_t
extract_recipients(struct job *j)
{
	static const char *const plain[] = {"To", "Cc", "Bcc"};
	static const char *const resent[] = {
		"Resent-To", "Resent-Cc", "Resent-Bcc"};
	const struct buf *header = &j->message->header;
	const char *const *names = plain;
	size_t at = 0, broken = 0;
	struct field field;

	for (size_t i = 0; i < 3; i++)
		if (header_count(buf_text(header), header->len, resent[i]))
			names = resent;
	while (header_next(buf_text(header), header->len, &at, &field))
		for (size_t i = 0; i < 3; i++)
			if (field_is(&field, names[i]))
				broken += address_list(field.value,
				    field.value_len, found_recipient, j);
	return broken;
}

/* The recipients of -t and of the command line together. */
static int
collect_recipients(struct job *j)
{
	const struct sendmail_options *o = &j->options;
	size_t broken = o->extract ? extract_recipients(j) : 0;

	if (broken && !j->why.len)
		buf_addf(&j->why, "%zu addresses in the header cannot be read",
		    broken);
	for (size_t i = 0; i < o->recipient_count && !j->why.len; i++)
		address_list(o->recipients[i], strlen(o->recipients[i]),
		    found_recipient, j);
	if (j->why.len)
		return EX_DATAERR;
	drop_duplicates(j->message);
	if (j->message->recipient_count)
		return EX_OK;
	buf_adds(&j->why, o->extract
		? "no recipients: neither To, Cc nor Bcc names anybody"
		: "no recipients: name them, or use -t to take them from the "
		  "header");
	return EX_USAGE;
}

/* A phrase for the From field (RFC 5322 section 3.2.5), whatever is in it. */
static void
add_phrase(struct buf *out, const char *name)
{
	bool ascii = true;

	for (const char *c = name; *c; c++)
		ascii = ascii && *c >= ' ' && *c <= '~';
	if (!ascii) {
		buf_adds(out, "=?UTF-8?B?");
		buf_add_base64(out, name, strnlen(name, 45));
		buf_adds(out, "?=");
		return;
	}
	buf_addc(out, '"');
	for (const char *c = name; *c; c++) {
		if (*c == '"' || *c == '\\')
			buf_addc(out, '\\');
		buf_addc(out, *c);
	}
	buf_addc(out, '"');
}

/* The value of a From field that is missing. */
static void
make_from(const struct job *j, struct buf *out)
{
	const char *name = j->options.full_name;
	const char *sender = j->message->sender;

	if (name && *name)
		add_phrase(out, name);
	buf_adds(out, name && *name ? " <" : "");
	if (*sender)
		buf_adds(out, sender);
	else
		buf_addf(out, "%s@%s", buf_text(&j->user), j->hostname);
	buf_adds(out, name && *name ? ">" : "");
}

/* --- The message -------------------------------------------------------- */

/* Reads stdin to its end, even behind a dot that ends the message: a caller
 * that is still writing must not get a broken pipe. */
static bool
read_stdin(struct job *j, struct data_reader *reader)
{
	char *piece = xmalloc(PIECE);
	ssize_t got;

	for (;;) {
		got = read(STDIN_FILENO, piece, PIECE);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		if (!data_ended(reader))
			message_read(j->message, reader, piece, (size_t)got);
	}
	free(piece);
	if (got < 0)
		buf_addf(&j->why, "cannot read the message: %s",
		    strerror(errno));
	return got == 0;
}

static int
read_message(struct job *j)
{
	struct data_reader reader;
	struct buf from = {0};
	const char *fault;
	int status;

	j->message = message_new(NULL, UINT64_MAX);
	if (!set_sender(j))
		return EX_DATAERR;
	data_start(&reader, j->options.dot_is_content ? DATA_FROM_STDIN_RAW
						      : DATA_FROM_STDIN);
	if (!read_stdin(j, &reader))
		return EX_IOERR;
	fault = message_finish(j->message, &reader);
	if (fault) {
		buf_addf(&j->why, "the message is refused: %s", fault);
		return fault[0] == '4' ? EX_TEMPFAIL : EX_DATAERR;
	}
	status = collect_recipients(j);
	if (status != EX_OK)
		return status;
	make_from(j, &from);
	message_complete(j->message, j->hostname, from.data);
	buf_free(&from);
	return EX_OK;
}

/* --- The ways ----------------------------------------------------------- */

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
	buf_addf(&j->why, "%s%s: ", j->why.len ? "; " : "", who);
	if (v->code)
		buf_addf(&j->why, "%d ", v->code);
	buf_adds(&j->why, v->text);
	if (v->hint)
		buf_addf(&j->why, " (%s)", v->hint);
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
		buf_addf(&j->why, "no daemon at %s (%s)", path,
		    strerror(errno));
		return false;
	}
	s = smtp_new(&daemon, NULL, -1);
	smtp_set_trace(s, j->options.verbose);
	if (smtp_open_on(s, c, clock_now() + GREETING_PATIENCE_MS, &v))
		smtp_deliver(s, j->message, &terms, &v);
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

	buf_addf(&from, "%s (uid %u)", buf_text(&j->user),
	    (unsigned)getuid());
	origin.from = from.data;
	message_add_received(j->message, &origin, s->config.hostname);
	buf_free(&from);
	setup_relays(s, -1, j->options.verbose);
	q = queue_new(&s->config, s->relays, true);
	message_forget_results(j->message);
	queue_submit(q, j->message, &v);
	j->message = NULL;
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
		buf_addf(&j->why, "%s%s", j->why.len ? "; " : "", why.data);
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
	int status = read_message(j);
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
		buf_addf(&j->why, "%.3s is not supported by this version",
		    j->options.unsupported);
		return complain(j, EX_USAGE);
	}
}

int
sendmail_main(int argc, char **argv, const char *config)
{
	struct job j = {.config = config};
	const char *bad = NULL;
	int status;

	if (sendmail_options(&j.options, argc, argv, &bad)) {
		if (j.options.config)
			j.config = j.options.config;
		find_names(&j);
		status = run_mode(&j);
	} else {
		buf_addf(&j.why, "the option %.20s needs a value", bad);
		status = complain(&j, EX_USAGE);
	}
	message_free(j.message);
	buf_free(&j.user);
	buf_free(&j.why);
	return status;
}
