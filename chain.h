/* SPDX-License-Identifier: ISC */
#ifndef CHAIN_H
#define CHAIN_H

#include <bearssl.h>
#include <stddef.h>
#include <time.h>

#include "buf.h"
#include "certificate.h"
#include "tls.h"

enum {
	CHAIN_CERTIFICATES_MAX = 32,
	CHAIN_BYTES_MAX = 100 * 1024,
};

/*
 * The judge of a peer's certificates, as an X.509 engine for BearSSL: it
 * keeps the chain as it comes, prepares the few anchors that could have signed
 * it, and runs BearSSL's "minimal" engine over both. On top of that engine's
 * rules it asks for a name in subjectAltName. With a pin it looks at nothing
 * but the leaf.
 */
struct chain {
	const br_x509_class *vtable; /* first: what BearSSL holds on to */
	const struct tls_trust *trust;
	const char *name;            /* whom the leaf must be for */
	struct buf der;              /* the certificates, end to end */
	size_t ends[CHAIN_CERTIFICATES_MAX];
	struct certificate *certificates; /* points into der */
	size_t count;
	size_t candidates;           /* anchors that might have signed */
	time_t now;                  /* when it was judged */
	unsigned error;              /* BR_ERR_X509_..., or 0 */
	union {
		br_x509_minimal_context minimal;
		br_x509_pkey pinned; /* with a pin: the leaf's key, in der */
	} as;
};

/* trust and name must outlive the chain. */
void chain_init(struct chain *, const struct tls_trust *, const char *name);
void chain_free(struct chain *);

/* The DER of the certificate of the peer itself; empty if there was none. */
struct bytes chain_leaf(const struct chain *);

/* The key of a certificate whose key_fits, as BearSSL wants it; it points to
 * what the certificate was read from. */
void chain_key(const struct certificate *, br_x509_pkey *);

/* SHA-256 of a certificate. */
void chain_fingerprint(struct bytes der,
    unsigned char digest[TLS_FINGERPRINT_SIZE]);

/* Appends why the chain was refused, and what to do about it. */
void chain_explain(const struct chain *, struct buf *sentence);

#endif
