/* SPDX-License-Identifier: ISC */
/*
 * The trusted anchors: certificates in PEM files (RFC 7468). Loading only
 * finds them, because decoding the keys of a whole system bundle takes longer
 * than a handshake; a chain needs one or two of them.
 */
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "tls.h"

enum { FILE_MAX = 16 * 1024 * 1024 };

static const char *const usual_places[] = {
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/cert.pem",
	"/etc/ssl/ca-bundle.pem",
	NULL,
};

static bool
read_all(int fd, struct buf *content)
{
	char chunk[4096];
	ssize_t got;

	while ((got = read(fd, chunk, sizeof(chunk))) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return false;
		buf_add(content, chunk, (size_t)got);
		if (content->len > FILE_MAX) {
			errno = EFBIG;
			return false;
		}
	}
	return true;
}

static bool
read_file(const char *path, struct buf *content)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool good;
	int saved;

	if (fd < 0)
		return false;
	good = read_all(fd, content);
	saved = errno;
	close(fd);
	errno = saved;
	return good;
}

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
		data, len, c.subject, c.has_extensions};
}

/* The base64 text between two boundary lines. */
static void
add_block(struct tls_trust *trust, const char *text, size_t len)
{
	struct buf compact = {0}, der = {0};

	for (size_t i = 0; i < len; i++)
		if (!strchr(" \t\r\n", text[i]) || !text[i])
			buf_addc(&compact, text[i]);
	if (!buf_add_unbase64(&der, buf_text(&compact), compact.len))
		buf_clear(&der);
	add_anchor(trust, &der);
	buf_free(&compact);
}

static const char *
find(const char *from, const char *end, const char *text)
{
	return memmem(from, (size_t)(end - from), text, strlen(text));
}

static bool
is_certificate(const char *label, size_t len)
{
	static const char *const labels[] = {
		"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"};

	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		if (strlen(labels[i]) == len && !memcmp(labels[i], label, len))
			return true;
	return false;
}

/* A block that another BEGIN interrupts is broken, and the other is not. */
static void
add_blocks(struct tls_trust *trust, const struct buf *pem)
{
	static const char begin[] = "-----BEGIN ";
	const char *end = pem->data + pem->len, *next = pem->data;

	while ((next = find(next, end, begin))) {
		const char *label = next + strlen(begin);
		const char *label_end = find(label, end, "-----");
		const char *text, *text_end;

		if (!label_end)
			return;
		next = text = label_end + strlen("-----");
		if (!is_certificate(label, (size_t)(label_end - label)))
			continue;
		text_end = find(text, end, "-----");
		if (text_end && find(text_end, end, "-----END ") == text_end)
			add_block(trust, text, (size_t)(text_end - text));
		else
			trust->skipped++;
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
	else if (pem->len && pem->data[0] == 0x30)
		buf_addf(why, "%s is binary (DER), but must be PEM; convert it "
		    "with \"openssl x509 -inform der -in %s\"", path, path);
	else
		buf_addf(why, "%s %s; it must hold certificates in PEM form",
		    path, pem->len ? "holds no certificate" : "is empty");
	buf_addf(why, "; %s", advice);
}

/* Adds what a file holds. advice ends the sentence if there is trouble. */
static bool
load_file(struct tls_trust *trust, const char *path, const char *advice,
    struct buf *why)
{
	size_t count = trust->count, skipped = trust->skipped;
	struct buf pem = {0};

	if (!read_file(path, &pem)) {
		buf_addf(why, "cannot read trusted certificates from %s: "
		    "%s; %s", path, strerror(errno), advice);
		buf_free(&pem);
		return false;
	}
	if (pem.len)
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

struct tls_trust *
tls_trust_load(const char *ca_file, struct buf *why)
{
	struct tls_trust *trust = xcalloc(1, sizeof(*trust));
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

void
tls_trust_free(struct tls_trust *trust)
{
	if (!trust)
		return;
	for (size_t i = 0; i < trust->count; i++)
		free(trust->anchors[i].der);
	free(trust->anchors);
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
