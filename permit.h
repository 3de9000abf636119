/* SPDX-License-Identifier: ISC */
#ifndef PERMIT_H
#define PERMIT_H

struct session;

/* What a client may do: each returns NULL, or the reply that refuses it. */

/* Relay, by its address or because it has logged in. */
const char *permit_relay(const struct session *);

/* Send one more message, as that sender; it is counted. */
const char *permit_message(const struct session *, const char *sender);

#endif
