/* SPDX-License-Identifier: ISC */
/*
 * The content of a message on its way to a relay, in pieces as large as one
 * write takes, the end in the last of them. Before each of them the relay has
 * nothing to say: if it does, or cannot be written to, the rest is dropped, and
 * no end is ever sent behind a broken body.
 */
#include "cargo.h"

#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "clock.h"
#include "conn.h"
#include "message.h"

enum {
	PIECE = 64 * 1024,         /* of the body, between looks at the input */
	END_TIMEOUT = 10 * 60000,  /* RFC 5321 section 4.5.3.2.6 */
	LAST_WORDS_TIMEOUT = 5000, /* for a reply to what could not be sent */
};

static const char hint_chunking[] =
    "the relay offers CHUNKING and does not take it; set chunking = off";

/* One content on its way. */
struct stream {
	struct chat *chat;
	const struct message *message;
	bool dots;       /* are doubled where they begin a line */
	bool line_start;
};

static const struct buf *
header_of(const struct message *m)
{
	return &m->header;
}

uint64_t
cargo_size(const struct message *m)
{
	return header_of(m)->len + 2 + m->body.size;
}

static void
put(struct stream *o, const char *data, size_t len)
{
	struct buf stuffed = {0};

	if (o->dots) {
		data_stuff(&o->line_start, data, len, &stuffed);
		data = buf_text(&stuffed);
		len = stuffed.len;
	}
	conn_write(o->chat->conn, data, len);
	buf_free(&stuffed);
}

/* The relay speaks while we are sending, or could not be written to: what it
 * says may be the reason. */
static void
hear_last_words(struct chat *chat, struct verdict *v)
{
	int64_t timeout = chat->timeout;
	struct answer a = {0};

	chat->timeout = LAST_WORDS_TIMEOUT;
	if (!chat_answer(chat, &a))
		chat_lost(chat, STAGE_BODY, v);
	else if (a.code >= 400)
		chat_judge(v, STAGE_BODY, &a);
	else
		verdict_set(v, LATER, SCOPE_MESSAGE, STAGE_BODY,
		    "out of step: %d before the end of the message", a.code);
	chat->timeout = timeout;
	conn_fail(chat->conn, "the message was cut off");
	buf_free(&a.text);
}

/* Sends what is buffered; false when the relay speaks first or it fails. */
static bool
push(struct chat *chat, bool last, struct verdict *v)
{
	struct conn *c = chat->conn;
	size_t unsent;

	conn_set_deadline(c,
	    clock_earlier(chat->deadline, clock_now() + chat->timeout));
	if (!conn_input_waits(c) && conn_flush_unless_input(c))
		return true;
	unsent = conn_discard_output(c);
	hear_last_words(chat, v);
	/* Under TLS the end may have gone with the news that failed us. */
	if (last && !unsent && conn_tls(c) && v->code == 0) {
		v->maybe_delivered = true;
		v->cut_short = false;
	}
	return false;
}

/* Buffers everything. With a verdict, each piece is pushed once there is
 * another one; the last stays buffered. */
static bool
put_all(struct stream *o, struct verdict *v)
{
	const struct body *body = &o->message->body;
	const struct buf *header = header_of(o->message);
	char *piece = xmalloc(PIECE);
	uint64_t at = 0;
	ptrdiff_t got = 1;

	put(o, buf_text(header), header->len);
	put(o, "\r\n", 2);
	while (got > 0 && at < body->size &&
	    (!v || at == 0 || push(o->chat, false, v))) {
		got = body_read(body, at, piece, PIECE);
		if (got > 0)
			put(o, piece, (size_t)got);
		at += got > 0 ? (uint64_t)got : 0;
	}
	free(piece);
	if (got > 0)
		return at == body->size;
	conn_fail(o->chat->conn, "cannot read the stored message");
	if (v)
		chat_lost(o->chat, STAGE_BODY, v);
	return false;
}

bool
cargo_await(struct chat *chat, struct answer *a)
{
	int64_t timeout = chat->timeout;
	bool answered;

	conn_heed_stop(chat->conn, false);
	chat->deadline = 0;
	if (timeout < END_TIMEOUT)
		chat->timeout = END_TIMEOUT;
	answered = chat_answer(chat, a);
	chat->timeout = timeout;
	conn_heed_stop(chat->conn, true);
	return answered;
}

bool
cargo_fits_chunk(const struct answer *a)
{
	return a->code >= 400 || strncmp(buf_text(&a->text), "2.1.", 4) != 0;
}

/* Sends the end, with all that is buffered before it. */
static bool
finish(struct chat *chat, bool chunk, struct verdict *v)
{
	struct answer a = {0};

	if (!push(chat, true, v))
		return false;
	if (cargo_await(chat, &a) && chat_fits(STAGE_END, a.code) &&
	    (!chunk || cargo_fits_chunk(&a))) {
		if (chat_judge(v, STAGE_END, &a))
			chat_passed(chat, STAGE_END, buf_text(&a.text));
	} else {
		conn_fail(chat->conn, "out of step: %d is no answer to this",
		    a.code);
		chat_lost(chat, STAGE_END, v);
		v->maybe_delivered = true;
	}
	buf_free(&a.text);
	return v->outcome == SENT;
}

bool
cargo_send(struct chat *chat, const struct message *m, struct verdict *v)
{
	struct stream o = {chat, m, .dots = true, .line_start = true};

	if (!put_all(&o, v))
		return false;
	conn_write(chat->conn, ".\r\n", 3);
	return finish(chat, false, v);
}

static bool
put_chunk(struct chat *chat, const struct message *m, struct verdict *v)
{
	struct stream o = {chat, m, .dots = false};

	chat_command(chat, "BDAT %llu LAST",
	    (unsigned long long)cargo_size(m));
	return put_all(&o, v);
}

void
cargo_excuse_chunk(struct verdict *v)
{
	if (v->outcome == NEVER && v->code >= 500 && v->code <= 504) {
		v->outcome = LATER;
		v->hint = hint_chunking;
	}
}

bool
cargo_send_chunk(struct chat *chat, const struct message *m,
    struct verdict *v)
{
	bool sent;

	if (!chat_in_step(chat)) {
		chat_lost(chat, STAGE_BODY, v);
		return false;
	}
	sent = put_chunk(chat, m, v) && finish(chat, true, v);
	cargo_excuse_chunk(v);
	return sent;
}

void
cargo_put_chunk(struct chat *chat, const struct message *m)
{
	(void)put_chunk(chat, m, NULL);
}
