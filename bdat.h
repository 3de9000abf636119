/* SPDX-License-Identifier: ISC */
#ifndef BDAT_H
#define BDAT_H

struct session;

/* The command BDAT: reads its chunk, whatever comes of it, and sets the reply;
 * or session.vanished, when the client has gone in the middle of it. */
void bdat_verb(struct session *, const char *arguments);

#endif
