/* SPDX-License-Identifier: ISC */
/*
 * X.509 certificates (RFC 5280), read with the strict walker of der.c. No
 * signature is checked here, and there is no BearSSL.
 */
#include "certificate.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "buf.h"

/* The tags that only certificates have. */
enum {
	DNS_NAME = 0x82,
	IP_ADDRESS = 0x87,
	VERSION = 0xa0,
	ISSUER_UNIQUE_ID = 0x81,
	SUBJECT_UNIQUE_ID = 0x82,
	EXTENSIONS = 0xa3,
};

enum {
	NAMES_SHOWN = 8,
	NAMES_BYTES = 300,
	ATTRIBUTE_BYTES = 120,
};

enum { RSA, EC }; /* the first ones below */

static const struct algorithm {
	unsigned char len;
	unsigned char oid[9];
	const char *name;
	bool fits;           /* as a signature */
	unsigned char curve; /* its number in TLS, if we know it */
} algorithms[] = {
	[RSA] = {9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1}, "RSA",
	    false, 0},
	[EC] = {7, {0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1}, "EC", false, 0},
	{8, {0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, "EC P-256", false, 23},
	{5, {0x2b, 0x81, 4, 0, 34}, "EC P-384", false, 24},
	{5, {0x2b, 0x81, 4, 0, 35}, "EC P-521", false, 25},
	{3, {0x2b, 0x65, 112}, "Ed25519", false, 0},
	{3, {0x2b, 0x65, 113}, "Ed448", false, 0},
	{9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4},
	    "MD5 with RSA", false, 0},
	{9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5},
	    "SHA-1 with RSA", false, 0},
	{9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10}, "RSA-PSS",
	    false, 0},
	{9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11},
	    "SHA-256 with RSA", true, 0},
	{9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12},
	    "SHA-384 with RSA", true, 0},
	{9, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13},
	    "SHA-512 with RSA", true, 0},
	{7, {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1}, "SHA-1 with ECDSA", false, 0},
	{8, {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2},
	    "SHA-256 with ECDSA", true, 0},
	{8, {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3},
	    "SHA-384 with ECDSA", true, 0},
	{8, {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4},
	    "SHA-512 with ECDSA", true, 0},
};

static const struct algorithm unknown_algorithm = {.name = "unknown"};

static bool
has_oid(struct bytes oid, const unsigned char *expected, size_t len)
{
	return bytes_equal(oid, (struct bytes){expected, len});
}

static bool
take_name(struct bytes *in, struct bytes *whole)
{
	struct der_element e;

	if (!der_take(in, &e) || e.tag != DER_SEQUENCE)
		return false;
	*whole = e.whole;
	return true;
}

static int
two_digits(const unsigned char *text)
{
	return (text[0] - '0') * 10 + text[1] - '0';
}

/* YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ (RFC 5280 section 4.1.2.5). */
static bool
take_time(struct bytes *in, time_t *when)
{
	struct tm tm = {0};
	struct bytes text;
	size_t at = 2;

	if (der_enter(in, DER_UTC_TIME, &text) ? text.len != 13 :
	    !der_enter(in, DER_GENERALIZED_TIME, &text) || text.len != 15)
		return false;
	for (size_t i = 0; i + 1 < text.len; i++)
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
	if (text.data[text.len - 1] != 'Z')
		return false;
	tm.tm_year = two_digits(text.data);
	if (text.len == 15) {
		tm.tm_year = tm.tm_year * 100 + two_digits(text.data + 2);
		tm.tm_year -= 1900;
		at = 4;
	} else if (tm.tm_year < 50) {
		tm.tm_year += 100;
	}
	tm.tm_mon = two_digits(text.data + at) - 1;
	tm.tm_mday = two_digits(text.data + at + 2);
	tm.tm_hour = two_digits(text.data + at + 4);
	tm.tm_min = two_digits(text.data + at + 6);
	tm.tm_sec = two_digits(text.data + at + 8);
	*when = timegm(&tm);
	return true;
}

static const struct algorithm *
find_algorithm(struct bytes oid)
{
	size_t count = sizeof(algorithms) / sizeof(algorithms[0]);

	for (size_t i = 0; i < count; i++)
		if (has_oid(oid, algorithms[i].oid, algorithms[i].len))
			return &algorithms[i];
	return &unknown_algorithm;
}

/* A bit string of whole bytes. */
static bool
take_bits(struct bytes *in, struct bytes *bits)
{
	if (!der_enter(in, DER_BIT_STRING, bits) || !bits->len ||
	    bits->data[0])
		return false;
	bits->data++;
	bits->len--;
	return true;
}

/* Without the zeros in front. */
static bool
take_number(struct bytes *in, struct bytes *number)
{
	if (!der_enter(in, DER_INTEGER, number))
		return false;
	while (number->len && !number->data[0]) {
		number->data++;
		number->len--;
	}
	return true;
}

static bool
read_rsa(struct certificate *c, struct bytes bits)
{
	struct bytes key;

	if (!der_enter(&bits, DER_SEQUENCE, &key) ||
	    !take_number(&key, &c->modulus) || !take_number(&key, &c->exponent))
		return false;
	c->rsa_bits = (unsigned)c->modulus.len * 8;
	for (unsigned top = 0x80; c->rsa_bits && !(c->modulus.data[0] & top);
	    top >>= 1)
		--c->rsa_bits;
	c->key_fits = c->rsa_bits >= RSA_BITS_MIN &&
	    c->rsa_bits <= RSA_BITS_MAX;
	return true;
}

static bool
read_key(struct certificate *c, struct bytes info)
{
	const struct algorithm *algorithm;
	struct bytes kind, oid, bits;

	if (!der_enter(&info, DER_SEQUENCE, &kind) ||
	    !der_enter(&kind, DER_OBJECT_ID, &oid) ||
	    !take_bits(&info, &bits) || info.len)
		return false;
	algorithm = find_algorithm(oid);
	if (algorithm == &algorithms[RSA] && !read_rsa(c, bits))
		return false;
	if (algorithm == &algorithms[EC] &&
	    der_enter(&kind, DER_OBJECT_ID, &oid)) {
		algorithm = find_algorithm(oid);
		c->curve = algorithm->curve;
		c->point = bits;
		c->key_fits = c->curve != 0;
	}
	c->key = algorithm->name;
	return true;
}

/* RFC 5280 section 4.2.1.9 */
static bool
read_basic_constraints(struct certificate *c, struct bytes value)
{
	struct bytes constraints, ca;

	if (!der_enter(&value, DER_SEQUENCE, &constraints) || value.len)
		return false;
	c->is_ca = der_enter(&constraints, DER_BOOLEAN, &ca) && ca.len == 1 &&
	    ca.data[0];
	return true;
}

static bool
read_extension(struct certificate *c, struct bytes extension)
{
	static const unsigned char alt_names[] = {0x55, 29, 17};
	static const unsigned char basic_constraints[] = {0x55, 29, 19};
	struct bytes oid, value;

	if (!der_enter(&extension, DER_OBJECT_ID, &oid))
		return false;
	der_skip(&extension, DER_BOOLEAN);
	if (!der_enter(&extension, DER_OCTET_STRING, &value) || extension.len)
		return false;
	if (has_oid(oid, basic_constraints, sizeof(basic_constraints)))
		return read_basic_constraints(c, value);
	if (!has_oid(oid, alt_names, sizeof(alt_names)))
		return true;
	/* Two of them could mean two things to two readers. */
	return !c->alt_names.data &&
	    der_enter(&value, DER_SEQUENCE, &c->alt_names) && !value.len;
}

static bool
read_extensions(struct certificate *c, struct bytes rest)
{
	struct bytes wrapped, list, extension;

	if (!rest.len)
		return true;
	if (!der_enter(&rest, EXTENSIONS, &wrapped) || rest.len ||
	    !der_enter(&wrapped, DER_SEQUENCE, &list) || wrapped.len)
		return false;
	c->has_extensions = true;
	while (list.len)
		if (!der_enter(&list, DER_SEQUENCE, &extension) ||
		    !read_extension(c, extension))
			return false;
	return true;
}

static bool
read_body(struct certificate *c, struct bytes body)
{
	struct bytes validity, key;

	der_skip(&body, VERSION);
	if (!der_skip(&body, DER_INTEGER) || !der_skip(&body, DER_SEQUENCE) ||
	    !take_name(&body, &c->issuer))
		return false;
	if (!der_enter(&body, DER_SEQUENCE, &validity) ||
	    !take_time(&validity, &c->not_before) ||
	    !take_time(&validity, &c->not_after) || validity.len)
		return false;
	if (!take_name(&body, &c->subject) ||
	    !der_enter(&body, DER_SEQUENCE, &key) || !read_key(c, key))
		return false;
	der_skip(&body, ISSUER_UNIQUE_ID);
	der_skip(&body, SUBJECT_UNIQUE_ID);
	return read_extensions(c, body);
}

static bool
read_signature(struct certificate *c, struct bytes kind)
{
	const struct algorithm *algorithm;
	struct bytes oid;

	if (!der_enter(&kind, DER_OBJECT_ID, &oid))
		return false;
	algorithm = find_algorithm(oid);
	c->signature = algorithm->name;
	c->signature_fits = algorithm->fits;
	return true;
}

bool
certificate_read(struct certificate *c, const void *der, size_t len)
{
	static const struct certificate nothing = {
		.key = "unknown", .signature = "unknown"};
	struct bytes in = {der, len}, all, body, kind;

	*c = nothing;
	if (der_enter(&in, DER_SEQUENCE, &all) && !in.len &&
	    der_enter(&all, DER_SEQUENCE, &body) && read_body(c, body) &&
	    der_enter(&all, DER_SEQUENCE, &kind) && read_signature(c, kind) &&
	    der_skip(&all, DER_BIT_STRING) && !all.len)
		return true;
	*c = nothing;
	return false;
}

size_t
certificate_ip_address(const char *name, unsigned char address[16])
{
	if (inet_pton(AF_INET, name, address) == 1)
		return 4;
	return inet_pton(AF_INET6, name, address) == 1 ? 16 : 0;
}

/* The wildcard stands for exactly one label, and never in front of a name of
 * only one ("*.com"). Lengths are compared first, so a NUL inside the pattern
 * is a byte that differs. */
static bool
matches(struct bytes pattern, const char *name, size_t len)
{
	const char *text = (const char *)pattern.data;
	const char *dot = memchr(name, '.', len);
	size_t tail;

	if (pattern.len == len && !strncasecmp(text, name, len))
		return true;
	if (!dot || dot == name || pattern.len < 3 || memcmp(text, "*.", 2))
		return false;
	tail = len - (size_t)(dot - name);
	return pattern.len - 1 == tail && !strncasecmp(text + 1, dot, tail) &&
	    memchr(text + 2, '.', pattern.len - 2);
}

bool
certificate_is_for(const struct certificate *c, const char *name)
{
	struct bytes names = c->alt_names;
	unsigned char address[16];
	size_t address_len = certificate_ip_address(name, address);
	size_t len = strlen(name);
	struct der_element e;

	if (len && name[len - 1] == '.')
		len--;
	while (len && der_take(&names, &e)) {
		if (e.tag == DNS_NAME && !address_len &&
		    matches(e.content, name, len))
			return true;
		if (e.tag == IP_ADDRESS && address_len &&
		    has_oid(e.content, address, address_len))
			return true;
	}
	return false;
}

static void
add_alt_name(const struct der_element *e, struct buf *out)
{
	char text[INET6_ADDRSTRLEN];
	const char *name = (const char *)e->content.data;
	size_t len = e->content.len;

	if (e->tag == IP_ADDRESS && (len == 4 || len == 16)) {
		name = inet_ntop(len == 4 ? AF_INET : AF_INET6, name, text,
		    sizeof(text));
		len = name ? strlen(name) : 0;
	}
	buf_add_printable(out, name, len, NAMES_BYTES);
}

bool
certificate_add_names(const struct certificate *c, struct buf *out)
{
	struct bytes names = c->alt_names;
	size_t start = out->len, shown = 0, hidden = 0;
	struct der_element e;

	while (der_take(&names, &e)) {
		if (e.tag != DNS_NAME && e.tag != IP_ADDRESS)
			continue;
		if (shown == NAMES_SHOWN || (shown &&
		    out->len - start + e.content.len > NAMES_BYTES)) {
			hidden++;
			continue;
		}
		buf_adds(out, shown++ ? ", " : "");
		add_alt_name(&e, out);
	}
	if (hidden)
		buf_addf(out, " and %zu more", hidden);
	return shown > 0;
}

/* The value of an attribute of a name (RFC 5280 section 4.1.2.4). */
static bool
find_attribute(struct bytes dn, unsigned char id, struct bytes *value)
{
	const unsigned char wanted[] = {0x55, 4, id};
	struct bytes list, set, pair, oid;
	struct der_element e;

	if (!der_enter(&dn, DER_SEQUENCE, &list))
		return false;
	while (der_enter(&list, DER_SET, &set))
		while (der_enter(&set, DER_SEQUENCE, &pair)) {
			if (!der_enter(&pair, DER_OBJECT_ID, &oid) ||
			    !der_take(&pair, &e))
				return false;
			*value = e.content;
			if (has_oid(oid, wanted, sizeof(wanted)))
				return true;
		}
	return false;
}

void
certificate_add_dn(struct bytes dn, struct buf *out)
{
	static const struct {
		unsigned char id;
		const char *label;
	} shown[] = {{3, "CN="}, {10, "O="}, {11, "OU="}};
	const char *separator = "";
	struct bytes value;

	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		if (!find_attribute(dn, shown[i].id, &value))
			continue;
		buf_addf(out, "%s%s", separator, shown[i].label);
		buf_add_printable(out, (const char *)value.data, value.len,
		    ATTRIBUTE_BYTES);
		separator = ", ";
	}
	if (!*separator)
		buf_adds(out, "(no name)");
}
