/* SPDX-License-Identifier: ISC */
#ifndef REPLY_H
#define REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* What became of a recipient or of an attempt. */
enum outcome {
	WAITING, /* nothing is known yet */
	SENT,    /* the relay took it */
	LATER,   /* temporary */
	HOLD,    /* will not pass until a person changes something */
	NEVER,   /* permanent for this recipient or message */
	REPORTED, /* it was, and a notice about it is on stable storage, or
	           * nobody wants one */
};

/* Whom a failure concerns, and so who pauses. */
enum scope { SCOPE_RECIPIENT, SCOPE_MESSAGE, SCOPE_SENDER, SCOPE_UPSTREAM };

/* Where in the conversation something was said; in the order of the wire. */
enum stage {
	STAGE_CONNECT,
	STAGE_BANNER,
	STAGE_HELLO,
	STAGE_TLS,
	STAGE_AUTH,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,
	STAGE_BODY,
	STAGE_END, /* behind the final dot */
};

/* What may be done at once, and is then no attempt that counts. */
enum advice {
	ADVICE_NONE,
	ADVICE_RECONNECT,       /* the same on a new connection */
	ADVICE_SPLIT,           /* this recipient in another transaction */
	ADVICE_OTHER_SENDER,    /* instead of the null sender */
	ADVICE_OTHER_MECHANISM, /* of AUTH: it is not the password's fault */
};

/* What an attempt came to. The text is one printable line, safe in a log, a
 * reply and a header. */
struct verdict {
	enum outcome outcome;
	enum scope scope;
	enum stage stage;
	int code;               /* the relay's reply code; 0: it said none */
	bool maybe_delivered;   /* lost between the dot and its answer */
	bool kept;              /* it waits in the spool now */
	bool cut_short;         /* we were in a hurry, the relay is not to
	                         * blame */
	enum advice advice;
	int64_t pause;          /* ms that the reply asks for before the next
	                         * try of what the scope names; 0: the usual */
	int64_t pause_max;      /* to which it doubles while the same is said
	                         * again; 0: it stays as it is */
	const char *hint;       /* for a person; constant text or NULL */
	char text[512];
};

/* Sets everything but the text from a reply at that stage, by the rules (5 and
 * 6 of the forwarder: nothing before MAIL is final, and of the 5xx behind it
 * not those that speak of our own login or order) and by what is known of
 * single replies. text is the reply's, enhanced code first if there is one. */
void reply_judge(struct verdict *, enum stage, int code, const char *text);

/* A verdict that no reply stands behind: trouble on the way. */
void verdict_set(struct verdict *, enum outcome, enum scope, enum stage,
    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The exit status that tells of it: EX_OK, EX_TEMPFAIL for what may pass, and
 * for a refusal EX_NOPERM, EX_NOUSER or EX_UNAVAILABLE. */
int verdict_status(const struct verdict *);

/* The hint for a reply of which only the text is left, as in a stored
 * message; constant text or NULL. */
const char *reply_hint(int code, const char *text);

/* "later", "hold"...: for the log. */
const char *outcome_name(enum outcome);
const char *stage_name(enum stage);

/* How a reply begins, behind its codes, when the relay may have the message
 * nevertheless: whoever reads it should not send another copy at once. */
#define REPLY_MAY_BE_DELIVERED "may be delivered: "

/* Writes the reply that a waiting client hears: a yes with the queue ID and
 * the relay's words, or the refusal. 450 451 452 and 550 to 554 are repeated
 * as they are, any other 4xx becomes 451, any other 5xx 554, and what a person
 * has to cure is a 4.7.0. */
void reply_to_client(struct buf *, const struct verdict *, const char *id);

/* The length of the enhanced status code (RFC 3463) that the text begins with;
 * 0 if there is none. */
size_t reply_enhanced(const char *text);

#endif
