/* SPDX-License-Identifier: ISC */
/*
 * SMARTHOST_* variables, which win over the file: SMARTHOST_<KEY> for
 * [smarthost], SMARTHOST_<SECTION>_<KEY>, and for a named upstream
 * SMARTHOST_UPSTREAM_<NAME>__<KEY>. They are taken in the order of their
 * names, the default upstream's before those of named ones, so that the
 * result does not depend on who started us. An empty one is as if not set:
 * containers are often given all names there might be.
 */
#include "config_draft.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "config.h"

static const char prefix[] = "SMARTHOST_";

/* The first three are links to a Service or container named smarthost, which
 * Kubernetes and others set unasked. CONFIG is for whoever opens the file. */
static const char *const ignored[] = {"PORT", "SERVICE_", "ENV_", "CONFIG="};

static bool
starts_with(const char *s, const char *start)
{
	return !strncmp(s, start, strlen(start));
}

static bool
is_ours(const char *variable)
{
	const char *rest = variable + sizeof(prefix) - 1;

	if (!starts_with(variable, prefix) || !strchr(rest, '='))
		return false;
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		if (starts_with(rest, ignored[i]))
			return false;
	return strchr(rest, '=')[1] != '\0';
}

static int
compare_variables(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Ours, sorted; the caller frees the array, not the strings. */
static char **
our_variables(char **environment, size_t *count)
{
	char **ours = NULL;

	*count = 0;
	for (; environment && *environment; environment++) {
		if (!is_ours(*environment))
			continue;
		ours = xrealloc(ours, *count + 1, sizeof(*ours));
		ours[(*count)++] = *environment;
	}
	if (*count)
		qsort(ours, *count, sizeof(*ours), compare_variables);
	return ours;
}

/* A variable taken apart. The strings are inside text, but for value, which
 * is where the environment has it. */
struct variable {
	char *name;     /* the whole name */
	char *text;     /* the rest of it behind the prefix, in small letters */
	const struct section *section;  /* NULL: no section's word */
	const char *upstream;           /* or NULL */
	const char *key;
	char *value;
};

static void
find_section(struct variable *v)
{
	char *rest = v->text, *gap = NULL;

	v->key = v->text;
	for (const struct section *s = config_sections + 1; s->name; s++) {
		size_t len = strlen(s->name);

		if (starts_with(v->text, s->name) && v->text[len] == '_') {
			v->section = s;
			rest = v->text + len + 1;
			v->key = rest;
		}
	}
	/* The last one: a name may have "__" in it, a key has not. */
	while (v->section && (rest = strstr(rest, "__")))
		gap = rest++;
	if (gap) {
		*gap = '\0';
		v->upstream = v->key;
		v->key = gap + 2;
	}
}

static struct variable
take_apart(char *text)
{
	char *equals = strchr(text, '=');
	struct variable v = {.value = equals + 1};

	v.name = xstrndup(text, (size_t)(equals - text));
	v.text = xstrdup(v.name + sizeof(prefix) - 1);
	for (char *c = v.text; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	find_section(&v);
	return v;
}

static bool
is_service_link(const struct variable *v)
{
	return starts_with(v->value, "tcp://") ||
	    starts_with(v->value, "udp://") ||
	    starts_with(v->key, "service_") || starts_with(v->key, "port_");
}

/* One source wins, by where it is written: a variable puts aside what the
 * file says of the password, whichever key it used. */
static void
forget_password_of_file(struct block *block)
{
	const struct key *keys = block->section->keys;

	for (size_t i = 0; keys[i].name; i++)
		if (key_is_password(&keys[i]) &&
		    block->where[i] != IN_ENVIRONMENT)
			block->where[i] = 0;
}

static void
set_variable(struct draft *draft, const struct variable *v)
{
	const struct place place = {NULL, v->name, NULL, IN_ENVIRONMENT};
	const struct key *key = section_key(v->section, v->key);
	struct block *block;

	if (!(key && key_is_secret(key)) && is_service_link(v)) {
		draft_complain(draft, &place, "a service link of Kubernetes, "
		    "by its looks; give that Service another name, or the "
		    "pod enableServiceLinks: false");
		return;
	}
	block = draft_block(draft, v->section, v->upstream, &place);
	if (!block)
		return;
	if (key && key_is_password(key))
		forget_password_of_file(block);
	draft_set(draft, block, v->key, v->value, IN_ENVIRONMENT);
	if (key && key_is_secret(key))
		explicit_bzero(v->value, strlen(v->value));
}

static void
set_smarthost_variable(struct draft *draft, const struct variable *v)
{
	const struct place place = {NULL, v->name, NULL, IN_ENVIRONMENT};
	const struct section *section = draft->smarthost.section;

	if (section_key(section, v->key))
		draft_set(draft, &draft->smarthost, v->key, v->value,
		    IN_ENVIRONMENT);
	else
		draft_warn(draft, &place, "no such variable; it is ignored");
}

static void
take_variable(struct draft *draft, const struct variable *v)
{
	const struct place place = {NULL, v->name, NULL, IN_ENVIRONMENT};

	if (!v->section)
		set_smarthost_variable(draft, v);
	else if (!v->section->keys)
		draft_complain(draft, &place, "not supported by this version");
	else
		set_variable(draft, v);
}

/* Those of named upstreams, or all others. */
static void
take_variables(struct draft *draft, char **variables, size_t count,
    bool named)
{
	for (size_t i = 0; i < count; i++) {
		struct variable v = take_apart(variables[i]);

		if ((v.upstream != NULL) == named)
			take_variable(draft, &v);
		free(v.name);
		free(v.text);
	}
}

void
config_read_environment(struct draft *draft)
{
	size_t count;
	char **ours = our_variables(draft->environment, &count);

	take_variables(draft, ours, count, false);
	take_variables(draft, ours, count, true);
	free(ours);
}
