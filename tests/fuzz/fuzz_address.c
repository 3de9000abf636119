/* SPDX-License-Identifier: ISC */
/*
 * Addresses from bytes of any kind. What is taken has no control character, is
 * whole characters only, is taken again when it comes back, and is a piece of
 * the input, byte for byte. From a list, where blanks and comments inside an
 * address are left out, its bytes stand in the input in the same order, each
 * mailbox behind the one before.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "buf.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
require_clean(const char *s, size_t len)
{
	enum address_status status = ADDRESS_OK;

	for (size_t i = 0, bytes; i < len; i += bytes) {
		uint32_t c = 0;

		bytes = utf8_read(s + i, len - i, &c);
		require(bytes && c >= ' ' && (c < 0x7f || c > 0x9f));
		if (bytes > 1)
			status = ADDRESS_UTF8;
	}
	require(len > 0 && len <= 254 && s[0] != '-');
	require(address_check(s, len) == status);
}

/* A mailbox between brackets is the same mailbox. */
static void
require_path(const char *s, size_t len)
{
	struct buf path = {0}, again = {0};
	size_t used = 0;

	buf_addf(&path, "<%.*s>X", (int)len, s);
	require(address_is_good(address_path(path.data, path.len, &again,
	    &used)));
	require(used == len + 2 && again.len == len);
	require(!memcmp(again.data, s, len));
	buf_free(&path);
	buf_free(&again);
}

static void
fuzz_check(const char *s, size_t len)
{
	if (!address_is_good(address_check(s, len)))
		return;
	require_clean(s, len);
	require_path(s, len);
}

static void
fuzz_path(const char *s, size_t len)
{
	struct buf mailbox = {0};
	size_t used = SIZE_MAX, end;
	enum address_status status = address_path(s, len, &mailbox, &used);

	if (address_is_good(status) || status == ADDRESS_EMPTY) {
		require(used <= len && used >= mailbox.len);
		require((status == ADDRESS_EMPTY) == (mailbox.len == 0));
		end = used - (s[used - 1] == '>');
		require(!memcmp(s + end - mailbox.len, mailbox.data,
		    mailbox.len));
		require(end < used || used == len || s[used] == ' ' ||
		    s[used] == '\t');
	} else {
		require(used == SIZE_MAX && mailbox.len == 0);
	}
	if (status == ADDRESS_EMPTY)
		require(s[used - 2] == '<' && s[used - 1] == '>');
	if (address_is_good(status)) {
		require_clean(mailbox.data, mailbox.len);
		require_path(mailbox.data, mailbox.len);
		address_is_qualified(mailbox.data);
	}
	buf_free(&mailbox);
}

struct source {
	const char *s;
	size_t len;
	size_t at;
	struct buf found;
};

static void
check_found(void *context, const char *mailbox, size_t len)
{
	struct source *in = context;

	require(mailbox[len] == '\0');
	require_clean(mailbox, len);
	for (size_t i = 0; i < len; i++) {
		while (in->at < in->len && in->s[in->at] != mailbox[i])
			in->at++;
		require(in->at++ < in->len);
	}
	if (in->found.len)
		buf_adds(&in->found, ", ");
	buf_add(&in->found, mailbox, len);
}

static void
collect(void *context, const char *mailbox, size_t len)
{
	struct buf *found = context;

	if (found->len)
		buf_adds(found, ", ");
	buf_add(found, mailbox, len);
}

/* The list of what was found gives the same again, and nothing broken. */
static void
fuzz_list(const char *s, size_t len)
{
	struct source in = {s, len, 0, {0}};
	struct buf again = {0};

	address_list(s, len, check_found, &in);
	require(!address_list(in.found.data, in.found.len, collect, &again));
	require(!strcmp(buf_text(&in.found), buf_text(&again)));
	buf_free(&in.found);
	buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s = (const char *)data;

	fuzz_check(s, size);
	fuzz_path(s, size);
	fuzz_list(s, size);
	return 0;
}
