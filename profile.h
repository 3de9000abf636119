/* SPDX-License-Identifier: ISC */
#ifndef PROFILE_H
#define PROFILE_H

#include <bearssl.h>

/* Makes a client of a context: versions, suites, hashes, implementations and
 * a seed. The buffers, the X.509 engine and the name are the caller's. */
void profile_apply(br_ssl_client_context *);

/* "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256", for a finished handshake. */
const char *profile_suite(const br_ssl_client_context *);

#endif
