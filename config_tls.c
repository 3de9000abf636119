/* SPDX-License-Identifier: ISC */
/*
 * What is set about TLS, as a whole: whom an upstream's certificate is
 * compared with, and our own certificate with its key.
 */
#include "config_draft.h"

#include <string.h>

#include "buf.h"
#include "config.h"

/* The key may be in the same file as its certificate. */
static void
judge_keypair(struct draft *draft, const struct block *block, char **cert,
    char **key)
{
	struct place place = block_place(block, "tls_key", *key);

	if (*key && !*cert)
		draft_complain(draft, &place, "set without tls_cert; write "
		    "the certificate of this key, or remove it");
	if (!*cert)
		return;
	if (!*key) {
		*key = xstrdup(*cert);
		place = block_place(block, "tls_cert", *cert);
	}
	config_judge_file(draft, &place, key, true);
	place = block_place(block, "tls_cert", *cert);
	config_judge_file(draft, &place, cert, false);
}

/* Whoever wrote one of them believes in more than there would be. */
static void
judge_unused(struct draft *draft, const struct block *block,
    const struct upstream *u)
{
	const char *key = u->tls_fingerprint ? "tls_fingerprint" :
	    u->tls_cert ? "tls_cert" : NULL;
	struct place place;

	if (!key)
		return;
	place = block_place(block, key, NULL);
	if (u->tls == TLS_MODE_NONE)
		draft_complain(draft, &place, "there is no TLS with tls = "
		    "none; remove one of the two");
}

void
config_judge_tls(struct draft *draft, const struct block *block,
    struct upstream *u)
{
	struct place place = block_place(block, "tls_ca_file", u->tls_ca_file);

	judge_unused(draft, block, u);
	if (u->tls_ca_file && u->tls_fingerprint)
		draft_complain(draft, &place, "tls_fingerprint accepts one "
		    "certificate, whoever has issued it; remove one of the "
		    "two");
	judge_keypair(draft, block, &u->tls_cert, &u->tls_key);
	/* An address is looked for among the certificate's. */
	if (!u->tls_name)
		u->tls_name = xstrdup(u->host);
}

void
config_judge_listen_tls(struct draft *draft)
{
	struct listen_config *listen = &draft->config->listen;
	const struct block *block = &draft->listen;
	struct place address = block_place(block, "tls_address", NULL);
	struct place cert = block_place(block, "tls_cert", listen->tls_cert);

	judge_keypair(draft, block, &listen->tls_cert, &listen->tls_key);
	if (listen->tls_addresses.count && !listen->tls_cert)
		draft_complain(draft, &address, "TLS needs a certificate; "
		    "write tls_cert");
	if (listen->tls_cert && !listen->addresses.count &&
	    !listen->tls_addresses.count)
		draft_warn(draft, &cert, "not used, because there is no "
		    "address to show it at");
}
