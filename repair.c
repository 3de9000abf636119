/* SPDX-License-Identifier: ISC */
/*
 * Content that relays refuse: what can be mended, and what was.
 */
#include "repair.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fold.h"
#include "header.h"
#include "log.h"
#include "message.h"

enum { OWN_MAX = 4 }; /* Received fields of ours; chains of hosts have names */

static bool
has_field(const struct message *m, const char *name, const char *word)
{
	struct field field;
	size_t i;

	if (!header_find(buf_text(&m->header), m->header.len, name, &field))
		return false;
	for (i = 0; i < field.value_len && strchr(" \t\r\n", field.value[i]);)
		i++;
	return field.value_len - i >= strlen(word) &&
	    strncasecmp(field.value + i, word, strlen(word)) == 0;
}

void
repair_add_mime(struct message *m)
{
	bool broken = m->text.broken || (m->is_read && m->text.held_len);

	if (!m->text.beyond || has_field(m, "MIME-Version", ""))
		return;
	buf_adds(&m->header, "MIME-Version: 1.0\r\n");
	if (!has_field(m, "Content-Type", ""))
		buf_addf(&m->header, "Content-Type: text/plain; charset=%s\r\n",
		    broken ? "unknown-8bit" : "utf-8");
	if (!has_field(m, "Content-Transfer-Encoding", ""))
		buf_adds(&m->header, "Content-Transfer-Encoding: 8bit\r\n");
	m->repairs |= REPAIR_MIME;
}

/* Whether a Received field is ours: the words "by HOSTNAME with". */
static bool
is_own(const struct field *f, const char *by, size_t len)
{
	for (size_t i = 0; i + len <= f->value_len; i++)
		if (strncasecmp(f->value + i, by, len) == 0)
			return true;
	return false;
}

const char *
repair_find_loop(const struct message *m, const char *hostname)
{
	char *by = xasprintf("\tby %s with ", hostname);
	struct field field;
	size_t at = 0, own = 0;

	while (header_next(buf_text(&m->header), m->header.len, &at, &field))
		own += field_is(&field, "Received") &&
		    is_own(&field, by, strlen(by));
	free(by);
	return own > OWN_MAX ? "554 5.4.6 Mail loop: the message has been here "
			       "before, so the relay sends it back"
			     : NULL;
}

static bool
is_signed(const struct message *m)
{
	return has_field(m, "DKIM-Signature", "") ||
	    has_field(m, "Content-Type", "multipart/signed") ||
	    has_field(m, "Content-Type", "application/pkcs7") ||
	    has_field(m, "Content-Type", "application/x-pkcs7");
}

bool
repair_is_notable(const struct message *m)
{
	const unsigned harmless = FOLD_CLEAN | REPAIR_MIME;

	return m->repairs & ~harmless || (m->repairs && is_signed(m));
}

void
repair_report(const struct message *m)
{
	static const char *const names[] = {"long header lines folded",
		"a blank put into a long header line",
		"a long header line left as it is",
		"blanks at the end of a long header line left out",
		"bare CR replaced", "NUL replaced",
		"body lines over 998 bytes broken", "MIME fields added"};
	struct buf list = {0};
	bool is_base64 = m->repairs & REPAIR_BROKEN &&
	    has_field(m, "Content-Transfer-Encoding", "base64");

	if (!repair_is_notable(m))
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (m->repairs & 1u << i)
			buf_addf(&list, "%s%s", list.len ? ", " : "",
			    names[i]);
	log_message(is_signed(m) ? LEVEL_WARNING : LEVEL_INFO, "%s: %s%s%s",
	    m->id, buf_text(&list), is_base64 ? ", in base64" : "",
	    is_signed(m) ? "; it is signed, and may no longer be valid" : "");
	buf_free(&list);
}
