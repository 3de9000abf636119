/* SPDX-License-Identifier: ISC */
/*
 * smarthost health: whether a daemon answers, asked as a client asks.
 */
#include "liveness.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "clock.h"
#include "conn.h"
#include "dial.h"
#include "queue_command.h"
#include "setup.h"
#include "tls.h"

enum { PATIENCE_MS = 5000 };

static struct conn *
reach_address(const struct endpoint *e)
{
	struct sockaddr_storage address = e->address;
	const struct addrinfo there = {
		.ai_family = address.ss_family,
		.ai_addr = (struct sockaddr *)&address,
		.ai_addrlen = e->size,
	};
	const struct upstream self = {.family = FAMILY_ANY};
	struct buf ignored = {0};
	struct conn *c = dial_tcp(&self, &there,
	    clock_now() + PATIENCE_MS, -1, &ignored);

	buf_free(&ignored);
	return c;
}

/* Without TLS, or NULL. */
static struct conn *
reach(const struct config *config)
{
	const struct endpoints *addresses = &config->listen.addresses;
	struct conn *c = NULL;

	if (config->listen.socket)
		c = dial_unix(config->listen.socket, -1);
	if (!c && addresses->count)
		c = reach_address(&addresses->list[0]);
	return c;
}

/* Whoever has too many clients to take us too is alive, and must not be
 * started again for that. */
static bool
greets(struct conn *c)
{
	struct buf line = {0};
	bool ok;

	ok = conn_line(c, &line, 512) == LINE_OK &&
	    (strncmp(line.data, "220", 3) == 0 ||
		strncmp(line.data, "421 4.7.0", 9) == 0);
	conn_printf(c, "QUIT\r\n");
	(void)conn_line(c, &line, 512);
	buf_free(&line);
	return ok;
}

/* Under TLS, with the certificate that is in its file; or with another one,
 * if it cannot read that any more, which is no reason to restart it. Closes
 * the connection. */
static bool
greets_with_tls(struct conn *c, const struct config *config)
{
	struct tls_trust *trust = tls_trust_pin_file(config->listen.tls_cert);
	struct tls_peer peer = {0};
	bool ok = conn_start_tls(c, trust, "localhost") ? greets(c)
	                                                : conn_peer(c, &peer);

	tls_peer_free(&peer);
	conn_close(c);
	tls_trust_free(trust);
	return ok;
}

/* Whether it greets us: at its socket or, where that could not be made, at its
 * first address. */
static bool
answers(const struct config *config)
{
	const struct endpoints *tls = &config->listen.tls_addresses;
	struct conn *c = reach(config);
	bool plain = c != NULL, ok;

	if (!c && tls->count)
		c = reach_address(&tls->list[0]);
	if (!c)
		return false;
	conn_set_deadline(c, clock_now() + PATIENCE_MS);
	if (!plain)
		return greets_with_tls(c, config);
	ok = greets(c);
	conn_close(c);
	return ok;
}

int
liveness(const char *config_path, bool relay)
{
	struct setup s;
	struct queue_place place = {.program = "smarthost", .setup = &s};
	struct buf why = {0};
	bool ok = setup_read(&s, setup_config_path(config_path), &why);

	if (ok && !answers(&s.config)) {
		buf_adds(&why, "the daemon does not answer");
		ok = false;
	}
	ok = ok && (!relay || queue_command_health(&place, &why));
	setup_print(stderr, "smarthost: ", &why);
	setup_free(&s);
	buf_free(&why);
	return ok ? EX_OK : 1;
}
