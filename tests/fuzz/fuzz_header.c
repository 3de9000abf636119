/* SPDX-License-Identifier: ISC */
/*
 * Headers from bytes of any kind. Fields are pieces of the input, in order and
 * apart. Removing a name that is not there changes nothing; after the removal
 * of one that is, nothing of it is left and all other bytes are the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
require_field(const struct field *field, const char *start, const char *end)
{
	const char *last = field->start + field->len;

	require(field->start >= start && last == end);
	require(field->value > field->start && field->value <= last);
	require(field->value + field->value_len == last);
	require(field->value[-1] == ':');
	require(field->start[0] > ' ' && field->start[0] <= '~');
	require(field->start == start || field->start[-1] == '\n');
}

/* Copies everything but the fields of that name; the count of these. */
static size_t
without(const char *s, size_t len, const char *name, struct buf *rest)
{
	struct field field;
	size_t at = 0, from = 0, count = 0;

	while (header_next(s, len, &at, &field)) {
		require(at <= len);
		require(at == len || (s[at] != ' ' && s[at] != '\t'));
		require_field(&field, s + from, s + at);
		buf_add(rest, s + from, (size_t)(field.start - s) - from);
		if (field_is(&field, name))
			count++;
		else
			buf_add(rest, field.start, field.len);
		from = at;
	}
	require(at == len || len == 0);
	buf_add(rest, s + from, len - from);
	return count;
}

static void
fuzz_remove(const char *s, size_t len, const char *name)
{
	struct buf header = {0}, rest = {0};
	struct field field;
	size_t count = without(s, len, name, &rest);

	require(header_count(s, len, name) == count);
	require(header_find(s, len, name, &field) == (count > 0));
	if (len)
		buf_add(&header, s, len);
	header_remove(&header, name);
	require(header.len == rest.len);
	require(!header.data || header.data[header.len] == '\0');
	require(!memcmp(buf_text(&header), buf_text(&rest), rest.len));
	require(count || header.len == len);
	require(!header_count(header.data, header.len, name));
	buf_free(&header);
	buf_free(&rest);
}

/* What a reader that forgives blanks and control bytes would take for a Bcc,
 * looked for without the help of header.c. */
static bool
has_bcc_line(const char *s, size_t len)
{
	for (size_t i = 0; i + 3 < len; i++) {
		size_t k = i + 3;

		if ((i > 0 && s[i - 1] != '\n') || strncasecmp(s + i, "Bcc", 3))
			continue;
		while (k < len && (unsigned char)s[k] <= ' ' && s[k] != '\n')
			k++;
		if (k < len && s[k] == ':')
			return true;
	}
	return false;
}

static void
fuzz_lines(const char *s, size_t len)
{
	struct field field;
	size_t at = 0;

	if (!header_line_is_field(s, len))
		return;
	require(header_next(s, len, &at, &field));
	require(field.start == s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s = (const char *)data;
	struct buf header = {0};

	fuzz_remove(s, size, "Bcc");
	fuzz_remove(s, size, "To");
	fuzz_remove(s, size, "X");
	fuzz_remove(s, size, "");
	fuzz_lines(s, size);

	buf_add(&header, s, size);
	header_remove(&header, "bcc");
	require(!has_bcc_line(header.data, header.len));
	buf_free(&header);
	return 0;
}
