/* SPDX-License-Identifier: ISC */
#ifndef TRUST_H
#define TRUST_H

#include <stdbool.h>
#include <stddef.h>

#include "certificate.h"
#include "tls.h"

/* What tls.h calls the trust in a relay. The anchors are certificates as they
 * came, with usable keys, and indexed by name. */
struct anchor {
	unsigned char *der;
	size_t len;
	struct bytes subject; /* whole DER, inside der */
};

struct tls_trust {
	struct anchor *anchors;
	size_t count;
	size_t skipped; /* certificates that are broken or of no use */
	bool pinned;    /* no anchors: the leaf has to have this SHA-256 */
	unsigned char pin[TLS_FINGERPRINT_SIZE];
	struct tls_keypair *keypair; /* or NULL */
	struct tls_session *session;
	struct tls_trust *late; /* for the system's anchors, which are read
	                         * when the others do not do; or NULL */
};

/* The system's anchors where they are read late, and that is now; NULL if there
 * are none but those that trust has. */
const struct tls_trust *trust_late(const struct tls_trust *);

#endif
