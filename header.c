/* SPDX-License-Identifier: ISC */
/*
 * The fields of a message header, found and removed where they lie. A field
 * is a name, a colon, and everything up to the first line end that no blank
 * follows. Lines should end with CRLF; a bare LF ends one too, and any byte
 * up to ' ' may stand between name and colon, so that nothing a reader could
 * still take for a Bcc escapes its removal.
 */
#include "header.h"

#include <string.h>
#include <strings.h>

#include "buf.h"

enum { LABEL_MAX = 998 }; /* RFC 5322 section 2.1.1 */

/* The bytes of the field name at the start of s (RFC 5322 section 3.6.8). */
static size_t
name_length(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len && s[i] > ' ' && s[i] <= '~' && s[i] != ':')
		i++;
	return i;
}

/* The bytes of name, what stands behind it, and colon; 0 if that is not how
 * s begins. One that is longer than a line may be is none: it could not be
 * told from text before all of it is here, nor be folded. */
static size_t
label_length(const char *s, size_t len)
{
	size_t most = len < LABEL_MAX ? len : LABEL_MAX;
	size_t name = name_length(s, most), i = name;

	while (i < most && (unsigned char)s[i] <= ' ')
		i++;
	return name && i < most && s[i] == ':' ? i + 1 : 0;
}

static size_t
line_length(const char *s, size_t len)
{
	const char *end = len ? memchr(s, '\n', len) : NULL;

	return end ? (size_t)(end - s) + 1 : len;
}

static size_t
folded_length(const char *s, size_t len)
{
	size_t at = line_length(s, len);

	while (at < len && (s[at] == ' ' || s[at] == '\t'))
		at += line_length(s + at, len - at);
	return at;
}

bool
header_next(const char *header, size_t len, size_t *at, struct field *field)
{
	while (*at < len) {
		const char *start = header + *at;
		size_t n = folded_length(start, len - *at);
		size_t label = label_length(start, n);

		*at += n;
		if (!label)
			continue;
		*field = (struct field){start, n, start + label, n - label};
		return true;
	}
	return false;
}

bool
field_is(const struct field *field, const char *name)
{
	size_t len = name_length(field->start, field->len);

	return len == strlen(name) && !strncasecmp(field->start, name, len);
}

bool
header_find(const char *header, size_t len, const char *name,
    struct field *field)
{
	struct field each;
	size_t at = 0;

	while (header_next(header, len, &at, &each)) {
		if (field_is(&each, name)) {
			*field = each;
			return true;
		}
	}
	return false;
}

size_t
header_count(const char *header, size_t len, const char *name)
{
	struct field field;
	size_t at = 0, count = 0;

	while (header_next(header, len, &at, &field))
		count += field_is(&field, name);
	return count;
}

/* Everything is moved once at most, however many fields go. */
void
header_remove(struct buf *header, const char *name)
{
	struct field field;
	size_t at = 0, kept = 0, from = 0;

	while (header_next(header->data, header->len, &at, &field)) {
		size_t start = at - field.len;

		if (!field_is(&field, name))
			continue;
		memmove(header->data + kept, header->data + from, start - from);
		kept += start - from;
		from = at;
	}
	if (!from)
		return;
	memmove(header->data + kept, header->data + from, header->len - from);
	header->len -= from - kept;
	header->data[header->len] = '\0';
}

bool
header_line_is_field(const char *line, size_t len)
{
	return label_length(line, line_length(line, len)) > 0;
}
