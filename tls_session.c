/* SPDX-License-Identifier: ISC */
/*
 * The last TLS session with one relay.
 */
#include "tls_session.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "clock.h"

enum {
	NAME_SIZE = 256,
	LIFETIME = 3600 * 1000, /* ms: a certificate may expire meanwhile */
};

struct tls_session {
	pthread_mutex_t lock;
	int64_t expires; /* on clock_now(); 0: there is none */
	char name[NAME_SIZE];
	br_ssl_session_parameters parameters;
};

struct tls_session *
tls_session_new(void)
{
	struct tls_session *s = xcalloc(1, sizeof(*s));

	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void
tls_session_free(struct tls_session *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	explicit_bzero(s, sizeof(*s));
	free(s);
}

bool
tls_session_get(struct tls_session *s, const char *name,
    br_ssl_session_parameters *parameters)
{
	bool found;

	pthread_mutex_lock(&s->lock);
	found = clock_now() < s->expires && strcmp(s->name, name) == 0;
	if (found)
		*parameters = s->parameters;
	pthread_mutex_unlock(&s->lock);
	return found;
}

void
tls_session_put(struct tls_session *s, const char *name,
    const br_ssl_session_parameters *parameters)
{
	if (!parameters->session_id_len)
		return;
	pthread_mutex_lock(&s->lock);
	s->expires = clock_now() + LIFETIME;
	s->parameters = *parameters;
	strncpy(s->name, name, NAME_SIZE - 1);
	pthread_mutex_unlock(&s->lock);
}

void
tls_session_drop(struct tls_session *s)
{
	pthread_mutex_lock(&s->lock);
	s->expires = 0;
	explicit_bzero(&s->parameters, sizeof(s->parameters));
	pthread_mutex_unlock(&s->lock);
}
