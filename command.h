/* SPDX-License-Identifier: ISC */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdint.h>

struct buf;

/* The arguments of MAIL and RCPT, as pure functions. Each takes what stands
 * behind the verb, appends the mailbox (nothing for the null sender), and
 * returns NULL, or the SMTP reply that refuses the command; the mailbox means
 * nothing then. */

/* FROM:<path> [SIZE=n] [BODY=7BIT|8BITMIME] (RFC 5321, 1870, 6152); size: what
 * was said, or 0 */
const char *command_mail(const char *arguments, uint64_t max_message,
    uint64_t *size, struct buf *mailbox);

/* TO:<path> */
const char *command_rcpt(const char *arguments, struct buf *mailbox);

#endif
