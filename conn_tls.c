/* SPDX-License-Identifier: ISC */
/*
 * A byte stream, under TLS: moves bytes between the buffers of a connection
 * and the records of tls.c, which never waits.
 */
#include "conn_internal.h"

#include <poll.h>

#include "tls.h"

const char *
conn_tls(const struct conn *c)
{
	return c->tls ? tls_description(c->tls) : NULL;
}

bool
conn_peer(const struct conn *c, struct tls_peer *peer)
{
	return c->tls && tls_peer(c->tls, peer);
}

short
conn_tls_events(unsigned tls_state)
{
	short events = 0;

	if (tls_state & TLS_WANTS_READ)
		events |= POLLIN;
	if (tls_state & TLS_WANTS_WRITE)
		events |= POLLOUT;
	return events;
}

static void
fail_tls(struct conn *c)
{
	struct buf why = {0};

	tls_explain(c->tls, &why);
	conn_fail(c, "%s", buf_text(&why));
	buf_free(&why);
}

/* Moves decrypted bytes to the input; true if there are any. */
static bool
take_decrypted(struct conn *c, unsigned state)
{
	size_t got = 0;

	if (state & (TLS_HAS_INPUT | TLS_CLOSED | TLS_FAILED))
		got = tls_take(c->tls, c->input, INPUT_SIZE);
	c->input_end = got;
	return got > 0;
}

bool
conn_read_tls(struct conn *c, unsigned *state)
{
	*state = tls_pump(c->tls, c->fd);
	if (take_decrypted(c, *state))
		return true;
	if (*state & TLS_FAILED)
		fail_tls(c);
	else if (*state & TLS_CLOSED)
		conn_set_error(c, "connection closed by the other side");
	else
		return false;
	c->read_over = true;
	return true;
}

short
conn_push_tls(struct conn *c)
{
	unsigned state = tls_pump(c->tls, c->fd);

	while (c->output.len && state & TLS_TAKES_OUTPUT) {
		conn_sent(c, tls_give(c->tls, c->output.data, c->output.len));
		tls_flush(c->tls);
		state = tls_pump(c->tls, c->fd);
	}
	if (state & (TLS_FAILED | TLS_CLOSED)) {
		c->write_over = true;
		if (state & TLS_FAILED && !(state & TLS_HAS_INPUT))
			fail_tls(c);
		return 0;
	}
	if (!c->output.len && !(state & TLS_WANTS_WRITE))
		return 0;
	/* A socket that takes more is no event while the engine does not. */
	return conn_tls_events(state);
}

/* What was buffered in plain text is gone. */
static bool
shake_hands(struct conn *c, struct tls *tls)
{
	unsigned state = 0;

	c->tls = tls;
	c->input_start = c->input_end = 0;
	while (!c->read_over && !conn_expired(c)) {
		state = tls_pump(c->tls, c->fd);
		if (state & TLS_READY)
			break;
		if (state & (TLS_FAILED | TLS_CLOSED))
			fail_tls(c);
		else
			conn_wait(c, conn_tls_events(state));
	}
	return state & TLS_READY && !c->error[0];
}

bool
conn_start_tls(struct conn *c, const struct tls_trust *trust, const char *name)
{
	return conn_flush(c) && shake_hands(c, tls_client_new(trust, name));
}

bool
conn_start_tls_server(struct conn *c, struct tls_server *server)
{
	return conn_flush(c) && shake_hands(c, tls_server_new(server));
}

void
conn_end_tls(struct conn *c)
{
	if (!c->error[0] && !c->write_over) {
		tls_goodbye(c->tls);
		tls_pump(c->tls, c->fd);
	}
	tls_free(c->tls);
}
