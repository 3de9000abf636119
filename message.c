/* SPDX-License-Identifier: ISC */
/*
 * A message: envelope, header, body. This is where the header is told from
 * the body, made complete, and rid of what must not go on.
 */
#include "message.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "address.h"
#include "clock.h"
#include "header.h"
#include "repair.h"

enum {
	OVERFLOW_UID = 65534, /* anybody of another user namespace */
};

static void
make_id(char id[QUEUE_ID_SIZE])
{
	struct buf text = {0};
	uint64_t random = 0;

	while (getrandom(&random, sizeof(random), 0) != sizeof(random))
		;
	buf_addf(&text, "%016llx%016llx",
	    (unsigned long long)clock_wall_microseconds(),
	    (unsigned long long)random);
	memcpy(id, text.data, QUEUE_ID_SIZE);
	buf_free(&text);
}

void
queue_id_numbers(const char *id, uint64_t numbers[2])
{
	char half[17] = "";

	for (int i = 0; i < 2; i++) {
		memcpy(half, id + 16 * i, 16);
		numbers[i] = strtoull(half, NULL, 16);
	}
}

struct message *
message_new(struct body_budget *budget, uint64_t limit)
{
	struct message *m = xcalloc(1, sizeof(*m));

	make_id(m->id);
	body_init(&m->body, budget);
	m->limit = limit;
	m->arrived = clock_now();
	m->arrived_at = time(NULL);
	m->owner = NO_OWNER;
	m->file = m->incoming = -1;
	return m;
}

const char *
message_name(const struct message *m)
{
	return *m->old_name ? m->old_name : m->id;
}

void
message_drop_file(struct message *m)
{
	if (m->incoming >= 0)
		unlinkat(m->incoming, message_name(m), 0);
	if (m->file >= 0)
		close(m->file);
	m->file = m->incoming = -1;
}

void
recipient_free(struct recipient *r)
{
	free(r->address);
	free(r->original);
	free(r->reply);
}

void
message_free(struct message *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->recipient_count; i++)
		recipient_free(&m->recipients[i]);
	free(m->recipients);
	free(m->sender);
	free(m->envelope_id);
	buf_free(&m->header);
	buf_free(&m->line);
	buf_free(&m->chunk);
	body_free(&m->body);
	message_drop_file(m);
	free(m);
}

void
message_set_sender(struct message *m, const char *address)
{
	free(m->sender);
	m->sender = xstrdup(address);
}

void
message_add_recipient(struct message *m, const char *address)
{
	size_t count = m->recipient_count;

	if ((count & (count - 1)) == 0) /* grow at each power of two */
		m->recipients = xrealloc(m->recipients,
		    count ? 2 * count : 1, sizeof(*m->recipients));
	m->recipients[count] = (struct recipient){.address = xstrdup(address)};
	m->recipient_count++;
}

void
recipient_set(struct recipient *r, enum outcome outcome, int code,
    const char *reply)
{
	char *copy = xstrdup(reply);

	free(r->reply);
	r->outcome = outcome;
	r->code = code;
	r->reply = copy;
	r->reported = false;
}

void
recipient_add_address(struct buf *out, const struct recipient *r)
{
	buf_adds(out, r->address);
	if (r->domain && !address_is_qualified(r->address))
		buf_addf(out, "@%s", r->domain);
}

bool
recipient_wants(const struct recipient *r, unsigned notify)
{
	return (r->notify ? r->notify : (unsigned)NOTIFY_FAILURE) & notify;
}

uid_t
message_owner(uid_t submitter)
{
	return submitter == OVERFLOW_UID ? NO_OWNER : submitter;
}

uint64_t
message_size(const struct message *m)
{
	return m->header.len + 2 + m->body.size;
}

void
message_add_recipients_text(const struct message *m, struct buf *out,
    size_t max)
{
	size_t start = out->len;

	for (size_t i = 0; i < m->recipient_count; i++) {
		if (out->len - start + strlen(m->recipients[i].address) > max) {
			buf_adds(out, ", ...");
			return;
		}
		buf_adds(out, i ? ", " : "");
		buf_adds(out, m->recipients[i].address);
	}
}

static void
add_if_missing(struct message *m, const char *name, const char *value)
{
	struct field field;

	if (!header_find(buf_text(&m->header), m->header.len, name, &field))
		buf_addf(&m->header, "%s: %s\r\n", name, value);
}

void
message_complete(struct message *m, const char *hostname, const char *from)
{
	struct buf date = {0}, id = {0}, nobody = {0};

	clock_add_date(&date, time(NULL));
	buf_addf(&id, "<%s@%s>", m->id, hostname);
	header_remove(&m->header, "Bcc");
	header_remove(&m->header, "Resent-Bcc");
	add_if_missing(m, "Date", date.data);
	add_if_missing(m, "Message-ID", id.data);
	if (!from && !*m->sender)
		buf_addf(&nobody, "MAILER-DAEMON@%s", hostname);
	add_if_missing(m, "From", from ? from
		: nobody.len ? nobody.data : m->sender);
	repair_add_mime(m);
	buf_free(&nobody);
	buf_free(&date);
	buf_free(&id);
}

void
message_add_received(struct message *m, const struct origin *origin,
    const char *hostname)
{
	struct buf top = {0};

	buf_addf(&top, "Received: from %s\r\n\tby %s with %s id %s;\r\n\t",
	    origin->from, hostname, origin->protocol, m->id);
	clock_add_date(&top, time(NULL));
	buf_adds(&top, "\r\n");
	buf_add(&top, buf_text(&m->header), m->header.len);
	buf_free(&m->header);
	m->header = top;
}

void
message_spread(struct message *m, const struct verdict *v)
{
	if (v->cut_short || (v->outcome != SENT && v->scope == SCOPE_UPSTREAM))
		return;
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome == WAITING)
			recipient_set(&m->recipients[i], v->outcome, v->code,
			    v->text);
}

bool
message_is_final(const struct message *m)
{
	enum outcome first = m->recipients[0].outcome;

	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].outcome != first)
			return false;
	return first == SENT || first == NEVER;
}

void
message_forget_results(struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];

		if (r->outcome == LATER || (r->outcome == HOLD && !r->unrouted))
			r->outcome = WAITING;
	}
}

size_t
message_count_waiting(const struct message *m)
{
	size_t count = 0;

	for (size_t i = 0; i < m->recipient_count; i++)
		count += m->recipients[i].outcome == WAITING;
	return count;
}

bool
message_is_waiting(const struct message *m)
{
	return message_count_waiting(m) > 0;
}

void
message_know_results(struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++) {
		enum outcome outcome = m->recipients[i].outcome;

		m->recipients[i].known = outcome == SENT || outcome == NEVER;
	}
}
