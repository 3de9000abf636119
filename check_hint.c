/* SPDX-License-Identifier: ISC */
/*
 * What a person can do about it, where the reply table has no answer: the
 * trouble that lies in the configuration and not in a message.
 */
#include "check_hint.h"

#include <string.h>

#include "buf.h"
#include "config.h"
#include "reply.h"

static const char hint_blocked[] =
    "the relay turns this host away at once: it is overloaded, or holds "
    "something against the address (a blocklist, too many connections); its "
    "words may say where to ask";
static const char hint_hung_up[] =
    "something answers the port and says nothing sensible: check host, port "
    "and tls, and that the relay lets this host's address in";
static const char hint_no_starttls[] =
    "it is offered on port 587 of most relays; port 465 wants tls = implicit; "
    "a firewall that reads along may hide it";
static const char hint_no_auth[] =
    "most relays offer it on port 587 or 465, and not on 25; without a user "
    "they want the address of this host on a list of theirs";
static const char hint_mechanisms[] =
    "set auth to one of those offered, if smarthost has it "
    "(smarthost.conf(5)); else have the relay's administrator switch one on";
static const char hint_sender[] =
    "the relay does not take this sender: have it allowed there, or send as "
    "one that is (sendmail -f; [identity] domain, from and rewrite)";
static const char hint_recipient[] =
    "the relay let us in and refuses this recipient alone: check its "
    "spelling, or try another one";
static const char hint_stranger[] =
    "the relay takes no mail from strangers: set user and password, or have "
    "it allow this host's address";
static const char hint_policy[] =
    "a policy of the relay refuses this, and its words may say which; ask who "
    "runs it";
static const char hint_wait[] =
    "the relay may take it later; if this stays, ask who runs it";

void
check_hint_resolve(struct buf *out, const struct upstream *u)
{
	const struct provider *p = u->provider;

	buf_adds(out, "check host");
	if (p && p->region)
		buf_adds(out, " and region");
	buf_adds(out, "; if it is right, look whether this machine has a name "
	    "server that answers (/etc/resolv.conf)");
}

static void
add_ports(struct buf *out, const struct upstream *u, const char *text,
    bool v6)
{
	const char *others = u->provider ? u->provider->other_ports : NULL;

	buf_adds(out, strstr(text, "timed out")
		? "a firewall on the way drops it; "
		: "nothing listens there, or a firewall refuses it; ");
	buf_adds(out, "check host and port");
	if (others && !strstr(text, others))
		buf_addf(out, "; %s also has %s %s", u->provider->name,
		    strchr(others, ',') ? "ports" : "port", others);
	if (!others)
		buf_adds(out, "; most relays have 587 (tls = starttls) and "
		    "465 (tls = implicit)");
	if (v6 && u->family == FAMILY_ANY)
		buf_adds(out, "; if this host has no way to IPv6, set family "
		    "= ipv4");
}

static const char *
hint_for_trouble(const struct verdict *v)
{
	switch (v->stage) {
	case STAGE_BANNER:
	case STAGE_HELLO:
		return hint_hung_up;
	case STAGE_TLS:
		return strstr(v->text, "does not offer") ? hint_no_starttls
							 : NULL;
	case STAGE_AUTH:
		if (strstr(v->text, "offers no AUTH"))
			return hint_no_auth;
		return strstr(v->text, "offers AUTH") ? hint_mechanisms : NULL;
	default:
		return NULL;
	}
}

static const char *
hint_for_reply(const struct upstream *u, const struct verdict *v)
{
	bool policy = strncmp(v->text, "5.7.", 4) == 0;

	if (v->stage == STAGE_BANNER)
		return hint_blocked;
	if (v->outcome == LATER)
		return hint_wait;
	if (policy && v->stage >= STAGE_MAIL)
		return u->auth == AUTH_NONE && v->stage <= STAGE_RCPT
		    ? hint_stranger : hint_policy;
	if (v->stage == STAGE_MAIL)
		return hint_sender;
	return v->stage == STAGE_RCPT ? hint_recipient : NULL;
}

void
check_hint(struct buf *out, const struct upstream *u, const struct verdict *v,
    bool v6)
{
	const char *hint = v->hint;

	if (v->cut_short) /* it is we who have run out of something */
		return;
	if (!hint && v->stage == STAGE_CONNECT) {
		add_ports(out, u, v->text, v6);
		return;
	}
	if (!hint)
		hint = v->code ? hint_for_reply(u, v) : hint_for_trouble(v);
	if (hint)
		buf_adds(out, hint);
}
