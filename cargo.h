/* SPDX-License-Identifier: ISC */
#ifndef CARGO_H
#define CARGO_H

#include <stdbool.h>
#include <stdint.h>

struct answer;
struct chat;
struct message;
struct verdict;

/*
 * What goes out behind the envelope: the header as this relay gets it, a blank
 * line, the body. The only place that knows its bytes and their number.
 */

/* Bytes, before dots are doubled: for SIZE and BDAT. */
uint64_t cargo_size(const struct message *);

/* Behind a 354: the lines with their dots doubled, the final dot, and its
 * answer. True if that was a yes; otherwise the verdict says what went wrong,
 * and as long as the connection is sound, the relay has refused it. */
bool cargo_send(struct chat *, const struct message *, struct verdict *);

/* The same as one chunk, "BDAT size LAST" and exactly so many bytes
 * (RFC 3030). */
bool cargo_send_chunk(struct chat *, const struct message *,
    struct verdict *);

/* Whether that can be the answer to a chunk: a yes that speaks of an address
 * (RFC 3463 section 3.2) is a late one to the envelope. */
bool cargo_fits_chunk(const struct answer *);

/* What was refused because the relay does not know BDAT, which it has offered,
 * is not final. */
void cargo_excuse_chunk(struct verdict *);

/* Only buffers that chunk, for a relay that has not answered to the envelope
 * yet. When the message cannot be read, the connection has failed. */
void cargo_put_chunk(struct chat *, const struct message *);

/* As chat_answer(), for the answer to the whole. Whatever goes wrong here, the
 * relay may have the message; so this waits as long as RFC 5321 says (section
 * 4.5.3.2.6), whoever is in a hurry. */
bool cargo_await(struct chat *, struct answer *);

#endif
