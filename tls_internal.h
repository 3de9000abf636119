/* SPDX-License-Identifier: ISC */
#ifndef TLS_INTERNAL_H
#define TLS_INTERNAL_H

#include <bearssl.h>

#include "chain.h"
#include "tls.h"

/* What tls.c (records), tls_client.c (handshakes) and tls_explain.c share. */

enum {
	NAME_SIZE = 256, /* as in the engine */
	TEXT_SIZE = 60,  /* of what is no TLS at all */
};

struct tls {
	br_ssl_client_context client;
	struct chain chain;
	const struct tls_trust *trust;
	bool may_resume; /* a session was offered */
	bool ready;      /* the handshake was completed */
	bool hung_up;    /* the stream has ended */
	bool saw_record;
	int read_error, write_error; /* errno */
	char name[NAME_SIZE];
	unsigned char text[TEXT_SIZE];
	size_t text_len;
	unsigned char input[BR_SSL_BUFSIZE_INPUT];
	unsigned char output[BR_SSL_BUFSIZE_OUTPUT];
};

/* To be called when the handshake is done, and when it has failed. */
void tls_client_ready(struct tls *);
void tls_client_failed(struct tls *);

#endif
