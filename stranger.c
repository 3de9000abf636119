/* SPDX-License-Identifier: ISC */
/*
 * A message as a stranger has written it down.
 */
#include "stranger.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "dsn.h"
#include "maildrop.h"
#include "message.h"
#include "record.h"

enum { PIECE = 32 * 1024 };

/* Whether an address is one; *utf8 is set if it needs SMTPUTF8. */
static bool
is_address(const char *s, bool *utf8)
{
	enum address_status status = address_check(s, strlen(s));

	*utf8 |= status == ADDRESS_UTF8;
	return address_is_good(status);
}

/* What it asks of notices is written into them, and sent to the relay. */
static bool
is_sane(struct message *m)
{
	const char *id = m->envelope_id;

	m->utf8 = false;
	if ((*m->sender && !is_address(m->sender, &m->utf8)) ||
	    (id && !dsn_is_envelope_id(id, strlen(id))))
		return false;
	for (size_t i = 0; i < m->recipient_count; i++)
		if (!is_address(m->recipients[i].address, &m->utf8))
			return false;
	for (size_t i = 0; i < m->recipient_count; i++) {
		const struct recipient *r = &m->recipients[i];

		if (r->notify & NOTIFY_NEVER && r->notify != NOTIFY_NEVER)
			return false;
		if (r->original && !dsn_is_original(r->original,
				       strlen(r->original), m->utf8))
			return false;
	}
	return true;
}

/* Returns the length of the text; 0 if it is none of a message. Its ID is only
 * put into the message to have it read. */
static size_t
read_text(struct message *m, int fd, uint64_t size)
{
	static const char start[] = "smarthost 1\nid ";
	uint64_t header, content;
	size_t len = 0, id = sizeof(start) - 1;
	struct buf read = {0};
	char *text = record_load(fd, DROP_ENVELOPE_MAX, &read, &len);
	bool ok = text && len > id + QUEUE_ID_SIZE &&
	    strncmp(text, start, id) == 0;

	if (ok) {
		memcpy(m->id, text + id, QUEUE_ID_SIZE - 1);
		ok = record_read(text, m, &header, &content) && is_sane(m) &&
		    content == size - len;
	}
	free(text);
	buf_free(&read);
	return ok ? len : 0;
}

/* What the caller has set is true, whatever the text says. */
static bool
read_envelope(struct message *m, int fd, uint64_t size, size_t *start)
{
	char id[QUEUE_ID_SIZE];
	time_t now = m->arrived_at;
	uid_t owner = m->owner;

	memcpy(id, m->id, sizeof(id));
	*start = read_text(m, fd, size);
	memcpy(m->id, id, sizeof(m->id));
	m->arrived_at = now;
	m->owner = owner;
	for (size_t i = 0; i < m->recipient_count; i++)
		recipient_set(&m->recipients[i], WAITING, 0, "");
	return *start > 0;
}

/* Whatever the text says of it, lines and header are made of what is there. */
static bool
read_content(struct message *m, int fd, uint64_t at, uint64_t end)
{
	char *piece = xmalloc(PIECE);
	struct data_reader reader;
	ssize_t got = 1;

	data_start(&reader, DATA_FROM_STDIN_RAW);
	while (at < end && got > 0) {
		got = pread(fd, piece,
		    end - at < PIECE ? (size_t)(end - at) : PIECE, (off_t)at);
		if (got > 0) {
			message_read(m, &reader, piece, (size_t)got);
			at += (uint64_t)got;
		}
	}
	free(piece);
	(void)message_finish(m, &reader);
	return at == end;
}

bool
stranger_read(struct message *m, int fd, uint64_t size)
{
	size_t start;
	bool too_large;

	if (!read_envelope(m, fd, size, &start))
		return false;
	too_large = size - start > m->limit;
	if (too_large) /* its header is enough to tell the sender */
		size = start + PIECE;
	if (!read_content(m, fd, start, size))
		return false;
	if (too_large)
		m->fault = "552 5.3.4 The message is larger than max_message";
	return true;
}
