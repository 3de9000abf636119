/* SPDX-License-Identifier: ISC */
#ifndef SESSION_INTERNAL_H
#define SESSION_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "accounts.h"
#include "buf.h"
#include "data.h"

struct client;
struct command;
struct config;
struct conn;
struct login;
struct message;
struct queue;

/* What session.c (commands) and receive.c (messages) share. */

struct session {
	struct conn *conn;
	const struct client *client;
	const struct config *config;
	struct queue *queue;
	char *helo;              /* as said, printable; NULL before */
	bool extended;           /* it was EHLO */
	struct message *message; /* the open transaction, or NULL */
	bool completed;          /* its header has got what it needs */
	bool receiving;          /* 354 was the reply */
	bool chunked;            /* a first BDAT has been taken */
	struct data_reader reader; /* from one chunk to the next */
	struct login *login;     /* the dialogue of AUTH, or NULL */
	struct account account;  /* whoever has logged in */
	unsigned refused_logins;
	const char *complaint;   /* why it may not send, last in the log */
	int64_t quiet_since;     /* the start, or the last message */
	bool securing;           /* 220 was the reply to STARTTLS */
	bool over;
	bool quit;               /* the client has said so */
	bool vanished;           /* the client, in the middle of a chunk */
	unsigned errors;
	unsigned junk;
	struct buf reply;        /* to the current command, without CRLF */
};

/* Sets the reply to the current command. */
void session_say(struct session *, const char *text);
void session_reset(struct session *); /* the transaction */
void session_forget(struct session *); /* all that the client has said */

/* Opens the transaction that MAIL asks for, unless there is no room: then that
 * is the reply. */
void receive_start(struct session *, struct command *);

/* Takes the recipient of RCPT, and replies. */
void receive_recipient(struct session *, struct command *);

/* From the 354 to the answer to the dot. False if the client has vanished, and
 * then nothing is left of the message. */
bool receive_message(struct session *);

/* Reads content up to its true end, or so many bytes of it; without a reader
 * they are thrown away. False if the client has vanished. */
bool receive_bytes(struct session *, struct data_reader *, uint64_t);

/* All of the content is there, or it is refused already: ends the transaction,
 * and replies. */
void receive_finish(struct session *, struct data_reader *);

#endif
