/* SPDX-License-Identifier: ISC */
/*
 * The guard of a copy of production. It looks at whoever has not got a message
 * yet when that comes in, and again at each attempt, so that it also stands in
 * front of a queue that was copied with the rest, and of notices.
 */
#include "staging.h"

#include <strings.h>

#include "address.h"
#include "config.h"
#include "message.h"
#include "route.h"

static const char refusal[] = "5.7.1 not in [staging] allow, and there is no "
    "redirect: nothing is sent to it from here";

/* As the relay would hear it. */
static void
add_address(struct buf *out, const struct config *config, const char *address)
{
	const char *domain = config->identity.domain ? config->identity.domain
						     : config->hostname;

	buf_adds(out, address);
	if (!address_is_qualified(address) && domain)
		buf_addf(out, "@%s", domain);
}

static bool
may_pass(const struct config *config, const struct recipient *r)
{
	const struct staging_config *staging = &config->staging;
	struct buf address = {0};
	bool may;

	if (r->outcome != WAITING && !r->unrouted)
		return true;
	if (staging->redirect && !strcasecmp(r->address, staging->redirect))
		return true;
	add_address(&address, config, r->address);
	may = !r->unrouted && staging->allow &&
	    route_matches(staging->allow, address.data);
	buf_free(&address);
	return may;
}

static bool
has_recipient(const struct message *m, const char *address)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		if (!strcasecmp(m->recipients[i].address, address))
			return true;
	return false;
}

static void
note_original(const struct config *config, struct message *m, size_t i)
{
	buf_adds(&m->header, "X-Original-To: ");
	add_address(&m->header, config, m->recipients[i].address);
	buf_adds(&m->header, "\r\n");
}

static bool
redirect(const struct config *config, struct message *m)
{
	size_t kept = 0, count = m->recipient_count;
	unsigned notify = 0;

	for (size_t i = 0; i < count; i++) {
		struct recipient *r = &m->recipients[i];

		if (may_pass(config, r)) {
			m->recipients[kept++] = *r;
			continue;
		}
		note_original(config, m, i);
		notify = r->notify;
		recipient_free(r);
	}
	m->recipient_count = kept;
	if (kept == count)
		return false;
	if (!has_recipient(m, config->staging.redirect)) {
		/* The array has room: it had one more. */
		m->recipients[kept] = (struct recipient){
			.address = xstrdup(config->staging.redirect),
			.notify = notify};
		m->recipient_count++;
	}
	return true;
}

static bool
refuse(const struct config *config, struct message *m)
{
	bool any = false;

	for (size_t i = 0; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];

		if (r->unrouted || may_pass(config, r))
			continue;
		recipient_set(r, NEVER, 550, refusal);
		any = true;
	}
	return any;
}

bool
staging_apply(const struct config *config, struct message *m)
{
	if (config->staging.redirect)
		return redirect(config, m);
	return config->staging.allow && refuse(config, m);
}

void
staging_add_text(struct buf *out, const struct config *config)
{
	const struct staging_config *staging = &config->staging;

	if (!staging->redirect && !staging->allow)
		return;
	buf_adds(out, "[staging] all mail");
	if (staging->allow)
		buf_addf(out, " but that to %s", staging->allow);
	if (staging->redirect)
		buf_addf(out, " is redirected to %s\n", staging->redirect);
	else
		buf_adds(out, " is refused\n");
}
