/* SPDX-License-Identifier: ISC */
/*
 * What is pure about TLS: reading certificates, comparing names, loading
 * anchors, and the first and last bytes of a connection over a socket pair.
 * Handshakes with real servers are in tests/e2e.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "certificate.h"
#include "tls.h"
#include "trust.h"

/* ---- a little DER writer ---- */

static void
put(struct buf *out, unsigned char tag, const void *data, size_t len)
{
	buf_addc(out, (char)tag);
	if (len >= 0x100) {
		buf_addc(out, (char)0x82);
		buf_addc(out, (char)(len >> 8));
	} else if (len >= 0x80) {
		buf_addc(out, (char)0x81);
	}
	buf_addc(out, (char)len);
	buf_add(out, data, len);
}

/* Moves inner into out, as an element. */
static void
put_inside(struct buf *out, unsigned char tag, struct buf *inner)
{
	put(out, tag, inner->data, inner->len);
	buf_free(inner);
}

static void
put_algorithm(struct buf *out, const char *oid, size_t len)
{
	struct buf inner = {0};

	put(&inner, DER_OBJECT_ID, oid, len);
	put_inside(out, DER_SEQUENCE, &inner);
}

static void
put_name(struct buf *out, const char *common_name)
{
	struct buf pair = {0}, set = {0}, list = {0};

	put(&pair, DER_OBJECT_ID, "\x55\x04\x0a", 3);
	put(&pair, 0x0c, "Test", 4);
	put_inside(&set, DER_SEQUENCE, &pair);
	put_inside(&list, DER_SET, &set);
	put(&pair, DER_OBJECT_ID, "\x55\x04\x03", 3);
	put(&pair, 0x0c, common_name, strlen(common_name));
	put_inside(&set, DER_SEQUENCE, &pair);
	put_inside(&list, DER_SET, &set);
	put_inside(out, DER_SEQUENCE, &list);
}

static void
put_rsa_key(struct buf *out, size_t bits)
{
	struct buf info = {0}, string = {0}, key = {0}, modulus = {0};

	put_algorithm(&info, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 9);
	buf_addc(&modulus, 0);
	buf_addc(&modulus, (char)(0xff >> (7 - (bits + 7) % 8)));
	for (size_t i = 1; i < (bits + 7) / 8; i++)
		buf_addc(&modulus, 1);
	put_inside(&key, DER_INTEGER, &modulus);
	put(&key, DER_INTEGER, "\x01\x00\x01", 3);
	buf_addc(&string, 0);
	put_inside(&string, DER_SEQUENCE, &key);
	put_inside(&info, DER_BIT_STRING, &string);
	put_inside(out, DER_SEQUENCE, &info);
}

#define SHA256_RSA "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"
#define SHA1_RSA "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"

struct recipe {
	struct buf names;       /* GeneralNames; freed by bake() */
	bool twice;             /* subjectAltName, that is */
	unsigned char time_tag; /* UTCTime by default */
	const char *not_after;
	size_t rsa_bits;        /* 2048 by default */
	const char *signature;  /* SHA256_RSA by default */
	const char *ed25519;    /* any text: that key instead of RSA */
};

static void
put_extensions(struct buf *out, struct recipe *recipe)
{
	struct buf value = {0}, extension = {0}, list = {0}, wrapped = {0};

	if (!recipe->names.len)
		return;
	for (int i = 0; i <= recipe->twice; i++) {
		put(&extension, DER_OBJECT_ID, "\x55\x1d\x11", 3);
		put(&extension, DER_BOOLEAN, "\xff", 1);
		put(&value, DER_SEQUENCE, recipe->names.data,
		    recipe->names.len);
		put_inside(&extension, DER_OCTET_STRING, &value);
		put_inside(&list, DER_SEQUENCE, &extension);
	}
	put_inside(&wrapped, DER_SEQUENCE, &list);
	put_inside(out, 0xa3, &wrapped);
}

/* A certificate that nobody has signed. The caller frees it. */
static struct buf
bake(struct recipe recipe)
{
	const char *signature =
	    recipe.signature ? recipe.signature : SHA256_RSA;
	const char *end =
	    recipe.not_after ? recipe.not_after : "301231235959Z";
	unsigned char tag = recipe.time_tag ? recipe.time_tag : DER_UTC_TIME;
	struct buf all = {0}, body = {0}, inner = {0}, out = {0};

	put(&inner, DER_INTEGER, "\x02", 1);
	put_inside(&body, 0xa0, &inner);
	put(&body, DER_INTEGER, "\x01", 1);
	put_algorithm(&body, signature, 9);
	put_name(&body, "Some CA");
	put(&inner, DER_UTC_TIME, "260102030405Z", 13);
	put(&inner, tag, end, strlen(end));
	put_inside(&body, DER_SEQUENCE, &inner);
	put_name(&body, "relay.test");
	if (recipe.ed25519) {
		put_algorithm(&inner, "\x2b\x65\x70", 3);
		put(&inner, DER_BIT_STRING, "\0key", 4);
		put_inside(&body, DER_SEQUENCE, &inner);
	} else {
		put_rsa_key(&body, recipe.rsa_bits ? recipe.rsa_bits : 2048);
	}
	put_extensions(&body, &recipe);
	put_inside(&all, DER_SEQUENCE, &body);
	put_algorithm(&all, signature, 9);
	put(&all, DER_BIT_STRING, "\0signature", 10);
	put_inside(&out, DER_SEQUENCE, &all);
	buf_free(&recipe.names);
	return out;
}

static bool
is_for(unsigned char tag, const void *pattern, size_t len, const char *name)
{
	struct recipe recipe = {0};
	struct certificate c;
	struct buf der;
	bool result;

	put(&recipe.names, tag, pattern, len);
	der = bake(recipe);
	assert_true(certificate_read(&c, der.data, der.len));
	result = certificate_is_for(&c, name);
	buf_free(&der);
	return result;
}

static bool
dns(const char *pattern, const char *name)
{
	return is_for(0x82, pattern, strlen(pattern), name);
}

/* ---- certificates ---- */

static void
test_reads_a_certificate(void **state)
{
	struct buf der = bake((struct recipe){0}), text = {0};
	struct certificate c;

	(void)state;
	assert_true(certificate_read(&c, der.data, der.len));
	assert_string_equal(c.key, "RSA");
	assert_int_equal(c.rsa_bits, 2048);
	assert_true(c.key_fits);
	assert_string_equal(c.signature, "SHA-256 with RSA");
	assert_true(c.signature_fits);
	assert_false(c.has_extensions);
	assert_null(c.alt_names.data);
	assert_int_equal(c.not_before, 1767323045);
	assert_int_equal(c.not_after, 1924991999);
	assert_false(bytes_equal(c.issuer, c.subject));
	certificate_add_dn(c.issuer, &text);
	assert_string_equal(buf_text(&text), "CN=Some CA, O=Test");
	buf_free(&text);
	buf_free(&der);
}

static void
test_refuses_what_is_not_strict_der(void **state)
{
	static const unsigned char short_form[] = {2, 1, 5};
	static const unsigned char long_form[] = {2, 0x81, 1, 5};
	struct buf der = bake((struct recipe){0}), odd = {0};
	struct certificate c;

	(void)state;
	for (size_t len = 0; len < der.len; len++)
		assert_false(certificate_read(&c, der.data, len));
	buf_add(&odd, der.data, der.len);
	buf_addc(&odd, 0);
	assert_false(certificate_read(&c, odd.data, odd.len));
	assert_int_equal(c.subject.len, 0);

	/* Lengths in more bytes than they need; an indefinite one. */
	assert_true(der_skip(&(struct bytes){short_form, 3}, DER_INTEGER));
	assert_false(der_skip(&(struct bytes){long_form, 4}, DER_INTEGER));
	buf_clear(&odd);
	buf_adds(&odd, "0\x83");
	buf_addc(&odd, 0);
	buf_add(&odd, der.data + 2, der.len - 2);
	assert_false(certificate_read(&c, odd.data, odd.len));
	buf_clear(&odd);
	buf_adds(&odd, "0\x80");
	buf_add(&odd, der.data + 4, der.len - 4);
	buf_add(&odd, "\0\0", 2);
	assert_false(certificate_read(&c, odd.data, odd.len));
	buf_free(&odd);
	buf_free(&der);
}

static void
test_every_broken_byte_is_survived(void **state)
{
	struct recipe recipe = {0};
	struct certificate c;
	struct buf der, text = {0};

	(void)state;
	put(&recipe.names, 0x82, "relay.test", 10);
	der = bake(recipe);
	for (size_t i = 0; i < der.len; i++) {
		char kept = der.data[i];

		for (int bit = 0; bit < 8; bit++) {
			der.data[i] = (char)(kept ^ 1 << bit);
			certificate_read(&c, der.data, der.len);
			certificate_is_for(&c, "relay.test");
			certificate_add_names(&c, &text);
			certificate_add_dn(c.subject, &text);
			buf_clear(&text);
		}
		der.data[i] = kept;
	}
	buf_free(&text);
	buf_free(&der);
}

static time_t
end_of(unsigned char tag, const char *text)
{
	struct buf der = bake((struct recipe){
		.time_tag = tag, .not_after = text});
	struct certificate c;
	bool good = certificate_read(&c, der.data, der.len);

	buf_free(&der);
	return good ? c.not_after : -1;
}

static void
test_times(void **state)
{
	(void)state;
	assert_int_equal(end_of(DER_UTC_TIME, "491231235959Z"), 2524607999);
	assert_int_equal(end_of(DER_UTC_TIME, "700101000000Z"), 0);
	assert_int_equal(end_of(DER_GENERALIZED_TIME, "20500101000000Z"),
	    2524608000);
	assert_int_equal(end_of(DER_GENERALIZED_TIME, "99991231235959Z"),
	    253402300799);
	assert_int_equal(end_of(DER_UTC_TIME, "4912312359Z"), -1);
	assert_int_equal(end_of(DER_UTC_TIME, "4912312359590"), -1);
	assert_int_equal(end_of(DER_UTC_TIME, "49123123595xZ"), -1);
	assert_int_equal(end_of(DER_UTC_TIME, "20500101000000Z"), -1);
	assert_int_equal(end_of(DER_GENERALIZED_TIME, "20500101000000+"), -1);
}

static bool
fits(struct recipe recipe, bool *key, bool *signature)
{
	struct buf der = bake(recipe);
	struct certificate c;
	bool good = certificate_read(&c, der.data, der.len);

	buf_free(&der);
	*key = c.key_fits;
	*signature = c.signature_fits;
	return good;
}

static void
test_weak_and_unknown_algorithms(void **state)
{
	bool key, signature;

	(void)state;
	assert_true(fits((struct recipe){.rsa_bits = 2047}, &key, &signature));
	assert_false(key);
	assert_true(fits((struct recipe){.rsa_bits = 4096}, &key, &signature));
	assert_true(key);
	assert_true(fits((struct recipe){.rsa_bits = 4097}, &key, &signature));
	assert_false(key);
	assert_true(fits((struct recipe){.ed25519 = "yes"}, &key, &signature));
	assert_false(key);
	assert_true(signature);
	assert_true(fits((struct recipe){.signature = SHA1_RSA}, &key,
	    &signature));
	assert_true(key);
	assert_false(signature);
	assert_true(fits((struct recipe){.signature = "123456789"}, &key,
	    &signature));
	assert_false(signature);
}

static void
test_names(void **state)
{
	(void)state;
	assert_true(dns("relay.test", "relay.test"));
	assert_true(dns("relay.test", "Relay.TEST"));
	assert_true(dns("RELAY.test", "relay.test."));
	assert_false(dns("relay.test", "relay.tes"));
	assert_false(dns("relay.tes", "relay.test"));
	assert_false(dns("relay.test", "a.relay.test"));
	assert_false(dns("", ""));
	assert_false(dns("relay.test", ""));
	assert_false(dns("relay.test", "."));
	assert_false(is_for(0x82, "relay.test\0.evil.test", 21, "relay.test"));
	assert_false(is_for(0x82, "relay.tes\0", 10, "relay.test"));
	/* rfc822Name is not a host. */
	assert_false(is_for(0x81, "relay.test", 10, "relay.test"));
}

static void
test_wildcards(void **state)
{
	(void)state;
	assert_true(dns("*.relay.test", "a.relay.test"));
	assert_true(dns("*.Relay.test", "A.relay.TEST."));
	assert_false(dns("*.relay.test", "relay.test"));
	assert_false(dns("*.relay.test", ".relay.test"));
	assert_false(dns("*.relay.test", "a.b.relay.test"));
	assert_false(dns("*.relay.test", "a.xrelay.test"));
	assert_false(dns("*.test", "relay.test"));
	assert_false(dns("*", "test"));
	assert_false(dns("*.", "test."));
	assert_false(dns("*a.relay.test", "aa.relay.test"));
	assert_false(dns("a*.relay.test", "aa.relay.test"));
	assert_false(dns("a.*.test", "a.relay.test"));
}

static void
test_addresses(void **state)
{
	static const unsigned char v4[] = {192, 0, 2, 1};
	static const unsigned char v6[16] = {[15] = 1};

	(void)state;
	assert_true(is_for(0x87, v4, 4, "192.0.2.1"));
	assert_false(is_for(0x87, v4, 4, "192.0.2.2"));
	assert_false(is_for(0x87, v4, 3, "192.0.2.1"));
	assert_true(is_for(0x87, v6, 16, "::1"));
	assert_false(is_for(0x87, v6, 16, "0.0.0.1"));
	/* A name that looks like an address is none, nor the reverse. */
	assert_false(dns("192.0.2.1", "192.0.2.1"));
	assert_false(is_for(0x87, "test", 4, "test"));
	assert_false(dns("*.0.2.1", "192.0.2.1"));
}

static void
test_common_name_is_not_enough(void **state)
{
	struct buf der = bake((struct recipe){0}), text = {0};
	struct certificate c;

	(void)state;
	assert_true(certificate_read(&c, der.data, der.len));
	assert_false(certificate_is_for(&c, "relay.test"));
	assert_false(certificate_add_names(&c, &text));
	assert_int_equal(text.len, 0);
	buf_free(&der);
}

static void
test_two_lists_of_names_are_refused(void **state)
{
	struct recipe recipe = {.twice = true};
	struct certificate c;
	struct buf der;

	(void)state;
	put(&recipe.names, 0x82, "relay.test", 10);
	der = bake(recipe);
	assert_false(certificate_read(&c, der.data, der.len));
	buf_free(&der);
}

static void
test_shown_names_are_printable_and_few(void **state)
{
	struct recipe recipe = {0};
	struct certificate c;
	struct buf der, text = {0};

	(void)state;
	put(&recipe.names, 0x82, "a\r\n\"\x80\0z", 7);
	for (int i = 0; i < 9; i++)
		put(&recipe.names, 0x82, "b.test", 6);
	der = bake(recipe);
	assert_true(certificate_read(&c, der.data, der.len));
	assert_true(certificate_add_names(&c, &text));
	assert_string_equal(buf_text(&text), "a??\"??z, b.test, b.test, "
	    "b.test, b.test, b.test, b.test, b.test and 2 more");
	buf_free(&der);
	buf_free(&text);
}

/* ---- anchors ---- */

static char directory[] = "/tmp/test_tls.XXXXXX";

static int
make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int
remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

static void
put_pem(struct buf *out, struct buf der, const char *line_end)
{
	struct buf text = {0};

	buf_add_base64(&text, der.data, der.len);
	buf_addf(out, "-----BEGIN CERTIFICATE-----%s", line_end);
	for (size_t i = 0; i < text.len; i += 64) {
		size_t left = text.len - i;

		buf_add(out, text.data + i, left < 64 ? left : 64);
		buf_adds(out, line_end);
	}
	buf_addf(out, "-----END CERTIFICATE-----%s", line_end);
	buf_free(&text);
	buf_free(&der);
}

/* Loads content as ca_file, with SSL_CERT_FILE being system; NULL: no file.
 * Counts are "anchors/skipped"; without an anchor the sentence is added. */
static void
load(const struct buf *system, const struct buf *own, struct buf *result)
{
	char *system_path = xasprintf("%s/system", directory);
	char *own_path = xasprintf("%s/own", directory);
	struct tls_trust *trust;
	FILE *file;

	if (system && (file = fopen(system_path, "w"))) {
		fwrite(buf_text(system), 1, system->len, file);
		fclose(file);
	}
	if (own && own->len && (file = fopen(own_path, "w"))) {
		fwrite(own->data, 1, own->len, file);
		fclose(file);
	}
	setenv("SSL_CERT_FILE", system_path, 1);
	buf_clear(result);
	trust = tls_trust_load(own ? own_path : NULL, result);
	if (trust)
		buf_addf(result, "%zu/%zu", tls_trust_anchors(trust),
		    tls_trust_skipped(trust));
	tls_trust_free(trust);
	unlink(system_path);
	unlink(own_path);
	free(system_path);
	free(own_path);
}

static void
test_anchors_of_both_files_count(void **state)
{
	struct buf system = {0}, own = {0}, result = {0};

	(void)state;
	put_pem(&system, bake((struct recipe){0}), "\n");
	put_pem(&system, bake((struct recipe){0}), "\n");
	put_pem(&own, bake((struct recipe){0}), "\r\n");
	load(&system, NULL, &result);
	assert_string_equal(buf_text(&result), "2/0");
	load(&system, &own, &result);
	assert_string_equal(buf_text(&result), "3/0");
	buf_free(&system);
	buf_free(&own);
	buf_free(&result);
}

static void
test_bad_anchors_are_skipped(void **state)
{
	struct buf system = {0}, broken = {0}, result = {0};

	(void)state;
	buf_adds(&broken, "not DER");
	buf_adds(&system, "# junk\r\n-----BEGIN PRIVATE KEY-----\nAAAA\n"
	    "-----END PRIVATE KEY-----\n");
	put_pem(&system, broken, "\n");
	put_pem(&system, bake((struct recipe){.rsa_bits = 1024}), "\n");
	put_pem(&system, bake((struct recipe){.ed25519 = "yes"}), "\n");
	buf_adds(&system, "-----BEGIN CERTIFICATE-----\n!\n"
	    "-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nMIIB\n");
	put_pem(&system, bake((struct recipe){0}), "\n");
	buf_adds(&system, "-----BEGIN CERTIFICATE-----\nMIIB");
	load(&system, NULL, &result);
	assert_string_equal(buf_text(&result), "1/6");
	buf_free(&system);
	buf_free(&result);
}

static void
assert_holds(const struct buf *text, const char *part)
{
	if (!strstr(buf_text(text), part))
		fail_msg("\"%s\" lacks \"%s\"", buf_text(text), part);
}

static void
test_useless_files_are_refused(void **state)
{
	struct buf good = {0}, own = {0}, nothing = {0}, result = {0};

	(void)state;
	put_pem(&good, bake((struct recipe){0}), "\n");
	load(&good, &nothing, &result);
	assert_holds(&result, directory);
	assert_holds(&result, "No such file");
	assert_holds(&result, "tls_ca_file");
	load(NULL, &good, &result);
	assert_holds(&result, "No such file");
	assert_holds(&result, "SSL_CERT_FILE");
	load(&nothing, &good, &result);
	assert_holds(&result, "is empty");
	own = bake((struct recipe){0});
	load(&good, &own, &result);
	assert_holds(&result, "must be PEM");
	buf_clear(&own);
	buf_adds(&own, "hello\n");
	load(&good, &own, &result);
	assert_holds(&result, "holds no certificate");
	buf_clear(&own);
	put_pem(&own, bake((struct recipe){.rsa_bits = 1024}), "\n");
	load(&good, &own, &result);
	assert_holds(&result, "none of the 1 certificates");
	buf_free(&good);
	buf_free(&own);
	buf_free(&result);
}

/* The system's bundle is another file than the one of tls_ca_file, and is not
 * read before somebody asks. Whoever names one by SSL_CERT_FILE means it. */
static void
test_system_anchors_may_come_late(void **state)
{
	char *path = xasprintf("%s/own", directory);
	struct buf pem = {0}, why = {0};
	struct tls_trust *trust;
	FILE *file = fopen(path, "w");

	(void)state;
	assert_non_null(file);
	put_pem(&pem, bake((struct recipe){0}), "\n");
	fwrite(pem.data, 1, pem.len, file);
	fclose(file);
	unsetenv("SSL_CERT_FILE");
	trust = tls_trust_load_late(path, &why);
	assert_int_equal(tls_trust_anchors(trust), 1);
	assert_non_null(trust->late);
	assert_int_equal(trust->late->count, 0);
	if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) == 0) {
		assert_ptr_equal(trust_late(trust), trust->late);
		assert_true(trust->late->count > 1);
	}
	tls_trust_free(trust);
	setenv("SSL_CERT_FILE", path, 1);
	trust = tls_trust_load_late(path, &why);
	assert_int_equal(tls_trust_anchors(trust), 2);
	assert_null(trust_late(trust));
	tls_trust_free(trust);
	unlink(path);
	unsetenv("SSL_CERT_FILE");
	assert_null(tls_trust_load_late(path, &why));
	assert_holds(&why, "tls_ca_file");
	buf_free(&pem);
	buf_free(&why);
	free(path);
}

/* ---- connections ---- */

struct pair {
	struct tls_trust *trust;
	struct tls *tls;
	int ours, theirs;
	unsigned char hello[2048];
	size_t hello_len;
};

/* A connection whose ClientHello has been sent. */
static void
start(struct pair *pair, const char *name)
{
	struct buf pem = {0}, why = {0};
	char *path = xasprintf("%s/anchors", directory);
	FILE *file = fopen(path, "w");
	int fds[2];
	ssize_t got;

	assert_non_null(file);
	put_pem(&pem, bake((struct recipe){0}), "\n");
	fwrite(pem.data, 1, pem.len, file);
	fclose(file);
	setenv("SSL_CERT_FILE", path, 1);
	pair->trust = tls_trust_load(NULL, &why);
	assert_non_null(pair->trust);
	unlink(path);
	free(path);
	buf_free(&pem);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	pair->ours = fds[0];
	pair->theirs = fds[1];
	pair->tls = tls_client_new(pair->trust, name);
	assert_int_equal(tls_pump(pair->tls, pair->ours), TLS_WANTS_READ);
	got = read(pair->theirs, pair->hello, sizeof(pair->hello));
	assert_true(got > 0);
	pair->hello_len = (size_t)got;
}

static void
stop(struct pair *pair)
{
	tls_free(pair->tls);
	tls_trust_free(pair->trust);
	close(pair->ours);
	if (pair->theirs >= 0)
		close(pair->theirs);
}

static void
say(struct pair *pair, const void *data, size_t len)
{
	assert_int_equal(write(pair->theirs, data, len), len);
}

/* The peer has said something wrong: how does it end? */
static void
assert_fails(struct pair *pair, const char *why)
{
	struct buf sentence = {0};
	char byte;

	assert_int_equal(tls_pump(pair->tls, pair->ours), TLS_FAILED);
	assert_int_equal(tls_pump(pair->tls, pair->ours), TLS_FAILED);
	assert_int_equal(tls_take(pair->tls, &byte, 1), 0);
	assert_int_equal(tls_give(pair->tls, "x", 1), 0);
	tls_flush(pair->tls);
	tls_goodbye(pair->tls);
	assert_int_equal(tls_pump(pair->tls, pair->ours), TLS_FAILED);
	assert_string_equal(tls_description(pair->tls), "");
	tls_explain(pair->tls, &sentence);
	assert_holds(&sentence, why);
	assert_holds(&sentence, "relay.test");
	buf_free(&sentence);
	stop(pair);
}

static bool
hello_holds(const struct pair *pair, const void *data, size_t len)
{
	return memmem(pair->hello, pair->hello_len, data, len);
}

static void
test_hello(void **state)
{
	struct pair pair;

	(void)state;
	start(&pair, "relay.test.");
	assert_memory_equal(pair.hello, "\x16\x03", 2);
	/* The version of the hello itself, and SNI without the dot. */
	assert_memory_equal(pair.hello + 9, "\x03\x03", 2);
	assert_true(hello_holds(&pair, "\0\x0arelay.test\0", 13));
	/* signature_algorithms: SHA-256, 384 and 512, no SHA-1 (2). */
	assert_true(hello_holds(&pair, "\0\x0d\0\x0e\0\x0c"
	    "\x04\x03\x05\x03\x06\x03\x04\x01\x05\x01\x06\x01", 18));
	stop(&pair);
}

static void
test_no_sni_for_addresses(void **state)
{
	struct pair pair;

	(void)state;
	start(&pair, "192.0.2.1");
	assert_false(hello_holds(&pair, "192.0.2.1", 9));
	stop(&pair);
}

static void
test_plain_text(void **state)
{
	static const char text[] = "220 mail ESMTP\r\n250 what else\r\n";
	struct pair pair;

	(void)state;
	start(&pair, "relay.test");
	say(&pair, text, strlen(text));
	assert_fails(&pair, "(\"220 mail ESMTP\")");
	start(&pair, "relay.test");
	say(&pair, "2", 1);
	assert_fails(&pair, "plain text");
	start(&pair, "relay.test");
	say(&pair, "\x80\x1b[2J\n", 6);
	assert_fails(&pair, "(\"??[2J\")");
}

static void
test_alerts(void **state)
{
	struct pair pair;

	(void)state;
	start(&pair, "relay.test");
	say(&pair, "\x15\x03\x03\0\x02\x02\x28", 7);
	assert_fails(&pair, "alert 40, handshake_failure; ");
	start(&pair, "relay.test");
	say(&pair, "\x15\x03\x03\0\x02\x02\x46", 7);
	assert_fails(&pair, "only TLS 1.3");
	start(&pair, "relay.test");
	say(&pair, "\x15\x03\x03\0\x02\x02\xfa", 7);
	assert_fails(&pair, "alert 250");
	start(&pair, "relay.test");
	say(&pair, "\x15\x03\x03\0\x02\x01\0", 7);
	assert_fails(&pair, "in the middle of the TLS handshake");
}

static void
test_end_in_the_handshake(void **state)
{
	struct pair pair;

	(void)state;
	for (size_t sent = 0; sent < 9; sent++) {
		start(&pair, "relay.test");
		say(&pair, "\x16\x03\x03\0\x40\x02\0\0\x3c", sent);
		assert_int_equal(tls_pump(pair.tls, pair.ours),
		    TLS_WANTS_READ);
		close(pair.theirs);
		pair.theirs = -1;
		assert_fails(&pair, "in the middle of the TLS handshake");
	}
}

static void
test_garbage(void **state)
{
	struct pair pair;

	(void)state;
	start(&pair, "relay.test");
	say(&pair, "\x16\x05\x00\0\x10garbage", 12);
	assert_fails(&pair, "not a TLS record");
	start(&pair, "relay.test");
	say(&pair, "\x16\x03\x03\xff\xffgarbage", 12);
	assert_fails(&pair, "does not keep to the protocol");
}

static void
test_one_pump_is_bounded(void **state)
{
	struct buf empty = {0};
	struct pair pair;
	unsigned char left;

	(void)state;
	for (int i = 0; i < 1000; i++)
		buf_add(&empty, "\x16\x03\x03\0\0", 5);
	start(&pair, "relay.test");
	say(&pair, empty.data, empty.len);
	buf_free(&empty);
	assert_int_equal(tls_pump(pair.tls, pair.ours), TLS_WANTS_READ);
	assert_int_equal(recv(pair.ours, &left, 1, MSG_DONTWAIT), 1);
	stop(&pair);
}

/* ---- the rest ---- */

static void
test_hmac_md5(void **state)
{
	static const char challenge[] =
	    "<1896.697170952@postoffice.reston.mci.net>";
	static const unsigned char expected[16] = {
		0xb9, 0x13, 0xa6, 0x02, 0xc7, 0xed, 0xa7, 0xa4,
		0x95, 0xb4, 0xe6, 0xe7, 0x33, 0x4d, 0x38, 0x90};
	static const unsigned char long_key[16] = {
		0x6b, 0x1a, 0xb7, 0xfe, 0x4b, 0xd7, 0xbf, 0x8f,
		0x0b, 0x62, 0xe6, 0xce, 0x61, 0xb9, 0xd0, 0xcd};
	unsigned char digest[16], key[80];

	(void)state;
	/* The example of RFC 2195, and case 6 of RFC 2202. */
	tls_hmac_md5("tanstaaftanstaaf", 16, challenge, strlen(challenge),
	    digest);
	assert_memory_equal(digest, expected, sizeof(expected));
	memset(key, 0xaa, sizeof(key));
	tls_hmac_md5(key, sizeof(key),
	    "Test Using Larger Than Block-Size Key - Hash Key First", 54,
	    digest);
	assert_memory_equal(digest, long_key, sizeof(long_key));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_a_certificate),
		cmocka_unit_test(test_refuses_what_is_not_strict_der),
		cmocka_unit_test(test_every_broken_byte_is_survived),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_weak_and_unknown_algorithms),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_wildcards),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_common_name_is_not_enough),
		cmocka_unit_test(test_two_lists_of_names_are_refused),
		cmocka_unit_test(test_shown_names_are_printable_and_few),
		cmocka_unit_test(test_anchors_of_both_files_count),
		cmocka_unit_test(test_bad_anchors_are_skipped),
		cmocka_unit_test(test_useless_files_are_refused),
		cmocka_unit_test(test_system_anchors_may_come_late),
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_no_sni_for_addresses),
		cmocka_unit_test(test_plain_text),
		cmocka_unit_test(test_alerts),
		cmocka_unit_test(test_end_in_the_handshake),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_one_pump_is_bounded),
		cmocka_unit_test(test_hmac_md5),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
