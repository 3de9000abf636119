/* SPDX-License-Identifier: ISC */
/*
 * The arguments of MAIL and RCPT. A parameter that is not known is refused
 * and never ignored: the client relies on it.
 */
#include "command.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "dsn.h"
#include "utf8.h"

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
	case ADDRESS_NOT_UTF8:
		return "553 5.6.7 The address is neither ASCII nor UTF-8";
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
	if (!address_is_good(status) && status != ADDRESS_EMPTY)
		return refusal_of(status);
	*rest = arguments + used;
	if (**rest && **rest != ' ')
		return refusal_of(ADDRESS_SYNTAX);
	return NULL;
}

/* --- Parameters ---------------------------------------------------------- */

/* One takes its value, len bytes; with none, value is NULL and len is 0. */
typedef const char *take(struct command *, const char *value, size_t len);

/* RFC 1870: digits, however many. */
static const char *
take_size(struct command *c, const char *value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)value[i]))
			len = 0;
	if (len == 0)
		return "501 5.5.4 SIZE needs a number";
	for (; len > 1 && *value == '0'; len--)
		value++;
	if (len < 19)
		c->size = strtoull(value, NULL, 10);
	if (len >= 19 || c->size > c->max_message)
		return "552 5.3.4 The message is larger than max_message";
	return NULL;
}

/* What the body really is, we see for ourselves. */
static const char *
take_body(struct command *c, const char *value, size_t len)
{
	(void)c;
	if (is_word("7BIT", value, len) || is_word("8BITMIME", value, len))
		return NULL;
	return "501 5.5.4 BODY is 7BIT or 8BITMIME";
}

static const char *
take_utf8(struct command *c, const char *value, size_t len)
{
	(void)len;
	if (value)
		return "501 5.5.4 SMTPUTF8 takes no value";
	c->utf8 = true;
	return NULL;
}

static const char *
take_returns(struct command *c, const char *value, size_t len)
{
	c->returns = dsn_returns(value, len);
	return c->returns ? NULL : "501 5.5.4 RET is FULL or HDRS";
}

static const char *
take_envelope_id(struct command *c, const char *value, size_t len)
{
	if (!dsn_is_envelope_id(value, len))
		return "501 5.5.4 ENVID is not xtext, or too long";
	buf_add(&c->envelope_id, value, len);
	return NULL;
}

static const char *
take_notify(struct command *c, const char *value, size_t len)
{
	c->notify = dsn_notify(value, len);
	return c->notify ? NULL : "501 5.5.4 NOTIFY is NEVER, or a list of "
				  "SUCCESS, FAILURE and DELAY";
}

static const char *
take_original(struct command *c, const char *value, size_t len)
{
	if (!dsn_is_original(value, len, c->utf8))
		return "501 5.5.4 ORCPT is not a type and xtext, or too long";
	buf_add(&c->original, value, len);
	return NULL;
}

/* Who the client says that it is: nobody here believes it. */
static const char *
take_auth(struct command *c, const char *value, size_t len)
{
	(void)c, (void)value;
	return len ? NULL : "501 5.5.4 AUTH needs a value";
}

#define IN(member) offsetof(struct command, member)

struct parameter {
	const char *name;
	size_t extension; /* that it belongs to: the offset of its switch in
	                   * struct command, or 0 */
	take *take;
};

static const struct parameter mail_parameters[] = {
	{"SIZE", 0, take_size},
	{"BODY", 0, take_body},
	{"SMTPUTF8", 0, take_utf8},
	{"RET", IN(dsn), take_returns},
	{"ENVID", IN(dsn), take_envelope_id},
	{"AUTH", IN(auth), take_auth},
	{NULL, 0, NULL},
};

static const struct parameter rcpt_parameters[] = {
	{"NOTIFY", IN(dsn), take_notify},
	{"ORCPT", IN(dsn), take_original},
	{NULL, 0, NULL},
};

static bool
is_offered(const struct command *c, const struct parameter *p)
{
	return !p->extension ||
	    *(const bool *)((const char *)c + p->extension);
}

static const struct parameter *
find_parameter(const struct command *c, const struct parameter *known,
    const char *name, size_t len)
{
	for (; known->name; known++)
		if (is_word(known->name, name, len) && is_offered(c, known))
			return known;
	return NULL;
}

/* Each at most once (RFC 5321 section 4.1.1.11), between blanks. */
static const char *
read_parameters(struct command *c, const struct parameter *known,
    const char *text)
{
	const char *refusal = NULL;
	unsigned seen = 0;

	while (!refusal && *(text += strspn(text, " "))) {
		size_t len = strcspn(text, " "), name = strcspn(text, "= ");
		const char *value = name < len ? text + name + 1 : NULL;
		const struct parameter *p;

		p = find_parameter(c, known, text, name);
		if (!p)
			return "555 5.5.4 That parameter is not supported";
		if (seen >> (p - known) & 1)
			return "501 5.5.4 The same parameter twice";
		seen |= 1U << (p - known);
		refusal = p->take(c, value, value ? len - name - 1 : 0);
		text += len;
	}
	return refusal;
}

/* --- The commands -------------------------------------------------------- */

static const char *
read_command(struct command *c, const char *word,
    const struct parameter *known, const char *arguments)
{
	const char *rest, *refusal;

	refusal = read_path(arguments, word, &c->mailbox, &rest);
	if (!refusal)
		refusal = read_parameters(c, known, rest);
	if (!refusal && !c->utf8 && !utf8_is_ascii(buf_text(&c->mailbox)))
		refusal = "553 5.6.7 The address is not ASCII, and MAIL was "
			  "said without SMTPUTF8";
	return refusal;
}

const char *
command_mail(struct command *c, const char *arguments)
{
	return read_command(c, "FROM", mail_parameters, arguments);
}

const char *
command_rcpt(struct command *c, const char *arguments)
{
	const char *refusal = read_command(c, "TO", rcpt_parameters, arguments);

	if (!refusal && !c->mailbox.len)
		refusal = "501 5.1.3 A recipient is expected";
	return refusal;
}

void
command_free(struct command *c)
{
	buf_free(&c->mailbox);
	buf_free(&c->envelope_id);
	buf_free(&c->original);
}
