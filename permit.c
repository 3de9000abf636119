/* SPDX-License-Identifier: ISC */
/*
 * What a client of the listener may do.
 */
#include "permit.h"

#include "authenticate.h"
#include "config.h"
#include "log.h"
#include "session.h"
#include "session_internal.h"

const char *
permit_relay(const struct session *s)
{
	if (s->client->may_relay || s->account.user)
		return NULL;
	if (!s->config->listen.auth_file)
		return "550 5.7.1 This host may not relay here: it is not in "
		       "[listen] allow";
	return authenticate_is_offered(s)
	    ? "530 5.7.0 Log in first"
	    : "530 5.7.0 Say STARTTLS and log in first";
}

const char *
permit_message(const struct session *s, const char *sender)
{
	if (!account_may_send(&s->account, sender))
		return "553 5.7.1 This user may not send as that address";
	if (s->client->clients && !s->client->local &&
	    !clients_may_send(s->client->clients, s->client->key,
	        &s->config->listen.limits))
		return "450 4.7.1 Too many messages from this address, try "
		       "again later";
	return NULL;
}

void
permit_refuse(struct session *s, const char *reply)
{
	struct buf code = {0};

	session_say(s, reply);
	if (s->complaint == reply)
		return;
	s->complaint = reply;
	buf_add(&code, reply, 3);
	log_event(LEVEL_WARNING, *reply == '5' ? "refused" : "deferred",
	    "code", code.data, "reply", reply + 4, "client", s->client->name,
	    "user", s->account.user, NULL);
	buf_free(&code);
}
