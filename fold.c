/* SPDX-License-Identifier: ISC */
/*
 * Header lines that are too long for a relay. Folding puts CRLF in front of
 * white space that is there already, so that whoever unfolds has the same bytes
 * again; only where there is none does a blank come with it.
 */
#include "fold.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "buf.h"
#include "header.h"

enum { LONGEST = 998 };

/* Where in a field we are: what a blank or a comma means depends on it. */
struct where {
	bool quoted;
	bool escaped; /* behind a backslash, in quotes */
	bool angle;   /* between < and > */
};

/* A place to fold at: how many bytes stay in the line; 0: there is none. */
struct place {
	size_t at;
	struct where where;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void
step(struct where *w, char c)
{
	bool was_escaped = w->escaped;

	w->escaped = w->quoted && c == '\\' && !was_escaped;
	if (c == '"' && !was_escaped)
		w->quoted = !w->quoted;
	else if (!w->quoted && (c == '<' || c == '>'))
		w->angle = c == '<';
}

/* A line of a field, without its line end. */
struct line {
	const char *text;
	size_t len;
	size_t label; /* bytes of the name and its colon, if they are here */
	bool json;    /* the field's value is */
};

/* Without the blanks at its end. */
static size_t
trimmed_length(const struct line *l)
{
	size_t len = l->len;

	while (len && is_blank(l->text[len - 1]))
		len--;
	return len;
}

/* The best place in a line that is too long: the last one of the best kind that
 * there is. Never one that leaves only blanks on either side; behind the label
 * only for want of others. */
static struct place
find_place(const struct line *l, size_t max, struct where w)
{
	struct place outside = {0}, comma = {0}, inside = {0}, cut = {0};
	size_t len = trimmed_length(l);
	bool seen = false; /* something of the value that is not blank */

	for (size_t i = 0; i <= max && i < len && len > max; i++) {
		char c = l->text[i];

		if (is_blank(c) && seen && !w.quoted)
			outside = (struct place){i, w};
		else if (is_blank(c) && (seen || (l->label && i >= l->label)))
			inside = (struct place){i, w};
		else if (seen && l->text[i - 1] == ',' && !w.quoted && !w.angle)
			comma = (struct place){i, w};
		cut = (struct place){i, w};
		seen = seen || (i >= l->label && !is_blank(c));
		step(&w, c);
	}
	if (outside.at)
		return outside;
	if (comma.at)
		return comma;
	return inside.at || l->json ? inside : cut;
}

/* Appends it, folded; what became of it. */
static unsigned
fold_line(struct buf *out, struct line l, struct where *w)
{
	size_t max = LONGEST; /* less by a blank that was put in */
	unsigned done = 0;

	while (l.len > max) {
		struct place p = find_place(&l, max, *w);

		if (!p.at) {
			size_t len = trimmed_length(&l);

			done |= len > max ? FOLD_LEFT : FOLD_TRIMMED;
			if (len <= max) /* one makes it go on, if that is all */
				l.len = len ? len : 1;
			break;
		}
		max = is_blank(l.text[p.at]) ? LONGEST : LONGEST - 1;
		done |= max == LONGEST ? FOLD_CLEAN : FOLD_SPACE;
		buf_add(out, l.text, p.at);
		buf_adds(out, max == LONGEST ? "\r\n" : "\r\n ");
		l.text += p.at;
		l.len -= p.at;
		l.label = 0;
		*w = p.where;
	}
	buf_add(out, l.text, l.len);
	for (size_t i = 0; i < l.len; i++)
		step(w, l.text[i]);
	return done;
}

static size_t
line_length(const char *s, size_t len)
{
	const char *end = memchr(s, '\n', len);

	return end ? (size_t)(end - s) + 1 : len;
}

static bool
has_long_line(const char *s, size_t len)
{
	size_t line;

	for (; len; s += line, len -= line) {
		line = line_length(s, len);
		if (line > LONGEST + 2)
			return true;
	}
	return false;
}

/* Whether a provider reads it, and white space could change what it says. */
static bool
is_json(const struct field *f)
{
	size_t i = 0;

	while (i < f->value_len && strchr(" \t\r\n", f->value[i]))
		i++;
	return i < f->value_len && strchr("{[", f->value[i]);
}

static unsigned
fold_field(struct buf *out, const struct field *f)
{
	struct where w = {0};
	unsigned done = 0;
	size_t line;

	for (size_t at = 0; at < f->len; at += line) {
		struct line l = {.text = f->start + at, .json = is_json(f),
			.label = at ? 0 : (size_t)(f->value - f->start)};

		line = line_length(l.text, f->len - at);
		l.len = line > 1 ? line - 2 : 0;
		done |= fold_line(out, l, &w);
		buf_adds(out, "\r\n");
	}
	return done;
}

unsigned
fold_header(struct buf *header)
{
	struct buf out = {0};
	struct field field;
	unsigned done = 0;
	size_t at = 0;

	if (!has_long_line(buf_text(header), header->len))
		return 0;
	while (header_next(header->data, header->len, &at, &field))
		done |= fold_field(&out, &field);
	buf_free(header);
	*header = out;
	return done;
}
