/* SPDX-License-Identifier: ISC */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/* Addresses of the envelope (RFC 5321 section 4.1.2) and of the header
 * (RFC 5322 section 3.4). Nothing here cuts an address: it is taken whole,
 * byte for byte, or refused. */

enum address_status {
	ADDRESS_OK,
	ADDRESS_EMPTY,     /* <> */
	ADDRESS_SYNTAX,    /* not an address */
	ADDRESS_TOO_LONG,  /* local part over 64, domain over 255, label over
	                    * 63, path over 254 bytes */
	ADDRESS_UTF8,      /* good, but only where SMTPUTF8 is spoken */
	ADDRESS_NOT_UTF8,  /* has bytes that are neither ASCII nor UTF-8 */
	ADDRESS_OPTION,    /* begins with '-': could be taken for an option */
};

/* Judges a bare mailbox: a dot-atom or quoted local part, then nothing, or @
 * and a domain or an address literal. NUL, CR, LF and other control characters
 * are never part of an address. Characters beyond ASCII may stand in all but a
 * literal (RFC 6531 section 3.3), and the status is then ADDRESS_UTF8. len
 * bytes of s, which may hold NUL. */
enum address_status address_check(const char *s, size_t len);

/* Reads the path at the start of s (RFC 5321 section 4.1.2), as it stands
 * behind MAIL FROM: and RCPT TO:. Blanks before it and a missing pair of angle
 * brackets are forgiven; a source route is dropped. On ADDRESS_OK,
 * ADDRESS_UTF8 and ADDRESS_EMPTY the mailbox, without brackets, is appended to
 * mailbox and *used is the count of bytes up to and with the '>' (or up to the
 * blank that ends a bare path); the caller judges what follows. A '>' inside
 * quotes does not end the path. No path at all is ADDRESS_SYNTAX, not <>. */
enum address_status address_path(const char *s, size_t len,
    struct buf *mailbox, size_t *used);

/* One sentence fragment for a person: "has a space in it" is not guessed,
 * only the rule named: "is not an address", "is too long"... */
const char *address_status_text(enum address_status);

/* Whether it is ADDRESS_OK or ADDRESS_UTF8. */
bool address_is_good(enum address_status);

/* Whether there is a domain; the '@' may not be inside quotes. */
bool address_is_qualified(const char *mailbox);

/* A list of header addresses (To, Cc, Bcc), unfolded or not: calls found for
 * each mailbox, in order, with comments, display names, routes and group
 * names left out. Group members are mailboxes; an empty group gives none.
 * A mailbox is NUL-terminated, gone after the call, and one that
 * address_check() finds good, ASCII or not. Whatever else stands between two
 * commas is broken: skipped, and counted in the result. A quoted string or a
 * comment without an end reaches to the end of the list, as one broken part. */
typedef void address_found(void *context, const char *mailbox, size_t len);
size_t address_list(const char *value, size_t len, address_found *,
    void *context);

/* The same, and where each mailbox stands: for whoever changes it there. */
struct mailbox {
	const char *text;  /* NUL-terminated, gone after the call */
	size_t len;
	size_t start, end; /* in the value, without angle brackets; blanks and
	                    * comments that are inside the address included */
	bool bracketed;
	size_t entry, stop; /* what stands between the two commas */
};
typedef void mailbox_found(void *context, const struct mailbox *);
size_t mailbox_list(const char *value, size_t len, mailbox_found *,
    void *context);

#endif
