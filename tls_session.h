/* SPDX-License-Identifier: ISC */
#ifndef TLS_SESSION_H
#define TLS_SESSION_H

#include <bearssl.h>
#include <stdbool.h>

/*
 * The last TLS session with one relay, which the next connection may resume
 * (RFC 5246 section 7.3): no certificate is sent or judged then, so only one
 * that was judged on the same terms, and not long ago, is kept. All couriers
 * of a relay share one. Thread safe.
 */
struct tls_session;
struct tls_session *tls_session_new(void);
void tls_session_free(struct tls_session *); /* NULL is fine */

/* False if there is none that was made for this name. */
bool tls_session_get(struct tls_session *, const char *name,
    br_ssl_session_parameters *);

/* Keeps what a full handshake has agreed on, if the relay lets it be resumed.
 * name is at most 255 bytes. */
void tls_session_put(struct tls_session *, const char *name,
    const br_ssl_session_parameters *);

/* To be called when a connection that tried to resume has failed. */
void tls_session_drop(struct tls_session *);

#endif
