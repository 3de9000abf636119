/* SPDX-License-Identifier: ISC */
/*
 * One SMTP server conversation (RFC 5321). Verbs put their reply into a
 * buffer, and one loop writes it: one answer a command, in order, always.
 */
#include "session.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "authenticate.h"
#include "bdat.h"
#include "clock.h"
#include "command.h"
#include "config.h"
#include "conn.h"
#include "message.h"
#include "permit.h"
#include "queue.h"
#include "session_internal.h"
#include "starttls.h"
#include "xqueue.h"

enum {
	LINE_LIMIT = 4096,  /* RFC 5321 section 4.5.3.1.4 asks for 512 */
	AUTH_LIMIT = 12288, /* RFC 4954 section 4 */
	ERROR_LIMIT = 20,   /* refused commands in one session */
	JUNK_LIMIT = 100,   /* commands that lead nowhere, between messages */
	QUIET_LIMIT = 10,   /* so many times session_timeout, without one */
};

void
session_say(struct session *s, const char *text)
{
	buf_clear(&s->reply);
	buf_adds(&s->reply, text);
}

void
session_reset(struct session *s)
{
	message_free(s->message);
	s->message = NULL;
	s->chunked = false;
}

void
session_forget(struct session *s)
{
	session_reset(s);
	authenticate_cancel(s);
	account_free(&s->account);
	free(s->helo);
	s->helo = NULL;
	s->extended = false;
}

/* Without a spool there is no queue to run, and nobody to write a notice. */
static bool
has_spool(const struct session *s)
{
	return s->config->queue.directory != NULL;
}

static void
offer(struct session *s)
{
	buf_addf(&s->reply, "250-PIPELINING\r\n250-CHUNKING\r\n"
	    "250-SIZE %llu\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
	    "%s%s%s%s250 ENHANCEDSTATUSCODES",
	    (unsigned long long)s->config->listen.max_message,
	    starttls_is_offered(s) ? "250-STARTTLS\r\n" : "",
	    authenticate_is_offered(s) ? "250-AUTH PLAIN LOGIN\r\n" : "",
	    has_spool(s) ? "250-DSN\r\n" : "",
	    has_spool(s) && s->queue ? "250-ETRN\r\n" : "");
}

static void
hello(struct session *s, const char *name, bool extended)
{
	if (!*name) {
		session_say(s, "501 5.5.4 A host name is expected");
		return;
	}
	for (const char *c = name; *c; c++)
		if (*c <= ' ' || *c > '~') {
			session_say(s, "501 5.5.4 That is not a host name");
			return;
		}
	session_reset(s);
	free(s->helo);
	s->helo = xstrndup(name, strnlen(name, 255));
	s->extended = extended;
	s->junk++;
	buf_clear(&s->reply);
	buf_addf(&s->reply, extended ? "250-%s\r\n" : "250 %s",
	    s->config->hostname);
	if (extended)
		offer(s);
}

static void
verb_ehlo(struct session *s, const char *arguments)
{
	hello(s, arguments, true);
}

static void
verb_helo(struct session *s, const char *arguments)
{
	hello(s, arguments, false);
}

static void
verb_mail(struct session *s, const char *arguments)
{
	struct command c = {.max_message = s->config->listen.max_message,
		.dsn = has_spool(s), .auth = s->config->listen.auth_file};
	const char *refusal;

	if (!s->helo) {
		session_say(s, "503 5.5.1 Say EHLO first");
	} else if (s->message) {
		session_say(s, "503 5.5.1 A transaction is open already");
	} else if ((refusal = permit_relay(s))) {
		permit_refuse(s, refusal);
	} else if ((refusal = command_mail(&c, arguments))) {
		session_say(s, refusal);
	} else if ((refusal = permit_message(s, buf_text(&c.mailbox)))) {
		permit_refuse(s, refusal);
	} else {
		receive_start(s, &c);
	}
	command_free(&c);
}

/* How many recipients this message may have. */
static unsigned
recipient_limit(const struct session *s)
{
	return s->queue ? queue_recipient_limit(s->queue, s->message,
			      s->client->local)
			: QUEUE_LOCAL_RECIPIENTS;
}

static const char chunks_begun[] =
    "503 5.5.1 The message has begun with BDAT, and goes on with it";

static void
verb_rcpt(struct session *s, const char *arguments)
{
	struct command c = {.dsn = has_spool(s),
		.utf8 = s->message && s->message->utf8};
	const char *refusal;

	if (!s->message)
		session_say(s, "503 5.5.1 Say MAIL FROM first");
	else if (s->chunked)
		session_say(s, chunks_begun);
	else if (s->message->recipient_count >= recipient_limit(s))
		session_say(s, "452 4.5.3 Too many recipients for one message");
	else if ((refusal = command_rcpt(&c, arguments)))
		session_say(s, refusal);
	else
		receive_recipient(s, &c);
	command_free(&c);
}

static void
verb_data(struct session *s, const char *arguments)
{
	if (*arguments) {
		session_say(s, "501 5.5.4 DATA takes no arguments");
	} else if (!s->message) {
		session_say(s, "503 5.5.1 Say MAIL FROM first");
	} else if (!s->message->recipient_count) {
		session_say(s, "503 5.5.1 No recipient was accepted");
	} else if (s->chunked) {
		session_say(s, chunks_begun);
	} else {
		s->receiving = true;
		session_say(s, "354 End the message with a dot on a line by "
			       "itself");
	}
}

static void
verb_rset(struct session *s, const char *arguments)
{
	(void)arguments;
	session_reset(s);
	s->junk++;
	session_say(s, "250 2.0.0 Ok");
}

static void
verb_noop(struct session *s, const char *arguments)
{
	(void)arguments;
	s->junk++;
	session_say(s, "250 2.0.0 Ok");
}

static void
verb_vrfy(struct session *s, const char *arguments)
{
	(void)arguments;
	s->junk++;
	session_say(s, "252 2.5.0 The relay knows; send the message");
}

static void
verb_expn(struct session *s, const char *arguments)
{
	(void)arguments;
	session_say(s, "502 5.5.1 There are no lists here");
}

/* RFC 1985. There is one queue, whatever domain the client names. */
static void
verb_etrn(struct session *s, const char *arguments)
{
	s->junk++;
	if (!has_spool(s) || !s->queue) {
		session_say(s, "502 5.5.1 There is no queue here");
	} else if (permit_relay(s)) {
		session_say(s, permit_relay(s));
	} else if (s->message) {
		session_say(s, "503 5.5.1 A transaction is open");
	} else if (!*arguments) {
		session_say(s, "501 5.5.4 A domain is expected");
	} else {
		if (queue_nudge(s->queue))
			log_message(LEVEL_INFO, "%s has the queue run (ETRN)",
			    s->client->name);
		session_say(s, "250 2.0.0 The queue is being run");
	}
}

static void
verb_help(struct session *s, const char *arguments)
{
	(void)arguments;
	s->junk++;
	session_say(s, "214 2.0.0 See smarthost(8)");
}

static void
verb_quit(struct session *s, const char *arguments)
{
	(void)arguments;
	s->over = s->quit = true;
	session_say(s, "221 2.0.0 Bye");
}

static void
verb_xqueue(struct session *s, const char *arguments)
{
	const struct xqueue x = {.conn = s->conn, .client = s->client,
		.config = s->config, .queue = s->queue};

	s->junk++;
	if (s->queue)
		xqueue_run(&x, arguments, &s->reply);
	else
		session_say(s, "502 5.5.1 There is no queue here");
}

/* Another protocol's opening line: whatever follows it was not meant as SMTP,
 * and a web page must not be able to make a browser send mail. */
static void
verb_foreign(struct session *s, const char *arguments)
{
	(void)arguments;
	s->over = true;
	session_say(s, "421 4.7.0 This is not SMTP");
}

static const struct verb {
	const char *name;
	void (*run)(struct session *, const char *arguments);
} verbs[] = {
	{"EHLO", verb_ehlo},
	{"HELO", verb_helo},
	{"MAIL", verb_mail},
	{"RCPT", verb_rcpt},
	{"DATA", verb_data},
	{"BDAT", bdat_verb},
	{"AUTH", authenticate_verb},
	{"RSET", verb_rset},
	{"NOOP", verb_noop},
	{"VRFY", verb_vrfy},
	{"EXPN", verb_expn},
	{"ETRN", verb_etrn},
	{"HELP", verb_help},
	{"QUIT", verb_quit},
	{"STARTTLS", starttls_verb},
	{"XQUEUE", verb_xqueue},
	{"GET", verb_foreign},
	{"POST", verb_foreign},
	{"PUT", verb_foreign},
	{"HEAD", verb_foreign},
	{"OPTIONS", verb_foreign},
	{"CONNECT", verb_foreign},
	{"DELETE", verb_foreign},
	{"PATCH", verb_foreign},
	{"TRACE", verb_foreign},
};

/* A request line of HTTP, whatever its verb: a web page may choose that. */
static bool
is_http(const char *line)
{
	const char *last = strrchr(line, ' ');

	return last && strncasecmp(last + 1, "HTTP/", 5) == 0;
}

static void
run_verb(struct session *s, const char *line)
{
	size_t len = strcspn(line, " \t");
	const char *arguments = line + len + strspn(line + len, " \t");

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strlen(verbs[i].name) == len &&
		    strncasecmp(verbs[i].name, line, len) == 0) {
			verbs[i].run(s, arguments);
			return;
		}
	if (strncmp(line, "SSH-", 4) == 0)
		verb_foreign(s, arguments);
	else
		session_say(s, "500 5.5.2 That command is not known here");
}

/* Control characters have no place in a command: an address with one in it
 * must never be cut short by whoever reads it next. */
static bool
has_control(const struct buf *line)
{
	for (size_t i = 0; i < line->len; i++)
		if ((unsigned char)line->data[i] < ' ' && line->data[i] != '\t')
			return true;
	return false;
}

static void
run_command(struct session *s, struct buf *line)
{
	if (line->len && line->data[0] == 0x16) { /* a TLS ClientHello */
		verb_foreign(s, "");
		return;
	}
	while (line->len && (line->data[line->len - 1] == ' ' ||
				line->data[line->len - 1] == '\t'))
		line->data[--line->len] = '\0';
	if (has_control(line))
		session_say(s, "500 5.5.2 Control character in a command");
	else if (is_http(line->data))
		verb_foreign(s, "");
	else
		run_verb(s, line->data);
}

static bool
says_auth(const struct buf *line)
{
	return line->len > 4 && strncasecmp(line->data, "AUTH", 4) == 0;
}

/* What has come is a command, or the answer to a challenge. */
static void
take_line(struct session *s, struct buf *line)
{
	bool is_auth = s->login || says_auth(line);

	if (!is_auth && line->len > LINE_LIMIT)
		session_say(s, "500 5.5.2 The line is too long");
	else if (s->login)
		authenticate_answer(s, line);
	else
		run_command(s, line);
	if (is_auth)
		buf_wipe(line);
}

static void
refuse_long_line(struct session *s)
{
	if (s->login)
		authenticate_answer(s, NULL);
	else if (!s->helo) /* such as POST with a very long path */
		verb_foreign(s, "");
	else
		session_say(s, "500 5.5.2 The line is too long");
}

/* Reads a line and sets the reply to it; false when there is none to come. */
static bool
next_command(struct session *s, struct buf *line)
{
	size_t limit = s->config->listen.auth_file ? AUTH_LIMIT : LINE_LIMIT;
	int64_t patience = s->config->listen.session_timeout;

	conn_set_deadline(s->conn, clock_earlier(clock_now() + patience,
	    s->quiet_since + QUIET_LIMIT * patience));
	switch (conn_line(s->conn, line, limit)) {
	case LINE_OK:
		take_line(s, line);
		return !s->vanished;
	case LINE_TOO_LONG:
		refuse_long_line(s);
		return s->over || conn_skip_line(s->conn);
	default:
		return false;
	}
}

/* Errors and idle chatter have a budget. What is said of a message does not
 * count: the relay's refusals are not the client's mistakes. */
static void
count_errors(struct session *s)
{
	if (s->reply.data[0] == '5' && ++s->errors >= ERROR_LIMIT) {
		session_say(s, "421 4.7.0 Too many errors");
		s->over = true;
	} else if (s->junk > JUNK_LIMIT) {
		s->errors++;
	}
	if (s->errors >= ERROR_LIMIT && !s->over) {
		session_say(s, "421 4.7.0 Too many commands without a message");
		s->over = true;
	}
}

/* The one place where a reply is written. */
static void
write_reply(struct session *s)
{
	conn_write(s->conn, s->reply.data, s->reply.len);
	conn_write(s->conn, "\r\n", 2);
}

/* False when a handshake has failed, and nothing more can be said. */
static bool
converse(struct session *s, struct buf *line)
{
	if (s->client->tls_first && !starttls_begin(s))
		return false;
	conn_printf(s->conn, "220 %s ESMTP smarthost\r\n",
	    s->config->hostname);
	while (!s->over && next_command(s, line)) {
		count_errors(s);
		write_reply(s);
		if (s->over)
			break;
		if (s->securing && !starttls_begin(s))
			return false;
		if (!s->receiving)
			continue;
		if (receive_message(s))
			write_reply(s);
		else
			s->errors++;
	}
	return true;
}

bool
session_run(struct conn *c, const struct client *client,
    const struct config *config, struct queue *queue)
{
	struct session s = {.conn = c, .client = client, .config = config,
		.queue = queue, .quiet_since = clock_now()};
	struct buf line = {0};
	bool good;

	good = converse(&s, &line);
	if (good) {
		good = s.quit || (!s.over && !s.errors && !s.message &&
		    !conn_timed_out(c) && !conn_stopped(c));
		conn_flush(c);
		conn_farewell(c, conn_stopped(c)
		        ? "421 4.3.2 smarthost is stopping"
		        : "421 4.4.2 Timed out");
	}
	session_forget(&s);
	buf_free(&s.reply);
	buf_free(&line);
	return good;
}
