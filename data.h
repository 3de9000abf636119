/* SPDX-License-Identifier: ISC */
#ifndef DATA_H
#define DATA_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/*
 * The bytes of a message as they come in and as they go out, as pure
 * functions. What comes out of the reader is canonical: every line ends in
 * CRLF, none is longer than 998 bytes (longer ones are broken by CRLF SP, as
 * Postfix does, but for a header's, see fold.h), no other CR or LF is left. A
 * stray CR becomes a space, a bare LF ends a line.
 */
enum data_source {
	DATA_FROM_SMTP,      /* ends at CRLF.CRLF and nowhere else; a leading
	                      * dot behind a CRLF is taken off */
	DATA_FROM_STDIN,     /* LF ends a line too; ends at a line "." */
	DATA_FROM_STDIN_RAW, /* the same, and a dot is only a dot (-i) */
	DATA_FROM_CHUNKS,    /* of an SMTP client; a dot is only a dot */
};

enum data_state {
	DATA_LINE_START, /* behind a true line end, where a dot may count */
	DATA_TEXT,
	DATA_CR,
	DATA_DOT,
	DATA_DOT_CR,
	DATA_ENDED,
};

struct data_reader {
	enum data_source source;
	enum data_state state;
	size_t column;      /* bytes in the current output line */
	bool bare_newline;  /* an SMTP client sent a bare CR or LF */
	bool eight_bit;     /* a byte over 127 went through */
	bool in_header;     /* lines are not broken */
	bool stray;         /* a bare CR became a space */
	bool broken;        /* a line was broken */
	size_t added;       /* bytes that this took */
};

/* Starts at the first byte behind the 354, or of stdin. */
void data_start(struct data_reader *, enum data_source);

/* Reads len bytes of in and appends what they mean to out. Returns how many
 * it used: all of them, or fewer when the end of data came (data_ended()). */
size_t data_read(struct data_reader *, const char *in, size_t len,
    struct buf *out);
bool data_ended(const struct data_reader *);

/* The input is at its end without a dot, which only stdin may be. */
void data_finish(struct data_reader *, struct buf *out);

/* Appends what was read as a header's line, all of it or its beginning, and
 * turns out to be the body's first. */
void data_break(struct data_reader *, const char *line, size_t len,
    struct buf *out);

/* Appends canonical lines with the leading dots doubled (RFC 5321 section
 * 4.5.2). *at_line_start is kept between calls and true before the first. */
void data_stuff(bool *at_line_start, const char *in, size_t len,
    struct buf *out);

#endif
