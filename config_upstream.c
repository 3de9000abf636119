/* SPDX-License-Identifier: ISC */
/*
 * One upstream as a whole: what nobody set comes from the preset, then from
 * the defaults; then whether there is a relay, a way to it, and a login that
 * is complete. What would show a password is refused here, or warned of if
 * it is written out.
 */
#include "config_draft.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "buf.h"
#include "config.h"

enum {
	PORT_SMTP = 25,
	PORT_SUBMISSION = 587,
	PORT_SUBMISSIONS = 465,
	PORT_SUBMISSIONS_TOO = 2465, /* for networks that drop 465 */
};

/* What the provider says; nothing without one. */
static const struct provider *
preset(const struct upstream *u)
{
	static const struct provider none = {0};

	return u->provider ? u->provider : &none;
}

static void
prefer(const struct block *block, const char *key, unsigned value,
    unsigned *member)
{
	if (value && !block_where(block, key))
		*member = value;
}

static void
take_preset(const struct block *block, struct upstream *u)
{
	const struct provider *p = preset(u);

	prefer(block, "connections", p->connections, &u->connections);
	prefer(block, "messages_per_connection", p->messages_per_connection,
	    &u->messages_per_connection);
	prefer(block, "recipients_per_message", p->recipients_per_message,
	    &u->recipients_per_message);
	if (p->takes_tokens_only && !block_where(block, "auth"))
		u->auth = AUTH_XOAUTH2;
}

/* The preset's host, with the region in place of its %s. */
static char *
preset_host(const struct provider *p, const char *region)
{
	const char *gap = strstr(p->host, "%s");

	if (!gap)
		return xstrdup(p->host);
	return xasprintf("%.*s%s%s", (int)(gap - p->host), p->host, region,
	    gap + 2);
}

static void
judge_region(struct draft *draft, const struct block *block,
    const struct upstream *u)
{
	const struct provider *p = preset(u);
	struct place place = block_place(block, "region", u->region);

	if (u->region && !p->region)
		draft_complain(draft, &place, "this relay has no regions; "
		    "remove it");
	else if (u->region && is_region(p->region) && !is_region(u->region))
		draft_complain(draft, &place, "is not a region such as %s",
		    p->region);
	else if (p->region && !u->region && (!u->host || p->derives_password))
		draft_complain(draft, &place, "not set; provider = %s needs "
		    "it, such as %s", p->name, p->region);
}

static void
judge_host(struct draft *draft, const struct block *block, struct upstream *u)
{
	const struct provider *p = preset(u);
	struct place place = block_place(block, "host", NULL);

	judge_region(draft, block, u);
	if (!u->host && p->host && (u->region || !p->region))
		u->host = preset_host(p, u->region);
	if (!u->host && !p->region)
		draft_complain(draft, &place, "not set; write the name of the "
		    "relay");
}

static enum tls_mode
tls_of_port(uint16_t port)
{
	return port == PORT_SUBMISSIONS || port == PORT_SUBMISSIONS_TOO
	    ? TLS_MODE_IMPLICIT : TLS_MODE_STARTTLS;
}

/* A port that is set says more about TLS than the preset does, and the other
 * way round: 465 is never STARTTLS. */
static void
settle_port_and_tls(const struct block *block, struct upstream *u)
{
	static const uint16_t usual_ports[] = {
		[TLS_MODE_STARTTLS] = PORT_SUBMISSION,
		[TLS_MODE_IMPLICIT] = PORT_SUBMISSIONS,
		[TLS_MODE_NONE] = PORT_SMTP,
	};
	const struct provider *p = preset(u);

	if (!block_where(block, "tls"))
		u->tls = u->port ? tls_of_port(u->port) : p->tls;
	if (!u->port && p->port && p->tls == u->tls)
		u->port = p->port;
	else if (!u->port)
		u->port = usual_ports[u->tls];
}

static void
judge_password_file(struct draft *draft, const struct block *block,
    struct secret *password)
{
	struct place place = block_place(block, "password_file",
	    password->text);

	config_judge_file(draft, &place, &password->text, true);
}

/* What both the file and the environment have set is the environment's by
 * now; so two that are left are two in one place. */
static void
judge_passwords(struct draft *draft, const struct block *block,
    struct upstream *u)
{
	const struct key *keys = block->section->keys;
	const char *first = NULL;

	for (size_t i = 0; keys[i].name; i++) {
		struct place place = block_place(block, keys[i].name, NULL);

		if (!key_is_password(&keys[i]) || !block->where[i])
			continue;
		if (first)
			draft_complain(draft, &place, "set besides %s; one of "
			    "the two has to go", first);
		first = keys[i].name;
	}
	if (u->password.kind == SECRET_FILE)
		judge_password_file(draft, block, &u->password);
	if (u->password.kind != SECRET_NONE && !u->user && preset(u)->user)
		u->user = xstrdup(preset(u)->user);
}

/* There is no whole login: whether there has to be one. */
static void
judge_no_login(struct draft *draft, const struct block *block,
    struct upstream *u)
{
	bool has_password = u->password.kind != SECRET_NONE;
	struct place user = block_place(block, "user", u->user);
	struct place password = block_place(block, "password_file", NULL);
	struct place auth = block_place(block, "auth", NULL);

	if (preset(u)->needs_login)
		draft_complain(draft,
		    u->user || preset(u)->user ? &password : &user,
		    "not set; provider = %s needs a login: %s",
		    preset(u)->name, preset(u)->credentials);
	else if (has_password)
		draft_complain(draft, &user, "not set, but there is a "
		    "password");
	else if (u->user)
		draft_complain(draft, &password, "not set, but there is a "
		    "user; write it, or password_command or password");
	else if (u->auth != AUTH_AUTO)
		draft_complain(draft, &auth, "needs a user and a password");
	u->auth = AUTH_NONE;
}

/* Somebody wrote auth = none. */
static void
judge_auth_none(struct draft *draft, const struct block *block,
    const struct upstream *u)
{
	struct place place = block_place(block, "auth", "none");

	if (preset(u)->needs_login)
		draft_complain(draft, &place, "provider = %s needs a login: "
		    "%s", preset(u)->name, preset(u)->credentials);
	else if (u->user || u->password.kind != SECRET_NONE)
		draft_warn(draft, &place, "user and password are not used");
}

bool
config_host_is_local(const char *host)
{
	struct sockaddr_storage address;

	if (read_ip(host, &address))
		return access_is_loopback((struct sockaddr *)&address);
	return is_localhost(host);
}

static void
judge_login(struct draft *draft, const struct block *block,
    struct upstream *u)
{
	struct place place = block_place(block, "tls", "none");

	judge_passwords(draft, block, u);
	if (u->auth == AUTH_NONE)
		judge_auth_none(draft, block, u);
	else if (!u->user || u->password.kind == SECRET_NONE)
		judge_no_login(draft, block, u);
	else if (u->tls == TLS_MODE_NONE && !config_host_is_local(u->host))
		draft_warn(draft, &place, "the password crosses the network "
		    "in the clear");
}

static void
judge_names(struct draft *draft, const struct block *block,
    struct upstream *u)
{
	struct place place = block_place(block, "source_address",
	    u->source_address);
	struct sockaddr_storage source;

	if (!u->ehlo && draft->config->hostname_is_qualified)
		u->ehlo = xstrdup(draft->config->hostname);
	if (u->source_address && u->family != FAMILY_ANY &&
	    read_ip(u->source_address, &source) &&
	    (source.ss_family == AF_INET6) != (u->family == FAMILY_IPV6))
		draft_complain(draft, &place, "family says the other kind of "
		    "address");
}

static void
judge_capture(struct draft *draft, const struct block *block,
    struct upstream *u)
{
	struct place host = block_place(block, "host", u->host);
	struct place directory = block_place(block, "directory", NULL);

	u->auth = AUTH_NONE;
	if (u->host)
		draft_complain(draft, &host, "provider = capture writes files "
		    "and has no host; remove one of the two");
	if (!u->directory)
		draft_complain(draft, &directory, "not set; provider = capture "
		    "needs one to write messages to");
}

void
config_judge_upstream(struct draft *draft, struct block *block)
{
	struct upstream *u = block->target;
	struct place directory = block_place(block, "directory", u->directory);

	block_take_defaults(block);
	if (provider_is_capture(u->provider)) {
		judge_capture(draft, block, u);
		return;
	}
	take_preset(block, u);
	if (u->directory)
		draft_complain(draft, &directory, "only provider = capture "
		    "writes to a directory; remove it");
	judge_host(draft, block, u);
	if (u->host) {
		settle_port_and_tls(block, u);
		config_judge_tls(draft, block, u);
		judge_login(draft, block, u);
	}
	judge_names(draft, block, u);
}
