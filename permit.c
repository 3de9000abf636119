/* SPDX-License-Identifier: ISC */
/*
 * What a client of the listener may do.
 */
#include "permit.h"

#include "authenticate.h"
#include "config.h"
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
