/* SPDX-License-Identifier: ISC */
/*
 * An aliases file of any kind. What is taken has names without a domain, each
 * once, in order; its targets are addresses, and never a command, a file or a
 * list; and it is read in again, without a complaint, as what it was.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address.h"
#include "aliases.h"
#include "buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
add_name(struct buf *out, const char *name)
{
	buf_addc(out, '"');
	for (; *name; name++) {
		if (*name == '"' || *name == '\\')
			buf_addc(out, '\\');
		buf_addc(out, *name);
	}
	buf_addc(out, '"');
}

static void
check_alias(const struct alias *a, struct buf *out)
{
	require(*a->name && !strchr(a->name, '@') && a->line);
	for (size_t i = 0; i < a->count; i++) {
		const char *target = a->targets[i] + (*a->targets[i] == '\\');

		require(address_is_good(address_check(target,
		    strlen(target))));
		buf_adds(out, i ? "," : ":");
		buf_adds(out, a->targets[i]);
	}
	buf_addc(out, '\n');
}

static void
check_same(const struct aliases *a, const struct aliases *b)
{
	size_t k = 0;

	for (size_t i = 0; i < a->count; i++) {
		const struct alias *x = &a->list[i], *y = &b->list[k];

		if (!x->count)
			continue;
		require(k++ < b->count && !strcmp(x->name, y->name));
		require(x->count == y->count);
		for (size_t n = 0; n < x->count; n++)
			require(!strcmp(x->targets[n], y->targets[n]));
	}
	require(k == b->count);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf errors = {0}, warnings = {0}, text = {0};
	const struct aliases_talk talk = {&errors, &warnings};
	struct aliases *all = aliases_parse("F", (const char *)data, size,
	    &talk), *again;

	for (size_t i = 0; i < all->count; i++) {
		require(!i || strcasecmp(all->list[i - 1].name,
				  all->list[i].name) < 0);
		require(aliases_find(all, all->list[i].name) == &all->list[i]);
		if (!errors.len && all->list[i].count) {
			add_name(&text, all->list[i].name);
			check_alias(&all->list[i], &text);
		}
	}
	if (!errors.len) {
		buf_clear(&warnings);
		again = aliases_parse("F", buf_text(&text), text.len, &talk);
		require(!errors.len && !warnings.len);
		check_same(all, again);
		aliases_free(again);
	}
	aliases_free(all);
	buf_free(&errors);
	buf_free(&warnings);
	buf_free(&text);
	return 0;
}
