/* SPDX-License-Identifier: ISC */
/*
 * The judge of a peer's certificates. After a verdict against them they are
 * kept, so that chain_explain() has something to say; after one in their
 * favour only the leaf is.
 */
#include "chain.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "trust.h"

enum {
	DAY = 86400,
	EPOCH = 719528, /* days from the year 0 to 1970 */
};

static struct chain *
chain_of(const br_x509_class **context)
{
	return (struct chain *)(void *)context;
}

static size_t
start_of(const struct chain *chain, size_t i)
{
	return i ? chain->ends[i - 1] : 0;
}

static struct bytes
der_of(const struct chain *chain, size_t i)
{
	const unsigned char *der = (const unsigned char *)chain->der.data;
	size_t start = start_of(chain, i);

	return (struct bytes){der + start, chain->ends[i] - start};
}

static void
forget(struct chain *chain)
{
	buf_free(&chain->der);
	free(chain->certificates);
	chain->certificates = NULL;
	chain->count = 0;
}

/* BearSSL only reads what these point to, but has no const in its structs. */
static unsigned char *
start_of_bytes(struct bytes b)
{
	return (unsigned char *)(uintptr_t)b.data;
}

void
chain_key(const struct certificate *c, br_x509_pkey *key)
{
	if (c->curve) {
		key->key_type = BR_KEYTYPE_EC;
		key->key.ec.curve = (int)c->curve;
		key->key.ec.q = start_of_bytes(c->point);
		key->key.ec.qlen = c->point.len;
		return;
	}
	key->key_type = BR_KEYTYPE_RSA;
	key->key.rsa.n = start_of_bytes(c->modulus);
	key->key.rsa.nlen = c->modulus.len;
	key->key.rsa.e = start_of_bytes(c->exponent);
	key->key.rsa.elen = c->exponent.len;
}

/* For those who ask who that was, and for its key. */
static void
keep_leaf(struct chain *chain)
{
	struct bytes der = der_of(chain, 0);
	struct buf leaf = {0};
	struct certificate c;

	buf_add(&leaf, der.data, der.len);
	forget(chain);
	chain->der = leaf;
	chain->ends[0] = leaf.len;
	chain->count = 1;
	if (chain->trust->pinned && certificate_read(&c, leaf.data, leaf.len))
		chain_key(&c, &chain->as.pinned);
}

struct bytes
chain_leaf(const struct chain *chain)
{
	return chain->count ? der_of(chain, 0) : (struct bytes){0};
}

void
chain_fingerprint(struct bytes der,
    unsigned char digest[TLS_FINGERPRINT_SIZE])
{
	br_sha256_context sha256;

	br_sha256_init(&sha256);
	br_sha256_update(&sha256, der.data, der.len);
	br_sha256_out(&sha256, digest);
}

/* The name that BearSSL passes is the one for SNI, which may be NULL. */
static void
start_chain(const br_x509_class **context, const char *server_name)
{
	(void)server_name;
	forget(chain_of(context));
	chain_of(context)->error = 0;
}

static void
start_certificate(const br_x509_class **context, uint32_t len)
{
	struct chain *chain = chain_of(context);

	if (chain->count == CHAIN_CERTIFICATES_MAX || len > CHAIN_BYTES_MAX ||
	    chain->der.len + len > CHAIN_BYTES_MAX)
		chain->error = BR_ERR_X509_LIMIT_EXCEEDED;
}

static void
append(const br_x509_class **context, const unsigned char *data, size_t len)
{
	struct chain *chain = chain_of(context);

	if (!chain->error)
		buf_add(&chain->der, data, len);
}

static void
end_certificate(const br_x509_class **context)
{
	struct chain *chain = chain_of(context);

	if (!chain->error)
		chain->ends[chain->count++] = chain->der.len;
}

static void
read_certificates(struct chain *chain)
{
	chain->certificates = xcalloc(chain->count,
	    sizeof(chain->certificates[0]));
	for (size_t i = 0; i < chain->count; i++) {
		struct bytes der = der_of(chain, i);

		certificate_read(&chain->certificates[i], der.data, der.len);
	}
}

/* An anchor may have signed a certificate, or be the leaf itself. */
static bool
may_vouch(const struct anchor *anchor, const struct chain *chain)
{
	for (size_t i = 0; i < chain->count; i++)
		if (bytes_equal(chain->certificates[i].issuer, anchor->subject))
			return true;
	return chain->count &&
	    bytes_equal(chain->certificates[0].subject, anchor->subject);
}

/* What BearSSL wants to know of an anchor. A certificate without any extension
 * is of the old kind, which cannot say that it is a CA. */
static void
prepare(const struct anchor *anchor, br_x509_trust_anchor *out)
{
	struct certificate c;

	certificate_read(&c, anchor->der, anchor->len);
	out->dn.data = start_of_bytes(c.subject);
	out->dn.len = c.subject.len;
	chain_key(&c, &out->pkey);
	if (c.is_ca || !c.has_extensions)
		out->flags = BR_X509_TA_CA;
}

static void
set_up(struct chain *chain, const br_x509_trust_anchor *anchors)
{
	br_x509_minimal_context *minimal = &chain->as.minimal;
	struct timespec now;

	/* SHA-1 and MD5 are missing, so such signatures are refused. */
	br_x509_minimal_init(minimal, &br_sha256_vtable, anchors,
	    chain->candidates);
	br_x509_minimal_set_hash(minimal, br_sha256_ID, &br_sha256_vtable);
	br_x509_minimal_set_hash(minimal, br_sha384_ID, &br_sha384_vtable);
	br_x509_minimal_set_hash(minimal, br_sha512_ID, &br_sha512_vtable);
	br_x509_minimal_set_rsa(minimal, br_rsa_pkcs1_vrfy_get_default());
	br_x509_minimal_set_ecdsa(minimal, br_ec_get_default(),
	    br_ecdsa_vrfy_asn1_get_default());
	br_x509_minimal_set_minrsa(minimal, RSA_BITS_MIN / 8);
	clock_gettime(CLOCK_REALTIME, &now);
	chain->now = now.tv_sec > 0 ? now.tv_sec : 0;
	br_x509_minimal_set_time(minimal, (uint32_t)(chain->now / DAY) + EPOCH,
	    (uint32_t)(chain->now % DAY));
}

/* BearSSL knows no iPAddress, so the name is left to certificate_is_for() if
 * it is one. */
static unsigned
run(struct chain *chain)
{
	const br_x509_class *class = &br_x509_minimal_vtable;
	const br_x509_class **context = &chain->as.minimal.vtable;
	unsigned char address[16];
	bool is_address = certificate_ip_address(chain->name, address);

	class->start_chain(context, is_address ? NULL : chain->name);
	for (size_t i = 0; i < chain->count; i++) {
		struct bytes der = der_of(chain, i);

		class->start_cert(context, (uint32_t)der.len);
		if (der.len)
			class->append(context, der.data, der.len);
		class->end_cert(context);
	}
	return class->end_chain(context);
}

static unsigned
judge(struct chain *chain, const struct tls_trust *trust)
{
	br_x509_trust_anchor *anchors;
	size_t wanted = 0;
	unsigned error;

	for (size_t i = 0; i < trust->count; i++)
		wanted += may_vouch(&trust->anchors[i], chain);
	anchors = xcalloc(wanted, sizeof(anchors[0]));
	chain->candidates = 0;
	for (size_t i = 0; i < trust->count; i++)
		if (may_vouch(&trust->anchors[i], chain))
			prepare(&trust->anchors[i],
			    &anchors[chain->candidates++]);
	set_up(chain, anchors);
	error = run(chain);
	free(anchors);
	return error;
}

/* A pin takes the place of the anchors, the name and the dates. */
static unsigned
judge_pinned(struct chain *chain)
{
	unsigned char digest[TLS_FINGERPRINT_SIZE];
	struct bytes leaf = chain_leaf(chain);

	if (!leaf.len)
		return BR_ERR_X509_EMPTY_CHAIN;
	chain_fingerprint(leaf, digest);
	if (memcmp(digest, chain->trust->pin, sizeof(digest)) != 0)
		return BR_ERR_X509_NOT_TRUSTED;
	if (!chain->certificates[0].key_fits)
		return BR_ERR_X509_WEAK_PUBLIC_KEY;
	return 0;
}

static unsigned
judge_named(struct chain *chain)
{
	unsigned error = judge(chain, chain->trust);
	size_t candidates = chain->candidates;

	if (error && trust_late(chain->trust) &&
	    judge(chain, trust_late(chain->trust)) == 0)
		error = 0;
	else
		chain->candidates = candidates;
	/* BearSSL is content with a common name; RFC 9525 is not. */
	if (!error &&
	    !certificate_is_for(&chain->certificates[0], chain->name))
		error = BR_ERR_X509_BAD_SERVER_NAME;
	return error;
}

static unsigned
end_chain(const br_x509_class **context)
{
	struct chain *chain = chain_of(context);

	if (chain->error)
		return chain->error;
	read_certificates(chain);
	chain->error = chain->trust->pinned ? judge_pinned(chain)
	                                    : judge_named(chain);
	if (!chain->error)
		keep_leaf(chain);
	return chain->error;
}

static const br_x509_pkey *
get_key(const br_x509_class *const *context, unsigned *usages)
{
	const struct chain *chain = (const struct chain *)(const void *)context;

	if (chain->error)
		return NULL;
	if (!chain->trust->pinned)
		return br_x509_minimal_vtable.get_pkey(
		    &chain->as.minimal.vtable, usages);
	if (usages)
		*usages = BR_KEYTYPE_SIGN;
	return &chain->as.pinned;
}

static const br_x509_class chain_class = {
	.context_size = sizeof(struct chain),
	.start_chain = start_chain,
	.start_cert = start_certificate,
	.append = append,
	.end_cert = end_certificate,
	.end_chain = end_chain,
	.get_pkey = get_key,
};

void
chain_init(struct chain *chain, const struct tls_trust *trust,
    const char *name)
{
	chain->vtable = &chain_class;
	chain->trust = trust;
	chain->name = name;
	chain->error = BR_ERR_X509_EMPTY_CHAIN;
}

void
chain_free(struct chain *chain)
{
	forget(chain);
}
