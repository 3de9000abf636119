/* SPDX-License-Identifier: ISC */
/*
 * CHUNKING (RFC 3030): a message in chunks whose sizes are said, without a dot
 * at its end. A chunk that is refused is read all the same and thrown away,
 * since it is on its way: its bytes are never taken for commands. Where that
 * cannot be, because its size makes no sense, the session ends.
 */
#include "bdat.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data.h"
#include "message.h"
#include "session_internal.h"

enum { DIGITS_MAX = 18 }; /* that fit into 64 bits, whatever they are */

/* A size, and the word LAST behind the last chunk. */
static bool
read_arguments(const char *arguments, uint64_t *size, bool *last)
{
	size_t digits = strspn(arguments, "0123456789");
	const char *rest = arguments + digits;

	*size = strtoull(arguments, NULL, 10);
	*last = *rest != '\0';
	if (digits == 0 || digits > DIGITS_MAX || (*last && *rest != ' '))
		return false;
	rest += strspn(rest, " ");
	return !*last || strcasecmp(rest, "LAST") == 0;
}

static const char *
refusal(const struct session *s)
{
	if (!s->message)
		return "503 5.5.1 Say MAIL FROM first";
	if (!s->message->recipient_count)
		return "503 5.5.1 No recipient was accepted";
	return NULL;
}

static void
begin(struct session *s)
{
	if (!s->chunked)
		data_start(&s->reader, DATA_FROM_CHUNKS);
	s->chunked = true;
}

/* The reply to a chunk that has come. */
static void
finish(struct session *s, uint64_t size, bool last)
{
	if (last || s->message->fault) {
		receive_finish(s, &s->reader);
		return;
	}
	s->junk += size == 0;
	buf_clear(&s->reply);
	buf_addf(&s->reply, "250 2.0.0 %llu bytes", (unsigned long long)size);
}

void
bdat_verb(struct session *s, const char *arguments)
{
	const char *refused = refusal(s);
	uint64_t size;
	bool last;

	if (!read_arguments(arguments, &size, &last)) {
		session_say(s, "521 5.5.4 Syntax: BDAT SIZE [LAST]");
		s->over = true;
		return;
	}
	if (!refused)
		begin(s);
	if (!receive_bytes(s, refused ? NULL : &s->reader, size)) {
		session_reset(s);
		s->vanished = true;
	} else if (refused) {
		session_say(s, refused);
	} else {
		finish(s, size, last);
	}
}
