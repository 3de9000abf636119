/* SPDX-License-Identifier: ISC */
/*
 * smarthost health --relay: whether the daemon's queue is as it should be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue_work.h"

/* What STATUS has said. */
struct signs {
	struct buf line; /* not yet complete */
	struct buf why;
};

static void
complain(struct signs *s, const char *text)
{
	buf_addf(&s->why, "%s%s", s->why.len ? "\n" : "", text);
}

static void
judge(struct signs *s, const char *line)
{
	const char *state = strstr(line, ": ");

	if (strncmp(line, "held ", 5) == 0 && atol(line + 5) > 0)
		complain(s, "mail is held until somebody changes something; "
		    "smarthost queue says what");
	else if (strncmp(line, "failed ", 7) == 0 && atol(line + 7) > 0)
		complain(s, "failed messages are kept; smarthost queue list "
		    "--failed shows them");
	else if (strncmp(line, "upstream ", 9) == 0 && state &&
	    strcmp(state, ": up") != 0)
		complain(s, line);
}

static bool
note(void *context, const char *text, size_t len)
{
	struct signs *s = context;

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\n') {
			buf_addc(&s->line, text[i]);
			continue;
		}
		judge(s, buf_text(&s->line));
		buf_clear(&s->line);
	}
	return true;
}

bool
queue_command_health(const struct queue_place *place, struct buf *why)
{
	struct signs s = {0};
	struct queue_work w;
	enum inquiry_result result;

	work_begin(&w, place);
	result = inquiry_ask(&w.inquiry, "STATUS", note, &s);
	if (result == INQUIRY_NOBODY)
		result = inquiry_ask_publicly(&w.inquiry, "STATUS", note, &s);
	if (result != INQUIRY_OK)
		complain(&s, buf_text(&w.inquiry.reply));
	buf_adds(why, buf_text(&s.why));
	work_end(&w);
	buf_free(&s.line);
	buf_free(&s.why);
	return !why->len;
}
