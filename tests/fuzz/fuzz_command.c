/* SPDX-License-Identifier: ISC */
/*
 * MAIL and RCPT with arguments of any kind. What is taken is said to a relay
 * again, so it has no control character, means the same when it comes back,
 * and what its xtext stands for is one printable line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "dsn.h"
#include "message.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
require_clean(const struct buf *text, bool utf8)
{
	uint32_t c = 0;

	for (size_t i = 0, bytes; i < text->len; i += bytes) {
		bytes = utf8_read(text->data + i, text->len - i, &c);
		require(bytes && (utf8 || bytes == 1));
		require(c >= ' ' && (c < 0x7f || c > 0x9f));
	}
}

/* Nothing that xtext stands for had to be made printable, so it comes back
 * with as many bytes as it went. */
static void
require_xtext(const struct buf *text)
{
	struct buf decoded = {0}, again = {0};

	dsn_add_decoded(&decoded, buf_text(text));
	dsn_add_xtext(&again, buf_text(&decoded));
	if (utf8_is_ascii(buf_text(text))) {
		struct buf back = {0};

		dsn_add_decoded(&back, buf_text(&again));
		require(!strcmp(buf_text(&back), buf_text(&decoded)));
		require(strlen(buf_text(&decoded)) <= text->len);
		buf_free(&back);
	}
	buf_free(&decoded);
	buf_free(&again);
}

static void
require_sane(const struct command *c)
{
	require_clean(&c->mailbox, c->utf8);
	require_clean(&c->envelope_id, false);
	require_clean(&c->original, c->utf8);
	require(c->envelope_id.len <= 100 && c->original.len <= 500);
	require(!memchr(buf_text(&c->envelope_id), ' ', c->envelope_id.len));
	require(!memchr(buf_text(&c->original), ' ', c->original.len));
	require(!c->returns || c->returns == 'F' || c->returns == 'H');
	require(c->notify < NOTIFY_ALL);
	require(!(c->notify & NOTIFY_NEVER) || c->notify == NOTIFY_NEVER);
	require_xtext(&c->envelope_id);
	require_xtext(&c->original);
}

/* What we would say for it is taken as the same. */
static void
require_same(const struct command *c)
{
	struct command again = {.dsn = true, .utf8 = c->utf8};
	struct buf line = {0};

	buf_addf(&line, "TO:<%s>", buf_text(&c->mailbox));
	if (c->notify) {
		buf_adds(&line, " NOTIFY=");
		dsn_add_notify(&line, c->notify);
	}
	if (c->original.len)
		buf_addf(&line, " ORCPT=%s", c->original.data);
	require(!command_rcpt(&again, line.data));
	require(!strcmp(buf_text(&again.mailbox), buf_text(&c->mailbox)));
	require(!strcmp(buf_text(&again.original), buf_text(&c->original)));
	require(again.notify == c->notify);
	command_free(&again);
	buf_free(&line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xstrndup((const char *)data, size);

	for (unsigned way = 0; way < 8; way++) {
		struct command c = {.max_message = 1000000, .dsn = way & 1,
			.utf8 = way & 2};
		const char *refusal = way & 4 ? command_mail(&c, text)
					      : command_rcpt(&c, text);

		if (refusal)
			require(*refusal == '5' && refusal[3] == ' ');
		else
			require_sane(&c);
		if (!refusal && !(way & 4))
			require_same(&c);
		command_free(&c);
	}
	free(text);
	return 0;
}
