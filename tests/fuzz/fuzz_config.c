/* SPDX-License-Identifier: ISC */
/*
 * A configuration file and variables of any kind. There is a whole, usable
 * configuration or else a sentence for each thing that is wrong, never both;
 * it is the same when it is read again; and no sentence has the password, nor
 * has the environment afterwards. A usable configuration has what the rest of
 * the program does not ask for.
 *
 * The input: the file up to the first NUL, then variables, with NULs between.
 */
#include <netdb.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "config.h"

enum { VARIABLES_MAX = 16 };

static const char password_variable[] =
    "SMARTHOST_UPSTREAM_PASSWORD=Xq7-Zr9-tW3";
static const char password[] = "Xq7-Zr9-tW3";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

__attribute__((noinline)) static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* The machine has a short name, and no resolver knows more of it; and nothing
 * is run. */
int
gethostname(char *name, size_t size)
{
	snprintf(name, size, "fuzz");
	return 0;
}

int
getaddrinfo(const char *name, const char *service,
    const struct addrinfo *hints, struct addrinfo **found)
{
	(void)name, (void)service, (void)hints, (void)found;
	return EAI_NONAME;
}

struct run {
	struct config config;
	struct buf error;
	char *variables[VARIABLES_MAX + 1];
	bool good;
};

static void
run(struct run *r, const char *text, size_t len, bool with_password)
{
	const char *end = memchr(text, '\0', len);
	size_t file = end ? (size_t)(end - text) : len, count = 0;

	if (with_password)
		r->variables[count++] = xstrdup(password_variable);
	for (size_t at = file + 1; at < len && count < VARIABLES_MAX;) {
		size_t size = strnlen(text + at, len - at);

		r->variables[count++] = xstrndup(text + at, size);
		at += size + 1;
	}
	r->good = config_parse(&r->config, "fuzz.conf", text, file,
	    r->variables, &r->error);
}

static void
run_free(struct run *r)
{
	config_free(&r->config);
	buf_free(&r->error);
	for (size_t i = 0; r->variables[i]; i++)
		free(r->variables[i]);
}

static void
require_sentences(const struct buf *text)
{
	require(!text->len || text->data[text->len - 1] == '\n');
	for (size_t i = 0; i < text->len; i++) {
		unsigned char c = (unsigned char)text->data[i];

		require(c == '\n' ? i && text->data[i - 1] != '\n'
				  : c >= ' ' && c != 0x7f);
	}
}

static void
require_secret(const struct run *r)
{
	require(!strstr(buf_text(&r->error), password));
	require(!strstr(buf_text(&r->config.warnings), password));
	for (size_t i = 0; r->variables[i]; i++)
		require(!strstr(r->variables[i], password));
}

static bool
is_word(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return false;
	return true;
}

static void
require_upstream(const struct upstream *u)
{
	bool captures = u->provider && !u->host;

	require(u->name && (captures ? u->directory != NULL : u->port != 0));
	require(captures || (is_word(u->host) && *u->host && u->tls_name));
	require(u->auth == AUTH_NONE || u->user);
	require(!u->tls_cert == !u->tls_key);
	require(u->connections && u->messages_per_connection &&
	    u->recipients_per_message);
	require(u->connect_timeout > 0 && u->timeout > 0 && u->idle >= 0);
	require(u->rewrite == REWRITE_NEVER || u->from);
	require(!u->ehlo || (*u->ehlo && is_word(u->ehlo)));
}

static void
require_endpoints(const struct endpoints *all)
{
	for (size_t i = 0; i < all->count; i++)
		require(all->list[i].text && all->list[i].size);
}

static void
require_usable(const struct config *c)
{
	require(c->hostname && *c->hostname && is_word(c->hostname));
	require(c->upstream_count > 0 && c->stop_timeout >= 0);
	for (size_t i = 0; i < c->upstream_count; i++)
		require_upstream(&c->upstreams[i]);
	require_endpoints(&c->listen.addresses);
	require_endpoints(&c->listen.tls_addresses);
	require(!c->listen.tls_addresses.count || c->listen.tls_cert);
	require(!c->listen.tls_cert == !c->listen.tls_key);
	require(c->listen.max_message && c->listen.max_recipients);
	require(c->listen.max_clients && c->listen.session_timeout > 0);
	require(c->queue.lifetime > 0 && c->queue.retry_max > 0);
	require(c->queue.direct_wait >= 0);
}

static void
check(const char *text, size_t len, bool with_password)
{
	struct run first = {0}, second = {0};

	run(&first, text, len, with_password);
	require(first.good == (first.error.len == 0));
	require_sentences(&first.error);
	require_sentences(&first.config.warnings);
	if (with_password)
		require_secret(&first);
	if (first.good)
		require_usable(&first.config);
	run(&second, text, len, with_password);
	require(!strcmp(buf_text(&first.error), buf_text(&second.error)));
	require(!strcmp(buf_text(&first.config.warnings),
	    buf_text(&second.config.warnings)));
	run_free(&first);
	run_free(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xmalloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	check(text, size, false);
	if (!memmem(text, size, password, strlen(password)))
		check(text, size, true);
	free(text);
	return 0;
}
