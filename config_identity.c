/* SPDX-License-Identifier: ISC */
/*
 * Whether it fits together who mail is from and who it is for; and what each
 * upstream has of that for itself.
 */
#include "config_draft.h"

#include "buf.h"
#include "config.h"
#include "staging.h"

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
