/* SPDX-License-Identifier: ISC */
/*
 * smarthost health: whether a daemon answers, asked as a client asks, and
 * whether it can write its spool.
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

enum { PATIENCE_MS = 5000, LINE_SIZE = 512 };

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

/* One of an earlier version does not know the question. */
static bool
can_write(struct conn *c, struct buf *why)
{
	struct buf line = {0};
	bool ok;

	conn_printf(c, "XQUEUE CHECK\r\n");
	ok = conn_line(c, &line, LINE_SIZE) == LINE_OK &&
	    strncmp(line.data, "451 4.3.0 ", 10) != 0;
	if (!ok && line.len > 10)
		buf_adds(why, line.data + 10);
	buf_free(&line);
	return ok;
}

/* Whoever has too many clients, or too little memory, to take us too is alive,
 * and must not be started again for that. On its socket the daemon is asked
 * about its spool as well. */
static bool
greets(struct conn *c, bool on_socket, struct buf *why)
{
	struct buf line = {0};
	bool read = conn_line(c, &line, LINE_SIZE) == LINE_OK;
	bool ready = read && strncmp(line.data, "220", 3) == 0;
	bool ok = ready || (read && strncmp(line.data, "421 ", 4) == 0);

	if (ready && on_socket)
		ok = can_write(c, why);
	conn_printf(c, "QUIT\r\n");
	(void)conn_line(c, &line, LINE_SIZE);
	buf_free(&line);
	return ok;
}

/* Under TLS, with the certificate that is in its file; or with another one,
 * if it cannot read that any more, which is no reason to restart it. */
static bool
greets_with_tls(struct conn *c, const struct config *config, struct buf *why)
{
	struct tls_trust *trust = tls_trust_pin_file(config->listen.tls_cert);
	struct tls_peer peer = {0};
	bool ok = conn_start_tls(c, trust, "localhost")
	    ? greets(c, false, why)
	    : conn_peer(c, &peer);

	tls_peer_free(&peer);
	tls_trust_free(trust);
	return ok;
}

/* Whether it greets us: at its socket or, where that could not be made, at its
 * first address. */
static bool
answers(const struct config *config, struct buf *why)
{
	const struct listen_config *l = &config->listen;
	struct conn *socket = l->socket ? dial_unix(l->socket, -1) : NULL;
	struct conn *c = socket;
	bool plain, ok = false;

	if (!c && l->addresses.count)
		c = reach_address(&l->addresses.list[0]);
	plain = c != NULL;
	if (!c && l->tls_addresses.count)
		c = reach_address(&l->tls_addresses.list[0]);
	if (c) {
		conn_set_deadline(c, clock_now() + PATIENCE_MS);
		ok = plain ? greets(c, c == socket, why)
			   : greets_with_tls(c, config, why);
		conn_close(c);
	}
	return ok;
}

static void
add_silence(const struct listen_config *l, struct buf *why)
{
	const struct endpoints *addresses = l->addresses.count
	    ? &l->addresses : &l->tls_addresses;

	buf_adds(why, "the daemon does not answer");
	if (l->socket)
		buf_addf(why, " at %s", l->socket);
	if (addresses->count)
		buf_addf(why, "%s at %s", l->socket ? ", nor" : "",
		    addresses->list[0].text);
}

int
liveness(const char *config_path, bool relay)
{
	struct setup s;
	struct queue_place place = {.program = "smarthost", .setup = &s};
	struct buf why = {0};
	bool ok = setup_read(&s, setup_config_path(config_path), &why);

	if (ok && !answers(&s.config, &why)) {
		if (!why.len)
			add_silence(&s.config.listen, &why);
		ok = false;
	}
	ok = ok && (!relay || queue_command_health(&place, &why));
	setup_print(stderr, "smarthost: ", &why);
	setup_free(&s);
	buf_free(&why);
	return ok ? EX_OK : 1;
}
