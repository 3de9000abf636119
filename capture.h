/* SPDX-License-Identifier: ISC */
#ifndef CAPTURE_H
#define CAPTURE_H

struct message;
struct upstream;
struct verdict;

/* provider = capture: instead of sending, writes the message as ID.eml into
 * the upstream's directory, its envelope in X-Envelope-From and X-Envelope-To,
 * and has it on disk before it says SENT. */
void capture_deliver(const struct upstream *, struct message *,
    struct verdict *);

#endif
