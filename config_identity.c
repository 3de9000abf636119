/* SPDX-License-Identifier: ISC */
/*
 * Whether it fits together who mail is from and who it is for; and what each
 * upstream has of that for itself.
 */
#include "config_draft.h"

#include <string.h>
#include <strings.h>

#include "buf.h"
#include "config.h"
#include "header.h"
#include "staging.h"

/* Every relay wants these. */
static bool
is_needed(const char *name, size_t len)
{
	static const char *const names[] = {"From", "Date", "Message-ID"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len &&
		    !strncasecmp(names[i], name, len))
			return true;
	return false;
}

/* "Name: value", len bytes without blanks around them, becomes a line. */
static bool
add_line(struct buf *out, const char *s, size_t len)
{
	size_t name = strcspn(s, ": ");

	for (size_t i = 0; i < len; i++)
		if (s[i] < ' ' || s[i] > '~')
			return false;
	if (name >= len || s[name] != ':' || !header_line_is_field(s, len) ||
	    is_needed(s, name) || strspn(s + name + 1, " ") + name + 1 >= len)
		return false;
	buf_add(out, s, len);
	buf_adds(out, "\r\n");
	return true;
}

bool
parse_add_header(const struct input *in)
{
	struct buf lines = {0};
	const char *s = in->text;
	bool good = true;

	for (; good; s++) {
		size_t len;

		s += strspn(s, " \t");
		len = strcspn(s, "|");
		while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
			len--;
		good = add_line(&lines, s, len);
		s += strcspn(s, "|");
		if (!*s)
			break;
	}
	if (good)
		return input_take(in, buf_take(&lines));
	buf_free(&lines);
	return input_refuse(in, "is not of the form Name: value | Name: value, "
	    "of names that a message does not have anyway");
}

bool
parse_remove_header(const struct input *in)
{
	struct buf names = {0};
	const char *s = in->text;
	bool good = true;

	while (good && *(s += strspn(s, ", \t"))) {
		size_t len = strcspn(s, ", \t");

		for (size_t i = 0; i < len; i++)
			good = good && s[i] > ' ' && s[i] <= '~' &&
			    s[i] != ':';
		good = good && !is_needed(s, len);
		buf_adds(&names, names.len ? " " : "");
		buf_add(&names, s, len);
		s += len;
	}
	if (good && names.len)
		return input_take(in, buf_take(&names));
	buf_free(&names);
	return input_refuse(in, "is not a list of names such as X-Mailer, "
	    "User-Agent; From, Date and Message-ID are needed");
}

/* What an upstream does not say, [identity] says for all. A from that nothing
 * asks for is no error: one upstream may want it, and another not. */
static void
judge_rewrite(struct draft *draft, const struct block *block)
{
	struct upstream *u = block->target;
	const struct identity_config *all = &draft->config->identity;
	struct place place = block_place(block, "from", NULL);

	if (!block_where(block, "rewrite"))
		u->rewrite = all->rewrite;
	if (u->from && u->rewrite == REWRITE_NEVER)
		draft_warn(draft, &place, "not used with rewrite = never; "
		    "write rewrite = unqualified or always");
	if (!u->from && all->from)
		u->from = xstrdup(all->from);
	if (u->rewrite != REWRITE_NEVER && !u->from)
		draft_complain(draft, &place, "not set, but rewrite is; write "
		    "the address that the relay lets send");
}

static bool
is_used(const struct config *config)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		if (config->upstreams[i].rewrite != REWRITE_NEVER)
			return true;
	return config->identity.rewrite != REWRITE_NEVER;
}

/* Whoever has the configuration of a copy by mistake shall hear of it. */
static void
judge_staging(struct draft *draft)
{
	const struct staging_config *staging = &draft->config->staging;
	struct place place = block_place(&draft->staging,
	    staging->redirect ? "redirect" : "allow", NULL);
	struct buf text = {0};

	block_take_defaults(&draft->staging);
	staging_add_text(&text, draft->config);
	if (text.len)
		draft_warn(draft, &place, "%.*s",
		    (int)(text.len - sizeof("[staging]") - 1),
		    text.data + sizeof("[staging]"));
	buf_free(&text);
}

void
config_judge_identity(struct draft *draft)
{
	struct config *config = draft->config;
	struct place from = block_place(&draft->identity, "from",
	    config->identity.from);

	block_take_defaults(&draft->identity);
	judge_staging(draft);
	config->identity.aliases_is_default =
	    !block_where(&draft->identity, "aliases");
	for (size_t i = 0; i < config->upstream_count; i++)
		judge_rewrite(draft, &draft->upstreams[i]);
	if (config->identity.from && !is_used(config))
		draft_warn(draft, &from, "not used with rewrite = never; "
		    "write rewrite = unqualified or always");
}
