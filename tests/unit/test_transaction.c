/* SPDX-License-Identifier: ISC */
/*
 * One mail transaction with a scripted relay: what exactly is written, and in
 * how many writes (SO-14, SO-22 to SO-24), what is done about each answer
 * (the mail, rcpt, data, body and dot columns of the matrix; UX-01 to UX-05,
 * UX-23, UX-26 to UX-32, UX-34, UX-38), who cannot be named to the relay
 * (SO-16), and the bytes of the content (SO-01, SO-10), by DATA and by BDAT.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chat.h"
#include "clock.h"
#include "conn.h"
#include "hello.h"
#include "message.h"
#include "tests/unit/peer.h"
#include "transaction.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { AMPLE = 60000, KIB = 1024 };

enum after { KEPT, NEEDS_RESET, FAILED };

struct run_case {
	const char *name;
	unsigned features;
	bool all_or_nothing;
	bool eager;
	bool eight_bit;
	const char *to;      /* recipients, separated by blanks */
	const char *before;  /* what the relay has said already, unasked */
	struct peer_step steps[PEER_STEPS];
	const char *wire;    /* '|' behind each write */
	enum outcome outcome;
	enum scope scope;
	enum stage stage;
	int code;
	bool maybe;          /* maybe_delivered */
	const char *results; /* a letter for each recipient */
	enum after after;
	const char *text;    /* in the verdict's; or NULL */
};

#define SAY(tail, text) {.await = (tail), .say = (text)}
#define SAY_AND_GO(tail, text) \
	{.await = (tail), .say = (text), .then = HANG_UP}
#define MAIL "MAIL FROM:<s@x>\r\n"
#define RCPT_A "RCPT TO:<a@y>\r\n"
#define RCPT_B "RCPT TO:<b@y>\r\n"
#define RCPT_C "RCPT TO:<c@y>\r\n"
#define DATA "DATA\r\n"
#define CONTENT "A: b\r\n\r\nx\r\n.\r\n|"
#define DOT "\r\n.\r\n|"
#define OK "250 ok\r\n"
#define QUOTA "550 5.4.5 Daily user sending limit exceeded.\r\n"
#define GO "354 go\r\n"

/* Pipelined: MAIL, one RCPT and DATA. */
static const struct run_case group_cases[] = {
	{.name = "one recipient is one write", .to = "a@y",
	    .steps = {SAY(DATA "|", OK OK GO),
		SAY(DOT, "250 2.0.0 queued\r\n")},
	    .wire = MAIL RCPT_A DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "S",
	    .scope = SCOPE_UPSTREAM, .text = "2.0.0 queued"},
	{.name = "the same, all or nothing", .to = "a@y",
	    .all_or_nothing = true,
	    .steps = {SAY(DATA "|", OK OK GO), SAY(DOT, OK)},
	    .wire = MAIL RCPT_A DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "S",
	    .scope = SCOPE_UPSTREAM},
	{.name = "two recipients, each for itself", .to = "a@y b@y",
	    .steps = {SAY(DATA "|", OK OK OK GO), SAY(DOT, OK)},
	    .wire = MAIL RCPT_A RCPT_B DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "SS",
	    .scope = SCOPE_UPSTREAM},
	{.name = "two recipients, all or nothing: DATA waits",
	    .to = "a@y b@y", .all_or_nothing = true,
	    .steps = {SAY(RCPT_B "|", OK OK OK), SAY(DATA "|", GO),
		SAY(DOT, OK)},
	    .wire = MAIL RCPT_A RCPT_B "|" DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "SS",
	    .scope = SCOPE_UPSTREAM},
	{.name = "replies of many lines", .to = "a@y",
	    .steps = {SAY(DATA "|", "250-a\r\n250 b\r\n250-\r\n250\r\n354-a\r\n"
		      "354 b\r\n"), SAY(DOT, "250-a\r\n250 b\r\n")},
	    .wire = MAIL RCPT_A DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "S",
	    .scope = SCOPE_UPSTREAM, .text = "a b"},
	/* some are refused (UX-26) */
	{.name = "mixed RCPT replies", .to = "a@y b@y c@y",
	    .steps = {SAY(DATA "|", OK OK "550 5.1.1 no\r\n"
		      "450 4.2.1 wait\r\n" GO), SAY(DOT, OK)},
	    .wire = MAIL RCPT_A RCPT_B RCPT_C DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250,
	    .results = "SNL", .scope = SCOPE_UPSTREAM},
	{.name = "mixed, and refused at the end", .to = "a@y b@y",
	    .steps = {SAY(DATA "|", OK OK "450 wait\r\n" GO),
		SAY(DOT, "554 5.6.0 no\r\n")},
	    .wire = MAIL RCPT_A RCPT_B DATA "|" CONTENT,
	    .outcome = NEVER, .stage = STAGE_END, .code = 554,
	    .results = "NL", .scope = SCOPE_MESSAGE},
	{.name = "mixed, all or nothing", .to = "a@y b@y c@y",
	    .all_or_nothing = true,
	    .steps = {SAY(RCPT_C "|", OK OK "450 4.2.1 wait\r\n"
		      "550 5.1.1 no such user\r\n")},
	    .wire = MAIL RCPT_A RCPT_B RCPT_C "|",
	    .outcome = NEVER, .stage = STAGE_RCPT, .code = 550,
	    .results = "WLN", .scope = SCOPE_RECIPIENT, .after = NEEDS_RESET,
	    .text = "5.1.1 <c@y>: no such user"},
	{.name = "one has to wait, all or nothing", .to = "a@y b@y",
	    .all_or_nothing = true,
	    .steps = {SAY(RCPT_B "|", OK "450 wait\r\n" OK)},
	    .wire = MAIL RCPT_A RCPT_B "|",
	    .outcome = LATER, .stage = STAGE_RCPT, .code = 450,
	    .results = "LW", .scope = SCOPE_RECIPIENT, .after = NEEDS_RESET,
	    .text = "<a@y>: wait"},
	/* all are refused (UX-27) */
	{.name = "refused, DATA granted: a lone dot", .to = "a@y",
	    .steps = {SAY(DATA "|", OK "550 5.1.1 <a@y> unknown\r\n" GO),
		SAY("|.\r\n|", "554 no recipients\r\n")},
	    .wire = MAIL RCPT_A DATA "|.\r\n|",
	    .outcome = NEVER, .stage = STAGE_RCPT, .code = 550,
	    .results = "N", .scope = SCOPE_RECIPIENT, .after = NEEDS_RESET,
	    .text = "5.1.1 <a@y> unknown"},
	{.name = "the dot is taken", .to = "a@y b@y",
	    .steps = {SAY(DATA "|", OK "450 a\r\n550 b\r\n" GO),
		SAY("|.\r\n|", OK)},
	    .wire = MAIL RCPT_A RCPT_B DATA "|.\r\n|",
	    .outcome = NEVER, .stage = STAGE_RCPT, .code = 550,
	    .results = "LN", .scope = SCOPE_RECIPIENT, .after = NEEDS_RESET,
	    .text = "<b@y>: b"},
	{.name = "refused, and DATA too: no dot", .to = "a@y",
	    .steps = {SAY(DATA "|", OK "550 5.1.1 no\r\n503 5.5.1 no\r\n")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = NEVER, .stage = STAGE_RCPT, .code = 550,
	    .results = "N", .scope = SCOPE_RECIPIENT, .after = NEEDS_RESET},
	{.name = "MAIL refused", .to = "a@y",
	    .steps = {SAY(DATA "|", "550 5.7.1 no\r\n503 no\r\n503 no\r\n")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = NEVER, .stage = STAGE_MAIL, .code = 550,
	    .results = "W", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET,
	    .text = "5.7.1 no"},
	{.name = "MAIL refused, DATA granted", .to = "a@y",
	    .steps = {SAY(DATA "|", "451 no\r\n503 no\r\n" GO),
		SAY("|.\r\n|", "503 no\r\n")},
	    .wire = MAIL RCPT_A DATA "|.\r\n|",
	    .outcome = LATER, .stage = STAGE_MAIL, .code = 451,
	    .results = "W", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET},
	{.name = "MAIL wants a login", .to = "a@y",
	    .steps = {SAY(DATA "|", "530 5.7.0 no\r\n503 no\r\n503 no\r\n")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = HOLD, .stage = STAGE_MAIL, .code = 530,
	    .results = "W", .scope = SCOPE_UPSTREAM, .after = NEEDS_RESET},
	{.name = "DATA refused", .to = "a@y",
	    .steps = {SAY(DATA "|", OK OK "554 5.5.1 no\r\n")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = NEVER, .stage = STAGE_DATA, .code = 554,
	    .results = "N", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET},
	{.name = "DATA has to wait", .to = "a@y",
	    .steps = {SAY(DATA "|", OK OK "451 4.3.0 no\r\n")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .code = 451,
	    .results = "L", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET},
	/* the relay speaks of itself behind MAIL: nobody's result */
	{.name = "a quota at RCPT", .to = "a@y b@y",
	    .steps = {SAY(DATA "|", OK QUOTA QUOTA "503 no\r\n")},
	    .wire = MAIL RCPT_A RCPT_B DATA "|",
	    .outcome = HOLD, .stage = STAGE_RCPT, .code = 550,
	    .results = "WW", .scope = SCOPE_UPSTREAM, .after = NEEDS_RESET,
	    .text = "5.4.5 Daily user"},
	{.name = "a quota, but one is refused for good", .to = "a@y b@y c@y",
	    .steps = {SAY(DATA "|", OK "550 5.1.1 no\r\n" QUOTA
		      "450 4.2.1 wait\r\n503 no\r\n")},
	    .wire = MAIL RCPT_A RCPT_B RCPT_C DATA "|",
	    .outcome = HOLD, .stage = STAGE_RCPT, .code = 550,
	    .results = "NWW", .scope = SCOPE_UPSTREAM, .after = NEEDS_RESET,
	    .text = "5.4.5 Daily user"},
	{.name = "a quota, and one is taken", .to = "a@y b@y c@y",
	    .steps = {SAY(DATA "|", OK QUOTA OK "550 5.1.1 no\r\n" GO),
		SAY(DOT, OK)},
	    .wire = MAIL RCPT_A RCPT_B RCPT_C DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250,
	    .results = "HSN", .scope = SCOPE_UPSTREAM},
	{.name = "a quota for all or nothing", .to = "a@y b@y",
	    .all_or_nothing = true,
	    .steps = {SAY(RCPT_B "|", OK "450 4.2.1 wait\r\n" QUOTA)},
	    .wire = MAIL RCPT_A RCPT_B "|",
	    .outcome = HOLD, .stage = STAGE_RCPT, .code = 550,
	    .results = "WW", .scope = SCOPE_UPSTREAM, .after = NEEDS_RESET},
	{.name = "what is permanent first, all or nothing", .to = "a@y b@y",
	    .all_or_nothing = true,
	    .steps = {SAY(RCPT_B "|", OK QUOTA "550 5.1.1 no\r\n")},
	    .wire = MAIL RCPT_A RCPT_B "|",
	    .outcome = NEVER, .stage = STAGE_RCPT, .code = 550,
	    .results = "HN", .scope = SCOPE_RECIPIENT, .after = NEEDS_RESET,
	    .text = "5.1.1 <b@y>: no"},
	{.name = "a throttle at the end", .to = "a@y b@y c@y",
	    .steps = {SAY(DATA "|", OK OK "550 5.1.1 no\r\n"
		      "450 4.2.1 wait\r\n" GO),
		SAY(DOT, "454 Throttling failure: Maximum sending rate "
		    "exceeded.\r\n")},
	    .wire = MAIL RCPT_A RCPT_B RCPT_C DATA "|" CONTENT,
	    .outcome = LATER, .stage = STAGE_END, .code = 454,
	    .results = "WNW", .scope = SCOPE_UPSTREAM},
	{.name = "a sender at RCPT, but one is refused for good",
	    .to = "a@y b@y",
	    .steps = {SAY(DATA "|", OK "550 5.1.1 no\r\n"
		      "553 5.7.1 <s@x>: Sender address rejected: not owned by "
		      "user u\r\n503 no\r\n")},
	    .wire = MAIL RCPT_A RCPT_B DATA "|",
	    .outcome = HOLD, .stage = STAGE_RCPT, .code = 553,
	    .results = "NH", .scope = SCOPE_SENDER, .after = NEEDS_RESET,
	    .text = "5.7.1 <s@x>: Sender"},
	{.name = "a sender at the end", .to = "a@y",
	    .steps = {SAY(DATA "|", OK OK GO),
		SAY(DOT, "554 Message rejected: Email address is not "
		    "verified.\r\n")},
	    .wire = MAIL RCPT_A DATA "|" CONTENT,
	    .outcome = HOLD, .stage = STAGE_END, .code = 554,
	    .results = "H", .scope = SCOPE_SENDER},
	/* 421 ends it, and nobody is told anything (UX-23) */
	{.name = "421 to the second of three", .to = "a@y b@y c@y",
	    .steps = {SAY_AND_GO(DATA "|", OK OK "421 4.3.2 bye\r\n")},
	    .wire = MAIL RCPT_A RCPT_B RCPT_C DATA "|",
	    .outcome = LATER, .stage = STAGE_RCPT, .code = 421,
	    .results = "WWW", .scope = SCOPE_MESSAGE, .after = FAILED,
	    .text = "4.3.2 bye"},
	{.name = "421 to MAIL", .to = "a@y",
	    .steps = {SAY(DATA "|", "421 bye\r\n")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_MAIL, .code = 421,
	    .results = "W", .scope = SCOPE_MESSAGE, .after = FAILED},
	{.name = "421 to DATA", .to = "a@y b@y",
	    .steps = {SAY(DATA "|", OK OK "550 no\r\n421 bye\r\n")},
	    .wire = MAIL RCPT_A RCPT_B DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .code = 421,
	    .results = "WW", .scope = SCOPE_MESSAGE, .after = FAILED},
	/* no answer counts before the last one is there (rule 2) */
	{.name = "lost behind a 550", .to = "a@y",
	    .steps = {SAY_AND_GO(DATA "|", OK "550 no\r\n")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "closed"},
	{.name = "lost behind half a reply", .to = "a@y",
	    .steps = {SAY_AND_GO(DATA "|", OK OK "354 g")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "closed"},
	{.name = "malformed behind a 550", .to = "a@y",
	    .steps = {SAY(DATA "|", OK "550 no\r\nwhat\r\n")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "an 8xx", .to = "a@y",
	    .steps = {SAY(DATA "|", "850 no\r\n" OK GO)},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_MAIL, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "two codes to RCPT", .to = "a@y",
	    .steps = {SAY(DATA "|", OK "550-no\r\n250 ok\r\n" GO)},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_RCPT, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "354 to MAIL", .to = "a@y",
	    .steps = {SAY(DATA "|", GO OK GO)},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_MAIL, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "354 to RCPT", .to = "a@y",
	    .steps = {SAY(DATA "|", OK GO GO)},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_RCPT, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "250 to DATA (UX-28)", .to = "a@y",
	    .steps = {SAY(DATA "|", OK OK OK)},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "a reply too many (UX-04)", .to = "a@y",
	    .steps = {SAY(DATA "|", OK OK OK GO)},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "unasked 250 behind the 354 (UX-01)", .to = "a@y",
	    .steps = {SAY(DATA "|", OK OK GO "250 unasked\r\n")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "a byte behind the 354", .to = "a@y",
	    .steps = {SAY(DATA "|", OK OK GO "2")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "a byte behind refusals", .to = "a@y",
	    .steps = {SAY(DATA "|", OK "550 no\r\n503 no\r\n2")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "unasked before MAIL", .to = "a@y", .before = OK,
	    .wire = "",
	    .outcome = LATER, .stage = STAGE_MAIL, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "unasked before DATA", .to = "a@y b@y",
	    .all_or_nothing = true,
	    .steps = {SAY(RCPT_B "|", OK OK OK GO)},
	    .wire = MAIL RCPT_A RCPT_B "|",
	    .outcome = LATER, .stage = STAGE_RCPT, .results = "WW",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
};

/* PIPELINING is not offered (SO-23). */
static const struct run_case single_cases[] = {
	{.name = "each command alone", .to = "a@y b@y",
	    .steps = {SAY(MAIL "|", OK), SAY(RCPT_A "|", OK),
		SAY(RCPT_B "|", OK), SAY(DATA "|", GO), SAY(DOT, OK)},
	    .wire = MAIL "|" RCPT_A "|" RCPT_B "|" DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "SS",
	    .scope = SCOPE_UPSTREAM},
	{.name = "all or nothing", .to = "a@y", .all_or_nothing = true,
	    .steps = {SAY(MAIL "|", OK), SAY(RCPT_A "|", OK),
		SAY(DATA "|", GO), SAY(DOT, OK)},
	    .wire = MAIL "|" RCPT_A "|" DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "S",
	    .scope = SCOPE_UPSTREAM},
	{.name = "MAIL refused", .to = "a@y b@y",
	    .steps = {SAY(MAIL "|", "552 5.3.4 no\r\n")},
	    .wire = MAIL "|",
	    .outcome = NEVER, .stage = STAGE_MAIL, .code = 552,
	    .results = "WW", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET},
	{.name = "mixed", .to = "a@y b@y",
	    .steps = {SAY(MAIL "|", OK), SAY(RCPT_A "|", "550 no\r\n"),
		SAY(RCPT_B "|", OK), SAY(DATA "|", GO), SAY(DOT, OK)},
	    .wire = MAIL "|" RCPT_A "|" RCPT_B "|" DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "NS",
	    .scope = SCOPE_UPSTREAM},
	{.name = "all refused: no DATA", .to = "a@y b@y",
	    .steps = {SAY(MAIL "|", OK), SAY(RCPT_A "|", "450 no\r\n"),
		SAY(RCPT_B "|", "452 no\r\n")},
	    .wire = MAIL "|" RCPT_A "|" RCPT_B "|",
	    .outcome = LATER, .stage = STAGE_RCPT, .code = 450,
	    .results = "LL", .scope = SCOPE_RECIPIENT,
	    .after = NEEDS_RESET},
	{.name = "DATA refused", .to = "a@y",
	    .steps = {SAY(MAIL "|", OK), SAY(RCPT_A "|", OK),
		SAY(DATA "|", "503 5.5.1 no\r\n")},
	    .wire = MAIL "|" RCPT_A "|" DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .code = 503,
	    .results = "L", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET},
	{.name = "two replies to MAIL (UX-04)", .to = "a@y",
	    .steps = {SAY(MAIL "|", OK OK)},
	    .wire = MAIL "|",
	    .outcome = LATER, .stage = STAGE_MAIL, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "two replies to RCPT", .to = "a@y",
	    .steps = {SAY(MAIL "|", OK), SAY(RCPT_A "|", "550 no\r\n" OK)},
	    .wire = MAIL "|" RCPT_A "|",
	    .outcome = LATER, .stage = STAGE_RCPT, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "250 to DATA", .to = "a@y",
	    .steps = {SAY(MAIL "|", OK), SAY(RCPT_A "|", OK),
		SAY(DATA "|", OK)},
	    .wire = MAIL "|" RCPT_A "|" DATA "|",
	    .outcome = LATER, .stage = STAGE_DATA, .results = "L",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "lost at RCPT", .to = "a@y b@y",
	    .steps = {SAY(MAIL "|", OK), SAY_AND_GO(RCPT_A "|", NULL)},
	    .wire = MAIL "|" RCPT_A "|",
	    .outcome = LATER, .stage = STAGE_RCPT, .results = "WW",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "closed"},
};

/* What is said to the dot, and what that means. */
static const struct {
	const char *reply;
	bool lost;
	enum outcome outcome;
	int code;
	bool maybe;
	enum after after;
} dot_cases[] = {
	{"250 2.0.0 ok\r\n", false, SENT, 250, false, KEPT},
	{"200 ok\r\n", false, SENT, 200, false, KEPT},
	{"421 4.3.2 bye\r\n", false, LATER, 421, false, KEPT},
	{"451 4.3.0 no\r\n", false, LATER, 451, false, KEPT},
	{"452 4.3.1 no\r\n", false, LATER, 452, false, KEPT},
	{"503 5.5.1 no\r\n", false, LATER, 503, false, KEPT},
	{"550 5.7.1 no\r\n", false, NEVER, 550, false, KEPT},
	{"554-5.6.0 a\r\n554 5.6.0 b\r\n", false, NEVER, 554, false, KEPT},
	{"535 5.7.8 no\r\n", false, HOLD, 535, false, KEPT},
	{"250 ok\r\n", true, SENT, 250, false, KEPT},
	{"250 ok\r\n421 4.3.2 bye\r\n", true, SENT, 250, false, KEPT},
	{"250 ok\r\n250 ok\r\n", false, SENT, 250, false, KEPT},
	{"250 ok\r\nwhat", false, SENT, 250, false, KEPT},
	{NULL, true, LATER, 0, true, FAILED},
	{"2", true, LATER, 0, true, FAILED},
	{"250 ok", true, LATER, 0, true, FAILED},
	{"250-ok\r\n", true, LATER, 0, true, FAILED},
	{"250-ok\r\n250", true, LATER, 0, true, FAILED},
	{"550 no", true, LATER, 0, true, FAILED},
	{"what\r\n221 bye\r\n", false, LATER, 0, true, FAILED},
	{"250ok\r\n", false, LATER, 0, true, FAILED},
	{"\r\n250 ok\r\n", false, LATER, 0, true, FAILED},
	{"850 no\r\n", false, LATER, 0, true, FAILED},
	{"550-no\r\n250 ok\r\n", false, LATER, 0, true, FAILED},
	{"250-ok\r\n550 no\r\n", false, LATER, 0, true, FAILED},
	{"354 go\r\n", false, LATER, 0, true, FAILED},
	{"220 again\r\n", false, LATER, 0, true, FAILED},
	{"221 bye\r\n", false, LATER, 0, true, FAILED},
	{"235 welcome\r\n", false, LATER, 0, true, FAILED},
};

#define CHUNK "BDAT 11 LAST\r\nA: b\r\n\r\nx\r\n"
#define IS_CHUNK CHUNK "|"
#define ADDRESS "250 2.1.5 ok\r\n"
#define TAKEN "250 2.0.0 queued\r\n"

/* CHUNKING is offered and wanted, behind the envelope's answers. */
static const struct run_case chunk_cases[] = {
	{.name = "two round trips", .to = "a@y b@y",
	    .steps = {SAY(RCPT_B "|", OK OK OK), SAY(IS_CHUNK, TAKEN)},
	    .wire = MAIL RCPT_A RCPT_B "|" IS_CHUNK,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "SS",
	    .scope = SCOPE_UPSTREAM, .text = "2.0.0 queued"},
	{.name = "some are refused", .to = "a@y b@y",
	    .steps = {SAY(RCPT_B "|", OK "550 5.1.1 no\r\n" OK),
		SAY(IS_CHUNK, TAKEN)},
	    .wire = MAIL RCPT_A RCPT_B "|" IS_CHUNK,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "NS",
	    .scope = SCOPE_UPSTREAM},
	{.name = "some are refused, all or nothing", .to = "a@y b@y",
	    .all_or_nothing = true,
	    .steps = {SAY(RCPT_B "|", OK "550 5.1.1 no\r\n" OK)},
	    .wire = MAIL RCPT_A RCPT_B "|",
	    .outcome = NEVER, .stage = STAGE_RCPT, .code = 550,
	    .results = "NW", .scope = SCOPE_RECIPIENT, .after = NEEDS_RESET},
	{.name = "all are refused", .to = "a@y",
	    .steps = {SAY(RCPT_A "|", OK "550 5.1.1 no\r\n")},
	    .wire = MAIL RCPT_A "|",
	    .outcome = NEVER, .stage = STAGE_RCPT, .code = 550,
	    .results = "N", .scope = SCOPE_RECIPIENT, .after = NEEDS_RESET},
	{.name = "unasked before BDAT", .to = "a@y",
	    .steps = {SAY(RCPT_A "|", OK OK OK)},
	    .wire = MAIL RCPT_A "|",
	    .outcome = LATER, .stage = STAGE_RCPT, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "refused at the end", .to = "a@y",
	    .steps = {SAY(RCPT_A "|", OK OK),
		SAY(IS_CHUNK, "554 5.6.0 no\r\n")},
	    .wire = MAIL RCPT_A "|" IS_CHUNK,
	    .outcome = NEVER, .stage = STAGE_END, .code = 554,
	    .results = "N", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET},
	{.name = "has to wait at the end", .to = "a@y",
	    .steps = {SAY(RCPT_A "|", OK OK), SAY(IS_CHUNK, "451 no\r\n")},
	    .wire = MAIL RCPT_A "|" IS_CHUNK,
	    .outcome = LATER, .stage = STAGE_END, .code = 451,
	    .results = "L", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET},
	{.name = "lost at the end", .to = "a@y",
	    .steps = {SAY(RCPT_A "|", OK OK), SAY_AND_GO(IS_CHUNK, "250-")},
	    .wire = MAIL RCPT_A "|" IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_END, .results = "L",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "closed"},
	{.name = "a late answer to RCPT", .to = "a@y",
	    .steps = {SAY(RCPT_A "|", OK OK), SAY(IS_CHUNK, ADDRESS)},
	    .wire = MAIL RCPT_A "|" IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_END, .results = "L",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "BDAT is not known", .to = "a@y",
	    .steps = {SAY(RCPT_A "|", OK OK),
		SAY(IS_CHUNK, "502 5.5.1 what\r\n")},
	    .wire = MAIL RCPT_A "|" IS_CHUNK,
	    .outcome = LATER, .stage = STAGE_END, .code = 502,
	    .results = "L", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET},
	{.name = "354 to BDAT", .to = "a@y",
	    .steps = {SAY(RCPT_A "|", OK OK), SAY(IS_CHUNK, GO)},
	    .wire = MAIL RCPT_A "|" IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_END, .results = "L",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
};

/* The same in one round trip. */
static const struct run_case eager_cases[] = {
	{.name = "one write", .to = "a@y", .all_or_nothing = true,
	    .steps = {SAY(IS_CHUNK, OK ADDRESS TAKEN)},
	    .wire = MAIL RCPT_A IS_CHUNK,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "S",
	    .scope = SCOPE_UPSTREAM, .text = "2.0.0 queued"},
	{.name = "all or nothing waits for the answers", .to = "a@y b@y",
	    .all_or_nothing = true,
	    .steps = {SAY(RCPT_B "|", OK OK OK), SAY(IS_CHUNK, TAKEN)},
	    .wire = MAIL RCPT_A RCPT_B "|" IS_CHUNK,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "SS",
	    .scope = SCOPE_UPSTREAM},
	{.name = "some are refused", .to = "a@y b@y c@y",
	    .steps = {SAY(IS_CHUNK, OK "550 5.1.1 no\r\n" OK
		      "450 wait\r\n" TAKEN)},
	    .wire = MAIL RCPT_A RCPT_B RCPT_C IS_CHUNK,
	    .outcome = SENT, .stage = STAGE_END, .code = 250,
	    .results = "NSL", .scope = SCOPE_UPSTREAM},
	{.name = "some are refused, and the content", .to = "a@y b@y",
	    .steps = {SAY(IS_CHUNK, OK "450 wait\r\n" OK
		      "554 5.6.0 no\r\n")},
	    .wire = MAIL RCPT_A RCPT_B IS_CHUNK,
	    .outcome = NEVER, .stage = STAGE_END, .code = 554,
	    .results = "LN", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET},
	{.name = "all are refused", .to = "a@y b@y",
	    .steps = {SAY(IS_CHUNK, OK "550 5.1.1 no\r\n450 wait\r\n"
		      "503 5.5.1 nobody\r\n")},
	    .wire = MAIL RCPT_A RCPT_B IS_CHUNK,
	    .outcome = NEVER, .stage = STAGE_RCPT, .code = 550,
	    .results = "NL", .scope = SCOPE_RECIPIENT, .after = NEEDS_RESET},
	{.name = "MAIL refused", .to = "a@y",
	    .steps = {SAY(IS_CHUNK, "550 5.7.1 no\r\n503 no\r\n"
		      "503 no\r\n")},
	    .wire = MAIL RCPT_A IS_CHUNK,
	    .outcome = NEVER, .stage = STAGE_MAIL, .code = 550,
	    .results = "W", .scope = SCOPE_MESSAGE, .after = NEEDS_RESET},
	{.name = "a yes, though nobody was to get it", .to = "a@y",
	    .steps = {SAY(IS_CHUNK, OK "550 5.1.1 no\r\n" TAKEN)},
	    .wire = MAIL RCPT_A IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_END, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "a yes, though MAIL was refused", .to = "a@y",
	    .steps = {SAY(IS_CHUNK, "550 no\r\n" OK TAKEN)},
	    .wire = MAIL RCPT_A IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_END, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "a reply too many", .to = "a@y",
	    .steps = {SAY(IS_CHUNK, OK OK OK "554 no\r\n")},
	    .wire = MAIL RCPT_A IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_END, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "a reply too many, the last one still to come", .to = "a@y",
	    .steps = {SAY(IS_CHUNK, OK OK ADDRESS)},
	    .wire = MAIL RCPT_A IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_END, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "lost at once", .to = "a@y",
	    .steps = {SAY_AND_GO(IS_CHUNK, NULL)},
	    .wire = MAIL RCPT_A IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_MAIL, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "closed"},
	{.name = "lost behind a refusal", .to = "a@y",
	    .steps = {SAY_AND_GO(IS_CHUNK, OK "550 5.1.1 no\r\n")},
	    .wire = MAIL RCPT_A IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_END, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "closed"},
	{.name = "malformed", .to = "a@y",
	    .steps = {SAY(IS_CHUNK, OK "what\r\n" TAKEN)},
	    .wire = MAIL RCPT_A IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_RCPT, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "354 to BDAT", .to = "a@y",
	    .steps = {SAY(IS_CHUNK, OK OK GO)},
	    .wire = MAIL RCPT_A IS_CHUNK, .maybe = true,
	    .outcome = LATER, .stage = STAGE_END, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
	{.name = "421 to MAIL: nobody has it", .to = "a@y",
	    .steps = {SAY_AND_GO(IS_CHUNK, "421 4.3.2 bye\r\n")},
	    .wire = MAIL RCPT_A IS_CHUNK,
	    .outcome = LATER, .stage = STAGE_MAIL, .code = 421,
	    .results = "W", .scope = SCOPE_MESSAGE, .after = FAILED},
	{.name = "unasked before MAIL", .to = "a@y", .before = OK,
	    .wire = "",
	    .outcome = LATER, .stage = STAGE_MAIL, .results = "W",
	    .scope = SCOPE_MESSAGE, .after = FAILED, .text = "out of step"},
};

static struct message *
new_message(const char *to)
{
	struct message *m = message_new(NULL, UINT64_MAX);
	char *names = xstrdup(to), *rest = names, *name;

	message_set_sender(m, "s@x");
	while ((name = strsep(&rest, " ")))
		message_add_recipient(m, name);
	buf_adds(&m->header, "A: b\r\n");
	assert_true(body_write(&m->body, "x\r\n", 3));
	free(names);
	return m;
}

static struct chat
new_chat(struct peer *peer)
{
	return (struct chat){.conn = conn_new(peer_start(peer), -1),
		.timeout = AMPLE};
}

/* The letter of a recipient who shares the verdict on the content. What the
 * relay says of itself is nobody's result. */
static char
shared_letter(enum outcome outcome, enum scope scope)
{
	return outcome != SENT && scope == SCOPE_UPSTREAM ? 'W'
							   : "WSLHN"[outcome];
}

/* A letter for each recipient's outcome. */
static void
check_results(const struct message *m, const char *letters)
{
	char results[10] = "";

	for (size_t i = 0; i < m->recipient_count; i++)
		results[i] = "WSLHN"[m->recipients[i].outcome];
	assert_string_equal(results, letters);
}

static void
check_case(const struct run_case *c, const struct verdict *v)
{
	if (v->outcome != c->outcome || v->scope != c->scope ||
	    v->stage != c->stage || v->code != c->code ||
	    v->maybe_delivered != c->maybe)
		fail_msg("%s: %s at %s, scope %d, maybe %d: %d %s", c->name,
		    outcome_name(v->outcome), stage_name(v->stage),
		    (int)v->scope, v->maybe_delivered, v->code, v->text);
	if (c->text && !strstr(v->text, c->text))
		fail_msg("%s: %s", c->name, v->text);
}

static void
run(const struct run_case *c, unsigned features)
{
	struct peer peer = {0};
	struct offers offers = {.features = c->features | features};
	struct message *m = new_message(c->to);
	struct chat chat = {0};
	struct transaction t = {.chat = &chat, .offers = &offers,
		.message = m, .all_or_nothing = c->all_or_nothing,
		.eager = c->eager};
	enum after after;
	struct verdict v;

	memcpy(peer.steps, c->steps, sizeof(c->steps));
	chat = new_chat(&peer);
	if (c->before)
		send(peer.fd, c->before, strlen(c->before), 0);
	m->eight_bit = c->eight_bit;
	memset(&v, 0xa5, sizeof(v));
	transaction_run(&t, &v);
	after = conn_error(chat.conn) ? FAILED
	    : t.left_open ? NEEDS_RESET : KEPT;
	conn_close(chat.conn);
	peer_stop(&peer);
	if (strcmp(buf_text(&peer.log), c->wire) != 0)
		fail_msg("%s: written: %s", c->name, buf_text(&peer.log));
	check_case(c, &v);
	check_results(m, c->results);
	if (after != c->after)
		fail_msg("%s: connection: %d", c->name, (int)after);
	message_free(m);
	buf_free(&peer.log);
}

static void
test_groups(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(group_cases); i++)
		run(&group_cases[i], HAS_PIPELINING);
}

static void
test_chunks(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(chunk_cases); i++)
		run(&chunk_cases[i], HAS_PIPELINING | HAS_CHUNKING);
}

static void
test_eager(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(eager_cases); i++) {
		struct run_case c = eager_cases[i];

		c.eager = true;
		run(&c, HAS_PIPELINING | HAS_CHUNKING);
	}
}

static void
test_single_commands(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(single_cases); i++)
		run(&single_cases[i], 0);
}

static void
test_dot(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(dot_cases); i++) {
		enum outcome outcome = dot_cases[i].outcome;
		char results[] = {shared_letter(outcome, outcome == HOLD
			? SCOPE_UPSTREAM : SCOPE_MESSAGE), '\0'};
		struct run_case c = {
			.name = dot_cases[i].reply ? dot_cases[i].reply : "",
			.to = "a@y", .results = results,
			.steps = {SAY(DATA "|", OK OK GO),
			    {.await = DOT, .say = dot_cases[i].reply,
				.then = dot_cases[i].lost ? HANG_UP : GO_ON}},
			.wire = MAIL RCPT_A DATA "|" CONTENT,
			.outcome = outcome, .stage = STAGE_END,
			.scope = outcome == SENT || outcome == HOLD
			    ? SCOPE_UPSTREAM : SCOPE_MESSAGE,
			.code = dot_cases[i].code,
			.maybe = dot_cases[i].maybe,
			.after = dot_cases[i].after,
		};

		run(&c, HAS_PIPELINING);
	}
}

/* Parameters of MAIL only where they were offered. */
static void
test_parameters(void **state)
{
	static const struct {
		unsigned features;
		bool eight_bit;
		const char *parameters;
	} cases[] = {
		{0, false, ""},
		{0, true, ""},
		{HAS_STARTTLS, true, ""},
		{HAS_SIZE, false, " SIZE=11"},
		{HAS_SIZE, true, " SIZE=11"},
		{HAS_8BITMIME, false, ""},
		{HAS_8BITMIME, true, " BODY=8BITMIME"},
		{HAS_SIZE | HAS_8BITMIME, false, " SIZE=11"},
		{HAS_SIZE | HAS_8BITMIME, true, " SIZE=11 BODY=8BITMIME"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char wire[200];
		struct run_case c = {.name = cases[i].parameters, .to = "a@y",
			.features = cases[i].features,
			.eight_bit = cases[i].eight_bit, .wire = wire,
			.steps = {SAY(DATA "|", OK OK GO), SAY(DOT, OK)},
			.outcome = SENT, .scope = SCOPE_UPSTREAM,
			.stage = STAGE_END, .code = 250, .results = "S"};

		snprintf(wire, sizeof(wire), "MAIL FROM:<s@x>%s\r\n" RCPT_A
		    DATA "|" CONTENT, cases[i].parameters);
		run(&c, HAS_PIPELINING);
	}
}

#define U "\xc3\xa9"
#define NO_UTF8 "the relay does not offer SMTPUTF8"

/* An address beyond ASCII goes to nobody who has not offered SMTPUTF8. */
static const struct run_case utf8_cases[] = {
	{.name = "offered", .to = U "@y", .features = HAS_SMTPUTF8,
	    .steps = {SAY(DATA "|", OK OK GO), SAY(DOT, OK)},
	    .wire = "MAIL FROM:<s@x> SMTPUTF8\r\nRCPT TO:<" U "@y>\r\n" DATA
		"|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "S",
	    .scope = SCOPE_UPSTREAM},
	{.name = "offered and not needed", .to = "a@y",
	    .features = HAS_SMTPUTF8,
	    .steps = {SAY(DATA "|", OK OK GO), SAY(DOT, OK)},
	    .wire = MAIL RCPT_A DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "S",
	    .scope = SCOPE_UPSTREAM},
	{.name = "not offered, one of two", .to = U "@y a@y",
	    .steps = {SAY(DATA "|", OK OK GO), SAY(DOT, OK)},
	    .wire = MAIL RCPT_A DATA "|" CONTENT,
	    .outcome = SENT, .stage = STAGE_END, .code = 250, .results = "NS",
	    .scope = SCOPE_UPSTREAM},
	{.name = "and the other is refused", .to = "a@y " U "@y",
	    .steps = {SAY(DATA "|", OK "450 4.2.1 wait\r\n503 no\r\n")},
	    .wire = MAIL RCPT_A DATA "|",
	    .outcome = LATER, .stage = STAGE_RCPT, .code = 450,
	    .results = "LN", .scope = SCOPE_RECIPIENT, .after = NEEDS_RESET},
	{.name = "not offered, nobody else", .to = U "@y a@" U,
	    .wire = "",
	    .outcome = NEVER, .stage = STAGE_RCPT, .code = 553,
	    .results = "NN", .scope = SCOPE_RECIPIENT,
	    .text = "5.6.7 <??@y>: " NO_UTF8},
	{.name = "not offered, all or nothing", .to = "a@y " U "@y",
	    .all_or_nothing = true, .wire = "",
	    .outcome = NEVER, .stage = STAGE_RCPT, .code = 553,
	    .results = "WN", .scope = SCOPE_RECIPIENT,
	    .text = "5.6.7 <??@y>: " NO_UTF8},
};

static void
test_utf8(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(utf8_cases); i++)
		run(&utf8_cases[i], HAS_PIPELINING);
}

/* Runs one with such a sender, or with such wishes. */
static struct buf
run_message(struct message *m, unsigned features, const char *rcpt_reply,
    struct verdict *v)
{
	struct buf said = {0};
	struct peer peer = {.steps = {{.await = DATA "|"}, SAY(DOT, OK)}};
	struct offers offers = {.features = HAS_PIPELINING | features};
	struct transaction t = {.offers = &offers, .message = m};
	struct chat chat;

	buf_addf(&said, OK OK "%s" GO, rcpt_reply);
	peer.steps[0].say = said.data;
	chat = new_chat(&peer);
	t.chat = &chat;
	transaction_run(&t, v);
	conn_close(chat.conn);
	peer_stop(&peer);
	buf_free(&said);
	return peer.log;
}

static void
test_utf8_sender(void **state)
{
	struct message *m = new_message("a@y b@y");
	struct verdict v;
	struct buf log;

	(void)state;
	message_set_sender(m, U "@x");
	log = run_message(m, HAS_8BITMIME, OK, &v);
	assert_int_equal(log.len, 0);
	check_results(m, "NN");
	assert_int_equal(v.outcome, NEVER);
	assert_non_null(strstr(v.text, "5.6.7 <a@y>: " NO_UTF8));
	message_free(m);
}

/* Who tells the sender of success: the relay if it can, else we; and only of
 * those who were taken. */
static void
test_success_wanted(void **state)
{
	(void)state;
	for (unsigned features = 0; features <= HAS_DSN; features += HAS_DSN) {
		struct message *m = new_message("a@y b@y");
		struct verdict v;
		struct buf log;

		m->recipients[0].notify = NOTIFY_SUCCESS;
		m->recipients[1].notify = NOTIFY_SUCCESS | NOTIFY_FAILURE;
		log = run_message(m, features, "550 no\r\n", &v);
		check_results(m, "SN");
		assert_int_equal(m->recipients[0].relayed, !features);
		assert_false(m->recipients[1].relayed);
		assert_int_equal(strncmp(log.data, features
			? MAIL "RCPT TO:<a@y> NOTIFY=SUCCESS\r\n"
			  "RCPT TO:<b@y> NOTIFY=SUCCESS,FAILURE\r\n"
			: MAIL RCPT_A RCPT_B, 35), 0);
		assert_int_equal(strstr(log.data, "NOTIFY") != NULL,
		    features != 0);
		buf_free(&log);
		message_free(m);
	}
}

static void
test_success_unsaid(void **state)
{
	struct message *m = new_message("a@y b@y");
	struct verdict v;
	struct buf log;

	(void)state;
	m->recipients[1].notify = NOTIFY_FAILURE | NOTIFY_DELAY;
	log = run_message(m, 0, OK, &v);
	check_results(m, "SS");
	assert_false(m->recipients[0].relayed);
	assert_false(m->recipients[1].relayed);
	buf_free(&log);
	message_free(m);
}

/* Runs a transaction that is granted and taken, and returns what was written
 * behind DATA, without the marks. */
static void
send_message(struct message *m, struct buf *content)
{
	struct peer peer = {.steps = {SAY(DATA "|", OK OK GO),
	    SAY(DOT, OK)}};
	struct offers offers = {.features = HAS_PIPELINING};
	struct chat chat = new_chat(&peer);
	struct transaction t = {
		.chat = &chat, .offers = &offers, .message = m};
	const char *from;
	struct verdict v;

	transaction_run(&t, &v);
	conn_close(chat.conn);
	peer_stop(&peer);
	assert_int_equal(v.outcome, SENT);
	from = strstr(buf_text(&peer.log), DATA "|");
	assert_non_null(from);
	for (from += strlen(DATA "|"); *from; from++)
		if (*from != '|')
			buf_addc(content, *from);
	buf_free(&peer.log);
}

struct content_case {
	const char *header, *body, *wire;
};

static const struct content_case content_cases[] = {
	{"A: b\r\n", "", "A: b\r\n\r\n.\r\n"},
	{"", "x\r\n", "\r\nx\r\n.\r\n"},
	{"", "", "\r\n.\r\n"},
	{"A: b\r\n", ".\r\n", "A: b\r\n\r\n..\r\n.\r\n"},
	{"A: b\r\n", "..\r\n.x\r\nx.\r\n \r\n.\r\n",
	    "A: b\r\n\r\n...\r\n..x\r\nx.\r\n \r\n..\r\n.\r\n"},
	{"A: b\r\n", "\r\n\r\n", "A: b\r\n\r\n\r\n\r\n.\r\n"},
	{"A: b\r\n", "x\r\n.\r\n", "A: b\r\n\r\nx\r\n..\r\n.\r\n"},
	{".: b\r\n.c\r\n", "x\r\n", "..: b\r\n..c\r\n\r\nx\r\n.\r\n"},
	{"A: \xe4\r\n", "\xff\x01\r\n", "A: \xe4\r\n\r\n\xff\x01\r\n.\r\n"},
};

static void
test_content(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(content_cases); i++) {
		const struct content_case *t = &content_cases[i];
		struct message *m = new_message("a@y");
		struct buf wire = {0};

		buf_clear(&m->header);
		buf_adds(&m->header, t->header);
		body_free(&m->body);
		assert_true(body_write(&m->body, t->body, strlen(t->body)));
		send_message(m, &wire);
		assert_string_equal(wire.data, t->wire);
		message_free(m);
		buf_free(&wire);
	}
}

/* Sends a body that has that text at three places, each so many bytes behind
 * the last. */
static void
check_long_content(size_t distance, const char *text)
{
	struct message *m = new_message("a@y");
	struct buf wire = {0}, body = {0}, expected = {0};
	bool line_start = true;

	for (size_t at = distance; at <= 3 * distance; at += distance) {
		while (body.len < at)
			buf_addc(&body, 'x');
		buf_adds(&body, text);
	}
	buf_adds(&body, "\r\n");
	body_free(&m->body);
	assert_true(body_write(&m->body, body.data, body.len));
	send_message(m, &wire);
	buf_adds(&expected, "A: b\r\n\r\n");
	data_stuff(&line_start, body.data, body.len, &expected);
	buf_adds(&expected, ".\r\n");
	assert_string_equal(wire.data, expected.data);
	message_free(m);
	buf_free(&wire);
	buf_free(&body);
	buf_free(&expected);
}

/* By BDAT nothing is doubled, and the count is that of the bytes behind it;
 * what is too long for it to be eager goes behind the envelope's answers. */
static void
check_chunk(const char *header, const char *body, size_t repeat, bool eager)
{
	bool waits = !eager || repeat * strlen(body) > 64 * KIB;
	struct peer peer = {.steps = {SAY(RCPT_A "|", waits ? OK OK : NULL),
		SAY("end\r\n|", waits ? OK : OK OK OK)}};
	struct offers offers = {.features = HAS_PIPELINING | HAS_CHUNKING};
	struct message *m = new_message("a@y");
	struct buf text = {0}, wire = {0}, expected = {0};
	struct chat chat = {0};
	struct transaction t = {.chat = &chat, .offers = &offers,
		.message = m, .eager = eager};
	struct verdict v;

	if (!waits)
		memmove(peer.steps, peer.steps + 1, 2 * sizeof(*peer.steps));
	chat = new_chat(&peer);
	for (size_t i = 0; i < repeat; i++)
		buf_adds(&text, body);
	buf_adds(&text, "end\r\n");
	buf_clear(&m->header);
	buf_adds(&m->header, header);
	body_free(&m->body);
	assert_true(body_write(&m->body, text.data, text.len));
	transaction_run(&t, &v);
	conn_close(chat.conn);
	peer_stop(&peer);
	assert_int_equal(v.outcome, SENT);
	for (const char *from = peer.log.data; *from; from++)
		if (*from != '|')
			buf_addc(&wire, *from);
	buf_addf(&expected, MAIL RCPT_A "BDAT %zu LAST\r\n%s\r\n%s",
	    strlen(header) + 2 + text.len, header, text.data);
	assert_string_equal(wire.data, expected.data);
	assert_int_equal(strstr(peer.log.data, RCPT_A "|") != NULL, waits);
	message_free(m);
	buf_free(&text);
	buf_free(&wire);
	buf_free(&expected);
	buf_free(&peer.log);
}

static void
test_chunk_content(void **state)
{
	static const size_t repeats[] = {0, 1, 3000, 12000, 40000};

	(void)state;
	for (size_t i = 0; i < COUNT(repeats); i++)
		for (int eager = 0; eager < 2; eager++) {
			check_chunk("A: b\r\n", ".\r\n..x\r\n", repeats[i],
			    eager);
			check_chunk("", "\r\n.\r\n", repeats[i], eager);
		}
}

/* Dots before, at and behind the edges of the pieces that a long body is
 * read in, at the start of a line and not. */
static void
test_long_content(void **state)
{
	static const char *const edges[] = {
		"\r\n.\r\n", "\r\n..", "x.\r\n", "\r\nx."};

	(void)state;
	for (size_t edge = 64 * KIB - 5; edge <= 64 * KIB + 1; edge++)
		for (size_t i = 0; i < COUNT(edges); i++)
			check_long_content(edge, edges[i]);
}

/* Who has the message already is not named again; the null sender is. */
static void
test_waiting_only(void **state)
{
	struct peer peer = {.steps = {SAY(DATA "|", OK OK GO), SAY(DOT, OK)}};
	struct offers offers = {.features = HAS_PIPELINING};
	struct message *m = new_message("a@y b@y c@y");
	struct chat chat = new_chat(&peer);
	struct transaction t = {.chat = &chat, .offers = &offers,
		.message = m};
	struct verdict v;

	(void)state;
	message_set_sender(m, "");
	recipient_set(&m->recipients[0], SENT, 250, "earlier");
	recipient_set(&m->recipients[2], NEVER, 550, "earlier");
	transaction_run(&t, &v);
	conn_close(chat.conn);
	peer_stop(&peer);
	assert_string_equal(peer.log.data,
	    "MAIL FROM:<>\r\n" RCPT_B DATA "|" CONTENT);
	check_results(m, "SSN");
	assert_string_equal(m->recipients[0].reply, "earlier");
	assert_string_equal(m->recipients[1].reply, "ok");
	assert_int_equal(m->recipients[1].code, 250);
	assert_string_equal(m->recipients[2].reply, "earlier");
	message_free(m);
	buf_free(&peer.log);
}

/* There is nobody to send it to, or some of all have it already where nobody
 * or everybody should: not a word is said, and it is not taken for sent. */
static void
test_nobody_waits(void **state)
{
	(void)state;
	for (int all_or_nothing = 0; all_or_nothing < 2; all_or_nothing++) {
		struct peer peer = {0};
		struct offers offers = {.features = HAS_PIPELINING};
		struct message *m = new_message("a@y b@y");
		struct chat chat = new_chat(&peer);
		struct transaction t = {.chat = &chat, .offers = &offers,
			.message = m, .all_or_nothing = all_or_nothing};
		struct verdict v;

		recipient_set(&m->recipients[0], HOLD, 530, "earlier");
		if (!all_or_nothing)
			recipient_set(&m->recipients[1], SENT, 250, "earlier");
		transaction_run(&t, &v);
		conn_close(chat.conn);
		peer_stop(&peer);
		assert_int_equal(peer.log.len, 0);
		assert_int_equal(v.outcome, LATER);
		check_results(m, all_or_nothing ? "HW" : "HS");
		message_free(m);
	}
}

/* A relay that says yes to every command, and how many came at once. */
struct yes_man {
	struct peer peer;
	unsigned commands, most_at_once;
};

static void *
say_yes(void *argument)
{
	struct yes_man *y = argument;
	struct buf replies = {0};
	size_t heard = 0;
	bool data = false;

	while (!data && peer_hears(&y->peer)) {
		unsigned count = 0;

		buf_clear(&replies);
		for (; heard < y->peer.log.len; heard++)
			if (y->peer.log.data[heard] == '\n') {
				buf_adds(&replies, OK);
				count++;
			}
		data = peer_ends_with(&y->peer, DATA "|");
		if (data)
			memcpy(replies.data + replies.len - strlen(OK), GO,
			    strlen(GO));
		if (count > y->most_at_once)
			y->most_at_once = count;
		y->commands += count;
		send(y->peer.fd, replies.data, replies.len, MSG_NOSIGNAL);
	}
	while (peer_hears(&y->peer))
		if (peer_ends_with(&y->peer, DOT))
			send(y->peer.fd, OK, strlen(OK), MSG_NOSIGNAL);
	buf_free(&replies);
	return NULL;
}

static void
run_with_many(size_t count, bool all_or_nothing)
{
	struct yes_man y = {0};
	struct offers offers = {.features = HAS_PIPELINING};
	struct message *m = new_message("0@y");
	struct chat chat = {.timeout = AMPLE};
	struct transaction t = {.chat = &chat, .offers = &offers,
		.message = m, .all_or_nothing = all_or_nothing};
	const char *at;
	struct verdict v;
	int ends[2];

	peer_pair(ends);
	y.peer.fd = ends[1];
	chat.conn = conn_new(ends[0], -1);
	assert_int_equal(pthread_create(&y.peer.thread, NULL, say_yes, &y), 0);
	for (size_t i = 1; i < count; i++) {
		char address[30];

		snprintf(address, sizeof(address), "%zu@y", i);
		message_add_recipient(m, address);
	}
	transaction_run(&t, &v);
	conn_close(chat.conn);
	peer_stop(&y.peer);
	assert_int_equal(v.outcome, SENT);
	assert_int_equal(y.commands, count + 2);
	assert_true(y.most_at_once <= 102);
	at = y.peer.log.data;
	for (size_t i = 0; i < count; i++) {
		char line[60];

		snprintf(line, sizeof(line), "RCPT TO:<%zu@y>\r\n", i);
		at = strstr(at, line);
		assert_non_null(at);
		assert_int_equal(m->recipients[i].outcome, SENT);
	}
	message_free(m);
	buf_free(&y.peer.log);
}

/* Long envelopes go in several groups, with nobody lost at their edges. */
static void
test_many_recipients(void **state)
{
	static const size_t counts[] = {
		1, 2, 98, 99, 100, 101, 102, 199, 200, 201, 202, 203, 1000};

	(void)state;
	for (size_t i = 0; i < COUNT(counts); i++) {
		run_with_many(counts[i], false);
		run_with_many(counts[i], true);
	}
}

/* A relay that takes the first piece of a body of 1 MB and does something
 * else then. It gets no dot, whatever it says. */
static void
interrupt_body(const struct peer_step *step, int64_t timeout,
    struct verdict *v)
{
	const int small = 96 * KIB;
	struct peer peer = {.steps = {SAY(DATA "|", OK OK GO), *step}};
	struct offers offers = {.features = HAS_PIPELINING};
	struct message *m = new_message("a@y");
	struct chat chat = new_chat(&peer);
	struct transaction t = {
		.chat = &chat, .offers = &offers, .message = m};
	char results[] = {'\0', '\0'}, line[65];

	body_free(&m->body);
	snprintf(line, sizeof(line), "%061dx\r\n", 0);
	for (int i = 0; i < 16 * KIB; i++)
		assert_true(body_write(&m->body, line, 64));
	setsockopt(conn_fd(chat.conn), SOL_SOCKET, SO_SNDBUF, &small,
	    sizeof(small));
	chat.timeout = timeout;
	transaction_run(&t, v);
	assert_non_null(conn_error(chat.conn));
	conn_close(chat.conn);
	peer_stop(&peer);
	assert_null(strstr(peer.log.data, "\n.\r\n"));
	assert_null(strstr(peer.log.data, "|.\r\n"));
	assert_true(peer.log.len < 512 * KIB);
	assert_int_equal(v->stage, STAGE_BODY);
	assert_false(v->maybe_delivered);
	results[0] = shared_letter(v->outcome, v->scope);
	check_results(m, results);
	message_free(m);
	buf_free(&peer.log);
}

struct body_case {
	struct peer_step step;
	enum outcome outcome;
	enum scope scope;
	int code;
	const char *text;
};

#define IN_BODY "x\r\n|"
#define TOO_BIG "552 5.3.4 too big\r\n"

static const struct body_case body_cases[] = {
	{SAY(IN_BODY, TOO_BIG), NEVER, SCOPE_MESSAGE, 552, "too big"},
	{SAY(IN_BODY, "552-5.3.4 too\r\n552 5.3.4 big\r\n"), NEVER,
	    SCOPE_MESSAGE, 552, "5.3.4 too 5.3.4 big"},
	{SAY(IN_BODY, "452 4.3.1 full\r\n"), LATER, SCOPE_MESSAGE, 452,
	    "4.3.1 full"},
	{SAY(IN_BODY, "421 4.3.2 bye\r\n"), LATER, SCOPE_MESSAGE, 421,
	    "4.3.2 bye"},
	{SAY(IN_BODY, "535 5.7.8 no\r\n"), HOLD, SCOPE_UPSTREAM, 535,
	    "5.7.8 no"},
	/* a yes is none before the dot */
	{SAY(IN_BODY, OK), LATER, SCOPE_MESSAGE, 0, "out of step"},
	{SAY(IN_BODY, GO), LATER, SCOPE_MESSAGE, 0, "out of step"},
	{SAY(IN_BODY, "what\r\n"), LATER, SCOPE_MESSAGE, 0, "out of step"},
	{SAY(IN_BODY, "552-a\r\n250 b\r\n"), LATER, SCOPE_MESSAGE, 0,
	    "out of step"},
	{SAY_AND_GO(IN_BODY, TOO_BIG), NEVER, SCOPE_MESSAGE, 552, "too big"},
	{SAY_AND_GO(IN_BODY, OK), LATER, SCOPE_MESSAGE, 0, ""},
	{SAY_AND_GO(IN_BODY, "552 5.3.4 too"), LATER, SCOPE_MESSAGE, 0, ""},
	{SAY_AND_GO(IN_BODY, NULL), LATER, SCOPE_MESSAGE, 0, ""},
};

static void
check_body_case(const struct body_case *c)
{
	struct verdict v;

	interrupt_body(&c->step, AMPLE, &v);
	if (v.outcome != c->outcome || v.scope != c->scope ||
	    v.code != c->code || !strstr(v.text, c->text))
		fail_msg("%s: %s, scope %d: %d %s",
		    c->step.say ? c->step.say : "", outcome_name(v.outcome),
		    (int)v.scope, v.code, v.text);
}

static void
test_body_interrupted(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(body_cases); i++)
		check_body_case(&body_cases[i]);
}

/* The relay closes before it speaks, so that our write fails (UX-32). */
static void
test_body_cannot_be_written(void **state)
{
	static const struct body_case cases[] = {
		{{.await = IN_BODY, .then = DEAF, .rest = 50,
		     .say = TOO_BIG}, NEVER, SCOPE_MESSAGE, 552, "too big"},
		{{.await = IN_BODY, .then = DEAF, .rest = 50,
		     .say = "552-5.3.4 too\r\n552 5.3.4 big\r\n"}, NEVER,
		    SCOPE_MESSAGE, 552, "5.3.4 too 5.3.4 big"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		check_body_case(&cases[i]);
}

/* A relay that stops reading, and one that says half of something (UX-31). */
static void
test_body_stalled(void **state)
{
	static const struct peer_step steps[] = {
		{.await = IN_BODY, .then = STARE},
		{.await = IN_BODY, .say = "55", .then = HANG_UP},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(steps); i++) {
		int64_t begun = clock_now();
		struct verdict v;

		interrupt_body(&steps[i], 1000, &v);
		assert_int_equal(v.outcome, LATER);
		assert_int_equal(v.scope, SCOPE_MESSAGE);
		assert_int_equal(v.code, 0);
		assert_true(clock_now() - begun < AMPLE / 2);
		if (i == 0)
			assert_non_null(strstr(v.text, "timed out"));
	}
}

/* What was stored cannot be read back: no dot (rule 10, DU-13). */
static void
test_body_unreadable(void **state)
{
	static const off_t lengths[] = {0, 1, 16 * KIB, 300 * KIB - 1};

	(void)state;
	for (size_t i = 0; i < COUNT(lengths); i++) {
		struct peer peer = {.steps = {SAY(DATA "|", OK OK GO)}};
		struct offers offers = {.features = HAS_PIPELINING};
		struct message *m = new_message("a@y");
		struct chat chat = new_chat(&peer);
		struct transaction t = {
			.chat = &chat, .offers = &offers, .message = m};
		char *text = xcalloc(1, 300 * KIB);
		struct verdict v;

		body_free(&m->body);
		assert_true(body_write(&m->body, memset(text, 'x', 300 * KIB),
		    300 * KIB));
		assert_int_equal(ftruncate(m->body.fd, lengths[i]), 0);
		transaction_run(&t, &v);
		assert_non_null(conn_error(chat.conn));
		conn_close(chat.conn);
		peer_stop(&peer);
		assert_null(strstr(peer.log.data, ".\r\n"));
		assert_int_equal(v.outcome, LATER);
		assert_int_equal(v.stage, STAGE_BODY);
		assert_int_equal(v.scope, SCOPE_MESSAGE);
		assert_false(v.maybe_delivered);
		free(text);
		message_free(m);
		buf_free(&peer.log);
	}
}

/* One transaction with a pipe that says when the process is to stop, and a
 * deadline from now on; 0: none. */
static void
run_in_a_hurry(struct peer *peer, int stop_fd, int64_t patience,
    struct verdict *v)
{
	struct offers offers = {.features = HAS_PIPELINING};
	struct message *m = new_message("a@y");
	struct chat chat = {.timeout = AMPLE,
		.deadline = patience ? clock_now() + patience : 0};
	struct transaction t = {
		.chat = &chat, .offers = &offers, .message = m};

	chat.conn = conn_new(peer_start(peer), stop_fd);
	transaction_run(&t, v);
	conn_close(chat.conn);
	peer_stop(peer);
	message_free(m);
}

/* Before the dot the process may stop, and a submitter may be in a hurry... */
static void
test_cut_before_dot(void **state)
{
	static const char *const texts[] = {"timed out", "is stopping"};

	(void)state;
	for (int stops = 0; stops < 2; stops++) {
		struct peer peer = {.steps = {SAY(DATA "|", OK)}};
		struct verdict v;
		int stop[2];

		assert_int_equal(pipe(stop), 0);
		peer.steps[0].wake = stops ? stop[1] : 0;
		run_in_a_hurry(&peer, stop[0], stops ? 0 : 500, &v);
		assert_string_equal(peer.log.data, MAIL RCPT_A DATA "|");
		assert_int_equal(v.outcome, LATER);
		assert_false(v.maybe_delivered);
		assert_non_null(strstr(v.text, texts[stops]));
		buf_free(&peer.log);
		close(stop[0]);
		close(stop[1]);
	}
}

/* ...behind it the answer is waited for. */
static void
test_patient_behind_dot(void **state)
{
	(void)state;
	for (int stops = 0; stops < 2; stops++) {
		struct peer peer = {.steps = {SAY(DATA "|", OK OK GO),
		    {.await = DOT, .say = OK, .rest = 700}}};
		struct verdict v;
		int stop[2];

		assert_int_equal(pipe(stop), 0);
		peer.steps[1].wake = stops ? stop[1] : 0;
		run_in_a_hurry(&peer, stop[0], stops ? 0 : 500, &v);
		assert_int_equal(v.outcome, SENT);
		assert_string_equal(peer.log.data,
		    MAIL RCPT_A DATA "|" CONTENT);
		buf_free(&peer.log);
		close(stop[0]);
		close(stop[1]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_eager),
		cmocka_unit_test(test_single_commands),
		cmocka_unit_test(test_dot),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_utf8_sender),
		cmocka_unit_test(test_success_wanted),
		cmocka_unit_test(test_success_unsaid),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_long_content),
		cmocka_unit_test(test_chunk_content),
		cmocka_unit_test(test_waiting_only),
		cmocka_unit_test(test_nobody_waits),
		cmocka_unit_test(test_many_recipients),
		cmocka_unit_test(test_body_interrupted),
		cmocka_unit_test(test_body_cannot_be_written),
		cmocka_unit_test(test_body_stalled),
		cmocka_unit_test(test_body_unreadable),
		cmocka_unit_test(test_cut_before_dot),
		cmocka_unit_test(test_patient_behind_dot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
