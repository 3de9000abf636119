/* SPDX-License-Identifier: ISC */
#ifndef TRUST_H
#define TRUST_H

#include <stdbool.h>
#include <stddef.h>

#include "certificate.h"

/* What tls.h calls the trusted anchors, for chain.c: certificates as they
 * came, indexed by name. Their keys are decoded when a chain asks for them. */
struct anchor {
	unsigned char *der;
	size_t len;
	struct bytes subject; /* whole DER, inside der */
	bool has_extensions;
};

struct tls_trust {
	struct anchor *anchors;
	size_t count;
	size_t skipped; /* certificates that are broken or of no use */
};

#endif
