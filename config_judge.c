/* SPDX-License-Identifier: ISC */
/*
 * The configuration as a whole, but for the upstreams: the defaults, then
 * whether what is set fits together. Whatever would lose mail or open the
 * relay to strangers is refused here, or warned of if it is written out.
 */
#include "config_draft.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accounts.h"
#include "buf.h"
#include "config.h"

/* The machine's name as its resolver completes it, or NULL. */
static char *
canonical_name(const char *name)
{
	struct addrinfo hints = {.ai_flags = AI_CANONNAME};
	struct addrinfo *found;
	char *canonical = NULL;

	if (getaddrinfo(name, NULL, &hints, &found))
		return NULL;
	if (found->ai_canonname && strchr(found->ai_canonname, '.') &&
	    is_host_name(found->ai_canonname))
		canonical = xstrdup(found->ai_canonname);
	freeaddrinfo(found);
	return canonical;
}

char *
config_own_name(void)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) || !is_host_name(name))
		return xstrdup("localhost");
	return xstrdup(name);
}

static bool
is_qualified(const char *hostname)
{
	return strchr(hostname, '.') && !is_localhost(hostname);
}

void
config_complete_hostname(struct config *config)
{
	char *name;

	if (!config->hostname_is_own || config->hostname_is_qualified ||
	    is_localhost(config->hostname))
		return;
	name = canonical_name(config->hostname);
	if (!name || !is_qualified(name)) {
		free(name);
		return;
	}
	free(config->hostname);
	config->hostname = name;
	config->hostname_is_qualified = true;
	for (size_t i = 0; i < config->upstream_count; i++)
		if (!config->upstreams[i].ehlo)
			config->upstreams[i].ehlo = xstrdup(name);
}

static void
judge_smarthost(struct draft *draft)
{
	struct config *config = draft->config;

	block_take_defaults(&draft->smarthost);
	config->hostname_is_own = !config->hostname;
	if (!config->hostname)
		config->hostname = config_own_name();
	config->hostname_is_qualified = is_qualified(config->hostname);
}

/* As a client's address, from text that is one. */
static bool
lets_in(const struct access *access, const char *peer)
{
	struct sockaddr_storage address;

	return read_ip(peer, &address) &&
	    access_allows(access, (struct sockaddr *)&address);
}

static bool
lets_private_in(const struct access *access)
{
	return lets_in(access, "10.0.0.1") && lets_in(access, "172.16.0.1") &&
	    lets_in(access, "192.168.0.1");
}

static bool
is_wildcard(const struct sockaddr_storage *address)
{
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;

	if (address->ss_family == AF_INET) {
		memcpy(&ipv4, address, sizeof(ipv4));
		return ipv4.sin_addr.s_addr == htonl(INADDR_ANY);
	}
	memcpy(&ipv6, address, sizeof(ipv6));
	return IN6_IS_ADDR_UNSPECIFIED(&ipv6.sin6_addr);
}

static void
judge_address(struct draft *draft, const char *key,
    const struct endpoint *listener)
{
	const struct access *allow = &draft->config->listen.allow;
	const struct block *block = &draft->listen;
	struct place place = block_place(block, key, listener->text);

	if (access_is_loopback((const struct sockaddr *)&listener->address))
		return;
	if (!block_where(block, "allow") && !draft->config->listen.auth_file)
		draft_complain(draft, &place, "others than this machine can "
		    "reach it; write allow, with the networks that may send, "
		    "or auth_file");
	else if (is_wildcard(&listener->address) && lets_private_in(allow) &&
	    !access_is_open(allow) && !draft->config->listen.auth_file)
		draft_warn(draft, &place, "allow has every private network in "
		    "it, and this is every interface; make sure that no "
		    "stranger shares one of them or comes through a proxy, as "
		    "that of a container engine, whose address is private");
}

static bool
is_reachable(const struct endpoints *endpoints)
{
	for (size_t i = 0; i < endpoints->count; i++)
		if (!access_is_loopback((const struct sockaddr *)
			    &endpoints->list[i].address))
			return true;
	return false;
}

static void
judge_auth_file(struct draft *draft)
{
	struct listen_config *listen = &draft->config->listen;
	struct place place = block_place(&draft->listen, "auth_file",
	    listen->auth_file);
	struct buf fault = {0};

	if (!listen->auth_file)
		return;
	config_judge_file(draft, &place, &listen->auth_file, true);
	if (!accounts_judge(listen->auth_file, &fault))
		draft_complain(draft, &place, "%s", fault.data);
	if (!listen->tls_cert && is_reachable(&listen->addresses))
		draft_warn(draft, &place, "nobody can log in from another "
		    "machine without TLS; write tls_cert");
	buf_free(&fault);
}

static char *
beside(const char *path, const char *name)
{
	return xasprintf("%.*s%s", (int)(strrchr(path, '/') + 1 - path), path,
	    name);
}

static void
settle_sockets(struct draft *draft)
{
	struct listen_config *listen = &draft->config->listen;
	const struct block *block = &draft->listen;
	struct place place = block_place(block, "control", listen->control);

	listen->socket_is_default = !block_where(block, "socket");
	listen->control_is_default = !block_where(block, "control");
	if (listen->socket && listen->control_is_default)
		listen->control = beside(listen->socket, "control");
	if (listen->socket && listen->control &&
	    !strcmp(listen->socket, listen->control))
		draft_complain(draft, &place, "the same as socket; it needs a "
		    "path of its own");
}

static void
judge_listen(struct draft *draft)
{
	struct listen_config *listen = &draft->config->listen;
	const struct block *block = &draft->listen;
	struct place place = block_place(block, "socket", "none");

	block_take_defaults(&draft->listen);
	settle_sockets(draft);
	if (!listen->socket && !listen->addresses.count &&
	    !listen->tls_addresses.count)
		draft_complain(draft, &place, "without an address nobody "
		    "could send anything; write socket or address");
	for (size_t i = 0; i < listen->addresses.count; i++)
		judge_address(draft, "address", &listen->addresses.list[i]);
	for (size_t i = 0; i < listen->tls_addresses.count; i++)
		judge_address(draft, "tls_address",
		    &listen->tls_addresses.list[i]);
	config_judge_listen_tls(draft);
	judge_auth_file(draft);
	place = block_place(block, "allow", NULL);
	if (access_is_open(&listen->allow) && !listen->allow.anyone)
		draft_complain(draft, &place, "lets everybody send; write the "
		    "networks that may, or the word anyone if that is meant");
	else if (listen->allow.anyone)
		draft_warn(draft, &place, "lets everybody send who can reach "
		    "the listener; make sure that something else keeps "
		    "strangers away");
}

static void
judge_queue(struct draft *draft)
{
	struct queue_config *queue = &draft->config->queue;
	struct place place = block_place(&draft->queue, "direct_wait", "0");
	struct place bounce = block_place(&draft->queue,
	    queue->bounce_to ? "bounce_to" : "bounce_from", NULL);

	block_take_defaults(&draft->queue);
	if (!block_where(&draft->queue, "min_free"))
		queue->min_free = draft->config->listen.max_message / 2 * 3;
	queue->directory_is_default =
	    !block_where(&draft->queue, "directory");
	if (queue->directory)
		return;
	if (queue->bounce_to || queue->bounce_from)
		draft_warn(draft, &bounce, "there is no queue directory, so "
		    "no notice is ever made");
	if (!queue->direct_wait)
		draft_complain(draft, &place, "no message could be sent in no "
		    "time, and there is no queue for it; write 10s");
	place = block_place(&draft->queue, "delivery", "queue");
	if (queue->commit_first)
		draft_complain(draft, &place, "there is no queue directory; "
		    "write delivery = direct");
}

/* Whether the relay would be this listener. */
static bool
is_ourselves(const struct upstream *u, const struct endpoint *e)
{
	const char *host = strcasecmp(u->host, "localhost") ? u->host
							    : "127.0.0.1";
	const char *port = strrchr(e->text, ':');
	char *there = xasprintf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
	    (unsigned)u->port);
	bool same = !strcmp(e->text, there) ||
	    (is_wildcard(&e->address) && config_host_is_local(host) && port &&
		!strcmp(port, strrchr(there, ':')));

	free(there);
	return same;
}

static void
judge_loop(struct draft *draft, size_t number)
{
	const struct endpoints *addresses = &draft->config->listen.addresses;
	const struct upstream *u = &draft->config->upstreams[number];
	struct place place = block_place(&draft->upstreams[number], "host",
	    u->host);

	for (size_t i = 0; u->host && i < addresses->count; i++)
		if (is_ourselves(u, &addresses->list[i]))
			draft_complain(draft, &place, "with port %u that is "
			    "this daemon itself, see [listen] address; name "
			    "the relay", (unsigned)u->port);
}

/* Whether a list of patterns, with a blank between two, has a "*" in it. */
static bool
is_for_all(const char *senders)
{
	char *list = xasprintf(" %s ", senders);
	bool found = strstr(list, " * ") != NULL;

	free(list);
	return found;
}

/* Whoever sends, some upstream has to be for him. */
static void
judge_routes(struct draft *draft)
{
	const struct config *config = draft->config;
	struct place place = {0};

	for (size_t i = 0; i < config->upstream_count; i++) {
		const char *senders = config->upstreams[i].senders;

		place = block_place(&draft->upstreams[i], "senders", senders);
		if (!senders || is_for_all(senders))
			return;
	}
	if (config->upstream_count)
		draft_complain(draft, &place, "no upstream is for all other "
		    "senders, and notices; leave senders out in one, or add *");
}

void
config_judge(struct draft *draft)
{
	struct config *config = draft->config;
	struct place nowhere = {0};

	judge_smarthost(draft);
	if (!config->upstream_count)
		draft_complain(draft, &nowhere, "no relay to send to; write a "
		    "section [upstream] with host = NAME, or set "
		    "SMARTHOST_UPSTREAM_HOST");
	for (size_t i = 0; i < config->upstream_count; i++)
		config_judge_upstream(draft, &draft->upstreams[i]);
	judge_routes(draft);
	judge_listen(draft);
	for (size_t i = 0; i < config->upstream_count; i++)
		judge_loop(draft, i);
	judge_queue(draft);
	config_judge_identity(draft);
}
