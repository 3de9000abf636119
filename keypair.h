/* SPDX-License-Identifier: ISC */
#ifndef KEYPAIR_H
#define KEYPAIR_H

#include <bearssl.h>
#include <stdatomic.h>
#include <stddef.h>

#include "buf.h"

/* What tls.h calls a certificate of our own, as BearSSL wants it. */
struct tls_keypair {
	atomic_uint users;
	br_x509_certificate *chain; /* the leaf first */
	size_t chain_len;
	struct buf der;             /* the certificates, end to end */
	br_skey_decoder_context key;
	unsigned issuer_key;        /* BR_KEYTYPE_RSA or BR_KEYTYPE_EC */
};

/* One more user, who calls tls_keypair_free() too. Returns the pair. */
struct tls_keypair *keypair_share(struct tls_keypair *);

/* BR_KEYTYPE_RSA or BR_KEYTYPE_EC. */
unsigned keypair_type(const struct tls_keypair *);

#endif
