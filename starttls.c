/* SPDX-License-Identifier: ISC */
/*
 * TLS for clients (RFC 3207): what was said before it counts no longer, and
 * what was sent before it never serves behind it.
 */
#include "starttls.h"

#include "clock.h"
#include "config.h"
#include "conn.h"
#include "session.h"
#include "session_internal.h"

enum { HANDSHAKE_TIMEOUT = 30 * 1000 };

bool
starttls_is_offered(const struct session *s)
{
	return s->client->tls && !conn_tls(s->conn);
}

void
starttls_verb(struct session *s, const char *arguments)
{
	if (*arguments) {
		session_say(s, "501 5.5.4 STARTTLS takes no arguments");
	} else if (!starttls_is_offered(s)) {
		session_say(s, conn_tls(s->conn)
		        ? "503 5.5.1 This is TLS already"
		        : "502 5.5.1 There is no TLS here");
	} else if (conn_input_waits(s->conn)) {
		s->over = true;
		session_say(s, "554 5.5.1 Nothing may follow STARTTLS before "
			       "its reply");
	} else {
		s->securing = true;
		session_say(s, "220 2.0.0 Go ahead with TLS");
	}
}

bool
starttls_begin(struct session *s)
{
	s->securing = false;
	conn_set_deadline(s->conn, clock_earlier(clock_now() +
	    HANDSHAKE_TIMEOUT, clock_now() +
	    s->config->listen.session_timeout));
	session_forget(s);
	if (conn_start_tls_server(s->conn, s->client->tls))
		return true;
	/* A port that is looked at by a health check leaves no line. */
	if (conn_error(s->conn) && !conn_stopped(s->conn))
		log_message(LEVEL_INFO, "%s: no TLS: %s", s->client->name,
		    conn_error(s->conn));
	return false;
}
