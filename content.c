/* SPDX-License-Identifier: ISC */
/*
 * The content of a message as it comes in: the header told from the body, and
 * both made such that a relay takes them. What data.c does with line ends comes
 * first, so that only long lines, NUL and loops are left.
 */
#include "message.h"

#include <string.h>

#include "fold.h"
#include "header.h"
#include "repair.h"

enum {
	RECEIVED_MAX = 50, /* a loop, says everybody who counts */
	LONGEST = 998,     /* line of a body */
};

static void
refuse(struct message *m, const char *reply)
{
	if (!m->fault)
		m->fault = reply;
}

/* NUL is refused in a header, where it could hide a field from the next
 * reader, and becomes a space in a body. */
static void
add_to_body(struct message *m, char *data, size_t len)
{
	char *nul = data;

	while ((nul = memchr(nul, '\0', len - (size_t)(nul - data)))) {
		*nul++ = ' ';
		m->repairs |= REPAIR_NUL;
	}
	if (m->eight_bit)
		utf8_watch(&m->text, data, len);
	if (!body_write(&m->body, data, len))
		refuse(m, "452 4.3.1 No room to keep the message, try again "
			  "later");
}

static bool
is_header_too_large(const struct message *m, size_t more)
{
	return m->header.len + more >
	    (m->header_limit ? m->header_limit : (size_t)MESSAGE_HEADER_MAX);
}

/* A line that a mailbox has in front of a message. "From :" is a field. */
static bool
is_separator(const char *line)
{
	line += *line == '>';
	return strncmp(line, "From ", 5) == 0 &&
	    line[4 + strspn(line + 4, " \t")] != ':';
}

/* A complete line, CRLF included, that belongs to the header or begins the
 * body. True if it was the former. */
static bool
add_header_line(struct message *m, const char *line, size_t len)
{
	bool continues = line[0] == ' ' || line[0] == '\t';

	if (len == 2)
		return false;
	if (!m->header.len && !continues && is_separator(line))
		return true;
	if (continues ? !m->header.len : !header_line_is_field(line, len - 2))
		return false;
	if (memchr(line, '\0', len))
		refuse(m, "554 5.6.0 NUL byte in the message header");
	if (is_header_too_large(m, len))
		refuse(m, "552 5.3.4 The header is larger than 256 KiB");
	else
		buf_add(&m->header, line, len);
	return true;
}

/* The header is complete. */
static void
start_body(struct message *m, struct data_reader *reader)
{
	struct buf first = {0};

	m->in_body = true;
	m->repairs |= fold_header(&m->header);
	if (header_count(buf_text(&m->header), m->header.len, "Received") >
	    RECEIVED_MAX)
		refuse(m, "554 5.4.6 Too many hops: more than 50 Received "
			  "fields, this is a mail loop");
	if (m->line.len > 2 ||
	    (m->line.len && m->line.data[0] != '\r')) { /* not the blank line */
		data_break(reader, m->line.data, m->line.len, &first);
		add_to_body(m, first.data, first.len);
	}
	buf_free(&first);
	buf_free(&m->line);
}

/* Whether an unfinished line may still be one of the header. */
static bool
may_be_header(const struct message *m)
{
	const struct buf *line = &m->line;

	if (line->len <= LONGEST)
		return true;
	return line->data[0] == ' ' || line->data[0] == '\t'
		? m->header.len > 0
		: header_line_is_field(line->data, line->len);
}

/* The line goes on beyond what has come so far. */
static void
await_more(struct message *m, struct data_reader *reader)
{
	if (!may_be_header(m))
		start_body(m, reader);
	else if (is_header_too_large(m, m->line.len))
		refuse(m, "552 5.3.4 The header is larger than 256 KiB");
}

/* Takes header lines off the front of the chunk; what is left is body. */
static size_t
take_header(struct message *m, struct data_reader *reader)
{
	const char *data = buf_text(&m->chunk);
	size_t len = m->chunk.len;
	size_t used = 0;

	while (used < len && !m->in_body) {
		const char *end = memchr(data + used, '\n', len - used);
		size_t line = end ? (size_t)(end - data) + 1 - used
				  : len - used;

		buf_add(&m->line, data + used, line);
		used += line;
		if (!end)
			await_more(m, reader);
		else if (add_header_line(m, m->line.data, m->line.len))
			buf_clear(&m->line);
		else
			start_body(m, reader);
	}
	return used;
}

/* Stores what the reader made of the input. */
static void
store_chunk(struct message *m, struct data_reader *reader)
{
	size_t used;

	m->eight_bit = reader->eight_bit;
	used = take_header(m, reader);

	if (used < m->chunk.len)
		add_to_body(m, m->chunk.data + used, m->chunk.len - used);
	/* What we add is not the sender's, whose SIZE was let in. */
	if (message_size(m) > m->limit &&
	    message_size(m) - m->limit > reader->added)
		refuse(m, "552 5.3.4 The message is larger than max_message");
	buf_clear(&m->chunk);
}

/* How much to read at a time: the lines of the header one by one, since only
 * those of the body are broken on the way. */
static size_t
piece_length(const struct message *m, const char *data, size_t len)
{
	const char *end = m->in_body ? NULL : memchr(data, '\n', len);

	return end ? (size_t)(end - data) + 1 : len;
}

size_t
message_read(struct message *m, struct data_reader *reader, const char *data,
    size_t len)
{
	size_t used = 0;

	while (used < len && !data_ended(reader)) {
		reader->in_header = !m->in_body;
		used += data_read(reader, data + used,
		    piece_length(m, data + used, len - used), &m->chunk);
		if (m->fault)
			buf_clear(&m->chunk);
		else
			store_chunk(m, reader);
	}
	return used;
}

const char *
message_finish(struct message *m, struct data_reader *reader)
{
	data_finish(reader, &m->chunk);
	if (!m->fault)
		store_chunk(m, reader);
	if (!m->in_body)
		start_body(m, reader);
	m->eight_bit = reader->eight_bit;
	m->repairs |= (reader->stray ? REPAIR_STRAY : 0) |
	    (reader->broken ? REPAIR_BROKEN : 0);
	m->is_read = true;
	buf_free(&m->chunk);
	if (!m->sender)
		message_set_sender(m, "");
	return m->fault;
}
