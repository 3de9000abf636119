/* SPDX-License-Identifier: ISC */
#ifndef HEADER_H
#define HEADER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A message header: fields with CRLF line ends, folded or not, without the
 * blank line behind the last. Nothing here changes a byte of a field it was
 * not asked to change.
 */

/* One field inside a header that somebody else owns. */
struct field {
	const char *start;  /* first byte of the name */
	size_t len;         /* with all folded lines and the last CRLF */
	const char *value;  /* first byte behind the colon */
	size_t value_len;   /* up to the end, CRLFs of folding included */
};

struct buf;

/* Steps through: *at begins at 0, is moved behind the field; false at the
 * end. Lines that are no field (they should not be there) are skipped. A bare
 * LF (it should not be there either) ends a line. */
bool header_next(const char *header, size_t len, size_t *at, struct field *);

/* Caseless; blanks between name and colon are forgiven (RFC 5322 section
 * 4.5.3), control bytes too, so that "Bcc :" and "Bcc<NUL>:" are a Bcc. */
bool field_is(const struct field *, const char *name);

/* The first field of that name; false if there is none. */
bool header_find(const char *header, size_t len, const char *name,
    struct field *);
size_t header_count(const char *header, size_t len, const char *name);

/* Removes every field of that name, in place. */
void header_remove(struct buf *header, const char *name);

/* Whether these bytes, up to a line end, start a field: a name of printable
 * ASCII without blanks, then a colon (blanks and control bytes before it are
 * forgiven), within 998 bytes. For the reader that has to know where a header
 * without a blank line ends. */
bool header_line_is_field(const char *line, size_t len);

#endif
