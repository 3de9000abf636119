/* SPDX-License-Identifier: ISC */
#ifndef CONSOLE_H
#define CONSOLE_H

struct job;

/* sendmail -bs: one SMTP session on the standard input and output. Each of its
 * messages takes the ways of any other, with the caller as its owner. Returns
 * the exit status: EX_OK after QUIT, or at the end of the input if every
 * command before it was a good one; else EX_PROTOCOL. */
int console_session(struct job *);

#endif
