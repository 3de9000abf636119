/* SPDX-License-Identifier: ISC */
/*
 * The client's side of a handshake: whom we expect, what we show of
 * ourselves, and the session that may be resumed.
 */
#include "tls_internal.h"

#include <string.h>

#include "buf.h"
#include "keypair.h"
#include "profile.h"
#include "tls_session.h"
#include "trust.h"

/* Keeps name without its trailing dot. One that is too long for DNS stays
 * empty, which no certificate is for. */
static void
keep_name(struct tls *tls, const char *name)
{
	size_t len = strlen(name);

	if (len && name[len - 1] == '.')
		len--;
	if (len < NAME_SIZE)
		memcpy(tls->name, name, len);
}

/* What the relay may ask for. */
static void
show_keypair(br_ssl_client_context *client, const struct tls_keypair *pair)
{
	if (keypair_type(pair) == BR_KEYTYPE_RSA)
		br_ssl_client_set_single_rsa(client, pair->chain,
		    pair->chain_len, br_skey_decoder_get_rsa(&pair->key),
		    br_rsa_pkcs1_sign_get_default());
	else
		br_ssl_client_set_single_ec(client, pair->chain,
		    pair->chain_len, br_skey_decoder_get_ec(&pair->key),
		    BR_KEYTYPE_SIGN, pair->issuer_key, br_ec_get_default(),
		    br_ecdsa_sign_asn1_get_default());
}

static void
offer_session(struct tls *tls)
{
	struct tls_client *client = &tls->as.client;
	br_ssl_session_parameters session;

	client->may_resume = tls_session_get(client->trust->session,
	    tls->name, &session);
	if (client->may_resume)
		br_ssl_engine_set_session_parameters(tls->engine, &session);
	explicit_bzero(&session, sizeof(session));
}

struct tls *
tls_client_new(const struct tls_trust *trust, const char *name)
{
	struct tls *tls = tls_new(BR_SSL_BUFSIZE_OUTPUT);
	struct tls_client *client = &tls->as.client;
	unsigned char address[16];

	client->trust = trust;
	keep_name(tls, name);
	br_ssl_client_zero(&client->context);
	tls->engine = &client->context.eng;
	profile_apply(tls->engine);
	if (trust->keypair)
		show_keypair(&client->context, trust->keypair);
	chain_init(&client->chain, trust, tls->name);
	br_ssl_engine_set_x509(tls->engine, &client->chain.vtable);
	tls_set_buffers(tls);
	offer_session(tls);
	/* SNI is for names only (RFC 6066 section 3). */
	br_ssl_client_reset(&client->context, certificate_ip_address(tls->name,
	    address) ? NULL : tls->name, client->may_resume);
	return tls;
}

/* One that was resumed has sent no certificate, and lives no longer for it. */
void
tls_client_ready(struct tls *tls)
{
	struct tls_client *client = &tls->as.client;
	br_ssl_session_parameters session;

	if (!chain_leaf(&client->chain).len)
		return;
	br_ssl_engine_get_session_parameters(tls->engine, &session);
	tls_session_put(client->trust->session, tls->name, &session);
	explicit_bzero(&session, sizeof(session));
}

void
tls_client_end(struct tls *tls)
{
	struct tls_client *client = &tls->as.client;

	if (!tls->ready && client->may_resume)
		tls_session_drop(client->trust->session);
	chain_free(&client->chain);
}

bool
tls_peer(const struct tls *tls, struct tls_peer *peer)
{
	struct bytes leaf = {0};
	struct certificate c;

	if (!tls->is_server)
		leaf = chain_leaf(&tls->as.client.chain);
	if (!certificate_read(&c, leaf.data, leaf.len))
		return false;
	certificate_add_dn(c.issuer, &peer->issuer);
	certificate_add_names(&c, &peer->names);
	peer->not_after = c.not_after;
	return true;
}

void
tls_peer_free(struct tls_peer *peer)
{
	buf_free(&peer->issuer);
	buf_free(&peer->names);
}
