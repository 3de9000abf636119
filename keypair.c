/* SPDX-License-Identifier: ISC */
/*
 * A certificate of our own and its key, from PEM files: what a relay may ask
 * of us, and what the listener shows to clients. Whatever would only come to
 * light in a handshake is found when it is loaded.
 */
#include "keypair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "certificate.h"
#include "chain.h"
#include "pem.h"
#include "tls.h"

enum {
	CHAIN_MAX = 10,
	MODULUS_BYTES = RSA_BITS_MAX / 8,
};

unsigned
keypair_type(const struct tls_keypair *pair)
{
	return (unsigned)br_skey_decoder_key_type(&pair->key);
}

/* The two functions that append a sentence return false. */
static bool
cannot_read(const char *path, const char *what, struct buf *why)
{
	buf_addf(why, "cannot read the %s %s: %s; the user that runs smarthost "
	    "must be able to", what, path, strerror(errno));
	return false;
}

static bool
add_certificates(struct tls_keypair *pair, const struct buf *content)
{
	struct pem pem = pem_begin(content);
	struct pem_block block;
	size_t ends[CHAIN_MAX], count = 0, start = 0;

	while (pem_next(&pem, &block)) {
		if (!pem_is_certificate(&block))
			continue;
		if (count == CHAIN_MAX || !pem_decode(&pem, &block, &pair->der))
			return false;
		ends[count++] = pair->der.len;
	}
	pair->chain = xcalloc(count, sizeof(pair->chain[0]));
	pair->chain_len = count;
	for (size_t i = 0; i < count; start = ends[i++]) {
		pair->chain[i].data = (unsigned char *)pair->der.data + start;
		pair->chain[i].data_len = ends[i] - start;
	}
	return true;
}

/* Each certificate is to be signed by the one behind it. */
static bool
check_order(const struct tls_keypair *pair, const char *path, struct buf *why)
{
	struct certificate above, c;

	for (size_t i = pair->chain_len; i-- > 0; above = c) {
		if (!certificate_read(&c, pair->chain[i].data,
		        pair->chain[i].data_len)) {
			buf_addf(why, "certificate %zu in %s is broken; write "
			    "it anew", i + 1, path);
			return false;
		}
		if (i + 1 == pair->chain_len ||
		    bytes_equal(c.issuer, above.subject))
			continue;
		buf_addf(why, "certificate %zu in %s is not the issuer of the "
		    "one before it; the order is: our own, the one that "
		    "signed it, and so on", i + 2, path);
		return false;
	}
	return true;
}

static bool
check_leaf(struct tls_keypair *pair, const char *path, struct buf *why)
{
	struct certificate c;

	certificate_read(&c, pair->chain[0].data, pair->chain[0].data_len);
	pair->issuer_key = strstr(c.signature, "ECDSA") ? BR_KEYTYPE_EC
	                                                : BR_KEYTYPE_RSA;
	if (c.key_fits)
		return true;
	buf_addf(why, "the certificate in %s has a key that cannot be used "
	    "(%s", path, c.key);
	if (c.rsa_bits)
		buf_addf(why, " of %u bits", c.rsa_bits);
	buf_addf(why, "); it must be issued anew with RSA of %d to %d bits, "
	    "or EC P-256", RSA_BITS_MIN, RSA_BITS_MAX);
	return false;
}

static bool
load_certificates(struct tls_keypair *pair, const char *path, struct buf *why)
{
	struct buf content = {0};
	bool good = pem_read_file(path, &content);

	if (!good) {
		cannot_read(path, "certificate", why);
	} else if (!add_certificates(pair, &content)) {
		good = false;
		buf_addf(why, "%s holds a broken certificate, or more than %d; "
		    "write it anew", path, CHAIN_MAX);
	} else if (!pair->chain_len) {
		good = false;
		pem_explain(path, &content, why);
	}
	buf_wipe(&content); /* the key may be in the same file */
	return good && check_order(pair, path, why) &&
	    check_leaf(pair, path, why);
}

static bool
holds(struct bytes text, const char *word)
{
	return memmem(text.data, text.len, word, strlen(word));
}

/* NULL, or what is wrong with the key in the block. */
static const char *
decode_key(struct tls_keypair *pair, const struct pem *pem,
    const struct pem_block *block)
{
	struct buf der = {0};
	const char *fault = NULL;

	if (pem_label_ends(block, "ENCRYPTED PRIVATE KEY") ||
	    holds(block->text, "ENCRYPTED"))
		return "is protected by a passphrase, which nobody is there "
		    "to type; write it without one, as \"openssl pkey\" does";
	if (!pem_decode(pem, block, &der))
		fault = "is broken; write it anew";
	else
		br_skey_decoder_push(&pair->key, der.data, der.len);
	if (!fault && !keypair_type(pair))
		fault = "is neither an RSA nor an EC key; make one of these";
	buf_wipe(&der);
	return fault;
}

static const char *
find_key(struct tls_keypair *pair, const struct buf *content)
{
	struct pem pem = pem_begin(content);
	struct pem_block block;

	br_skey_decoder_init(&pair->key);
	while (pem_next(&pem, &block))
		if (pem_label_ends(&block, "PRIVATE KEY"))
			return decode_key(pair, &pem, &block);
	return "is not there; the file must hold it in PEM form, "
	    "\"-----BEGIN PRIVATE KEY-----\"";
}

static bool
load_key(struct tls_keypair *pair, const char *path, struct buf *why)
{
	struct buf content = {0};
	const char *fault;

	if (!pem_read_file(path, &content))
		return cannot_read(path, "key", why);
	fault = find_key(pair, &content);
	buf_wipe(&content);
	if (fault)
		buf_addf(why, "the private key in %s %s", path, fault);
	return !fault;
}

static bool
is_same(const unsigned char *a, size_t a_len, const unsigned char *b,
    size_t b_len)
{
	return bytes_equal((struct bytes){a, a_len}, (struct bytes){b, b_len});
}

static bool
fits_rsa(const br_rsa_public_key *public, const br_rsa_private_key *key)
{
	unsigned char modulus[MODULUS_BYTES];
	br_rsa_compute_modulus compute = br_rsa_compute_modulus_get_default();
	size_t len = compute(NULL, key);

	return len && len <= sizeof(modulus) && compute(modulus, key) == len &&
	    is_same(modulus, len, public->n, public->nlen);
}

static bool
fits_ec(const br_ec_public_key *public, const br_ec_private_key *key)
{
	unsigned char point[BR_EC_KBUF_PUB_MAX_SIZE];
	br_ec_public_key computed;

	return public->curve == key->curve &&
	    br_ec_compute_pub(br_ec_get_default(), &computed, point, key) &&
	    is_same(computed.q, computed.qlen, public->q, public->qlen);
}

static bool
is_pair(const struct tls_keypair *pair)
{
	struct certificate leaf;
	br_x509_pkey public;

	certificate_read(&leaf, pair->chain[0].data, pair->chain[0].data_len);
	chain_key(&leaf, &public);
	if (public.key_type != keypair_type(pair))
		return false;
	if (public.key_type == BR_KEYTYPE_RSA)
		return fits_rsa(&public.key.rsa,
		    br_skey_decoder_get_rsa(&pair->key));
	return fits_ec(&public.key.ec, br_skey_decoder_get_ec(&pair->key));
}

struct tls_keypair *
tls_keypair_load(const char *certificate, const char *key, struct buf *why)
{
	struct tls_keypair *pair = xcalloc(1, sizeof(*pair));
	bool good = load_certificates(pair, certificate, why) &&
	    load_key(pair, key, why);

	atomic_init(&pair->users, 1);
	if (good && !is_pair(pair)) {
		good = false;
		buf_addf(why, "the private key in %s is not that of the first "
		    "certificate in %s; name the one that it was requested "
		    "with", key, certificate);
	}
	if (good)
		return pair;
	tls_keypair_free(pair);
	return NULL;
}

struct tls_keypair *
keypair_share(struct tls_keypair *pair)
{
	atomic_fetch_add(&pair->users, 1);
	return pair;
}

void
tls_keypair_free(struct tls_keypair *pair)
{
	if (!pair || atomic_fetch_sub(&pair->users, 1) > 1)
		return;
	free(pair->chain);
	buf_free(&pair->der);
	explicit_bzero(pair, sizeof(*pair));
	free(pair);
}
