/* SPDX-License-Identifier: ISC */
#ifndef FOLD_H
#define FOLD_H

struct buf;

/* What became of the long lines of a header, as bits. */
enum {
	FOLD_CLEAN = 1,   /* folded at white space: unfolded, it is as before */
	FOLD_SPACE = 2,   /* a blank was put in, behind a comma or in a word */
	FOLD_LEFT = 4,    /* JSON in one piece: as it was */
	FOLD_TRIMMED = 8, /* without the blanks at its end */
};

/* Folds lines of more than 998 bytes (RFC 5322 section 2.1.1): at white space,
 * outside of quotes if there is some; else behind a comma outside of quotes and
 * angle brackets; else at byte 998, but never inside the JSON with which some
 * providers are told what to do. Blanks at the end of a line are left out where
 * they do not fit. Lines that are short enough are not touched, and a header
 * that has been folded is not changed again. */
unsigned fold_header(struct buf *header);

#endif
