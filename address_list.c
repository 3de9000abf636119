/* SPDX-License-Identifier: ISC */
/*
 * Addresses of the header, by the grammar of RFC 5322 section 3.4 with its
 * obsolete forms (section 4.4). One pass over tokens, without recursion and
 * without going back: the time is linear whatever the bytes are. What stands
 * between two commas is an entry, and gives one mailbox, or counts as broken,
 * or is empty. Its text without blanks and comments is gathered in a buffer;
 * when a '<' or the ':' of a group shows that it was only a name, the buffer
 * starts again.
 */
#include "address.h"

#include <string.h>

#include "buf.h"

struct scan {
	const char *s;
	size_t len;
	size_t at;
};

enum { WORD = 'w' }; /* stands for an atom, quoted string or literal */

struct entry {
	struct buf text;
	size_t start, end; /* of what was gathered */
	size_t begin;      /* of the entry */
	bool bracketed;
	enum { BARE, ANGLE, CLOSED } place; /* against the angle brackets */
	char last;      /* WORD or the special before; NUL at the start */
	bool gap;       /* blanks or a comment behind last */
	bool phrase;    /* cannot be an address: two words side by side */
	bool dot_gap;   /* a gap beside a dot */
	bool qualified; /* has an '@' */
	bool broken;
};

static bool
is_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

/* Moves behind blanks, line ends and comments, which may be nested; false if
 * a comment has no end. */
static bool
skip_gap(struct scan *in)
{
	size_t depth = 0;

	for (; in->at < in->len; in->at++) {
		char c = in->s[in->at];

		if (c == '(')
			depth++;
		else if (c == ')' && depth)
			depth--;
		else if (c == '\\' && depth && in->at + 1 < in->len)
			in->at++;
		else if (!depth && !is_one_of(c, " \t\r\n"))
			break;
	}
	return !depth;
}

/* An encoded word (RFC 2047 section 2), in which some senders leave commas
 * and brackets as they are; 0 if it is none. No byte is looked at more than
 * four times, because each try ends at the fourth question mark. */
static size_t
encoded_length(const char *s, size_t len)
{
	unsigned marks = 0;

	if (len < 2 || s[0] != '=' || s[1] != '?')
		return 0;
	for (size_t i = 1; i + 1 < len && !is_one_of(s[i], " \t\r\n"); i++) {
		if (s[i] == '?' && ++marks == 4)
			return s[i + 1] == '=' ? i + 2 : 0;
	}
	return 0;
}

/* A domain literal: a word of its own for the colons in it. 0 if it is none:
 * a '[' may also be in a display name. */
static size_t
literal_length(const char *s, size_t len)
{
	static const char other[] = " \t\r\n[()<>,;@\"\\";
	size_t i = 1;

	if (!len || s[0] != '[')
		return 0;
	while (i < len && s[i] != ']' && !is_one_of(s[i], other))
		i++;
	return i < len && s[i] == ']' ? i + 1 : 0;
}

/* Lenient: any byte that does not mean something else. */
static size_t
atom_length(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len && !is_one_of(s[i], " \t\r\n(<>,;:@.\""))
		i++;
	return i;
}

/* The line end of a folding (RFC 5322 section 2.2.3), not the blank behind
 * it, which is part of the text. */
static size_t
fold_length(const char *s, size_t len)
{
	size_t n = len && s[0] == '\r' ? 1 : 0;

	if (n + 1 < len && s[n] == '\n' && is_one_of(s[n + 1], " \t"))
		return n + 1;
	return 0;
}

/* Gathers a quoted string, unfolded. One without an end is none to
 * address_check(). */
static void
take_quoted(struct scan *in, struct buf *text)
{
	buf_addc(text, in->s[in->at++]);
	while (in->at < in->len) {
		const char *s = in->s + in->at;
		size_t left = in->len - in->at;
		size_t fold = fold_length(s, left);
		size_t n = fold ? fold : *s == '\\' && left > 1 ? 2 : 1;

		if (!fold)
			buf_add(text, s, n);
		in->at += n;
		if (*s == '"')
			return;
	}
}

/* What the token before, the gap and this token say about the entry. */
static void
note_token(struct entry *e, char token)
{
	if (e->place == CLOSED)
		e->broken = true;
	if (token == WORD && e->last == ',')
		e->broken = true; /* in a route only '@' goes on */
	if (e->gap && token == WORD && e->last == WORD)
		e->phrase = true;
	if (e->gap && e->last && (token == '.' || e->last == '.'))
		e->dot_gap = true;
	e->gap = false;
	e->last = token;
}

/* The text goes on with what stands from start to end. */
static void
note_span(struct entry *e, size_t start, size_t end)
{
	if (!e->end)
		e->start = start;
	e->end = end;
}

static void
take_word(struct scan *in, struct entry *e)
{
	const char *s = in->s + in->at;
	size_t left = in->len - in->at, len, start = in->at;

	note_token(e, WORD);
	if (*s == '"') {
		take_quoted(in, &e->text);
		note_span(e, start, in->at);
		return;
	}
	len = encoded_length(s, left);
	if (len)
		e->phrase = true; /* RFC 2047 section 5: never an address */
	else
		len = literal_length(s, left);
	if (!len)
		len = atom_length(s, left);
	buf_add(&e->text, s, len);
	in->at += len;
	note_span(e, start, in->at);
}

/* What was gathered is a display name, a group name or a route. */
static void
drop_text(struct entry *e)
{
	buf_clear(&e->text);
	e->last = '\0';
	e->end = 0;
	e->phrase = e->dot_gap = e->qualified = false;
}

static bool
in_route(const struct entry *e)
{
	return e->place == ANGLE && buf_text(&e->text)[0] == '@';
}

/* c stands before at. */
static void
take_special(struct entry *e, char c, size_t at)
{
	note_token(e, c);
	if (c == '<') {
		e->broken |= e->place != BARE;
		e->place = ANGLE;
		e->bracketed = true;
		drop_text(e);
	} else if (c == '>') {
		e->broken |= e->place != ANGLE;
		e->place = CLOSED;
	} else if (c == ':') {
		e->broken |= e->place != BARE && !in_route(e);
		if (e->place == BARE) /* a group's name is no part of it */
			e->begin = at;
		drop_text(e);
	} else {
		e->qualified |= c == '@';
		buf_addc(&e->text, c);
		note_span(e, at - 1, at);
	}
}

/* A comma in a route is not the end; a semicolon is one even outside of a
 * group, as some programs put it between addresses. */
static bool
ends_entry(const struct entry *e, char c)
{
	return c == ';' || (c == ',' && (e->broken || !in_route(e)));
}

/* "jdoe@test . example" is an address with blanks in it (RFC 5322 appendix
 * A.6.3), but "Dr. Smith" is a name without an address, and so is the piece
 * of an encoded word that a comma has cut. */
static bool
is_mailbox(const struct entry *e)
{
	const char *text = buf_text(&e->text);

	if (e->broken || e->place == ANGLE || e->phrase)
		return false;
	if (!e->qualified && (e->dot_gap || !strncmp(text, "=?", 2)))
		return false;
	return address_is_good(address_check(text, e->text.len));
}

/* The count of broken entries in this one, which ends at stop. */
static size_t
end_entry(struct entry *e, size_t stop, mailbox_found *found, void *context)
{
	bool good = is_mailbox(e);
	bool empty = e->place == BARE && !e->text.len && !e->broken;
	const struct mailbox mailbox = {buf_text(&e->text), e->text.len,
		e->start, e->end, e->bracketed, e->begin, stop};

	if (good)
		found(context, &mailbox);
	drop_text(e);
	e->place = BARE;
	e->broken = e->bracketed = false;
	e->begin = stop + 1;
	return good || empty ? 0 : 1;
}

size_t
mailbox_list(const char *value, size_t len, mailbox_found *found,
    void *context)
{
	struct scan in = {value, len, 0};
	struct entry e = {0};
	size_t broken = 0;

	while (in.at < in.len) {
		size_t start = in.at;
		char c;

		e.broken |= !skip_gap(&in);
		e.gap |= in.at > start;
		if (in.at == in.len)
			break;
		c = in.s[in.at];
		if (!is_one_of(c, "<>,;:@.")) {
			take_word(&in, &e);
			continue;
		}
		in.at++;
		if (ends_entry(&e, c))
			broken += end_entry(&e, in.at - 1, found, context);
		else
			take_special(&e, c, in.at);
	}
	broken += end_entry(&e, in.len, found, context);
	buf_free(&e.text);
	return broken;
}

struct adapter {
	address_found *found;
	void *context;
};

static void
pass_text(void *context, const struct mailbox *m)
{
	const struct adapter *a = context;

	a->found(a->context, m->text, m->len);
}

size_t
address_list(const char *value, size_t len, address_found *found, void *context)
{
	struct adapter a = {found, context};

	return mailbox_list(value, len, pass_text, &a);
}
