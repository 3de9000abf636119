/* SPDX-License-Identifier: ISC */
/*
 * As whom a message is sent: addresses without a domain are completed, and
 * senders that the relay would refuse are replaced, in the envelope and in the
 * header together. This is done at each attempt, on the way out, so that a
 * corrected configuration cures what already waits.
 *
 * The header is edited where an address stands, and nowhere else: names,
 * comments, folding and all other fields stay byte for byte. Only two forms
 * are written anew, since what they hold is no address and a name:
 *
 *     root (Cron Daemon)     "Cron Daemon" <from>
 *     what is no address     "what is no address" <from>
 */
#include "identity.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "fold.h"
#include "header.h"
#include "log.h"

enum { NAME_MAX_BYTES = 200 };

struct identity
identity_of(const struct config *config, const struct upstream *u)
{
	const char *domain = config->identity.domain;

	return (struct identity){
		.domain = domain ? domain : config->hostname,
		.from = u->from,
		.rewrite = u->rewrite,
		.add_header = config->identity.add_header,
		.remove_header = config->identity.remove_header,
	};
}

bool
identity_is_unqualified(const char *address)
{
	const char *at = strrchr(address, '@');

	if (!address_is_qualified(address))
		return true;
	return at[1] != '[' &&
	    (!strchr(at, '.') || !strncasecmp(at, "@localhost.", 11));
}

/* The header while it is copied. */
struct edit {
	const struct identity *identity;
	const char *header;
	size_t len;
	size_t copied;        /* of it */
	struct buf out;
	struct buf originals; /* replaced in From, for Reply-To */
	const char *value;    /* of the field in hand */
	size_t mailboxes;     /* in it, */
	size_t bare, foreign; /* those without a domain, and to be replaced */
	bool bracketed;       /* one of them is, */
	bool naked;           /* and a bare one is not */
	bool is_from;
	bool replaced;        /* something in From was */
	bool changed;         /* there is a copy */
};

/* Has the text stand in the place of these bytes of the header. */
static void
put(struct edit *e, const char *start, const char *end, const char *text)
{
	size_t from = (size_t)(start - e->header);

	buf_add(&e->out, e->header + e->copied, from - e->copied);
	buf_adds(&e->out, text);
	e->copied = (size_t)(end - e->header);
	e->changed = true;
}

static bool
must_be_replaced(const struct identity *id, const char *address)
{
	if (id->rewrite == REWRITE_NEVER || !strcasecmp(address, id->from))
		return false;
	return id->rewrite == REWRITE_ALWAYS ||
	    identity_is_unqualified(address);
}

static void
count_mailbox(void *context, const struct mailbox *m)
{
	struct edit *e = context;

	e->mailboxes++;
	e->bare += !address_is_qualified(m->text);
	e->foreign += must_be_replaced(e->identity, m->text);
	e->bracketed |= m->bracketed;
	e->naked |= !m->bracketed && !address_is_qualified(m->text);
}

/* --- Completed ----------------------------------------------------------- */

static void
complete_mailbox(void *context, const struct mailbox *m)
{
	struct edit *e = context;
	const char *end = e->value + m->end;

	if (address_is_qualified(m->text))
		return;
	put(e, end, end, "@");
	buf_adds(&e->out, e->identity->domain);
}

/* --- Replaced ------------------------------------------------------------ */

static void
note_original(struct edit *e, const char *address)
{
	struct buf *out = &e->originals;

	buf_adds(out, out->len ? ",\r\n\t" : "");
	buf_adds(out, address);
	if (!address_is_qualified(address) && e->identity->domain)
		buf_addf(out, "@%s", e->identity->domain);
}

/* A name from what stands there: as it is if it has encoded words in it, which
 * mean nothing between quotes (RFC 2047 section 5), and quoted otherwise.
 * False if it cannot be one. */
static bool
add_name(struct buf *out, const char *s, size_t len)
{
	bool encoded = memmem(s, len, "=?", 2);

	if (!len || len > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
		if (s[i] < ' ' || s[i] > '~' ||
		    strchr(encoded ? "()<>[]:;@\\,.\"" : "\\\"()", s[i]))
			return false;
	buf_addf(out, encoded ? "%.*s " : "\"%.*s\" ", (int)len, s);
	return true;
}

static bool
is_blank(char c)
{
	return c && strchr(" \t\r\n", c);
}

/* Moves both ends to what is not blank. */
static void
trim(const char **start, const char **end)
{
	while (*start < *end && is_blank(**start))
		(*start)++;
	while (*start < *end && is_blank((*end)[-1]))
		(*end)--;
}

/* "root (Cron Daemon)": the comment is the name. False if there is none. */
static bool
replace_with_comment(struct edit *e, const struct mailbox *m)
{
	const char *start = e->value + m->end, *end = e->value + m->stop;
	struct buf name = {0};
	bool is_name;

	trim(&start, &end);
	if (m->bracketed || end - start < 2 || *start != '(' || end[-1] != ')')
		return false;
	is_name = add_name(&name, start + 1, (size_t)(end - start) - 2);
	if (is_name) {
		put(e, e->value + m->start, end, name.data);
		buf_addf(&e->out, "<%s>", e->identity->from);
	}
	buf_free(&name);
	return is_name;
}

static void
replace_mailbox(void *context, const struct mailbox *m)
{
	struct edit *e = context;

	if (!must_be_replaced(e->identity, m->text))
		return;
	if (e->is_from)
		note_original(e, m->text);
	if (!replace_with_comment(e, m))
		put(e, e->value + m->start, e->value + m->end,
		    e->identity->from);
}

/* No list of addresses: what stands there becomes a name, up to the address
 * that may stand behind it. */
static void
replace_value(struct edit *e, const struct field *field)
{
	const char *start = field->value, *end = start + field->value_len;
	const char *angle = memchr(start, '<', field->value_len);
	const char *name_end = angle ? angle : end;

	while (end > start && is_blank(end[-1]))
		end--;
	put(e, start, end, " "); /* the line end stays, whatever is on it */
	trim(&start, &name_end);
	(void)add_name(&e->out, start, (size_t)(name_end - start));
	buf_addf(&e->out, "<%s>", e->identity->from);
}

static void
note_good_original(void *context, const struct mailbox *m)
{
	struct edit *e = context;

	if (address_is_qualified(m->text) &&
	    strcasecmp(m->text, e->identity->from) != 0)
		note_original(e, m->text);
}

/* "Smith, John <john@x>": a name that should have been quoted. Nobody has a
 * bare address beside one in brackets in From. */
static bool
is_broken_name(const struct edit *e)
{
	return e->naked && e->bracketed;
}

/* --- Field by field ------------------------------------------------------ */

static void
edit_sender(struct edit *e, const struct field *field, size_t broken)
{
	bool valid = e->mailboxes && !broken && !is_broken_name(e);

	if (e->identity->rewrite != REWRITE_NEVER && !valid) {
		replace_value(e, field);
		if (e->is_from)
			mailbox_list(field->value, field->value_len,
			    note_good_original, e);
		e->replaced |= e->is_from;
	} else if (e->foreign) {
		mailbox_list(field->value, field->value_len, replace_mailbox,
		    e);
		e->replaced |= e->is_from;
	} else if (valid && e->bare && e->identity->domain) {
		mailbox_list(field->value, field->value_len, complete_mailbox,
		    e);
	}
}

static bool
is_one_of(const struct field *field, const char *const *names)
{
	for (; *names; names++)
		if (field_is(field, *names))
			return true;
	return false;
}

static bool
is_removed(const struct identity *id, const struct field *field)
{
	const char *s = id->remove_header ? id->remove_header : "";
	bool found = false;

	while (*s && !found) {
		size_t len = strcspn(s, " ");
		char *name = xstrndup(s, len);

		found = field_is(field, name);
		free(name);
		s += len + (s[len] == ' ');
	}
	return found;
}

static void
edit_field(struct edit *e, const struct field *field)
{
	static const char *const senders[] = {"From", "Sender", NULL};
	static const char *const others[] = {"To", "Cc", "Reply-To",
		"Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc",
		"Resent-Reply-To", NULL};
	bool is_sender = is_one_of(field, senders);
	size_t broken;

	if (!is_sender && (!e->identity->domain || !is_one_of(field, others)))
		return;
	e->value = field->value;
	e->is_from = is_sender && field_is(field, "From");
	e->mailboxes = e->bare = e->foreign = 0;
	e->bracketed = e->naked = false;
	broken = mailbox_list(field->value, field->value_len, count_mailbox,
	    e);
	if (is_sender)
		edit_sender(e, field, broken);
	else if (e->bare)
		mailbox_list(field->value, field->value_len, complete_mailbox,
		    e);
}

static bool
has_field(const struct edit *e, const char *name)
{
	struct field field;

	return header_find(e->header, e->len, name, &field);
}

static void
add_field(struct edit *e, const char *name, const char *value)
{
	const char *end = e->header + e->len;

	put(e, end, end, name);
	buf_addf(&e->out, ": %s\r\n", value);
}

static void
edit_header(struct edit *e)
{
	struct field field;
	size_t at = 0;

	while (header_next(e->header, e->len, &at, &field))
		if (is_removed(e->identity, &field))
			put(e, field.start, field.start + field.len, "");
		else
			edit_field(e, &field);
	if (e->identity->rewrite != REWRITE_NEVER && !has_field(e, "From"))
		add_field(e, "From", e->identity->from);
	if (e->originals.len && !has_field(e, "Reply-To"))
		add_field(e, "Reply-To", e->originals.data);
	if (e->identity->add_header)
		put(e, e->header + e->len, e->header + e->len,
		    e->identity->add_header);
	if (e->changed)
		buf_add(&e->out, e->header + e->copied, e->len - e->copied);
}

/* --- The message --------------------------------------------------------- */

/* What has been tried before was logged then. */
static bool
is_new(const struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].code ||
		    (m->recipients[i].reply && *m->recipients[i].reply))
			return false;
	return true;
}

/* The null sender stays: there must be no notice about a notice. */
static char *
render_sender(const struct identity *id, const char *sender)
{
	if (!*sender)
		return NULL;
	if (must_be_replaced(id, sender))
		return xstrdup(id->from);
	if (id->domain && !address_is_qualified(sender))
		return xasprintf("%s@%s", sender, id->domain);
	return NULL;
}

/* All that is sent, and nothing that a session may be writing to right now. */
static void
share(struct message *out, const struct message *m)
{
	*out = (struct message){
		.sender = m->sender,
		.recipients = m->recipients,
		.recipient_count = m->recipient_count,
		.header = m->header,
		.body = m->body,
		.eight_bit = m->eight_bit,
		.utf8 = m->utf8,
		.returns = m->returns,
		.envelope_id = m->envelope_id,
		.owner = m->owner,
		.arrived = m->arrived,
		.arrived_at = m->arrived_at,
		.file = -1,
		.incoming = -1,
	};
	memcpy(out->id, m->id, sizeof(out->id));
}

struct message *
identity_render(const struct identity *id, struct message *m,
    struct outgoing *out)
{
	struct edit e = {.identity = id, .header = buf_text(&m->header),
		.len = m->header.len};

	share(&out->message, m);
	for (size_t i = 0; i < m->recipient_count; i++)
		m->recipients[i].domain = id->domain;
	edit_header(&e);
	if (e.replaced && has_field(&e, "DKIM-Signature") && is_new(m))
		log_message(LEVEL_WARNING, "%s has a DKIM signature that does "
		    "not fit any more, since rewrite replaced its From by %s",
		    m->id, id->from);
	out->sender = render_sender(id, m->sender);
	out->header = e.out;
	if (out->sender)
		out->message.sender = out->sender;
	if (e.changed) { /* lines have become longer */
		(void)fold_header(&out->header);
		out->message.header = out->header;
	}
	buf_free(&e.originals);
	return &out->message;
}

void
outgoing_free(struct outgoing *out)
{
	free(out->sender);
	buf_free(&out->header);
}
