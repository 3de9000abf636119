/* SPDX-License-Identifier: ISC */
/*
 * Commands out, answers in. Whatever the relay says is data: bounded, made
 * printable, and believed only when it is complete.
 */
#include "chat.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "conn.h"

enum {
	ANSWER_MAX = 64 * 1024, /* bytes of one answer, all lines */
	SHOWN_MAX = 100,        /* bytes of a malformed line in an error */
	TEXT_MAX = 400,         /* bytes of a reply that we repeat */
};

static void
trace(const struct chat *chat, const char *arrow, const char *text)
{
	struct buf shown = {0};

	if (!chat->trace)
		return;
	buf_add_printable(&shown, text, strlen(text), TEXT_MAX);
	fprintf(stderr, "%s %s\n", arrow, buf_text(&shown));
	buf_free(&shown);
}

static void
trace_reply(const struct chat *chat, const char *line)
{
	char code[] = "000 (not shown)";

	memcpy(code, line, 3);
	trace(chat, "<<<", chat->discreet ? code : line);
}

void
chat_secret(struct chat *chat, const char *line, const char *shown)
{
	trace(chat, ">>>", shown);
	conn_write(chat->conn, line, strlen(line));
	conn_write(chat->conn, "\r\n", 2);
}

void
chat_command(struct chat *chat, const char *format, ...)
{
	char *line = NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&line, format, args);
	va_end(args);
	if (len < 0)
		conn_fail(chat->conn, "out of memory");
	else
		chat_secret(chat, line, line);
	free(line);
}

/* RFC 5321 section 4.2: three digits, then the end, a blank or a hyphen. */
static bool
is_reply_line(const struct buf *line)
{
	const char *s = line->data;

	if (line->len < 3 || s[0] < '2' || s[0] > '5')
		return false;
	if (!isdigit((unsigned char)s[1]) || !isdigit((unsigned char)s[2]))
		return false;
	return line->len == 3 || s[3] == ' ' || s[3] == '-';
}

static void
fail_malformed(struct chat *chat, const char *what, const struct buf *line)
{
	struct buf shown = {0};

	buf_add_printable(&shown, buf_text(line), line->len, SHOWN_MAX);
	if (chat->discreet)
		conn_fail(chat->conn, "out of step: %s (not shown)", what);
	else
		conn_fail(chat->conn, "out of step: %s \"%s\"", what,
		    buf_text(&shown));
	buf_free(&shown);
}

/* What a line is to the answer it belongs to. */
enum line_kind { LINE_MORE, LINE_LAST, LINE_MALFORMED };

/* Adds one line to the answer. */
static enum line_kind
add_line(struct chat *chat, struct answer *a, const struct buf *line)
{
	int code;

	if (!is_reply_line(line)) {
		fail_malformed(chat, "malformed reply", line);
		return LINE_MALFORMED;
	}
	code = atoi(line->data);
	if (a->code && a->code != code) {
		fail_malformed(chat, "two codes in one reply", line);
		return LINE_MALFORMED;
	}
	if (a->code)
		buf_addc(&a->text, '\n');
	a->code = code;
	if (line->len > 4)
		buf_add_printable(&a->text, line->data + 4, line->len - 4,
		    ANSWER_MAX);
	trace_reply(chat, line->data);
	return line->len == 3 || line->data[3] == ' ' ? LINE_LAST : LINE_MORE;
}

bool
chat_answer(struct chat *chat, struct answer *a)
{
	enum line_kind kind = LINE_MORE;
	struct buf line = {0};
	size_t total = 0;

	a->code = 0;
	buf_clear(&a->text);
	conn_set_deadline(chat->conn, clock_earlier(chat->deadline,
	    clock_now() + chat->timeout));
	/* Not conn_error() ends it: after a write that failed, the answer that
	 * came before is still to be heard. */
	while (kind == LINE_MORE && total < ANSWER_MAX) {
		if (conn_line(chat->conn, &line, ANSWER_MAX - total) != LINE_OK)
			break;
		total += line.len + 2;
		kind = add_line(chat, a, &line);
	}
	if (kind != LINE_LAST)
		conn_fail(chat->conn, "out of step: reply over 64 KiB");
	buf_free(&line);
	return kind == LINE_LAST;
}

bool
chat_in_step(struct chat *chat)
{
	if (!conn_input_waits(chat->conn))
		return !conn_error(chat->conn);
	conn_fail(chat->conn,
	    "out of step: the relay says more than it was asked");
	return false;
}

void
chat_passed(const struct chat *chat, enum stage stage, const char *text)
{
	if (chat->observer)
		chat->observer->passed(chat->observer, stage, text);
}

bool
chat_fits(enum stage stage, int code)
{
	/* A greeting, a goodbye and a login's yes are for other commands. */
	if (code == 220 || code == 221 || code == 235)
		return false;
	return code >= 400 || code / 100 == (stage == STAGE_DATA ? 3 : 2);
}

bool
chat_judge(struct verdict *v, enum stage stage, const struct answer *a)
{
	snprintf(v->text, sizeof(v->text), "%.*s", TEXT_MAX,
	    buf_text(&a->text));
	for (char *c = v->text; *c; c++)
		if (*c == '\n')
			*c = ' ';
	reply_judge(v, stage, a->code, v->text);
	if (v->outcome != SENT && !v->text[strspn(v->text, " ")])
		strcpy(v->text, "(the relay gives no reason)");
	return v->outcome == SENT;
}

void
chat_lost(const struct chat *chat, enum stage stage, struct verdict *v)
{
	const char *why = conn_error(chat->conn);

	verdict_set(v, LATER,
	    stage < STAGE_MAIL ? SCOPE_UPSTREAM : SCOPE_MESSAGE, stage,
	    "%s: %s", stage_name(stage), why ? why : "unknown trouble");
	if (conn_stopped(chat->conn)) {
		v->scope = SCOPE_MESSAGE;
		v->cut_short = true;
	}
}

bool
chat_exchange(struct chat *chat, enum stage stage, struct answer *a,
    struct verdict *v, const char *command)
{
	if (chat_in_step(chat)) {
		chat_secret(chat, command, command);
		if (chat_answer(chat, a))
			return chat_judge(v, stage, a);
	}
	chat_lost(chat, stage, v);
	return false;
}
