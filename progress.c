/* SPDX-License-Identifier: ISC */
/*
 * How far a long run has come.
 */
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "clock.h"

enum { LINE_PAUSE_MS = 10000 };

static void
show_on_terminal(const struct progress *p)
{
	/* The blanks cover a longer number that was there before. */
	fprintf(stderr, "\r%zu of %zu left      ", p->left, p->total);
}

void
progress_start(struct progress *p, size_t total, bool quiet)
{
	*p = (struct progress){.total = total, .left = total,
		.shown = clock_now(), .quiet = quiet,
		.terminal = !quiet && isatty(STDERR_FILENO) == 1};
	if (p->terminal)
		show_on_terminal(p);
}

void
progress_show(struct progress *p, size_t left)
{
	bool news = left != p->left;

	p->left = left;
	if (!news || p->quiet)
		return;
	if (p->terminal) {
		show_on_terminal(p);
	} else if (clock_now() - p->shown >= LINE_PAUSE_MS) {
		fprintf(stderr, "%zu of %zu left\n", left, p->total);
		p->shown = clock_now();
	}
}

void
progress_end(struct progress *p)
{
	if (p->terminal)
		fprintf(stderr, "\n");
}
