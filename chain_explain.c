/* SPDX-License-Identifier: ISC */
/*
 * Why a peer's certificates were refused, in one sentence that ends with what
 * to do about it. Names inside certificates are the peer's words: printable,
 * cut, and in quotes.
 */
#include "chain.h"

#include <stdbool.h>
#include <string.h>

#include "clock.h"
#include "trust.h"

static const struct {
	unsigned error;
	const char *text; /* behind the peer's name */
} reasons[] = {
	{BR_ERR_X509_EMPTY_CHAIN, " sent no certificate"},
	{BR_ERR_X509_BAD_SIGNATURE, " sent certificates that do not belong "
	    "together: a signature is not by the key of the next one"},
	{BR_ERR_X509_WRONG_KEY_TYPE, " sent certificates that do not belong "
	    "together: a signature is not by the key of the next one"},
	{BR_ERR_X509_NOT_CA, " sent a certificate that was issued by one that "
	    "is no CA, or not for that long a chain"},
	{BR_ERR_X509_FORBIDDEN_KEY_USAGE, " sent a certificate that was issued "
	    "by one whose key may not sign others"},
	{BR_ERR_X509_CRITICAL_EXTENSION, " sent a certificate with a critical "
	    "extension that smarthost does not know, such as name constraints"},
};

static void
add_host(const struct chain *chain, struct buf *out)
{
	buf_add_printable(out, chain->name, strlen(chain->name), 255);
}

static void
add_quoted_dn(struct bytes dn, struct buf *out)
{
	buf_addc(out, '"');
	certificate_add_dn(dn, out);
	buf_addc(out, '"');
}

static void
add_certificate(const struct chain *chain, size_t i, struct buf *out)
{
	buf_adds(out, "certificate ");
	if (i)
		add_quoted_dn(chain->certificates[i].subject, out);
	buf_adds(out, i ? " in the chain of " : "of ");
	add_host(chain, out);
}

static bool
explain_time(const struct chain *chain, struct buf *out)
{
	for (size_t i = 0; i < chain->count; i++) {
		const struct certificate *c = &chain->certificates[i];
		bool expired = chain->now > c->not_after;

		if (!expired && chain->now >= c->not_before)
			continue;
		add_certificate(chain, i, out);
		buf_adds(out,
		    expired ? " expired on " : " is valid only from ");
		clock_add_utc(out, expired ? c->not_after : c->not_before, ' ');
		buf_adds(out, " UTC (our clock says ");
		clock_add_utc(out, chain->now, ' ');
		buf_adds(out, expired ? " UTC); it must be renewed, unless the "
		    "clock is wrong" : " UTC); check the clock");
		return true;
	}
	return false;
}

static bool
explain_name(const struct chain *chain, struct buf *out)
{
	const struct certificate *leaf = &chain->certificates[0];
	unsigned char address[16];
	bool is_address = certificate_ip_address(chain->name, address);
	struct buf names = {0};

	if (!leaf->subject.len)
		return false;
	if (certificate_add_names(leaf, &names)) {
		buf_addf(out, "certificate is for %s, not for %s",
		    buf_text(&names), is_address ? "the address " : "");
		add_host(chain, out);
		buf_adds(out, "; check host or set tls_name");
	} else {
		add_certificate(chain, 0, out);
		buf_adds(out, leaf->alt_names.data ?
		    " has no name that counts in its subjectAltName" :
		    " has no subjectAltName, only a common name");
		buf_addf(out, "; it must be issued anew with subjectAltName = "
		    "%s:", is_address ? "IP" : "DNS");
		add_host(chain, out);
	}
	buf_free(&names);
	return true;
}

static bool
is_anchor(const struct chain *chain, struct bytes dn)
{
	for (size_t i = 0; i < chain->trust->count; i++)
		if (bytes_equal(chain->trust->anchors[i].subject, dn))
			return true;
	return false;
}

static bool
holds(struct bytes dn, const char *text)
{
	return dn.len && memmem(dn.data, dn.len, text, strlen(text));
}

/* The issuer that matters is that of the last certificate: nobody we know
 * has signed any of them. */
static bool
explain_issuer(const struct chain *chain, struct buf *out)
{
	const struct certificate *last = &chain->certificates[chain->count - 1];
	bool self_signed = bytes_equal(last->issuer, last->subject);

	add_certificate(chain, 0, out);
	if (self_signed && chain->count == 1) {
		buf_addf(out, " is self-signed and not among the %zu trusted "
		    "anchors; set tls_ca_file to a copy of it",
		    chain->trust->count);
		return true;
	}
	buf_adds(out, " is not trusted: its issuer ");
	add_quoted_dn(last->issuer, out);
	if (is_anchor(chain, last->issuer)) {
		buf_adds(out, " is trusted, but with another key or not as a "
		    "CA; set tls_ca_file to that CA's present certificate");
		return true;
	}
	buf_addf(out, " is not among the %zu trusted anchors; ",
	    chain->trust->count);
	if (holds(last->issuer, "DigiCert Global Root CA"))
		buf_adds(out, "that root left the public bundles in 2026, the "
		    "relay should have moved to another one; until then ");
	else if (!self_signed)
		buf_adds(out, "the relay may send an incomplete chain, without "
		    "its intermediate certificates; mend that there, or ");
	buf_adds(out, "set tls_ca_file to that CA's certificate");
	return true;
}

static bool
explain_order(const struct chain *chain, struct buf *out)
{
	for (size_t i = 1; i < chain->count; i++) {
		const struct certificate *c = &chain->certificates[i];

		if (bytes_equal(c->subject, c[-1].issuer))
			continue;
		add_host(chain, out);
		buf_adds(out, " sends its certificates in the wrong order, or "
		    "one that does not belong there: ");
		add_quoted_dn(c->subject, out);
		buf_adds(out, " is not the issuer ");
		add_quoted_dn(c[-1].issuer, out);
		buf_adds(out, "; mend that there, or set tls_ca_file to the "
		    "issuer's certificate");
		return true;
	}
	return false;
}

static bool
explain_key(const struct chain *chain, size_t i, struct buf *out)
{
	const struct certificate *c = &chain->certificates[i];

	add_certificate(chain, i, out);
	if (c->rsa_bits)
		buf_addf(out, " has an RSA key of %u bits; it must be issued "
		    "anew with %d to %d bits", c->rsa_bits, RSA_BITS_MIN,
		    RSA_BITS_MAX);
	else
		buf_addf(out, " has a key of a kind that smarthost cannot use "
		    "(%s); it must be issued anew with RSA or EC P-256",
		    c->key);
	return true;
}

/* The first one to blame, as BearSSL stops there: its key comes before its
 * signature. */
static bool
explain_algorithm(const struct chain *chain, struct buf *out)
{
	for (size_t i = 0; i < chain->count; i++) {
		const struct certificate *c = &chain->certificates[i];

		if (!c->subject.len)
			return false;
		if (!c->key_fits)
			return explain_key(chain, i, out);
		if (c->signature_fits)
			continue;
		add_certificate(chain, i, out);
		buf_addf(out, " has a signature of a kind that is not accepted "
		    "(%s); it must be issued anew with SHA-256 and RSA "
		    "PKCS#1 v1.5 or ECDSA", c->signature);
		return true;
	}
	return false;
}

static bool
explain_otherwise(const struct chain *chain, struct buf *out)
{
	size_t count = sizeof(reasons) / sizeof(reasons[0]);

	for (size_t i = 0; i < count; i++)
		if (reasons[i].error == chain->error) {
			add_host(chain, out);
			buf_adds(out, reasons[i].text);
			buf_adds(out, "; that has to be mended there");
			return true;
		}
	return false;
}

static bool
explain_pin(const struct chain *chain, struct buf *out)
{
	unsigned char digest[TLS_FINGERPRINT_SIZE];

	chain_fingerprint(chain_leaf(chain), digest);
	add_certificate(chain, 0, out);
	buf_adds(out, " is not the one of tls_fingerprint, its SHA-256 is ");
	for (size_t i = 0; i < sizeof(digest); i++)
		buf_addf(out, "%02x", digest[i]);
	buf_adds(out, "; if the relay has got a new one on purpose, set "
	    "tls_fingerprint to that");
	return true;
}

static bool
explain(const struct chain *chain, struct buf *out)
{
	if (!chain->certificates)
		return explain_otherwise(chain, out);
	switch (chain->error) {
	case BR_ERR_X509_EXPIRED:
		return explain_time(chain, out);
	case BR_ERR_X509_BAD_SERVER_NAME:
		return explain_name(chain, out);
	case BR_ERR_X509_NOT_TRUSTED:
		return chain->trust->pinned ? explain_pin(chain, out)
		                            : explain_issuer(chain, out);
	case BR_ERR_X509_DN_MISMATCH:
		return explain_order(chain, out);
	case BR_ERR_X509_WEAK_PUBLIC_KEY:
	case BR_ERR_X509_UNSUPPORTED:
	case BR_ERR_X509_LIMIT_EXCEEDED:
		return explain_algorithm(chain, out);
	default:
		return explain_otherwise(chain, out);
	}
}

void
chain_explain(const struct chain *chain, struct buf *out)
{
	if (explain(chain, out))
		return;
	buf_adds(out, "the certificates of ");
	add_host(chain, out);
	if (chain->error == BR_ERR_X509_LIMIT_EXCEEDED && !chain->certificates)
		buf_addf(out, " are more than %d or longer than %d KB; that "
		    "has to be mended there",
		    CHAIN_CERTIFICATES_MAX, CHAIN_BYTES_MAX / 1024);
	else
		buf_addf(out, " cannot be read or verified (BearSSL error %u); "
		    "that has to be mended there", chain->error);
}
