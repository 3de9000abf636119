/* SPDX-License-Identifier: ISC */
/*
 * The arguments of MAIL and RCPT. A parameter that is not known is refused
 * and never ignored: the client relies on it.
 */
#include "command.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "buf.h"

static bool
is_word(const char *word, const char *s, size_t len)
{
	return strlen(word) == len && strncasecmp(word, s, len) == 0;
}

/* The reply that refuses an address of that status. */
static const char *
refusal_of(enum address_status status)
{
	switch (status) {
	case ADDRESS_NOT_ASCII:
		return "553 5.6.7 The address is not ASCII, and SMTPUTF8 is "
		       "not offered here";
	case ADDRESS_OPTION:
		return "553 5.1.3 The address begins with a hyphen";
	case ADDRESS_TOO_LONG:
		return "501 5.1.3 The address is too long";
	default:
		return "501 5.1.3 That is not an address";
	}
}

/* Reads FROM or TO, a colon and the path; *rest is what stands behind it. */
static const char *
read_path(const char *arguments, const char *word, struct buf *mailbox,
    const char **rest)
{
	size_t len = strlen(word), used = 0;
	enum address_status status;

	if (strncasecmp(arguments, word, len) != 0)
		return "501 5.5.4 Syntax: MAIL FROM:<address> or "
		       "RCPT TO:<address>";
	arguments += len;
	arguments += strspn(arguments, " ");
	if (*arguments++ != ':')
		return "501 5.5.4 A colon is missing";
	status = address_path(arguments, strlen(arguments), mailbox, &used);
	if (status != ADDRESS_OK && status != ADDRESS_EMPTY)
		return refusal_of(status);
	*rest = arguments + used;
	if (**rest && **rest != ' ')
		return refusal_of(ADDRESS_SYNTAX);
	return NULL;
}

/* RFC 1870: digits, however many. */
static const char *
check_size(const char *value, size_t len, uint64_t max_message,
    uint64_t *size)
{
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)value[i]))
			len = 0;
	if (len == 0)
		return "501 5.5.4 SIZE needs a number";
	if (len < 19)
		*size = strtoull(value, NULL, 10);
	if (len >= 19 || *size > max_message)
		return "552 5.3.4 The message is larger than max_message";
	return NULL;
}

static const char *
check_body(const char *value, size_t len)
{
	if (is_word("7BIT", value, len) || is_word("8BITMIME", value, len))
		return NULL;
	return "501 5.5.4 BODY is 7BIT or 8BITMIME";
}

const char *
command_mail(const char *arguments, uint64_t max_message, uint64_t *size,
    struct buf *mailbox)
{
	bool size_seen = false, body_seen = false;
	const char *text, *refusal;

	*size = 0;
	refusal = read_path(arguments, "FROM", mailbox, &text);
	while (!refusal && *(text += strspn(text, " "))) {
		size_t len = strcspn(text, " ");
		size_t name = strcspn(text, "= ");
		const char *value = text + name + (text[name] == '=');
		size_t value_len = len - (size_t)(value - text);
		bool is_size = is_word("SIZE", text, name);
		bool *seen = is_size ? &size_seen : &body_seen;

		if (!is_size && !is_word("BODY", text, name))
			refusal = "555 5.5.4 That parameter is not supported";
		else if (*seen)
			refusal = "501 5.5.4 The same parameter twice";
		else if (is_size)
			refusal = check_size(value, value_len, max_message,
			    size);
		else
			refusal = check_body(value, value_len);
		*seen = true;
		text += len;
	}
	return refusal;
}

const char *
command_rcpt(const char *arguments, struct buf *mailbox)
{
	const char *text, *refusal;

	refusal = read_path(arguments, "TO", mailbox, &text);
	if (refusal)
		return refusal;
	if (!mailbox->len)
		return "501 5.1.3 A recipient is expected";
	if (text[strspn(text, " ")])
		return "555 5.5.4 RCPT takes no parameters here";
	return NULL;
}
