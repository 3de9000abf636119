/* SPDX-License-Identifier: ISC */
/*
 * The trusted anchors: certificates in PEM files (RFC 7468). Loading only
 * finds them; a chain needs one or two of them.
 */
#include "trust.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "chain.h"
#include "pem.h"
#include "tls.h"
#include "tls_session.h"

static const char *const usual_places[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/cert.pem",
	"/etc/ssl/ca-bundle.pem",
	NULL,
};

/* Takes over der. */
static void
add_anchor(struct tls_trust *trust, struct buf *der)
{
	size_t len = der->len;
	unsigned char *data = (unsigned char *)buf_take(der);
	struct certificate c;

	if (!certificate_read(&c, data, len) || !c.key_fits) {
		trust->skipped++;
		free(data);
		return;
	}
	trust->anchors = xrealloc(trust->anchors, trust->count + 1,
	    sizeof(trust->anchors[0]));
	trust->anchors[trust->count++] = (struct anchor){
		data, len, c.subject};
}

static void
add_blocks(struct tls_trust *trust, const struct buf *content)
{
	struct pem pem = pem_begin(content);
	struct pem_block block;

	while (pem_next(&pem, &block)) {
		struct buf der = {0};

		if (!pem_is_certificate(&block))
			continue;
		(void)pem_decode(&pem, &block, &der); /* broken: empty */
		add_anchor(trust, &der);
	}
}

/* One sentence on a file that gave no anchor. */
static void
explain_useless(const char *path, const struct buf *pem, size_t skipped,
    const char *advice, struct buf *why)
{
	if (skipped)
		buf_addf(why, "none of the %zu certificates in %s can be used "
		    "(they must have RSA keys of %d to %d bits, or EC keys)",
		    skipped, path, RSA_BITS_MIN, RSA_BITS_MAX);
	else
		pem_explain(path, pem, why);
	buf_addf(why, "; %s", advice);
}

/* Adds what a file holds. advice ends the sentence if there is trouble. */
static bool
load_file(struct tls_trust *trust, const char *path, const char *advice,
    struct buf *why)
{
	size_t count = trust->count, skipped = trust->skipped;
	struct buf pem = {0};

	if (!pem_read_file(path, &pem)) {
		buf_addf(why, "cannot read trusted certificates from %s: "
		    "%s; %s", path, strerror(errno), advice);
		buf_free(&pem);
		return false;
	}
	add_blocks(trust, &pem);
	if (trust->count == count)
		explain_useless(path, &pem, trust->skipped - skipped, advice,
		    why);
	buf_free(&pem);
	return trust->count > count;
}

static void
load_usual_place(struct tls_trust *trust, struct buf *why)
{
	const char *const *path = usual_places;

	while (*path && access(*path, F_OK))
		path++;
	if (*path) {
		load_file(trust, *path, "reinstall ca-certificates, or set "
		    "tls_ca_file", why);
		return;
	}
	buf_adds(why, "there are no trusted certificates: none of");
	for (path = usual_places; *path; path++)
		buf_addf(why, "%s %s", path > usual_places ? "," : "", *path);
	buf_adds(why, " exists; install ca-certificates, or set tls_ca_file");
}

static struct tls_trust *
trust_new(void)
{
	struct tls_trust *trust = xcalloc(1, sizeof(*trust));

	trust->session = tls_session_new();
	return trust;
}

struct tls_trust *
tls_trust_pin(const unsigned char fingerprint[TLS_FINGERPRINT_SIZE])
{
	struct tls_trust *trust = trust_new();

	trust->pinned = true;
	memcpy(trust->pin, fingerprint, TLS_FINGERPRINT_SIZE);
	return trust;
}

struct tls_trust *
tls_trust_pin_file(const char *path)
{
	struct tls_trust *trust = trust_new();
	struct buf content = {0}, der = {0};
	struct pem_block block;
	struct pem pem;

	trust->pinned = true;
	(void)pem_read_file(path, &content);
	pem = pem_begin(&content);
	while (!der.len && pem_next(&pem, &block))
		if (pem_is_certificate(&block))
			(void)pem_decode(&pem, &block, &der);
	if (der.len)
		chain_fingerprint((struct bytes){(unsigned char *)der.data,
		    der.len}, trust->pin);
	buf_wipe(&content); /* the key may be in it */
	buf_free(&der);
	return trust;
}

void
tls_trust_show(struct tls_trust *trust, struct tls_keypair *pair)
{
	trust->keypair = pair;
}

struct tls_trust *
tls_trust_load(const char *ca_file, struct buf *why)
{
	struct tls_trust *trust = trust_new();
	const char *named = getenv("SSL_CERT_FILE");
	struct buf system = {0}, own = {0};
	bool good = true;

	if (named && *named)
		good = load_file(trust, named, "check SSL_CERT_FILE", &system);
	else
		load_usual_place(trust, &system);
	if (good && ca_file)
		good = load_file(trust, ca_file, "check tls_ca_file", &own);
	/* A broken system bundle that nobody asked for is no harm as long as
	 * ca_file holds something. */
	if (!good || !trust->count) {
		buf_adds(why, buf_text(own.len ? &own : &system));
		tls_trust_free(trust);
		trust = NULL;
	}
	buf_free(&system);
	buf_free(&own);
	return trust;
}

struct tls_trust *
tls_trust_load_late(const char *ca_file, struct buf *why)
{
	const char *named = getenv("SSL_CERT_FILE");
	struct tls_trust *trust;

	if (!ca_file || (named && *named))
		return tls_trust_load(ca_file, why);
	trust = trust_new();
	trust->late = trust_new();
	if (load_file(trust, ca_file, "check tls_ca_file", why))
		return trust;
	tls_trust_free(trust);
	return NULL;
}

const struct tls_trust *
trust_late(const struct tls_trust *trust)
{
	struct tls_trust *late = trust->late;
	struct buf ignored = {0};

	if (late && !late->count && !late->skipped)
		load_usual_place(late, &ignored);
	buf_free(&ignored);
	return late && late->count ? late : NULL;
}

void
tls_trust_free(struct tls_trust *trust)
{
	if (!trust)
		return;
	for (size_t i = 0; i < trust->count; i++)
		free(trust->anchors[i].der);
	free(trust->anchors);
	tls_keypair_free(trust->keypair);
	tls_session_free(trust->session);
	tls_trust_free(trust->late);
	free(trust);
}

size_t
tls_trust_anchors(const struct tls_trust *trust)
{
	return trust->count;
}

size_t
tls_trust_skipped(const struct tls_trust *trust)
{
	return trust->skipped;
}
