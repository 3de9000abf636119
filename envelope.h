/* SPDX-License-Identifier: ISC */
#ifndef ENVELOPE_H
#define ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct message;
struct recipient;

/* The commands MAIL and RCPT as they are said to a relay, without line ends.
 * features are what its last EHLO offered (hello.h): nothing else is asked of
 * it. */

/* Whether the message can be offered for this recipient: an address beyond
 * ASCII, the sender's or the recipient's, needs SMTPUTF8. */
bool envelope_can_be_said(const struct message *, const struct recipient *,
    unsigned features);

/* utf8: with SMTPUTF8 (RFC 6531); see envelope_is_utf8(). */
void envelope_add_mail(struct buf *, const struct message *,
    unsigned features, bool utf8);
void envelope_add_rcpt(struct buf *, const struct recipient *,
    unsigned features, bool utf8);

/* Whether the message has to be sent with SMTPUTF8 to these recipients, and
 * can be. A header in UTF-8 alone is no reason to refuse a message: it goes
 * out as it would have before there was an extension for it. */
bool envelope_is_utf8(const struct message *, struct recipient *const *,
    size_t count, unsigned features);

#endif
