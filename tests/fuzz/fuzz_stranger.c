/* SPDX-License-Identifier: ISC */
/*
 * A message file from the maildrop, of bytes of any kind. What is taken from
 * it has addresses that can be sent, a header of whole lines, a body of lines
 * that end in CR LF, and nothing that the file claims of itself.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "address.h"
#include "message.h"
#include "stranger.h"

enum { LIMIT = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
require_no_control(const char *s)
{
	for (; s && *s; s++)
		require((unsigned char)*s > ' ' && *s != 127);
}

static void
require_address(const char *s, bool utf8)
{
	enum address_status status = address_check(s, strlen(s));

	require(status == ADDRESS_OK || (status == ADDRESS_UTF8 && utf8));
}

static void
require_lines(const char *s, size_t len)
{
	require(len == 0 || (len >= 2 && s[len - 1] == '\n'));
	for (size_t i = 0; i < len; i++) {
		require(s[i] != '\n' || (i > 0 && s[i - 1] == '\r'));
		require(s[i] != '\r' || (i + 1 < len && s[i + 1] == '\n'));
	}
}

static void
require_recipients(const struct message *m)
{
	require(m->recipient_count > 0);
	for (size_t i = 0; i < m->recipient_count; i++) {
		const struct recipient *r = &m->recipients[i];

		require_address(r->address, m->utf8);
		require(r->outcome == WAITING);
		require(!(r->notify & NOTIFY_NEVER) ||
		    r->notify == NOTIFY_NEVER);
		require_no_control(r->original);
	}
}

static void
require_body(const struct message *m)
{
	char *body = xmalloc(m->body.size + 1);

	require(body_read(&m->body, 0, body, m->body.size) ==
	    (ptrdiff_t)m->body.size);
	require_lines(body, m->body.size);
	free(body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message *m = message_new(NULL, LIMIT);
	struct message *before = message_new(NULL, LIMIT);
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	m->owner = 7;
	memcpy(before->id, m->id, sizeof(m->id));
	before->arrived_at = m->arrived_at;
	require(write(fd, data, size) == (ssize_t)size);
	if (stranger_read(m, fd, size)) {
		if (*m->sender)
			require_address(m->sender, m->utf8);
		require(memcmp(m->id, before->id, sizeof(m->id)) == 0);
		require(m->owner == 7 && m->arrived_at == before->arrived_at);
		require_recipients(m);
		require_no_control(m->envelope_id);
		if (!m->fault) {
			require(message_size(m) <= LIMIT);
			require_lines(buf_text(&m->header), m->header.len);
			require_body(m);
		}
	}
	close(fd);
	message_free(m);
	message_free(before);
	return 0;
}
