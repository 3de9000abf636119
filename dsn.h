/* SPDX-License-Identifier: ISC */
#ifndef DSN_H
#define DSN_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/*
 * What a sender may ask of notices (RFC 3461), as text: the values of NOTIFY,
 * RET, ENVID and ORCPT, and xtext, in which two of them are written. Pure
 * functions; a value is len bytes.
 */

/* NEVER, or a list of SUCCESS, FAILURE and DELAY, as bits (see message.h); 0
 * if it is neither. */
unsigned dsn_notify(const char *value, size_t len);

/* The other way round. */
void dsn_add_notify(struct buf *, unsigned notify);

/* 'F' for FULL, 'H' for HDRS, 0 for anything else. */
char dsn_returns(const char *value, size_t len);

/* Whether it may be an ENVID: xtext, up to 100 bytes. */
bool dsn_is_envelope_id(const char *value, size_t len);

/* Whether it may be an ORCPT: a type, a semicolon, xtext, up to 500 bytes.
 * With utf8, the address of type utf-8 may also be in UTF-8 (RFC 6533 section
 * 3). */
bool dsn_is_original(const char *value, size_t len, bool utf8);

/* Appends printable ASCII as xtext. */
void dsn_add_xtext(struct buf *, const char *text);

/* Appends what xtext stands for, printable whatever it is. */
void dsn_add_decoded(struct buf *, const char *xtext);

#endif
