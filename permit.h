/* SPDX-License-Identifier: ISC */
#ifndef PERMIT_H
#define PERMIT_H

struct session;

/* What a client may do: each returns NULL, or the reply that refuses it. */

/* Relay, by its address or because it has logged in. */
const char *permit_relay(const struct session *);

/* Send one more message, as that sender; it is counted. */
const char *permit_message(const struct session *, const char *sender);

/* Replies that it may not, and says so in the log, but not twice in a row the
 * same: whoever runs the client may never look at its replies. reply is
 * constant. */
void permit_refuse(struct session *, const char *reply);

#endif
