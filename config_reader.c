/* SPDX-License-Identifier: ISC */
/*
 * The configuration file as keys and values. inih splits the lines; a reader
 * in front of it refuses whatever inih would change without a word (it cuts
 * long lines in two, ends a value at a blank and a semicolon, joins an
 * indented line to the key before it), so that a value is taken whole or not
 * at all. This is the only file that includes inih.
 */
#include "config_draft.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

enum { SECTION_NAME_MAX = 49 }; /* inih keeps no more */

/* Where the reading is. */
struct reader {
	struct draft *draft;
	const char *next, *end; /* what is still to be read */
	const char *line;       /* the one in inih's hands, */
	size_t len;             /* without its end */
	unsigned number;
	struct block *block;    /* NULL: before the first section, or in one */
	bool skipping;          /* that was complained about as a whole */
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Takes the next line, without LF or CRLF; false at the end. */
static bool
next_line(struct reader *r)
{
	const char *end;

	if (r->next == r->end)
		return false;
	end = memchr(r->next, '\n', (size_t)(r->end - r->next));
	r->line = r->next;
	r->len = (size_t)((end ? end : r->end) - r->line);
	r->next = end ? end + 1 : r->end;
	r->number++;
	if (r->len && r->line[r->len - 1] == '\r')
		r->len--;
	return true;
}

static bool
has_control(const char *s, size_t len)
{
	for (; len; s++, len--)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
			return true;
	return false;
}

/* Where inih would see a comment begin. */
static bool
has_inline_comment(const char *s, size_t len)
{
	for (size_t i = 1; i < len; i++)
		if (s[i] == ';' && is_blank(s[i - 1]))
			return true;
	return false;
}

/* The text before the '=', if it is a key of the section; for a sentence. A
 * line that is out of shape may be anything, a piece of a secret too. */
static const struct key *
known_key(const struct reader *r)
{
	const struct key *key = r->block ? r->block->section->keys : NULL;
	size_t len = 0;

	while (len < r->len && !is_blank(r->line[len]) &&
	    !strchr("=:", r->line[len]))
		len++;
	for (; key && key->name; key++)
		if (strlen(key->name) == len &&
		    !memcmp(key->name, r->line, len))
			return key;
	return NULL;
}

static struct place
place_of(const struct reader *r)
{
	const struct key *key = known_key(r);

	return (struct place){r->block, key ? key->name : NULL, NULL,
	    r->number};
}

static bool
is_empty(const char *s, size_t len)
{
	while (len && is_blank(*s)) {
		s++;
		len--;
	}
	return !len || *s == '#' || *s == ';';
}

/* What is wrong with the shape of a line, or NULL. */
static const char *
line_fault(const char *s, size_t len)
{
	const char *equals = memchr(s, '=', len);
	const char *colon = memchr(s, ':', len);

	if (has_control(s, len))
		return "holds a NUL or another control character";
	if (is_empty(s, len))
		return NULL;
	if (is_blank(*s))
		return "is indented; a value goes on one line";
	if (has_inline_comment(s, len))
		return "a comment needs a line of its own; a password that "
		       "holds a blank and a semicolon goes into a "
		       "password_file";
	if (*s == '[')
		return NULL;
	if (!equals || equals == s || (colon && colon < equals))
		return "is not a section, a comment, or key = value";
	return NULL;
}

/* The length of s when it ends before the blanks at its end. */
static size_t
without_blanks(const char *s, size_t len)
{
	while (len && is_blank(s[len - 1]))
		len--;
	return len;
}

/* What is between the brackets of a line that holds nothing else; or NULL.
 * The caller frees it. */
static char *
section_text(const struct reader *r)
{
	const char *s = r->line + 1;
	size_t len = without_blanks(s, r->len - 1);

	if (!len || s[len - 1] != ']' || memchr(s, ']', len - 1) ||
	    len - 1 > SECTION_NAME_MAX || is_blank(*s))
		return NULL;
	return xstrndup(s, without_blanks(s, len - 1));
}

/* Enters "smarthost" or "upstream name"; text is changed. */
static void
enter_section(struct reader *r, char *text)
{
	struct place place = {.where = r->number};
	char *name = text, *word = strsep(&name, " \t");
	const struct section *section = section_find(word);
	struct block *block = NULL;

	if (!section)
		draft_complain(r->draft, &place, "[%s] is no section; the "
		    "nearest one is [%s]", word, section_nearest(word));
	else if (!section->keys)
		draft_complain(r->draft, &place, "[%s] is not supported by "
		    "this version", word);
	else
		block = draft_block(r->draft, section,
		    name ? name + strspn(name, " \t") : NULL, &place);
	if (block && block->header) {
		draft_complain(r->draft, &place, "[%s] was there before, in "
		    "line %u; write its keys there", word, block->header);
	} else if (block) {
		block->header = r->number;
		r->block = block;
		r->skipping = false;
	}
}

static bool
start_section(struct reader *r)
{
	struct place place = {.where = r->number};
	char *text = section_text(r);

	r->block = NULL;
	r->skipping = true;
	if (text)
		enter_section(r, text);
	else
		draft_complain(r->draft, &place, "a section is [name], at "
		    "most %d bytes, and nothing behind it", SECTION_NAME_MAX);
	free(text);
	return r->block;
}

/* Whether inih gets the line; it must not see one longer than most. */
static bool
accept_line(struct reader *r, size_t most)
{
	struct place place = place_of(r);
	const char *fault = line_fault(r->line, r->len);

	if (fault) {
		draft_complain(r->draft, &place, "%s", fault);
		return false;
	}
	if (is_empty(r->line, r->len))
		return false;
	if (r->len > most) {
		draft_complain(r->draft, &place, "longer than %zu bytes; a "
		    "long secret goes into a password_file", most);
		return false;
	}
	return *r->line != '[' || start_section(r);
}

/* As fgets(3), for inih. */
static char *
read_line(char *out, int size, void *context)
{
	struct reader *r = context;

	if (!next_line(r)) {
		/* It is inih's own buffer, and has held the secrets. */
		explicit_bzero(out, (size_t)size);
		return NULL;
	}
	if (!accept_line(r, (size_t)size - 2))
		r->len = 0;
	memcpy(out, r->line, r->len);
	memcpy(out + r->len, "\n", 2);
	return out;
}

/* Whether a secret is all that stands behind the '=' and one blank: inih
 * takes away what is around it. */
static bool
is_whole(const struct reader *r, const char *value)
{
	const char *end = r->line + r->len;
	const char *s = memchr(r->line, '=', r->len);
	size_t len = strlen(value);

	if (!s)
		return false;
	s++;
	if (s < end && is_blank(*s))
		s++;
	return (size_t)(end - s) == len && !memcmp(s, value, len);
}

static int
take_pair(void *context, const char *section, const char *name,
    const char *value)
{
	struct reader *r = context;
	const struct key *key = known_key(r);
	struct place place = place_of(r);

	(void)section; /* start_section() knows it better */
	if (r->skipping)
		return true;
	if (!r->block) {
		draft_complain(r->draft, &place, "a key before the first "
		    "[section]");
		r->skipping = true;
	} else if (key && key_is_secret(key) && !is_whole(r, value)) {
		draft_complain(r->draft, &place, "begins or ends with a "
		    "blank, which would be lost: use password_file");
	} else {
		draft_set(r->draft, r->block, name, value, r->number);
	}
	return true;
}

void
config_read_text(struct draft *draft, const char *text, size_t len)
{
	struct reader r = {.draft = draft, .next = text};
	struct place place = {0};
	int line;

	if (!text)
		r.next = "";
	r.end = r.next + len;
	if (len >= 3 && !memcmp(r.next, "\xef\xbb\xbf", 3))
		r.next += 3;
	line = ini_parse_stream(read_line, &r, take_pair, &r);
	place.where = line > 0 ? (unsigned)line : 0;
	if (line)
		draft_complain(draft, &place, "cannot be read");
}
