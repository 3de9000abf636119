/* SPDX-License-Identifier: ISC */
/*
 * What a client sends behind the 354, cut anywhere: at most one message comes
 * of it, and what follows its end is left alone. What is read is fit for a
 * relay, and, stuffed and read once more, the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "fold.h"
#include "message.h"
#include "repair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* Reads up to the end of data, in pieces of that size; the bytes used. */
static size_t
read_all(struct message *m, const char *data, size_t len, size_t piece,
    bool *ended)
{
	struct data_reader reader;
	size_t used = 0;

	data_start(&reader, DATA_FROM_SMTP);
	while (used < len && !data_ended(&reader)) {
		size_t next = len - used < piece ? len - used : piece;
		size_t got = message_read(m, &reader, data + used, next);

		require(got <= next && (got == next || data_ended(&reader)));
		used += got;
	}
	*ended = data_ended(&reader);
	if (*ended)
		(void)message_finish(m, &reader);
	return used;
}

static void
add_body(struct buf *out, const struct message *m)
{
	char piece[512];
	uint64_t at = 0;
	ptrdiff_t got;

	while ((got = body_read(&m->body, at, piece, sizeof(piece))) > 0) {
		buf_add(out, piece, (size_t)got);
		at += (uint64_t)got;
	}
	require(got == 0);
}

/* CRLF and nothing else ends a line, none is too long, no NUL is left. */
static void
require_fit(const struct buf *text, bool long_lines)
{
	size_t column = 0;

	for (size_t i = 0; i < text->len; i++) {
		char c = text->data[i];

		require(c != '\0');
		require((c == '\r') == (text->data[i + 1] == '\n'));
		column = c == '\n' ? 0 : column + 1;
		require(column <= 999 || long_lines);
	}
	require(!text->len || text->data[text->len - 1] == '\n');
}

/* As a relay gets it, and reads it. */
static void
require_same_again(const struct message *m, const struct buf *body)
{
	struct message *again = message_new(NULL, UINT64_MAX);
	struct buf wire = {0}, copy = {0};
	bool start = true, ended;

	data_stuff(&start, buf_text(&m->header), m->header.len, &wire);
	data_stuff(&start, "\r\n", 2, &wire);
	data_stuff(&start, buf_text(body), body->len, &wire);
	buf_adds(&wire, ".\r\n");
	require(read_all(again, wire.data, wire.len, wire.len, &ended) ==
	    wire.len);
	require(ended && !again->fault);
	add_body(&copy, again);
	require(!(again->repairs & ~(unsigned)FOLD_LEFT));
	require(again->header.len == m->header.len && copy.len == body->len);
	require(!memcmp(buf_text(&again->header), buf_text(&m->header),
	    m->header.len));
	require(!memcmp(buf_text(&copy), buf_text(body), body->len));
	message_free(again);
	buf_free(&wire);
	buf_free(&copy);
}

/* Where the one true end is, for who looks for nothing else. */
static size_t
find_end(const char *s, size_t len)
{
	if (len >= 3 && !memcmp(s, ".\r\n", 3))
		return 3;
	for (size_t i = 0; i + 5 <= len; i++)
		if (!memcmp(s + i, "\r\n.\r\n", 5))
			return i + 5;
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message *m = message_new(NULL, UINT64_MAX);
	const char *s = (const char *)data + 1;
	struct buf body = {0};
	size_t used;
	bool ended;

	if (!size) {
		message_free(m);
		return 0;
	}
	used = read_all(m, s, size - 1, data[0] ? data[0] : size, &ended);
	require(used == (ended ? find_end(s, size - 1) : size - 1));
	require(ended == (find_end(s, size - 1) > 0));
	if (ended && !m->fault) {
		add_body(&body, m);
		require_fit(&m->header, m->repairs & FOLD_LEFT);
		require_fit(&body, false);
		require_same_again(m, &body);
	}
	message_free(m);
	buf_free(&body);
	return 0;
}
