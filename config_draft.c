/* SPDX-License-Identifier: ISC */
/*
 * A configuration in the making: which key was set where, and the sentences
 * about what is wrong. Here the rules that are the same for a line and for a
 * variable: a key is known, set once, has a value, and the value is what the
 * key takes. No sentence shows a secret, nor what might be a piece of one.
 */
#include "config_draft.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "config.h"

enum { SHOWN_BYTES = 80, SENTENCE_BYTES = 600 };

void
draft_start(struct draft *draft, struct config *config)
{
	*config = (struct config){0};
	config->upstreams = xcalloc(UPSTREAMS_MAX, sizeof(struct upstream));
	draft->config = config;
	draft->smarthost.section = section_find("smarthost");
	draft->smarthost.target = config;
	draft->listen.section = section_find("listen");
	draft->listen.target = &config->listen;
	draft->queue.section = section_find("queue");
	draft->queue.target = &config->queue;
	draft->identity.section = section_find("identity");
	draft->identity.target = &config->identity;
	draft->staging.section = section_find("staging");
	draft->staging.target = &config->staging;
}

bool
draft_finish(struct draft *draft)
{
	if (draft->complaints > COMPLAINTS_MAX)
		buf_addf(draft->error, "and %u more\n",
		    draft->complaints - COMPLAINTS_MAX);
	return draft->complaints == 0;
}

static void
add_upper(struct buf *out, const char *s)
{
	for (; *s; s++)
		buf_addc(out, isalnum((unsigned char)*s)
		    ? (char)toupper((unsigned char)*s) : '_');
}

/* SMARTHOST_<KEY>, SMARTHOST_<SECTION>_<KEY> or
 * SMARTHOST_UPSTREAM_<NAME>__<KEY>. */
static void
add_variable(struct buf *out, const struct place *place)
{
	const struct block *block = place->block;

	buf_adds(out, "SMARTHOST_");
	if (strcmp(block->section->name, "smarthost") != 0) {
		add_upper(out, block->section->name);
		buf_addc(out, '_');
	}
	if (block->name && strcmp(block->name, "default") != 0) {
		add_upper(out, block->name);
		buf_adds(out, "__");
	}
	add_upper(out, place->key ? place->key : "");
}

static void
add_line(struct buf *out, const struct draft *draft, const struct place *place)
{
	const struct block *block = place->block;
	unsigned line = place->where;

	if (!line && block)
		line = block->header;
	buf_adds(out, draft->file ? draft->file : "environment");
	if (line)
		buf_addf(out, ":%u", line);
	if (block && block->name && strcmp(block->name, "default") != 0)
		buf_addf(out, ": [%s %s]", block->section->name, block->name);
	else if (block)
		buf_addf(out, ": [%s]", block->section->name);
	if (place->key)
		buf_addf(out, " %s", place->key);
}

static void add_sentence(struct buf *, const struct draft *,
    const struct place *, const char *format, va_list)
    __attribute__((format(printf, 4, 0)));

static void
add_sentence(struct buf *out, const struct draft *draft,
    const struct place *place, const char *format, va_list args)
{
	char text[SENTENCE_BYTES];

	if (place->where == IN_ENVIRONMENT && !place->block)
		buf_add_printable(out, place->key, strlen(place->key),
		    SHOWN_BYTES);
	else if (place->where == IN_ENVIRONMENT)
		add_variable(out, place);
	else
		add_line(out, draft, place);
	if (place->value) {
		buf_adds(out, " = \"");
		buf_add_printable(out, place->value, strlen(place->value),
		    SHOWN_BYTES);
		buf_adds(out, "\"");
	}
	vsnprintf(text, sizeof(text), format, args);
	buf_adds(out, ": ");
	buf_add_printable(out, text, strlen(text), sizeof(text));
	buf_addc(out, '\n');
}

void
draft_complain(struct draft *draft, const struct place *place,
    const char *format, ...)
{
	va_list args;

	if (draft->complaints++ >= COMPLAINTS_MAX)
		return;
	va_start(args, format);
	add_sentence(draft->error, draft, place, format, args);
	va_end(args);
}

void
draft_warn(struct draft *draft, const struct place *place, const char *format,
    ...)
{
	va_list args;

	va_start(args, format);
	add_sentence(&draft->config->warnings, draft, place, format, args);
	va_end(args);
}

static bool
is_upstream_name(const char *name)
{
	size_t len = strlen(name);

	return len && len <= UPSTREAM_NAME_MAX &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                 "0123456789-_.") == len;
}

static bool
same_name(const char *a, const char *b)
{
	struct buf upper_a = {0}, upper_b = {0};
	bool same;

	add_upper(&upper_a, a);
	add_upper(&upper_b, b);
	same = !strcmp(buf_text(&upper_a), buf_text(&upper_b));
	buf_free(&upper_a);
	buf_free(&upper_b);
	return same;
}

static struct block *
upstream_block(struct draft *draft, const char *name,
    const struct place *place)
{
	struct config *config = draft->config;
	size_t i = 0;

	if (!is_upstream_name(name)) {
		draft_complain(draft, place, "the name of an upstream has 1 "
		    "to %d letters, digits, hyphens, dots or underscores",
		    UPSTREAM_NAME_MAX);
		return NULL;
	}
	while (i < config->upstream_count &&
	    !same_name(config->upstreams[i].name, name))
		i++;
	if (i == UPSTREAMS_MAX) {
		draft_complain(draft, place, "there are more than %d upstreams",
		    UPSTREAMS_MAX);
		return NULL;
	}
	if (i == config->upstream_count) {
		config->upstreams[i].name = xstrdup(name);
		config->upstream_count++;
		draft->upstreams[i].section = section_find("upstream");
		draft->upstreams[i].name = config->upstreams[i].name;
		draft->upstreams[i].target = &config->upstreams[i];
	}
	return &draft->upstreams[i];
}

struct block *
draft_block(struct draft *draft, const struct section *section,
    const char *name, const struct place *place)
{
	struct block *singles[] = {
		&draft->smarthost, &draft->listen, &draft->queue,
		&draft->identity, &draft->staging};
	const size_t count = sizeof(singles) / sizeof(singles[0]);

	if (!strcmp(section->name, "upstream"))
		return upstream_block(draft, name ? name : "default", place);
	if (name)
		draft_complain(draft, place, "only an upstream has a name");
	for (size_t i = 0; !name && i < count; i++)
		if (singles[i]->section == section)
			return singles[i];
	return NULL;
}

/* A token that was broken into two lines may look like "c2Vj...=". */
static bool
looks_like_key(const char *name)
{
	size_t len = strlen(name);

	return len && len <= 30 &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyz_-") == len;
}

static const char *
section_that_has(const char *key)
{
	for (const struct section *s = config_sections; s->keys; s++)
		if (section_key(s, key))
			return s->name;
	return NULL;
}

static void
complain_unknown(struct draft *draft, struct place *place)
{
	const struct section *section = place->block->section;
	const char *name = place->key;
	const char *other = section_that_has(name);

	if (place->where != IN_ENVIRONMENT && !looks_like_key(name))
		place->key = NULL;
	if (section_has_later(section, name))
		draft_complain(draft, place, "not supported by this version");
	else if (other)
		draft_complain(draft, place, "unknown key here; it belongs to "
		    "[%s]", other);
	else
		draft_complain(draft, place, "unknown key; the nearest one is "
		    "%s", section_nearest_key(section, name));
}

static bool
may_be_set(struct draft *draft, const struct key *key, const char *value,
    const struct place *place)
{
	unsigned before = block_where(place->block, key->name);
	bool from_file = place->where != IN_ENVIRONMENT;

	if (from_file && before)
		draft_complain(draft, place, "set before, in line %u; one of "
		    "the two has to go", before);
	else if (!*value)
		draft_complain(draft, place, "no value; write one or remove "
		    "the line");
	else if (from_file && draft->is_public && key_is_secret(key))
		draft_complain(draft, place, "others can read this file: "
		    "chmod 0600 %s, or use password_file", draft->file);
	else
		return true;
	return false;
}

void
draft_set(struct draft *draft, struct block *block, const char *name,
    const char *value, unsigned where)
{
	const struct key *key = section_key(block->section, name);
	struct place place = {block, name, NULL, where};
	struct buf why = {0};
	struct input in = {.key = key, .text = value, .why = &why};

	if (!key) {
		complain_unknown(draft, &place);
		return;
	}
	if (*value && !key_hides(key, value))
		place.value = value;
	if (!may_be_set(draft, key, value, &place))
		return;
	in.member = (char *)block->target + key->offset;
	if (!key->parse(&in))
		draft_complain(draft, &place, "%s", buf_text(&why));
	block->where[key - block->section->keys] = where;
	buf_free(&why);
}

unsigned
block_where(const struct block *block, const char *name)
{
	const struct key *key = section_key(block->section, name);

	return key ? block->where[key - block->section->keys] : 0;
}

struct place
block_place(const struct block *block, const char *name, const char *value)
{
	struct place place = {block, name, value, block_where(block, name)};

	/* Who has only variables shall read of a variable. */
	if (!place.where && !block->header && block->name)
		place.where = IN_ENVIRONMENT;
	return place;
}

void
block_take_defaults(struct block *block)
{
	struct buf why = {0};

	for (const struct key *key = block->section->keys; key->name; key++) {
		struct input in = {.key = key, .text = key->initial,
			.member = (char *)block->target + key->offset,
			.why = &why};

		if (key->initial && !block_where(block, key->name))
			key->parse(&in);
	}
	buf_free(&why);
}
