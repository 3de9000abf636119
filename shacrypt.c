/* SPDX-License-Identifier: ISC */
/*
 * The SHA-2 kinds of crypt(3), written from the description of the algorithm
 * by its author (https://www.akkadia.org/drepper/SHA-crypt.txt). Not crypt(3)
 * itself, since not every C library has one: the one that the static binary is
 * made with does not.
 */
#include "shacrypt.h"

#include <bearssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	DIGEST_MAX = 64,
	TEXT_MAX = 90,     /* of a digest, and its end */
	SALT_MAX = 16,
	ROUNDS = 5000,     /* unless they are said */
	ROUNDS_LEAST = 1000,
	ROUNDS_MOST = 999999999,
};

struct text {
	const void *data;
	size_t len;
};

/* What a hash says of itself. */
struct setting {
	const br_hash_class *kind;
	size_t size;         /* of its digest */
	unsigned long rounds;
	struct text salt;
	const char *digest;  /* as text */
};

static bool
read_setting(const char *hash, struct setting *s)
{
	static const char rounds[] = "rounds=";
	bool is_256 = strncmp(hash, "$5$", 3) == 0;
	const char *salt = hash + 3;
	char *end;

	if (!is_256 && strncmp(hash, "$6$", 3) != 0)
		return false;
	*s = (struct setting){is_256 ? &br_sha256_vtable : &br_sha512_vtable,
		is_256 ? 32 : 64, ROUNDS, {NULL, 0}, NULL};
	if (strncmp(salt, rounds, strlen(rounds)) == 0) {
		s->rounds = strtoul(salt + strlen(rounds), &end, 10);
		if (*end != '$' || s->rounds < ROUNDS_LEAST ||
		    s->rounds > ROUNDS_MOST)
			return false;
		salt = end + 1;
	}
	s->salt = (struct text){salt, strcspn(salt, "$")};
	s->digest = salt + s->salt.len + 1;
	return salt[s->salt.len] == '$' && s->salt.len <= SALT_MAX &&
	    strlen(s->digest) == (is_256 ? 43 : 86);
}

bool
shacrypt_is_hash(const char *hash)
{
	struct setting s;

	return read_setting(hash, &s);
}

/* --- Digests ------------------------------------------------------------- */

static void
begin(const struct setting *s, br_hash_compat_context *c)
{
	s->kind->init(&c->vtable);
}

static void
add(br_hash_compat_context *c, struct text t)
{
	c->vtable->update(&c->vtable, t.data, t.len);
}

static void
finish(br_hash_compat_context *c, unsigned char *digest)
{
	c->vtable->out(&c->vtable, digest);
}

/* The digest, over and over, as long as t is. */
static void
add_for_each_byte(const struct setting *s, br_hash_compat_context *c,
    const unsigned char *digest, struct text t)
{
	size_t left = t.len;

	for (; left > s->size; left -= s->size)
		add(c, (struct text){digest, s->size});
	add(c, (struct text){digest, left});
}

/* The text so many times, and of the digest of that as many bytes as the text
 * has. */
static void
stretch(const struct setting *s, struct text t, unsigned times,
    unsigned char *out)
{
	unsigned char digest[DIGEST_MAX];
	br_hash_compat_context c;

	begin(s, &c);
	while (times--)
		add(&c, t);
	finish(&c, digest);
	for (size_t i = 0; i < t.len; i++)
		out[i] = digest[i % s->size];
}

/* What the rounds start from. */
static void
mix(const struct setting *s, struct text password, unsigned char *digest)
{
	unsigned char other[DIGEST_MAX];
	br_hash_compat_context c;

	begin(s, &c);
	add(&c, password);
	add(&c, s->salt);
	add(&c, password);
	finish(&c, other);
	begin(s, &c);
	add(&c, password);
	add(&c, s->salt);
	add_for_each_byte(s, &c, other, password);
	for (size_t bits = password.len; bits; bits >>= 1)
		add(&c, bits & 1 ? (struct text){other, s->size} : password);
	finish(&c, digest);
}

static void
make_digest(const struct setting *s, struct text password,
    unsigned char *digest)
{
	unsigned char p[SHACRYPT_PASSWORD_MAX], t[SALT_MAX];
	struct text each = {p, password.len}, salt = {t, s->salt.len};
	struct text last = {digest, s->size};
	br_hash_compat_context c;

	mix(s, password, digest);
	stretch(s, password, (unsigned)password.len, p);
	stretch(s, s->salt, 16U + digest[0], t);
	for (unsigned long i = 0; i < s->rounds; i++) {
		begin(s, &c);
		add(&c, i & 1 ? each : last);
		if (i % 3)
			add(&c, salt);
		if (i % 7)
			add(&c, each);
		add(&c, i & 1 ? last : each);
		finish(&c, digest);
	}
	explicit_bzero(p, sizeof(p));
}

/* --- As text ------------------------------------------------------------- */

/* Three bytes to so many digits, the lowest first. */
static char *
write_digits(char *out, uint32_t bytes, unsigned count)
{
	static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz";

	for (; count--; bytes >>= 6)
		*out++ = digits[bytes & 63];
	*out = '\0';
	return out;
}

/* The bytes are taken one from each third, which change places: onwards for
 * SHA-512, backwards for SHA-256; what no third has comes last. */
static void
write_digest(const struct setting *s, const unsigned char *d, char *out)
{
	unsigned third = (unsigned)s->size / 3;
	unsigned a = 0, b = third, c = 2 * third;

	for (unsigned i = 0; i < third; i++) {
		unsigned first = a;

		out = write_digits(out, (uint32_t)d[a] << 16 |
		    (uint32_t)d[b] << 8 | d[c], 4);
		if (s->size == DIGEST_MAX)
			a = b + 1, b = c + 1, c = first + 1;
		else
			a = c + 1, c = b + 1, b = first + 1;
	}
	if (s->size == DIGEST_MAX)
		write_digits(out, d[63], 2);
	else
		write_digits(out, (uint32_t)d[31] << 8 | d[30], 3);
}

/* In a time that does not depend on where they differ. */
static bool
is_same(const char *a, const char *b, size_t len)
{
	unsigned char differs = 0;

	for (size_t i = 0; i < len; i++)
		differs |= (unsigned char)(a[i] ^ b[i]);
	return !differs;
}

bool
shacrypt_fits(const char *hash, const void *password, size_t len)
{
	unsigned char digest[DIGEST_MAX];
	char text[TEXT_MAX];
	struct setting s;

	if (len > SHACRYPT_PASSWORD_MAX || !read_setting(hash, &s))
		return false;
	make_digest(&s, (struct text){password, len}, digest);
	write_digest(&s, digest, text);
	return is_same(text, s.digest, strlen(text));
}
