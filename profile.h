/* SPDX-License-Identifier: ISC */
#ifndef PROFILE_H
#define PROFILE_H

#include <bearssl.h>

/* Fills in the engine of a client or a server: versions, suites, hashes,
 * implementations and a seed. The rest is the caller's: it has zeroed the
 * context before. */
void profile_apply(br_ssl_engine_context *);

/* "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256", for a finished handshake. */
const char *profile_suite(const br_ssl_engine_context *);

#endif
