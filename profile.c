/* SPDX-License-Identifier: ISC */
/*
 * The profile: TLS 1.2 only, forward secrecy only, SHA-2 only, nothing
 * renegotiated. BearSSL's own profiles begin at TLS 1.0 and know SHA-1.
 */
#include "profile.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

/* In order of preference. All of them have forward secrecy. Those with
 * HMAC-SHA1 are not here: BearSSL would then offer and take SHA-1 signatures
 * too, and whoever has them and TLS 1.2 has one of these. */
static const struct {
	uint16_t id;
	const char *description;
} suites[] = {
	{BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	    "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256"},
	{BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	    "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256"},
	{BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	    "TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305"},
	{BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	    "TLSv1.2 ECDHE-RSA-CHACHA20-POLY1305"},
	{BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	    "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384"},
	{BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	    "TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384"},
	{BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
	    "TLSv1.2 ECDHE-ECDSA-AES128-SHA256"},
	{BR_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
	    "TLSv1.2 ECDHE-RSA-AES128-SHA256"},
	{BR_TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384,
	    "TLSv1.2 ECDHE-ECDSA-AES256-SHA384"},
	{BR_TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384,
	    "TLSv1.2 ECDHE-RSA-AES256-SHA384"},
};

enum { SUITE_COUNT = sizeof(suites) / sizeof(suites[0]) };

/* BearSSL seeds itself as well where it knows how. */
static void
add_entropy(br_ssl_engine_context *engine)
{
	unsigned char seed[32];

	if (getrandom(seed, sizeof(seed), 0) == (ssize_t)sizeof(seed))
		br_ssl_engine_inject_entropy(engine, seed, sizeof(seed));
	explicit_bzero(seed, sizeof(seed));
}

/* The portable ones, which are as fast as those that BearSSL prefers where it
 * finds SSE2 and a multiplication to 128 bits. */
static void
set_chapol(br_ssl_engine_context *engine)
{
	br_ssl_engine_set_chapol(engine, &br_sslrec_in_chapol_vtable,
	    &br_sslrec_out_chapol_vtable);
	br_ssl_engine_set_chacha20(engine, br_chacha20_ct_run);
	br_ssl_engine_set_poly1305(engine, br_poly1305_ctmul_run);
}

void
profile_apply(br_ssl_engine_context *engine)
{
	uint16_t ids[SUITE_COUNT];

	for (size_t i = 0; i < SUITE_COUNT; i++)
		ids[i] = suites[i].id;
	br_ssl_engine_set_versions(engine, BR_TLS12, BR_TLS12);
	br_ssl_engine_set_suites(engine, ids, SUITE_COUNT);
	br_ssl_engine_set_all_flags(engine, BR_OPT_NO_RENEGOTIATION);
	br_ssl_engine_set_hash(engine, br_sha256_ID, &br_sha256_vtable);
	br_ssl_engine_set_hash(engine, br_sha384_ID, &br_sha384_vtable);
	br_ssl_engine_set_hash(engine, br_sha512_ID, &br_sha512_vtable);
	br_ssl_engine_set_prf_sha256(engine, br_tls12_sha256_prf);
	br_ssl_engine_set_prf_sha384(engine, br_tls12_sha384_prf);
	br_ssl_engine_set_default_aes_gcm(engine);
	br_ssl_engine_set_default_aes_cbc(engine);
	set_chapol(engine);
	br_ssl_engine_set_default_ec(engine);
	br_ssl_engine_set_default_ecdsa(engine);
	br_ssl_engine_set_default_rsavrfy(engine);
	add_entropy(engine);
}

const char *
profile_suite(const br_ssl_engine_context *engine)
{
	br_ssl_session_parameters session;
	const char *description = "";

	br_ssl_engine_get_session_parameters(engine, &session);
	for (size_t i = 0; i < SUITE_COUNT; i++)
		if (suites[i].id == session.cipher_suite)
			description = suites[i].description;
	explicit_bzero(&session, sizeof(session));
	return description;
}
