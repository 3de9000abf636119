/* SPDX-License-Identifier: ISC */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How far a long run has come, on stderr: one line that is written over on a
 * terminal, a line every ten seconds elsewhere. */
struct progress {
	size_t total;
	size_t left;
	int64_t shown; /* when the last line was */
	bool terminal;
	bool quiet;
};

/* quiet: nothing is shown. */
void progress_start(struct progress *, size_t total, bool quiet);
void progress_show(struct progress *, size_t left);
void progress_end(struct progress *);

#endif
