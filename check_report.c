/* SPDX-License-Identifier: ISC */
/*
 * What the check command prints.
 */
#include "check_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "json.h"

static const struct {
	const char *word;
	const char *colour; /* of a terminal (ECMA-48 section 8.3.117) */
	const char *json;
} marks[] = {
	{"ok  ", "32", "true"},
	{"skip", "2", "null"},
	{"warn", "33", "false"},
	{"FAIL", "1;31", "false"},
};

/* As no-color.org has it, and for terminals that know no colour. */
static bool
wants_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && *no) && term && *term &&
	    strcmp(term, "dumb") != 0;
}

void
check_report_begin(struct check_report *r)
{
	r->colour = !r->json && wants_colour();
	if (r->json)
		fputs("[", stdout);
}

static void
add_member(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "%s\"%s\": ", out->len > 1 ? ", " : "", name);
	json_add_string(out, value && *value ? value : NULL);
}

static void
print_json(struct check_report *r, const struct check_line *line)
{
	struct buf out = {0};

	buf_addc(&out, '{');
	add_member(&out, "upstream", r->upstream);
	add_member(&out, "address", r->address);
	add_member(&out, "step", line->step);
	buf_addf(&out, ", \"ok\": %s, \"ms\": ", marks[line->mark].json);
	if (line->ms < 0)
		buf_adds(&out, "null");
	else
		buf_addf(&out, "%lld", (long long)line->ms);
	add_member(&out, "text", line->text);
	add_member(&out, "hint", line->hint);
	printf("%s\n%s}", r->begun ? "," : "", buf_text(&out));
	buf_free(&out);
}

static void
print_text(const struct check_report *r, const struct check_line *line)
{
	const char *word = marks[line->mark].word;

	if (r->colour)
		printf("\033[%sm%s\033[0m", marks[line->mark].colour, word);
	else
		fputs(word, stdout);
	printf("  %-8s ", line->step);
	if (line->ms < 0)
		printf("%9s", "");
	else
		printf("%6lld ms", (long long)line->ms);
	fputs(*line->text ? "  " : "", stdout);
	for (const char *c = line->text; *c; c++)
		putchar(*c == '\n' ? ' ' : *c);
	printf("\n");
	if (line->hint && *line->hint)
		printf("      -> %s\n", line->hint);
}

void
check_report_line(struct check_report *r, const struct check_line *line)
{
	if (r->json)
		print_json(r, line);
	else
		print_text(r, line);
	r->begun = true;
	fflush(stdout); /* the next one may take its time */
}

void
check_report_note(const struct check_report *r, const char *text)
{
	if (!r->json)
		printf("%s\n", text);
}

void
check_report_end(struct check_report *r)
{
	if (r->json)
		fputs("\n]\n", stdout);
}
