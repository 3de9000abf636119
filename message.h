/* SPDX-License-Identifier: ISC */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "body.h"
#include "buf.h"
#include "data.h"
#include "reply.h"
#include "utf8.h"

enum {
	QUEUE_ID_SIZE = 33,
	MESSAGE_HEADER_MAX = 256 * 1024,
};

/* Neither the overflow uid, which many share, nor a client of the network owns
 * a message. */
#define NO_OWNER ((uid_t)-1)

/* When the sender wants to hear of a recipient (RFC 3461 section 4.1). */
enum {
	NOTIFY_UNSAID = 0, /* of a failure, then */
	NOTIFY_NEVER = 1,
	NOTIFY_SUCCESS = 2,
	NOTIFY_FAILURE = 4,
	NOTIFY_DELAY = 8,
	NOTIFY_ALL = 15,
};

/* One recipient of the envelope and what became of it. */
struct recipient {
	char *address;
	unsigned notify; /* NOTIFY_... */
	const char *domain; /* its address is completed with, on the way out;
	                  * NULL: with nothing */
	char *original;  /* ORCPT, "rfc822;xtext" as it came; or NULL */
	bool relayed;    /* sent to a relay that will not tell the sender, who
	                  * wants to know; not kept on disk */
	enum outcome outcome;
	bool unrouted; /* a name of this host, and nothing says where its
	                * mail goes: HOLD, and no relay is asked */
	bool held;   /* its file says HOLD: a person has to change something */
	int code;    /* of the last reply; 0: none */
	char *reply; /* its text, printable; or NULL */
	bool known;  /* all this is final, and the commit writes it */
	bool reported; /* all this is final, and the log has it */
};

/*
 * A message on its way: envelope, header, body. The header is canonical lines
 * (see data.h) in memory, the body whatever body.h makes of it; between them
 * belongs one blank line, which neither holds.
 *
 *     m = message_new(budget, limit);
 *     message_set_sender(m, "root@host.example");
 *     message_add_recipient(m, "ops@example.org");
 *     while (...)
 *             message_read(m, &reader, data, len);
 *     fault = message_finish(m, &reader);
 *     message_complete(m, hostname, NULL);
 */
struct message {
	char id[QUEUE_ID_SIZE]; /* queue ID: sorts by arrival, never collides */
	char *sender;           /* "" is the null sender */
	struct recipient *recipients;
	size_t recipient_count;
	struct buf header;
	struct body body;
	bool eight_bit;         /* a byte over 127 is in it */
	unsigned repairs;       /* what was wrong with it, see repair.h */
	bool utf8;              /* SMTPUTF8 was asked for (RFC 6531) */
	char returns;           /* RET (RFC 3461): 'F', 'H', or 0 */
	char *envelope_id;      /* ENVID, xtext as it came; or NULL */
	uid_t owner;            /* who submitted it; NO_OWNER: a stranger */
	int64_t arrived;        /* on clock_now() */
	time_t arrived_at;      /* for the file and for people */
	int file;               /* its file in the spool, locked; or -1 */
	int incoming;           /* the directory, while that is not mail yet;
	                         * or -1 */
	char old_name[QUEUE_ID_SIZE]; /* its name there, if it has been another
	                         * message's and has so many bytes; or "" */
	off_t old_size;
	bool routed;            /* its recipients are those who get it */
	bool direct_only;       /* it cannot be kept: at once, or not at all */

	/* While it is being read: */
	uint64_t limit;    /* bytes of header and body */
	size_t header_limit; /* of the header; 0: MESSAGE_HEADER_MAX */
	bool in_body;
	bool is_read;      /* no, it is complete */
	struct utf8_watch text; /* of the body, once eight_bit is set */
	struct buf line;   /* an unfinished header line */
	struct buf chunk;
	const char *fault; /* the SMTP reply that refuses it, or NULL */
};

/* Who brought a message, for its Received field; all of it printable. */
struct origin {
	const char *from;     /* "client.example ([1.2.3.4])", "uid 1000" */
	const char *protocol; /* "ESMTP", "local" */
};

/* The two halves of a queue ID as numbers: when it arrived, in microseconds
 * since 1970, and what tells it from others. */
void queue_id_numbers(const char *id, uint64_t numbers[2]);

/* Never fails. The caller frees with message_free(). budget may be NULL. */
struct message *message_new(struct body_budget *, uint64_t limit);
void message_free(struct message *);

/* The name of its file while that is in incoming/. */
const char *message_name(const struct message *);

/* Gives up the file in the spool, and removes it if it was not mail yet. */
void message_drop_file(struct message *);

void message_set_sender(struct message *, const char *address);
void message_add_recipient(struct message *, const char *address);

/* Reads some of the content; returns the bytes used, fewer than len only at
 * the end of data. Goes on reading a message that is already refused, so that
 * the dialogue stays in step. */
size_t message_read(struct message *, struct data_reader *, const char *,
    size_t len);

/* Call it at the end of the content. NULL, or the SMTP reply that refuses the
 * message. */
const char *message_finish(struct message *, struct data_reader *);

/* Removes Bcc and adds Date, Message-ID and From where they are missing, and
 * MIME fields to 8-bit text. from is the value for From; NULL: the envelope
 * sender, or the name that notices have. */
void message_complete(struct message *, const char *hostname,
    const char *from);

/* Puts a Received field (RFC 5321 section 4.4) on top. */
void message_add_received(struct message *, const struct origin *,
    const char *hostname);

/* Who owns what this user submits: he, or NO_OWNER. */
uid_t message_owner(uid_t submitter);

/* Bytes on the wire, before dots are doubled. */
uint64_t message_size(const struct message *);

/* The recipients separated by ", ", at most max bytes of them. */
void message_add_recipients_text(const struct message *, struct buf *,
    size_t max);

/* Recipients that were told nothing of their own share the verdict, unless it
 * is one on the upstream, or on our own haste. */
void message_spread(struct message *, const struct verdict *);

/* Whether everybody has the same final result, so that nothing is left to
 * keep. */
bool message_is_final(const struct message *);

/* Has the recipients wait that were told nothing final, for another way of
 * sending it; what was said of them last is kept, as in the file. */
void message_forget_results(struct message *);

/* Whether the sender wants to hear of this: NOTIFY_SUCCESS, _FAILURE... */
bool recipient_wants(const struct recipient *, unsigned notify);

/* Has a commit write the results that are final. Not while one is going on. */
void message_know_results(struct message *);

/* Frees what it holds. */
void recipient_free(struct recipient *);

/* How many it is still to be offered to; and whether that is anybody. */
size_t message_count_waiting(const struct message *);
bool message_is_waiting(const struct message *);

/* Appends the address as it is said to a relay. */
void recipient_add_address(struct buf *, const struct recipient *);

void recipient_set(struct recipient *, enum outcome, int code,
    const char *reply);

#endif
