/* SPDX-License-Identifier: ISC */
/*
 * Asking the daemon about its queue: the other end of xqueue.c.
 */
#include "inquiry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "conn.h"
#include "dial.h"

enum {
	GREETING_PATIENCE_MS = 10000,
	PATIENCE_MS = 5 * 60000, /* it may have a million files to read */
	LINE_MAX_BYTES = 4096,
	CODE_SIZE = 4,           /* "250-" */
};

/* A reply while it is read: of each line, the code comes first. */
struct reader {
	listing_write *write; /* or NULL */
	void *context;
	struct buf code;
	struct buf last; /* the line that ends it, without its code */
	int result;      /* that code; 0: it is not there yet */
};

static void
pass_on(struct reader *r, const char *text, size_t len)
{
	if (r->code.data[CODE_SIZE - 1] == ' ')
		buf_add(&r->last, text,
		    r->last.len + len < LINE_MAX_BYTES ? len : 0);
	else if (r->write && !r->write(r->context, text, len))
		r->write = NULL;
}

static void
end_line(struct reader *r)
{
	if (r->code.len == CODE_SIZE && r->code.data[CODE_SIZE - 1] == ' ')
		r->result = atoi(r->code.data);
	else if (r->code.len == CODE_SIZE)
		pass_on(r, "\n", 1);
	buf_clear(&r->code);
}

/* Up to the end of a line. */
static size_t
span(const char *data, size_t len)
{
	size_t n = 0;

	while (n < len && data[n] != '\r' && data[n] != '\n')
		n++;
	return n;
}

/* Content has no CR but in line ends. Returns the bytes used: fewer than len
 * when the reply has ended. */
static size_t
read_piece(struct reader *r, const char *data, size_t len)
{
	size_t at = 0;

	while (at < len && !r->result) {
		size_t part = 1;

		if (data[at] == '\n') {
			end_line(r);
		} else if (r->code.len < CODE_SIZE) {
			buf_addc(&r->code, data[at]);
		} else if (data[at] != '\r') {
			part = span(data + at, len - at);
			pass_on(r, data + at, part);
		}
		at += part;
	}
	return at;
}

/* Reads one reply; its code, or 0 when it breaks off. */
static int
read_reply(struct conn *c, struct reader *r, int64_t patience)
{
	const char *data;
	size_t len;

	r->result = 0;
	buf_clear(&r->code);
	buf_clear(&r->last);
	do {
		conn_set_deadline(c, clock_now() + patience);
		if (!conn_peek(c, &data, &len))
			return 0;
		conn_consume(c, read_piece(r, data, len));
	} while (!r->result);
	return r->result;
}

static enum inquiry_result
conclude(struct inquiry *q, const struct conn *c, struct reader *r)
{
	buf_clear(&q->reply);
	if (!r->result)
		buf_addf(&q->reply, "the daemon does not answer: %s",
		    conn_error(c) ? conn_error(c) : "no reply");
	else
		buf_add_printable(&q->reply, buf_text(&r->last), r->last.len,
		    LINE_MAX_BYTES);
	if (r->result / 100 == 2)
		return INQUIRY_OK;
	return r->result / 100 == 5 ? INQUIRY_REFUSED : INQUIRY_LATER;
}

static enum inquiry_result
ask(struct inquiry *q, struct conn *c, const char *question,
    const struct reader *to)
{
	struct reader r = {0};
	enum inquiry_result result;

	if (read_reply(c, &r, GREETING_PATIENCE_MS) == 220) {
		r.write = to->write;
		r.context = to->context;
		conn_printf(c, "XQUEUE %s\r\n", question);
		read_reply(c, &r, PATIENCE_MS);
	}
	result = conclude(q, c, &r);
	conn_printf(c, "QUIT\r\n");
	conn_flush(c);
	conn_close(c);
	buf_free(&r.code);
	buf_free(&r.last);
	return result;
}

enum inquiry_result
inquiry_ask_publicly(struct inquiry *q, const char *question,
    listing_write *write, void *context)
{
	const struct reader to = {.write = write, .context = context};
	struct conn *c = q->socket ? dial_unix(q->socket, -1) : NULL;

	buf_clear(&q->reply);
	if (c)
		return ask(q, c, question, &to);
	buf_addf(&q->reply, "no daemon at %s (%s)",
	    q->socket ? q->socket : "any socket",
	    q->socket ? strerror(errno) : "socket = none");
	return INQUIRY_NOBODY;
}

enum inquiry_result
inquiry_ask(struct inquiry *q, const char *question, listing_write *write,
    void *context)
{
	const struct reader to = {.write = write, .context = context};
	struct conn *c = q->control ? dial_unix(q->control, -1) : NULL;

	q->own = !c && q->control && errno == EACCES;
	if (q->own)
		return inquiry_ask_publicly(q, question, write, context);
	buf_clear(&q->reply);
	if (c)
		return ask(q, c, question, &to);
	buf_addf(&q->reply, "no daemon at %s (%s)",
	    q->control ? q->control : "any control socket",
	    q->control ? strerror(errno) : "control = none");
	return INQUIRY_NOBODY;
}
