/* SPDX-License-Identifier: ISC */
#ifndef AUTHENTICATE_H
#define AUTHENTICATE_H

#include <stdbool.h>

struct buf;
struct session;

/* The verb AUTH of the listener (RFC 4954): PLAIN and LOGIN against [listen]
 * auth_file. */

/* Whether the client can log in: under TLS, or on this machine. */
bool authenticate_is_offered(const struct session *);

/* AUTH, with its reply; session->login is set if the next line is an answer to
 * a challenge and no command. */
void authenticate_verb(struct session *, const char *arguments);

/* That line; NULL if it was too long to be one. */
void authenticate_answer(struct session *, const struct buf *line);

/* Ends a dialogue that is under way. */
void authenticate_cancel(struct session *);

#endif
