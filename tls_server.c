/* SPDX-License-Identifier: ISC */
/*
 * The server's side of a handshake, and the certificate it shows, which is
 * renewed in its place: certbot swaps symbolic links, Kubernetes swaps a
 * directory. So the files are looked at, now and then, when a client comes.
 */
#include "tls_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "buf.h"
#include "clock.h"
#include "keypair.h"
#include "log.h"
#include "profile.h"
#include "same_file.h"

enum {
	LOOK_MS = 1000, /* between two looks at the files */

	/* Of a record that is sent. Replies are short, and a thousand clients
	 * that say nothing must not cost 16 KB each. */
	OUTPUT_SIZE = 1024 + 85,
};

/* What tells one version of both files from another. */
struct version {
	struct stat certificate, key;
};

struct tls_server {
	char *certificate, *key; /* their paths */
	pthread_mutex_t lock;
	int64_t next_look;       /* on clock_now() */
	bool looking;            /* somebody is */
	struct version version;  /* of the last look; only for who is looking */
	struct tls_keypair *pair;
};

static bool
is_same(const struct version *a, const struct version *b)
{
	return same_file(&a->certificate, &b->certificate) &&
	    same_file(&a->key, &b->key);
}

/* One that is not there is a version too. */
static struct version
look(const struct tls_server *s)
{
	struct version v = {0};

	(void)stat(s->certificate, &v.certificate);
	(void)stat(s->key, &v.key);
	return v;
}

struct tls_server *
tls_server_load(const char *certificate, const char *key, struct buf *why)
{
	struct tls_server *s = xcalloc(1, sizeof(*s));

	s->certificate = xstrdup(certificate);
	s->key = xstrdup(key);
	pthread_mutex_init(&s->lock, NULL);
	s->version = look(s);
	s->pair = tls_keypair_load(certificate, key, why);
	if (s->pair)
		return s;
	tls_server_free(s);
	return NULL;
}

void
tls_server_free(struct tls_server *s)
{
	if (!s)
		return;
	tls_keypair_free(s->pair);
	pthread_mutex_destroy(&s->lock);
	free(s->certificate);
	free(s->key);
	free(s);
}

/* The new pair if the files have changed and are one, else NULL. Half of a
 * renewal is not one: what changes while it is read is read once more. */
static struct tls_keypair *
read_again(struct tls_server *s)
{
	struct version v = look(s);
	struct tls_keypair *pair;
	struct buf why = {0};

	if (is_same(&v, &s->version))
		return NULL;
	pair = tls_keypair_load(s->certificate, s->key, &why);
	s->version = look(s);
	if (!is_same(&v, &s->version)) {
		tls_keypair_free(pair);
		pair = NULL;
		s->version = (struct version){0};
	} else if (pair) {
		log_message(LEVEL_INFO, "the certificate in %s is new",
		    s->certificate);
	} else {
		log_message(LEVEL_ERROR, "%s; clients are shown the one from "
		    "before until that is mended", buf_text(&why));
	}
	buf_free(&why);
	return pair;
}

/* Lets one thread look, without the lock. */
static void
renew(struct tls_server *s)
{
	struct tls_keypair *pair, *old = NULL;
	bool mine;

	pthread_mutex_lock(&s->lock);
	mine = !s->looking && clock_now() >= s->next_look;
	s->looking |= mine;
	pthread_mutex_unlock(&s->lock);
	if (!mine)
		return;
	pair = read_again(s);
	pthread_mutex_lock(&s->lock);
	s->looking = false;
	s->next_look = clock_now() + LOOK_MS;
	if (pair) {
		old = s->pair;
		s->pair = pair;
	}
	pthread_mutex_unlock(&s->lock);
	tls_keypair_free(old);
}

static struct tls_keypair *
take_pair(struct tls_server *s)
{
	struct tls_keypair *pair;

	renew(s);
	pthread_mutex_lock(&s->lock);
	pair = keypair_share(s->pair);
	pthread_mutex_unlock(&s->lock);
	return pair;
}

/* Only for signatures: nothing that is recorded today is read by whoever gets
 * at the key tomorrow. */
static void
show_keypair(br_ssl_server_context *server, const struct tls_keypair *pair)
{
	if (keypair_type(pair) == BR_KEYTYPE_RSA)
		br_ssl_server_set_single_rsa(server, pair->chain,
		    pair->chain_len, br_skey_decoder_get_rsa(&pair->key),
		    BR_KEYTYPE_SIGN, NULL, br_rsa_pkcs1_sign_get_default());
	else
		br_ssl_server_set_single_ec(server, pair->chain,
		    pair->chain_len, br_skey_decoder_get_ec(&pair->key),
		    BR_KEYTYPE_SIGN, pair->issuer_key, br_ec_get_default(),
		    br_ecdsa_sign_asn1_get_default());
}

struct tls *
tls_server_new(struct tls_server *s)
{
	struct tls *tls = tls_new(OUTPUT_SIZE);
	br_ssl_server_context *server = &tls->as.server;

	tls->is_server = true;
	tls->pair = take_pair(s);
	strcpy(tls->name, "the client");
	br_ssl_server_zero(server);
	tls->engine = &server->eng;
	profile_apply(tls->engine);
	br_ssl_engine_add_flags(tls->engine,
	    BR_OPT_ENFORCE_SERVER_PREFERENCES);
	show_keypair(server, tls->pair);
	tls_set_buffers(tls);
	br_ssl_server_reset(server);
	return tls;
}
