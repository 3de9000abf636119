/* SPDX-License-Identifier: ISC */
/*
 * Certificates of a relay that nobody has judged yet, and PEM files: bytes of
 * any kind. What is read stays inside the input and is said in printable
 * words; a key is the one that BearSSL's decoder reads, if it reads one; a PEM
 * block is base64 exactly if our other decoder says so too, and then both have
 * the same bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "certificate.h"
#include "chain.h"
#include "pem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
require_inside(struct bytes part, const uint8_t *data, size_t size)
{
	require(!part.len || (part.data >= data && part.len <= size &&
	    part.data + part.len <= data + size));
}

static void
require_printable(const struct buf *text)
{
	for (size_t i = 0; i < text->len; i++)
		require(text->data[i] >= ' ' && text->data[i] <= '~');
}

static void
require_same(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	require(a_len == b_len && !memcmp(a, b, b_len));
}

static void
compare_keys(const struct certificate *c, const uint8_t *data, size_t size)
{
	br_x509_decoder_context other;
	const br_x509_pkey *theirs;
	br_x509_pkey ours;

	br_x509_decoder_init(&other, NULL, NULL);
	br_x509_decoder_push(&other, data, size);
	theirs = br_x509_decoder_get_pkey(&other);
	if (!theirs || !c->key_fits)
		return;
	chain_key(c, &ours);
	require(ours.key_type == theirs->key_type);
	if (ours.key_type == BR_KEYTYPE_EC) {
		require(ours.key.ec.curve == theirs->key.ec.curve);
		require_same(ours.key.ec.q, ours.key.ec.qlen,
		    theirs->key.ec.q, theirs->key.ec.qlen);
		return;
	}
	require_same(ours.key.rsa.n, ours.key.rsa.nlen,
	    theirs->key.rsa.n, theirs->key.rsa.nlen);
	require_same(ours.key.rsa.e, ours.key.rsa.elen,
	    theirs->key.rsa.e, theirs->key.rsa.elen);
}

static void
try_certificate(const uint8_t *data, size_t size)
{
	uint8_t *exact = xmalloc(size);
	struct certificate c;
	struct buf text = {0};
	bool good;

	memcpy(exact, data, size);
	good = certificate_read(&c, exact, size);
	require(good == (c.subject.len > 0));
	require_inside(c.issuer, exact, size);
	require_inside(c.subject, exact, size);
	require_inside(c.alt_names, exact, size);
	require_inside(c.modulus, exact, size);
	require_inside(c.exponent, exact, size);
	require_inside(c.point, exact, size);
	require(c.rsa_bits <= size * 8);
	compare_keys(&c, exact, size);
	certificate_add_names(&c, &text);
	certificate_add_dn(c.issuer, &text);
	certificate_add_dn(c.subject, &text);
	require_printable(&text);
	require(!certificate_is_for(&c, ""));
	certificate_is_for(&c, "relay.test");
	certificate_is_for(&c, "192.0.2.1");
	buf_free(&text);
	free(exact);
}

static void
compare_decoders(const struct pem *pem, const struct pem_block *block)
{
	struct buf der = {0}, other = {0}, compact = {0};
	bool good = pem_decode(pem, block, &der);

	for (size_t i = 0; i < block->text.len; i++)
		if (!strchr(" \t\r\n", block->text.data[i]) ||
		    !block->text.data[i])
			buf_addc(&compact, (char)block->text.data[i]);
	require(good == (compact.len && buf_add_unbase64(&other,
	    buf_text(&compact), compact.len)));
	if (good) {
		require(der.len == other.len &&
		    !memcmp(der.data, other.data, der.len));
		try_certificate((const uint8_t *)der.data, der.len);
	}
	require(good || !der.len);
	buf_free(&der);
	buf_free(&other);
	buf_free(&compact);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf content = {0};
	struct pem_block block;
	struct pem pem;

	try_certificate(data, size);
	buf_add(&content, data, size);
	pem = pem_begin(&content);
	while (pem_next(&pem, &block)) {
		require_inside(block.label, (uint8_t *)content.data,
		    content.len);
		require_inside(block.text, (uint8_t *)content.data,
		    content.len);
		compare_decoders(&pem, &block);
	}
	buf_free(&content);
	return 0;
}
