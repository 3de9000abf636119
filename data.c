/* SPDX-License-Identifier: ISC */
/*
 * The end of data, dots and line ends. Nothing else decides where a message
 * ends: SMTP smuggling is a disagreement about exactly this, so there is one
 * successful end (CRLF.CRLF) and everything that resembles it is content.
 */
#include "data.h"

#include <string.h>

#include "buf.h"

enum { LINE_LIMIT = 998 }; /* RFC 5321 section 4.5.3.1.6, without CRLF */

void
data_start(struct data_reader *r, enum data_source source)
{
	*r = (struct data_reader){.source = source, .state = DATA_LINE_START};
}

bool
data_ended(const struct data_reader *r)
{
	return r->state == DATA_ENDED;
}

static void
put(struct data_reader *r, const char *text, size_t len, struct buf *out)
{
	while (r->column + len > LINE_LIMIT && !r->in_header) {
		size_t fits = LINE_LIMIT - r->column;

		buf_add(out, text, fits);
		buf_adds(out, "\r\n ");
		r->broken = true;
		r->added += 3;
		r->column = 1;
		text += fits;
		len -= fits;
	}
	buf_add(out, text, len);
	r->column += len;
}

static void
put_line_end(struct data_reader *r, struct buf *out)
{
	buf_adds(out, "\r\n");
	r->column = 0;
}

static bool
is_from_client(const struct data_reader *r)
{
	return r->source == DATA_FROM_SMTP || r->source == DATA_FROM_CHUNKS;
}

/* A LF without a CR before it. Only on stdin is it a line end behind which a
 * dot may count. */
static void
take_bare_newline(struct data_reader *r, struct buf *out)
{
	put_line_end(r, out);
	r->bare_newline |= is_from_client(r);
	r->state = r->source == DATA_FROM_SMTP ? DATA_TEXT : DATA_LINE_START;
}

static void
take_stray_cr(struct data_reader *r, struct buf *out)
{
	r->bare_newline |= is_from_client(r);
	r->stray = true;
	put(r, " ", 1, out);
}

/* Behind CR: the byte is the second half of a line end, or the CR was none.
 * False if the byte still has to be read. */
static bool
take_behind_cr(struct data_reader *r, char c, struct buf *out)
{
	if (c == '\n') {
		put_line_end(r, out);
		r->state = DATA_LINE_START;
		return true;
	}
	take_stray_cr(r, out);
	r->state = c == '\r' ? DATA_CR : DATA_TEXT;
	return c == '\r';
}

/* Behind a dot at the start of a line. */
static bool
take_behind_dot(struct data_reader *r, char c, struct buf *out)
{
	bool ends = c == '\n' && r->source != DATA_FROM_SMTP;

	if (ends || c == '\r') {
		r->state = ends ? DATA_ENDED : DATA_DOT_CR;
		return true;
	}
	if (c == '\n' || r->source != DATA_FROM_SMTP)
		put(r, ".", 1, out);
	r->state = DATA_TEXT;
	return false;
}

static bool
take_behind_dot_cr(struct data_reader *r, char c, struct buf *out)
{
	if (c == '\n') {
		r->state = DATA_ENDED;
		return true;
	}
	put(r, ".", 1, out);
	return take_behind_cr(r, c, out);
}

static bool
take(struct data_reader *r, char c, struct buf *out)
{
	switch (r->state) {
	case DATA_CR:
		return take_behind_cr(r, c, out);
	case DATA_DOT:
		return take_behind_dot(r, c, out);
	case DATA_DOT_CR:
		return take_behind_dot_cr(r, c, out);
	default:
		break;
	}
	if (c == '\r')
		r->state = DATA_CR;
	else if (c == '\n')
		take_bare_newline(r, out);
	else
		r->state = DATA_DOT; /* the only other byte that comes here */
	return true;
}

/* How many bytes of in are plain text from here on. */
static size_t
plain_run(struct data_reader *r, const char *in, size_t len)
{
	unsigned char seen = 0;
	size_t run = 0;

	if (r->state != DATA_TEXT && r->state != DATA_LINE_START)
		return 0;
	if (r->state == DATA_LINE_START && in[0] == '.' &&
	    r->source < DATA_FROM_STDIN_RAW)
		return 0;
	while (run < len && in[run] != '\r' && in[run] != '\n')
		seen |= (unsigned char)in[run++];
	r->eight_bit |= seen > 127;
	return run;
}

size_t
data_read(struct data_reader *r, const char *in, size_t len, struct buf *out)
{
	size_t used = 0;

	buf_reserve(out, len);
	while (used < len && r->state != DATA_ENDED) {
		size_t run = plain_run(r, in + used, len - used);

		if (run) {
			put(r, in + used, run, out);
			r->state = DATA_TEXT;
			used += run;
		} else if (take(r, in[used], out)) {
			used++;
		}
	}
	return used;
}

void
data_finish(struct data_reader *r, struct buf *out)
{
	if (r->state == DATA_CR && is_from_client(r))
		r->bare_newline = true;
	if (r->column || r->state == DATA_CR)
		put_line_end(r, out);
	r->state = DATA_ENDED;
}

void
data_break(struct data_reader *r, const char *line, size_t len,
    struct buf *out)
{
	bool whole = len > 1 && line[len - 1] == '\n';

	r->in_header = false;
	r->column = 0;
	put(r, line, whole ? len - 2 : len, out);
	if (whole)
		put_line_end(r, out);
}

void
data_stuff(bool *at_line_start, const char *in, size_t len, struct buf *out)
{
	buf_reserve(out, len);
	while (len) {
		const char *end = memchr(in, '\n', len);
		size_t line = end ? (size_t)(end - in) + 1 : len;

		if (*at_line_start && in[0] == '.')
			buf_addc(out, '.');
		buf_add(out, in, line);
		*at_line_start = end != NULL;
		in += line;
		len -= line;
	}
}
