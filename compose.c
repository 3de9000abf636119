/* SPDX-License-Identifier: ISC */
/*
 * From a command line and stdin to a message: who sends it, who gets it, and
 * the whole of its content.
 */
#include "compose.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "address.h"
#include "dsn.h"
#include "header.h"
#include "message.h"
#include "sendmail_options.h"

enum {
	PIECE = 32 * 1024,
	ENCODED_MAX = 45, /* bytes of a name in one encoded word */
	NAME_MAX_BYTES = 200, /* which, however written, fit on a line */
	LISTS_MAX = 4 * 1024 * 1024, /* bytes of a header that names thousands
	                              * of recipients, most of them in Bcc */
};

void
compose_add_user(struct buf *out)
{
	struct passwd *user = getpwuid(getuid());

	if (user && address_check(user->pw_name, strlen(user->pw_name)) ==
		ADDRESS_OK)
		buf_adds(out, user->pw_name);
	else
		buf_addf(out, "uid%u", (unsigned)getuid());
}

/* Whether it is an address; if not, why says so. */
static bool
check_address(struct draft *d, const char *text)
{
	enum address_status status = address_check(text, strlen(text));
	struct buf shown = {0};

	if (address_is_good(status)) {
		d->message->utf8 = d->message->utf8 || status == ADDRESS_UTF8;
		return true;
	}
	buf_add_printable(&shown, text, strlen(text), 100);
	buf_addf(&d->why, "the address \"%s\" %s", buf_text(&shown),
	    address_status_text(status));
	buf_free(&shown);
	return false;
}

static bool
set_sender(struct draft *d)
{
	const char *given = d->options->sender;
	size_t len = given ? strlen(given) : 0;
	char *bare;
	bool ok;

	if (given && (!len || strcmp(given, "<>") == 0)) {
		message_set_sender(d->message, "");
		return true;
	}
	if (len > 2 && given[0] == '<' && given[len - 1] == '>')
		bare = xstrndup(given + 1, len - 2);
	else
		bare = xstrdup(given ? given : buf_text(&d->user));
	ok = check_address(d, bare);
	if (ok)
		message_set_sender(d->message, bare);
	free(bare);
	return ok;
}

/* What the sender asks of notices: -N, -R and -V. */
static int
set_wishes(struct draft *d)
{
	const struct sendmail_options *o = d->options;
	struct message *m = d->message;
	struct buf id = {0};

	if (o->returns)
		m->returns = dsn_returns(o->returns, strlen(o->returns));
	if (o->envelope_id)
		dsn_add_xtext(&id, o->envelope_id);
	if (o->notify)
		d->notify = dsn_notify(o->notify, strlen(o->notify));
	if (o->notify && !d->notify)
		buf_adds(&d->why, "-N takes never, or a list of success, "
		    "failure and delay");
	else if (o->returns && !m->returns)
		buf_adds(&d->why, "-R takes full or hdrs");
	else if (o->envelope_id && !dsn_is_envelope_id(buf_text(&id), id.len))
		buf_adds(&d->why, "-V takes up to 100 printable characters");
	else if (id.len)
		m->envelope_id = buf_take(&id);
	buf_free(&id);
	return d->why.len ? EX_USAGE : EX_OK;
}

static void
found_recipient(void *context, const char *mailbox, size_t len)
{
	struct draft *d = context;
	char *text = xstrndup(mailbox, len);

	if (check_address(d, text))
		message_add_recipient(d->message, text);
	free(text);
}

/* Of a domain, the case is no matter (RFC 5321 section 2.4). */
static int
compare_mailboxes(const char *a, const char *b)
{
	const char *at = strrchr(a, '@');
	int order = strcasecmp(a, b);

	if (order)
		return order;
	return strncmp(a, b, at ? (size_t)(at - a) : strlen(a));
}

static int
compare_addresses(const void *a, const void *b)
{
	const struct recipient *const *x = a, *const *y = b;
	int order = compare_mailboxes((*x)->address, (*y)->address);

	return order ? order : (*x > *y) - (*x < *y);
}

/* Every address once, and the first of each stays where it is: the same one
 * in To and on the command line is one recipient. Sorted to find them, since
 * there may be thousands. */
static void
drop_duplicates(struct message *m)
{
	struct recipient **sorted = xcalloc(m->recipient_count,
	    sizeof(struct recipient *));
	size_t kept = 0;

	for (size_t i = 0; i < m->recipient_count; i++)
		sorted[i] = &m->recipients[i];
	qsort(sorted, m->recipient_count, sizeof(struct recipient *),
	    compare_addresses);
	for (size_t i = m->recipient_count; i-- > 1;)
		if (!compare_mailboxes(sorted[i]->address,
			sorted[i - 1]->address)) {
			free(sorted[i]->address);
			sorted[i]->address = NULL;
		}
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].address)
			m->recipients[kept++] = m->recipients[i];
	m->recipient_count = kept;
	free(sorted);
}

static const char *const recipient_fields[] = {"To", "Cc", "Bcc"};
static const char *const resent_fields[] = {
	"Resent-To", "Resent-Cc", "Resent-Bcc"};
/* Of which a block of Resent- fields has one each. */
static const char *const single_fields[] = {
	"Resent-Date", "Resent-From", "Resent-Message-ID"};

/* Whether it is one of these three; then a bit for which. */
static unsigned
is_one_of(const struct field *field, const char *const *names)
{
	for (unsigned i = 0; i < 3; i++)
		if (field_is(field, names[i]))
			return 1u << i;
	return 0;
}

/* Finds the first block of Resent- fields that names recipients: who resends a
 * message puts his block on top of others (RFC 5322 section 3.6.6). A block
 * ends at another field, or where one comes again that it has once. False if
 * there is none. */
static bool
find_resent_block(const struct buf *header, size_t *from, size_t *to)
{
	struct field field;
	unsigned seen = 0;
	bool named = false;

	*from = *to = 0;
	while (header_next(buf_text(header), header->len, to, &field)) {
		bool resent = !strncasecmp(field.start, "Resent-", 7);
		unsigned single = is_one_of(&field, single_fields);

		if ((!resent || single & seen) && named) {
			*to = (size_t)(field.start - header->data);
			break;
		}
		if (!resent || single & seen) {
			*from = (size_t)(field.start - header->data);
			seen = 0;
		}
		seen |= single;
		named = named || is_one_of(&field, resent_fields);
	}
	return named;
}

/* The field on one line, with each gap in it one blank. */
static void
add_unfolded(struct buf *out, const struct field *field)
{
	struct buf line = {0};
	bool gap = false;

	for (size_t i = 0; i < field->len; i++) {
		char c = field->start[i];
		bool blank = c && strchr(" \t\r\n", c);

		if (gap && !blank)
			buf_addc(&line, ' ');
		if (!blank)
			buf_addc(&line, c);
		gap = blank;
	}
	buf_add_printable(out, buf_text(&line), line.len, 200);
	buf_free(&line);
}

/* The recipients that a field names; with a sentence where one of them cannot
 * be read. */
static void
extract_from(struct draft *d, const struct field *field)
{
	size_t broken = address_list(field->value, field->value_len,
	    found_recipient, d);

	if (!broken || d->why.len)
		return;
	buf_addf(&d->why, "%zu of the addresses in \"", broken);
	add_unfolded(&d->why, field);
	buf_adds(&d->why, "\" cannot be read; nobody was sent anything");
}

/* -t: the recipients are in the header; with Resent- fields, in those. */
static void
extract_recipients(struct draft *d)
{
	const struct buf *header = &d->message->header;
	size_t at = 0, end = header->len;
	bool resent = find_resent_block(header, &at, &end);
	struct field field;

	if (!resent)
		at = 0, end = header->len;
	while (header_next(buf_text(header), end, &at, &field))
		if (is_one_of(&field, resent ? resent_fields
					     : recipient_fields))
			extract_from(d, &field);
}

/* A recipient of the command line, or several, separated by commas. */
static void
add_argument(struct draft *d, const char *argument)
{
	struct buf shown = {0};

	if (address_list(argument, strlen(argument), found_recipient, d) &&
	    !d->why.len) {
		buf_add_printable(&shown, argument, strlen(argument), 100);
		buf_addf(&d->why, "the recipient \"%s\" is not an address",
		    buf_text(&shown));
	}
	buf_free(&shown);
}

/* The recipients of -t and of the command line together. */
static int
collect_recipients(struct draft *d)
{
	const struct sendmail_options *o = d->options;

	if (o->extract)
		extract_recipients(d);
	for (size_t i = 0; i < o->recipient_count && !d->why.len; i++)
		add_argument(d, o->recipients[i]);
	if (d->why.len)
		return EX_DATAERR;
	drop_duplicates(d->message);
	for (size_t i = 0; i < d->message->recipient_count; i++)
		d->message->recipients[i].notify = d->notify;
	if (d->message->recipient_count)
		return EX_OK;
	buf_adds(&d->why, o->extract
		? "no recipients: neither To, Cc nor Bcc names anybody"
		: "no recipients: name them, or use -t to take them from the "
		  "header");
	return EX_USAGE;
}

/* How much of the text to take at a time, with no half character at its end. */
static size_t
piece_length(const char *text, size_t most)
{
	size_t len = strnlen(text, most);

	while (text[len] && len > 1 && (text[len] & 0xc0) == 0x80)
		len--;
	return len;
}

/* Encoded words (RFC 2047), none of them over 75 bytes and none with half a
 * character in it. */
static void
add_encoded(struct buf *out, const char *name)
{
	size_t left = strlen(name);

	while (left) {
		size_t len = piece_length(name, ENCODED_MAX);

		buf_adds(out, "=?UTF-8?B?");
		buf_add_base64(out, name, len);
		buf_adds(out, "?=");
		name += len;
		left -= len;
		buf_adds(out, left ? " " : "");
	}
}

/* A phrase for the From field (RFC 5322 section 3.2.5), whatever is in it. */
static void
add_phrase(struct buf *out, const char *name)
{
	bool plain = true;

	for (const char *c = name; *c; c++)
		plain = plain && *c >= ' ' && *c <= '~';
	if (!plain) {
		add_encoded(out, name);
		return;
	}
	buf_addc(out, '"');
	for (const char *c = name; *c; c++) {
		if (*c == '"' || *c == '\\')
			buf_addc(out, '\\');
		buf_addc(out, *c);
	}
	buf_addc(out, '"');
}

/* The value of a From field that is missing. */
static void
make_from(const struct draft *d, struct buf *out)
{
	const char *given = d->options->full_name ? d->options->full_name : "";
	const char *sender = d->message->sender;
	char *name = xstrndup(given, piece_length(given, NAME_MAX_BYTES));

	if (*name)
		add_phrase(out, name);
	if (!*sender)
		sender = buf_text(&d->user);
	buf_addf(out, "%s%s", *name ? " <" : "", sender);
	buf_adds(out, *name ? ">" : "");
	free(name);
}

/* Reads stdin to its end, even behind a dot that ends the message: a caller
 * that is still writing must not get a broken pipe. */
static bool
read_stdin(struct draft *d, struct data_reader *reader)
{
	char *piece = xmalloc(PIECE);
	ssize_t got;

	for (;;) {
		got = read(STDIN_FILENO, piece, PIECE);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		if (!data_ended(reader))
			message_read(d->message, reader, piece, (size_t)got);
	}
	free(piece);
	if (got < 0)
		buf_addf(&d->why, "cannot read the message: %s",
		    strerror(errno));
	return got == 0;
}

/* Reads the content of the message from stdin. */
static int
read_message(struct draft *d)
{
	struct data_reader reader;
	const char *fault;

	data_start(&reader, d->options->dot_is_content ? DATA_FROM_STDIN_RAW
						      : DATA_FROM_STDIN);
	if (!read_stdin(d, &reader))
		return EX_IOERR;
	fault = message_finish(d->message, &reader);
	if (!fault)
		return EX_OK;
	buf_addf(&d->why, "the message is refused: %s", fault);
	if (message_size(d->message) > d->limit)
		buf_addf(&d->why, ", %llu bytes", (unsigned long long)d->limit);
	return fault[0] == '4' ? EX_TEMPFAIL : EX_DATAERR;
}

int
compose_recipients(struct draft *d)
{
	int status = EX_OK;

	d->message = message_new(NULL, d->limit);
	message_set_sender(d->message, "");
	if (d->options->extract)
		status = read_message(d);
	return status == EX_OK ? collect_recipients(d) : status;
}

int
compose(struct draft *d)
{
	struct buf from = {0};
	int status;

	compose_add_user(&d->user);
	d->message = message_new(NULL, d->limit);
	status = set_wishes(d);
	if (status != EX_OK)
		return status;
	if (!set_sender(d))
		return EX_DATAERR;
	if (d->options->extract)
		d->message->header_limit = LISTS_MAX;
	status = read_message(d);
	if (status == EX_OK)
		status = collect_recipients(d);
	if (status != EX_OK)
		return status;
	make_from(d, &from);
	message_complete(d->message, d->hostname, from.data);
	buf_free(&from);
	if (d->message->header.len <= MESSAGE_HEADER_MAX)
		return EX_OK;
	buf_adds(&d->why, "the message is refused: without Bcc, its header is "
	    "larger than 256 KiB");
	return EX_DATAERR;
}

void
compose_free(struct draft *d)
{
	message_free(d->message);
	buf_free(&d->user);
	buf_free(&d->why);
}
