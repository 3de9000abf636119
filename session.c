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

#include "clock.h"
#include "command.h"
#include "config.h"
#include "conn.h"
#include "message.h"
#include "queue.h"
#include "reply.h"

enum {
	LINE_LIMIT = 4096,  /* RFC 5321 section 4.5.3.1.4 asks for 512 */
	ERROR_LIMIT = 20,   /* refused commands in one session */
	JUNK_LIMIT = 100,   /* commands that lead nowhere, between messages */
};

struct session {
	struct conn *conn;
	const struct client *client;
	const struct config *config;
	struct queue *queue;
	char *helo;              /* as said, printable; NULL before */
	bool extended;           /* it was EHLO */
	struct message *message; /* the open transaction, or NULL */
	bool receiving;          /* 354 was the reply */
	bool over;
	unsigned errors;
	unsigned junk;
	struct buf reply;        /* to the current command, without CRLF */
};

static void
say(struct session *s, const char *text)
{
	buf_clear(&s->reply);
	buf_adds(&s->reply, text);
}

static void
reset_transaction(struct session *s)
{
	message_free(s->message);
	s->message = NULL;
}

static void
hello(struct session *s, const char *name, bool extended)
{
	if (!*name) {
		say(s, "501 5.5.4 A host name is expected");
		return;
	}
	for (const char *c = name; *c; c++)
		if (*c <= ' ' || *c > '~') {
			say(s, "501 5.5.4 That is not a host name");
			return;
		}
	reset_transaction(s);
	free(s->helo);
	s->helo = xstrndup(name, strnlen(name, 255));
	s->extended = extended;
	s->junk++;
	buf_clear(&s->reply);
	buf_addf(&s->reply, extended ? "250-%s\r\n" : "250 %s",
	    s->config->hostname);
	if (extended)
		buf_addf(&s->reply, "250-PIPELINING\r\n250-SIZE %llu\r\n"
		    "250-8BITMIME\r\n250 ENHANCEDSTATUSCODES",
		    (unsigned long long)s->config->listen.max_message);
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
start_transaction(struct session *s, const struct buf *sender)
{
	s->message = message_new(queue_budget(s->queue),
	    s->config->listen.max_message);
	message_set_sender(s->message, buf_text(sender));
	s->message->owner = s->client->uid;
	say(s, "250 2.1.0 Sender ok");
}

static void
verb_mail(struct session *s, const char *arguments)
{
	struct buf sender = {0};
	const char *refusal;

	if (!s->helo) {
		say(s, "503 5.5.1 Say EHLO first");
	} else if (s->message) {
		say(s, "503 5.5.1 A transaction is open already");
	} else if (!s->client->may_relay) {
		say(s, "550 5.7.1 This host may not relay here: it is not in "
		       "[listen] allow");
	} else {
		refusal = command_mail(arguments,
		    s->config->listen.max_message, &sender);
		if (refusal)
			say(s, refusal);
		else
			start_transaction(s, &sender);
	}
	buf_free(&sender);
}

static void
verb_rcpt(struct session *s, const char *arguments)
{
	struct buf mailbox = {0};
	const char *refusal;

	if (!s->message)
		say(s, "503 5.5.1 Say MAIL FROM first");
	else if (s->message->recipient_count >=
	    queue_recipient_limit(s->queue))
		say(s, "452 4.5.3 Too many recipients for one message");
	else if ((refusal = command_rcpt(arguments, &mailbox)))
		say(s, refusal);
	else
		say(s, "250 2.1.5 Recipient ok");
	if (s->reply.data[0] == '2')
		message_add_recipient(s->message, mailbox.data);
	buf_free(&mailbox);
}

static void
verb_data(struct session *s, const char *arguments)
{
	if (*arguments) {
		say(s, "501 5.5.4 DATA takes no arguments");
	} else if (!s->message) {
		say(s, "503 5.5.1 Say MAIL FROM first");
	} else if (!s->message->recipient_count) {
		say(s, "503 5.5.1 No recipient was accepted");
	} else {
		s->receiving = true;
		say(s, "354 End the message with a dot on a line by itself");
	}
}

static void
verb_rset(struct session *s, const char *arguments)
{
	(void)arguments;
	reset_transaction(s);
	s->junk++;
	say(s, "250 2.0.0 Ok");
}

static void
verb_noop(struct session *s, const char *arguments)
{
	(void)arguments;
	s->junk++;
	say(s, "250 2.0.0 Ok");
}

static void
verb_vrfy(struct session *s, const char *arguments)
{
	(void)arguments;
	s->junk++;
	say(s, "252 2.5.0 The relay knows; send the message");
}

static void
verb_help(struct session *s, const char *arguments)
{
	(void)arguments;
	s->junk++;
	say(s, "214 2.0.0 See smarthost(8)");
}

static void
verb_quit(struct session *s, const char *arguments)
{
	(void)arguments;
	s->over = true;
	say(s, "221 2.0.0 Bye");
}

/* Another protocol's opening line: whatever follows it was not meant as SMTP,
 * and a web page must not be able to make a browser send mail. */
static void
verb_foreign(struct session *s, const char *arguments)
{
	(void)arguments;
	s->over = true;
	say(s, "421 4.7.0 This is not SMTP");
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
	{"RSET", verb_rset},
	{"NOOP", verb_noop},
	{"VRFY", verb_vrfy},
	{"HELP", verb_help},
	{"QUIT", verb_quit},
	{"GET", verb_foreign},
	{"POST", verb_foreign},
	{"PUT", verb_foreign},
	{"HEAD", verb_foreign},
	{"OPTIONS", verb_foreign},
	{"CONNECT", verb_foreign},
};

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
		say(s, "502 5.5.2 That command is not known here");
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
		say(s, "500 5.5.2 Control character in a command");
	else
		run_verb(s, line->data);
}

/* Reads a command and sets its reply; false when there is none to come. */
static bool
next_command(struct session *s, struct buf *line)
{
	conn_set_deadline(s->conn,
	    clock_now() + s->config->listen.session_timeout);
	switch (conn_line(s->conn, line, LINE_LIMIT)) {
	case LINE_OK:
		run_command(s, line);
		return true;
	case LINE_TOO_LONG:
		say(s, "500 5.5.2 The line is too long");
		return conn_skip_line(s->conn);
	default:
		return false;
	}
}

/* The one place where a reply is written. Errors and idle chatter have a
 * budget. */
static void
write_reply(struct session *s)
{
	if (s->reply.data[0] == '5' && ++s->errors >= ERROR_LIMIT) {
		say(s, "421 4.7.0 Too many errors");
		s->over = true;
	} else if (s->junk > JUNK_LIMIT) {
		s->errors++;
	}
	if (s->errors >= ERROR_LIMIT && !s->over) {
		say(s, "421 4.7.0 Too many commands without a message");
		s->over = true;
	}
	conn_printf(s->conn, "%s\r\n", s->reply.data);
}

/* Reads the content up to its true end. A client may be slow, but each byte
 * buys it a millisecond only, and never more than session_timeout ahead. */
static bool
receive(struct session *s, struct data_reader *reader)
{
	int64_t deadline = clock_now() + s->config->listen.session_timeout;
	const char *data;
	size_t len, used;

	conn_heed_stop(s->conn, false);
	while (!data_ended(reader)) {
		conn_set_deadline(s->conn, deadline);
		if (!conn_peek(s->conn, &data, &len))
			break;
		used = message_read(s->message, reader, data, len);
		conn_consume(s->conn, used);
		if (!s->message->fault) /* no credit for what is refused */
			deadline = clock_earlier(deadline + (int64_t)used,
			    clock_now() +
				s->config->listen.session_timeout);
	}
	conn_heed_stop(s->conn, true);
	return data_ended(reader);
}

/* What the client called itself, fit for a header: a name or an address
 * literal has no other characters. */
static void
add_helo(struct buf *out, const char *helo)
{
	for (; *helo; helo++)
		buf_addc(out, isalnum((unsigned char)*helo) ||
				strchr("-._:[]", *helo) ? *helo : '?');
}

static void
complete_message(struct session *s)
{
	struct buf from = {0};
	struct origin origin = {
		.protocol = s->extended ? "ESMTP" : "SMTP"};

	add_helo(&from, s->helo);
	buf_addf(&from, " (%s)", s->client->name);
	origin.from = from.data;
	message_qualify(s->message, s->config->hostname);
	message_complete(s->message, s->config->hostname, NULL);
	message_add_received(s->message, &origin, s->config->hostname);
	buf_free(&from);
}

static void
log_accepted(const struct session *s, const char *id, const char *sender,
    const char *recipients, uint64_t size)
{
	struct buf count = {0};

	buf_addf(&count, "%llu", (unsigned long long)size);
	log_event(LEVEL_INFO, "accepted", "id", id, "from", sender, "to",
	    recipients, "size", count.data, "client", s->client->name, NULL);
	buf_free(&count);
}

static void
log_kept(const struct verdict *v, const char *id, const char *sender)
{
	log_event(LEVEL_WARNING, v->outcome == HOLD ? "held" : "queued", "id",
	    id, "from", sender, "reply", v->text, "hint", v->hint, NULL);
}

/* Hands the message over and turns the verdict into the reply. */
static void
submit(struct session *s)
{
	struct message *m = s->message;
	uint64_t size = message_size(m);
	struct buf recipients = {0}, sender = {0}, id = {0};
	struct verdict v;

	message_add_recipients_text(m, &recipients, 400);
	buf_adds(&sender, *m->sender ? m->sender : "<>");
	buf_adds(&id, m->id);
	s->message = NULL;
	queue_submit(s->queue, m, &v);
	reply_to_client(&s->reply, &v, id.data);
	if (v.kept && v.outcome != SENT)
		log_kept(&v, id.data, sender.data);
	if (v.kept || v.outcome == SENT)
		log_accepted(s, id.data, sender.data, recipients.data, size);
	buf_free(&recipients);
	buf_free(&sender);
	buf_free(&id);
}

static void
refuse(struct session *s, const char *fault)
{
	say(s, fault);
	log_event(LEVEL_WARNING, "refused", "id", s->message->id, "from",
	    *s->message->sender ? s->message->sender : "<>", "reply", fault,
	    "client", s->client->name, NULL);
}

/* From the 354 to the answer to the dot. A client that vanishes half-way
 * leaves nothing. */
static bool
take_message(struct session *s)
{
	struct data_reader reader;
	const char *fault;

	s->receiving = false;
	data_start(&reader, DATA_FROM_SMTP);
	if (!receive(s, &reader)) {
		reset_transaction(s);
		return false;
	}
	s->junk = 0;
	fault = message_finish(s->message, &reader);
	if (!fault && reader.bare_newline &&
	    s->config->listen.reject_bare_newline)
		fault = "550 5.6.0 Bare CR or LF in the message";
	if (fault) {
		refuse(s, fault);
	} else {
		complete_message(s);
		submit(s);
	}
	reset_transaction(s);
	return true;
}

void
session_run(struct conn *c, const struct client *client,
    const struct config *config, struct queue *queue)
{
	struct session s = {.conn = c, .client = client, .config = config,
		.queue = queue};
	struct buf line = {0};

	conn_printf(c, "220 %s ESMTP smarthost\r\n", config->hostname);
	while (!s.over && next_command(&s, &line)) {
		write_reply(&s);
		if (s.receiving && !s.over && take_message(&s))
			write_reply(&s);
	}
	conn_flush(c);
	conn_farewell(c, conn_stopped(c) ? "421 4.3.2 smarthost is stopping"
					 : "421 4.4.2 Timed out");
	reset_transaction(&s);
	free(s.helo);
	buf_free(&s.reply);
	buf_free(&line);
}
