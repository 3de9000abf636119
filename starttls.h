/* SPDX-License-Identifier: ISC */
#ifndef STARTTLS_H
#define STARTTLS_H

#include <stdbool.h>

struct session;

/* TLS for the clients of session.c. */

/* Whether STARTTLS would do something. */
bool starttls_is_offered(const struct session *);

/* Sets the reply to STARTTLS; if that is a yes, securing is set, and
 * starttls_begin() has to follow once it is written. */
void starttls_verb(struct session *, const char *arguments);

/* The handshake, within half a minute; everything that the client has said is
 * forgotten. False when it failed: then there is nothing left to say. */
bool starttls_begin(struct session *);

#endif
