/* SPDX-License-Identifier: ISC */
#ifndef CHECK_REPORT_H
#define CHECK_REPORT_H

#include <stdbool.h>
#include <stdint.h>

/* How a step ended. A warning is trouble that mail gets round. */
enum check_mark { CHECK_OK, CHECK_SKIPPED, CHECK_WARNING, CHECK_FAILED };

struct check_line {
	enum check_mark mark;
	const char *step;
	int64_t ms;       /* that it took; -1: not worth telling */
	const char *text; /* lines are joined */
	const char *hint; /* or NULL, or "" */
};

/* What the check command prints: on a terminal, in colour, for people, or as
 * JSON; each line as soon as it is known. Set json and zero the rest. */
struct check_report {
	bool json;
	bool begun;
	bool colour;
	const char *upstream; /* its name, NULL before the first */
	const char *address;  /* of it, where it has a part in it; or NULL */
};

void check_report_begin(struct check_report *);
void check_report_line(struct check_report *, const struct check_line *);

/* A line that belongs to no step; not in JSON. */
void check_report_note(const struct check_report *, const char *text);
void check_report_end(struct check_report *);

#endif
