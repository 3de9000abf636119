/* SPDX-License-Identifier: ISC */
#ifndef TLS_INTERNAL_H
#define TLS_INTERNAL_H

#include <bearssl.h>

#include "chain.h"
#include "tls.h"

/* What tls.c (records), tls_client.c and tls_server.c (handshakes) and
 * tls_explain.c share. */

enum {
	NAME_SIZE = 256, /* as in the engine */
	TEXT_SIZE = 60,  /* of what is no TLS at all */
};

/* What only a client has. */
struct tls_client {
	br_ssl_client_context context;
	struct chain chain;
	const struct tls_trust *trust;
	bool may_resume; /* a session was offered */
};

struct tls {
	br_ssl_engine_context *engine; /* in as */
	union {
		struct tls_client client;
		br_ssl_server_context server;
	} as;
	bool is_server;
	struct tls_keypair *pair; /* of a server */
	bool ready;      /* the handshake was completed */
	bool hung_up;    /* the stream has ended */
	bool saw_record;
	int read_error, write_error; /* errno */
	char name[NAME_SIZE];
	unsigned char text[TEXT_SIZE];
	size_t text_len;
	size_t size;        /* of the whole, with the buffers */
	unsigned char *output;
	size_t output_size;
	unsigned char input[BR_SSL_BUFSIZE_INPUT]; /* and the output */
};

/* All of it zero, but for the buffers, which tls_set_buffers() hands to the
 * engine when there is one. */
struct tls *tls_new(size_t output_size);
void tls_set_buffers(struct tls *);

/* To be called when the handshake is done, and at the end. */
void tls_client_ready(struct tls *);
void tls_client_end(struct tls *);

#endif
