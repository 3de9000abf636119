/* SPDX-License-Identifier: ISC */
#ifndef CERTIFICATE_H
#define CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "der.h"

struct buf;

enum {
	RSA_BITS_MIN = 2048,
	RSA_BITS_MAX = 4096, /* BearSSL's limit */
};

/*
 * What an X.509 certificate (RFC 5280) says, as far as smarthost reads it by
 * itself: enough to find its issuer, to compare names, to trust in its key and
 * to explain why it was refused. Whether its signature is right, BearSSL
 * decides. Everything points into the DER that it was read from.
 */
struct certificate {
	struct bytes issuer, subject; /* whole DER; empty when not read */
	struct bytes alt_names; /* inside subjectAltName; data NULL: none */
	bool has_extensions;
	bool is_ca;             /* by basicConstraints */
	time_t not_before, not_after;
	const char *key;       /* "RSA", "EC P-256", "Ed25519", "unknown" */
	bool key_fits;         /* a kind and a size that we can verify with */
	unsigned rsa_bits;     /* 0 for other keys */
	struct bytes modulus, exponent; /* of such a key, without zeros in
	                        * front; empty for others */
	unsigned curve;        /* its number in TLS (RFC 8422); 0: it is none,
	                        * or not known */
	struct bytes point;    /* the key on it */
	const char *signature; /* "SHA-256 with RSA" */
	bool signature_fits;   /* neither SHA-1 nor older nor unknown to us */
};

/* Reads strict DER, all of it. false, and nothing in it, if it is not. */
bool certificate_read(struct certificate *, const void *der, size_t len);

/* Whether subjectAltName holds name: a dNSName, whose left-most label may be
 * '*' for one whole label, or an iPAddress if name is one. A trailing dot of
 * name is ignored. A common name never counts. */
bool certificate_is_for(const struct certificate *, const char *name);

/* The length of the IPv4 or IPv6 address that name is; 0 if it is none. */
size_t certificate_ip_address(const char *name, unsigned char address[16]);

/* Appends the dNSNames and iPAddresses, "a, b and 3 more"; false if there are
 * none. */
bool certificate_add_names(const struct certificate *, struct buf *);

/* Appends a distinguished name as "CN=..., O=...", printable and cut. */
void certificate_add_dn(struct bytes dn, struct buf *);

#endif
