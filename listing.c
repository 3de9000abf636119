/* SPDX-License-Identifier: ISC */
/*
 * Questions about a spool.
 */
#include "listing.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "catalog.h"
#include "message.h"

enum { PIECE = 32 * 1024 };

bool
asker_may_see(const struct asker *asker, const struct message *m)
{
	return asker->everything ||
	    (m && m->owner != NO_OWNER && m->owner == asker->uid);
}

/* A walk through a directory. */
struct cursor {
	const struct listing *listing;
	struct catalog catalog;
	size_t at;
	bool glance; /* the messages themselves are not wanted */
};

/* False with errno set; otherwise the caller frees its catalog. */
static bool
start(struct cursor *c, const struct listing *l, bool failed)
{
	int error;

	*c = (struct cursor){.listing = l, .catalog.directory = -1};
	if (!l->spool || catalog_read(&c->catalog, l->spool, failed))
		return true;
	error = errno;
	catalog_free(&c->catalog);
	errno = error;
	return false;
}

/* The next one that the asker may see; false at the end. */
static bool
next(struct cursor *c, struct entry *e)
{
	const struct asker *asker = &c->listing->asker;
	bool (*look)(struct entry *, const struct catalog *, const char *) =
	    c->glance && asker->everything ? entry_glance : entry_open;
	char name[CATALOG_NAME_SIZE];

	while (c->at < c->catalog.count) {
		catalog_name(&c->catalog, c->at++, name);
		if (!look(e, &c->catalog, name))
			continue;
		if (asker_may_see(asker, e->message))
			return true;
		entry_close(e);
	}
	return false;
}

bool
listing_each(const struct listing *l, bool failed, listing_found *found,
    void *context)
{
	struct cursor c;
	struct entry e;

	if (!start(&c, l, failed))
		return false;
	while (next(&c, &e)) {
		found(context, &e);
		entry_close(&e);
	}
	catalog_free(&c.catalog);
	return true;
}

/* --- The list ------------------------------------------------------------ */

static bool
write_buf(const struct listing *l, struct buf *text)
{
	bool ok = !text->len || l->write(l->context, text->data, text->len);

	buf_clear(text);
	return ok;
}

static void
add_brief(struct buf *out, const struct entry *e, const struct standing *s)
{
	buf_addf(out, "%s %llx.%lx%s\n", e->name,
	    (unsigned long long)e->file.st_ctim.tv_sec,
	    (unsigned long)e->file.st_ctim.tv_nsec,
	    e->message && s->paused ? " paused" : "");
}

/* How things stand for that message. */
static struct standing
standing_of(const struct listing *l, const struct entry *e)
{
	struct standing s = l->standing;

	if (l->add_sender && e->message)
		l->add_sender(l->sender_context, e->message->sender, &s);
	return s;
}

static void
add_entry(struct buf *out, const struct listing *l, enum listing_form form,
    const struct entry *e, size_t count)
{
	const struct standing standing = standing_of(l, e);

	if (form == LISTING_BRIEF) {
		add_brief(out, e, &standing);
	} else if (form == LISTING_JSON) {
		buf_adds(out, count ? ",\n" : "\n");
		view_add_json(out, e, &standing);
	} else {
		if (!count)
			buf_adds(out, "-Queue ID-                         "
			    "--Size-- ---Arrival Time--- -Sender/Recipient"
			    "-------\n");
		view_add_text(out, e, &standing);
	}
}

/* The last line is one that scripts have been looking for for decades. */
static void
add_end_of_text(struct buf *out, const struct listing *l, uint64_t bytes,
    size_t count)
{
	if (count)
		buf_addf(out, "-- %llu Kbytes in %zu Request%s.",
		    (unsigned long long)(bytes + 1023) / 1024, count,
		    count == 1 ? "" : "s");
	else
		buf_adds(out, "Mail queue is empty");
	if (!l->asker.everything)
		buf_addf(out, " (only your own messages are shown)");
	buf_addc(out, '\n');
}

static void
add_end(struct buf *out, const struct listing *l, enum listing_form form,
    uint64_t bytes, size_t count)
{
	if (form == LISTING_JSON)
		buf_adds(out, count ? "\n]\n" : "]\n");
	else
		buf_adds(out, l->notes ? l->notes : "");
	if (form == LISTING_TEXT)
		add_end_of_text(out, l, bytes, count);
}

bool
listing_list(const struct listing *l, enum listing_form form, bool failed,
    size_t *count)
{
	struct buf text = {0};
	uint64_t bytes = 0;
	struct cursor c;
	struct entry e;
	bool ok = true;

	*count = 0;
	if (!start(&c, l, failed))
		return false;
	c.glance = form == LISTING_BRIEF;
	buf_adds(&text, form == LISTING_JSON ? "[" : "");
	while (ok && next(&c, &e)) {
		add_entry(&text, l, form, &e, (*count)++);
		bytes += e.message ? message_size(e.message) : 0;
		entry_close(&e);
		ok = write_buf(l, &text);
	}
	add_end(&text, l, form, bytes, *count);
	if (ok)
		write_buf(l, &text);
	buf_free(&text);
	catalog_free(&c.catalog);
	return true;
}

/* --- One message --------------------------------------------------------- */

/* The file with that name, if the asker may see it. */
static bool
find_by_name(const struct listing *l, const char *id, bool failed,
    struct entry *e)
{
	struct catalog catalog;
	bool found;

	found = catalog_open(&catalog, l->spool, failed) &&
	    entry_open(e, &catalog, id);
	catalog_free(&catalog);
	if (!found || asker_may_see(&l->asker, e->message))
		return found;
	entry_close(e);
	return false;
}

/* In failed/ a file may have the name of its notice. */
static bool
find_failed(const struct listing *l, const char *id, struct entry *e)
{
	struct cursor c;
	bool found = false;

	if (!start(&c, l, true))
		return false;
	while (!found && next(&c, e)) {
		found = e->message && strcmp(e->message->id, id) == 0;
		if (!found)
			entry_close(e);
	}
	catalog_free(&c.catalog);
	return found;
}

bool
listing_has(const struct listing *l, const char *id)
{
	struct queue_id ignored;
	struct entry e;

	if (!l->spool || !queue_id_read(&ignored, id) ||
	    !find_by_name(l, id, false, &e))
		return false;
	entry_close(&e);
	return true;
}

/* Content has CR LF line ends and no other CR. */
static bool
write_without_cr(const struct listing *l, struct buf *text, const char *bytes,
    size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != '\r')
			buf_addc(text, bytes[i]);
	return write_buf(l, text);
}

static void
write_content(const struct listing *l, const struct message *m)
{
	char *piece = xmalloc(PIECE);
	struct buf text = {0};
	uint64_t at = 0;
	ptrdiff_t got;
	bool ok;

	buf_addc(&text, '\n');
	ok = write_without_cr(l, &text, buf_text(&m->header), m->header.len);
	buf_addc(&text, '\n');
	while (ok && (got = body_read(&m->body, at, piece, PIECE)) > 0) {
		at += (uint64_t)got;
		ok = write_without_cr(l, &text, piece, (size_t)got);
	}
	if (ok)
		write_buf(l, &text);
	buf_free(&text);
	free(piece);
}

bool
listing_show(const struct listing *l, const char *id)
{
	struct queue_id ignored;
	struct standing standing;
	struct buf text = {0};
	struct entry e;

	if (!l->spool || !queue_id_read(&ignored, id))
		return false;
	if (!find_by_name(l, id, false, &e) &&
	    !find_by_name(l, id, true, &e) && !find_failed(l, id, &e))
		return false;
	standing = standing_of(l, &e);
	view_add_envelope(&text, &e, &standing);
	if (write_buf(l, &text) && e.message)
		write_content(l, e.message);
	entry_close(&e);
	buf_free(&text);
	return true;
}
