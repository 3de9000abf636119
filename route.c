/* SPDX-License-Identifier: ISC */
/*
 * Which relay for which sender.
 */
#include "route.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "buf.h"
#include "config.h"

static bool
is_same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Whether the whole text is what the len bytes of the pattern say: * stands
 * for any bytes, ? for one. */
static bool
matches(const char *pattern, size_t len, const char *text)
{
	const char *end = pattern + len, *star = NULL, *from = text;

	while (*text) {
		if (pattern < end && *pattern == '*') {
			star = ++pattern;
			from = text;
		} else if (pattern < end &&
		    (*pattern == '?' || is_same(*pattern, *text))) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++from;
		} else {
			return false;
		}
	}
	while (pattern < end && *pattern == '*')
		pattern++;
	return pattern == end;
}

bool
route_matches(const char *patterns, const char *text)
{
	size_t len;

	for (; *patterns; patterns += len + (patterns[len] == ' ')) {
		len = strcspn(patterns, " ");
		if (matches(patterns, len, text))
			return true;
	}
	return false;
}

bool
route_is_split(const struct config *config)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		if (config->upstreams[i].senders)
			return true;
	return false;
}

uint64_t
route_of(const struct config *config, const char *sender)
{
	const char *domain = config->identity.domain ? config->identity.domain
						     : config->hostname;
	uint64_t chosen = 0, others = 0;
	struct buf text = {0};

	buf_adds(&text, *sender ? sender : "<>");
	if (*sender && !address_is_qualified(sender))
		buf_addf(&text, "@%s", domain);
	for (size_t i = 0; i < config->upstream_count; i++) {
		const char *patterns = config->upstreams[i].senders;

		if (!patterns)
			others |= UINT64_C(1) << i;
		else if (route_matches(patterns, text.data))
			chosen |= UINT64_C(1) << i;
	}
	buf_free(&text);
	return chosen ? chosen : others;
}

unsigned
route_first(uint64_t route)
{
	unsigned first = 0;

	while (route && !(route >> first & 1))
		first++;
	return first;
}
