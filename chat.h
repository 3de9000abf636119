/* SPDX-License-Identifier: ISC */
#ifndef CHAT_H
#define CHAT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "reply.h"

struct conn;

/* Hears of each stage that has been passed, for those who show it to a person:
 * what the relay said to it, or what came of it. Embedded in a struct of the
 * observer's own. */
struct observer {
	void (*passed)(struct observer *, enum stage, const char *text);
};

/* The layer of commands and answers, between lines (conn.h) and the
 * procedure (smtp.h). */
struct chat {
	struct conn *conn; /* NULL while there is no connection */
	int64_t timeout;   /* for one whole answer, in ms */
	int64_t deadline;  /* for everything, on clock_now(); 0: none */
	bool trace;        /* show the dialogue on stderr, secrets masked */
	struct observer *observer; /* or NULL */
	bool discreet;     /* show only the codes of answers: some relays
	                    * repeat a login that they did not understand */
};

/* One answer: its code and the text of its lines, joined by '\n' and made
 * printable. A zeroed struct is ready; free with buf_free(&text). */
struct answer {
	int code;
	struct buf text;
};

/* Buffers one command; CRLF is added. */
void chat_command(struct chat *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for a line that nobody may see: the trace shows shown. */
void chat_secret(struct chat *, const char *line, const char *shown);

/* Flushes and reads one answer. It counts only when it is whole, well formed
 * and has one code on all its lines (rules 1, 4 and 7); otherwise false, and
 * conn_error() says why. */
bool chat_answer(struct chat *, struct answer *);

/* Whether nothing has come that we did not ask for (rule 2); otherwise false
 * and the connection has failed as out of step. */
bool chat_in_step(struct chat *);

/* Tells the observer, if there is one. */
void chat_passed(const struct chat *, enum stage, const char *text);

/* Whether EHLO, or a command of that stage behind it, can have an answer with
 * this code. */
bool chat_fits(enum stage, int code);

/* Puts an answer into a verdict: what it means at that stage, and its text
 * on one line. True if it is a yes. */
bool chat_judge(struct verdict *, enum stage, const struct answer *);

/* The verdict on a connection that failed at that stage; if that was our own
 * stop, the relay is not to blame. */
void chat_lost(const struct chat *, enum stage, struct verdict *);

/* One command alone: in step, said, answered, judged. True if it was a yes;
 * a 3xx is one only for DATA. */
bool chat_exchange(struct chat *, enum stage, struct answer *,
    struct verdict *, const char *command);

#endif
