/* SPDX-License-Identifier: ISC */
/*
 * A header of any kind on its way out. Fields that hold no sender and no
 * recipient come out byte for byte, in their order; with addresses that are
 * only completed, so does every byte of the others, and what is new between
 * them is the domain. Nothing adds a line but Reply-To and a missing From, and
 * a second time changes nothing more.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "header.h"
#include "identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static bool
is_edited(const struct field *f)
{
	static const char *const names[] = {"From", "Sender", "To", "Cc",
		"Reply-To", "Resent-From", "Resent-Sender", "Resent-To",
		"Resent-Cc", "Resent-Reply-To"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (field_is(f, names[i]))
			return true;
	return false;
}

/* Whether b is a with nothing put in but the domain. */
static bool
is_completed(const char *a, size_t len, const struct buf *b)
{
	static const char domain[] = "@d.test";
	size_t i = 0, j = 0;

	while (j < b->len) {
		if (i < len && a[i] == b->data[j]) {
			/* An '@' that was there is copied, not put in. */
			if (a[i] != '@' || strncmp(a + i, domain, 7) ||
			    len - i >= 7) {
				i++;
				j++;
				continue;
			}
		}
		if (b->len - j < 7 || memcmp(b->data + j, domain, 7) != 0)
			return false;
		j += 7;
	}
	return i == len;
}

/* The fields that are no addresses, in their order. */
static void
add_others(struct buf *out, const struct buf *header)
{
	struct field f;
	size_t at = 0;

	while (header_next(buf_text(header), header->len, &at, &f))
		if (!is_edited(&f))
			buf_add(out, f.start, f.len);
}

static size_t
count_fields(const struct buf *header)
{
	struct field f;
	size_t at = 0, count = 0;

	while (header_next(buf_text(header), header->len, &at, &f))
		count++;
	return count;
}

static void
check(const struct identity *id, struct message *m)
{
	struct outgoing out, again;
	struct message *shown = identity_render(id, m, &out);
	struct message *twice = identity_render(id, shown, &again);
	struct buf before = {0}, after = {0};

	add_others(&before, &m->header);
	add_others(&after, &shown->header);
	require(before.len == after.len);
	require(!before.len || !memcmp(before.data, after.data, before.len));
	require(count_fields(&shown->header) <= count_fields(&m->header) + 2);
	require(twice->header.len == shown->header.len);
	require(!twice->header.len || !memcmp(twice->header.data,
	    shown->header.data, shown->header.len));
	if (id->rewrite == REWRITE_NEVER)
		require(is_completed(m->header.data, m->header.len,
		    &shown->header));
	buf_free(&before);
	buf_free(&after);
	outgoing_free(&again);
	outgoing_free(&out);
}

/* As message.c keeps it: whole lines, none of them empty or bare. */
static void
add_header(struct buf *out, const char *s, size_t len)
{
	while (len) {
		const char *end = memchr(s, '\n', len);
		size_t line = end ? (size_t)(end - s) : len;

		if (line && (header_line_is_field(s, line) ||
				(out->len && (*s == ' ' || *s == '\t')))) {
			for (size_t i = 0; i < line; i++)
				if (s[i] && s[i] != '\r')
					buf_addc(out, s[i]);
			buf_adds(out, "\r\n");
		}
		s += end ? line + 1 : line;
		len -= end ? line + 1 : line;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum rewrite modes[] = {
		REWRITE_NEVER, REWRITE_UNQUALIFIED, REWRITE_ALWAYS};
	struct message *m = message_new(NULL, UINT64_MAX);

	message_set_sender(m, "a@b.test");
	message_add_recipient(m, "c@d.test");
	recipient_set(&m->recipients[0], LATER, 450, "no log line");
	add_header(&m->header, (const char *)data, size);
	for (size_t i = 0; i < 3; i++) {
		const struct identity id = {.domain = "d.test",
			.from = "ops@r.test", .rewrite = modes[i]};

		check(&id, m);
	}
	message_free(m);
	return 0;
}
