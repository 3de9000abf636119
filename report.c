/* SPDX-License-Identifier: ISC */
/*
 * What the log says about deliveries and upstreams.
 */
#include "report.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "config.h"
#include "log.h"
#include "message.h"
#include "relay.h"

/* The line's event and how loud it is. */
static const char *
event_of(enum outcome outcome, enum log_level *level)
{
	*level = LEVEL_INFO;
	if (outcome == SENT)
		return "sent";
	*level = LEVEL_WARNING;
	return outcome == NEVER ? "refused" : "deferred";
}

static bool
is_final(const struct recipient *r)
{
	return r->outcome == SENT || r->outcome == NEVER;
}

static void
report_recipient(const struct message *m, const struct recipient *r,
    const struct upstream *u, const struct verdict *v,
    const struct attempt *a)
{
	bool own = r->outcome != WAITING;
	enum log_level level;
	const char *event = event_of(own ? r->outcome : v->outcome, &level);
	int code = own ? r->code : v->code;
	const char *reply = !own ? v->text : r->reply ? r->reply : "";
	const char *hint = strcmp(reply, v->text) == 0
	    ? v->hint : reply_hint(code, reply);
	bool unsure = v->maybe_delivered && !is_final(r);
	char code_text[16], delay[32];
	struct buf to = {0};

	recipient_add_address(&to, r);
	snprintf(code_text, sizeof(code_text), "%d", code);
	snprintf(delay, sizeof(delay), "%.3f",
	    (double)(clock_now() - m->arrived) / 1000);
	log_event(level, event, "id", m->id, "from",
	    *m->sender ? m->sender : "<>", "to", to.data, "upstream",
	    u ? u->name : NULL, "code", code ? code_text : NULL, "reply",
	    reply, "tls", a && a->tls[0] ? a->tls : NULL, "delay", delay,
	    "hint", hint, "note", unsure ? "may be delivered" : NULL, NULL);
	buf_free(&to);
}

void
report_final(struct message *m, const struct upstream *u,
    const struct verdict *v, const struct attempt *a)
{
	for (size_t i = 0; i < m->recipient_count; i++) {
		struct recipient *r = &m->recipients[i];

		if (r->reported || !is_final(r))
			continue;
		report_recipient(m, r, u, v, a);
		r->reported = true;
	}
}

void
report_results(struct message *m, const struct upstream *u,
    const struct verdict *v, const struct attempt *a)
{
	report_final(m, u, v, a);
	for (size_t i = 0; i < m->recipient_count; i++)
		if (!m->recipients[i].reported)
			report_recipient(m, &m->recipients[i], u, v, a);
}

void
report_kept(const char *id, const char *sender, const struct verdict *v)
{
	log_event(LEVEL_WARNING, v->outcome == HOLD ? "held" : "queued", "id",
	    id, "from", *sender ? sender : "<>", "reply", v->text, "hint",
	    v->hint, NULL);
}

void
report_accepted(const char *id, const char *sender, const char *recipients,
    uint64_t size, const struct report_source *source)
{
	char size_text[24];

	snprintf(size_text, sizeof(size_text), "%llu",
	    (unsigned long long)size);
	log_event(LEVEL_INFO, "accepted", "id", id, "from",
	    *sender ? sender : "<>", "to", recipients, "size", size_text,
	    "client", source->client, "user", source->user, "tls",
	    source->tls, NULL);
}

void
report_health(enum health_change change, const struct upstream *u,
    const struct verdict *v)
{
	char code[16];

	snprintf(code, sizeof(code), "%d", v->code);
	if (change == HEALTH_WENT_DOWN)
		log_event(LEVEL_ERROR, "upstream_down", "upstream", u->name,
		    "code", v->code ? code : NULL, "reply", v->text, "hint",
		    v->hint, NULL);
	else if (change == HEALTH_CAME_UP)
		log_event(LEVEL_INFO, "upstream_up", "upstream", u->name,
		    NULL);
}
