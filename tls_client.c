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
show_keypair(struct tls *tls, const struct tls_keypair *pair)
{
	br_ssl_client_context *client = &tls->client;

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
	br_ssl_session_parameters session;

	tls->may_resume = tls_session_get(tls->trust->session, tls->name,
	    &session);
	if (tls->may_resume)
		br_ssl_engine_set_session_parameters(&tls->client.eng,
		    &session);
	explicit_bzero(&session, sizeof(session));
}

struct tls *
tls_client_new(const struct tls_trust *trust, const char *name)
{
	struct tls *tls = xcalloc(1, sizeof(*tls));
	br_ssl_engine_context *engine = &tls->client.eng;
	unsigned char address[16];

	tls->trust = trust;
	keep_name(tls, name);
	profile_apply(&tls->client);
	if (trust->keypair)
		show_keypair(tls, trust->keypair);
	chain_init(&tls->chain, trust, tls->name);
	br_ssl_engine_set_x509(engine, &tls->chain.vtable);
	/* Not br_ssl_engine_set_buffer(): the two halves that it makes of one
	 * buffer overlap in BearSSL 0.6. */
	br_ssl_engine_set_buffers_bidi(engine, tls->input, sizeof(tls->input),
	    tls->output, sizeof(tls->output));
	/* SNI is for names only (RFC 6066 section 3). */
	offer_session(tls);
	br_ssl_client_reset(&tls->client, certificate_ip_address(tls->name,
	    address) ? NULL : tls->name, tls->may_resume);
	return tls;
}

/* One that was resumed has sent no certificate, and lives no longer for it. */
void
tls_client_ready(struct tls *tls)
{
	br_ssl_session_parameters session;

	if (!chain_leaf(&tls->chain).len)
		return;
	br_ssl_engine_get_session_parameters(&tls->client.eng, &session);
	tls_session_put(tls->trust->session, tls->name, &session);
	explicit_bzero(&session, sizeof(session));
}

void
tls_client_failed(struct tls *tls)
{
	if (tls->may_resume)
		tls_session_drop(tls->trust->session);
}

bool
tls_peer(const struct tls *tls, struct tls_peer *peer)
{
	struct bytes leaf = chain_leaf(&tls->chain);
	struct certificate c;

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
