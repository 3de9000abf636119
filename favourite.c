/* SPDX-License-Identifier: ISC */
/*
 * Which address of a relay served last.
 */
#include "favourite.h"

#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "buf.h"

struct favourite {
	pthread_mutex_t lock;
	struct sockaddr_storage address;
	socklen_t size; /* 0: none has served yet */
};

struct favourite *
favourite_new(void)
{
	struct favourite *f = xcalloc(1, sizeof(*f));

	pthread_mutex_init(&f->lock, NULL);
	return f;
}

void
favourite_free(struct favourite *f)
{
	if (f)
		pthread_mutex_destroy(&f->lock);
	free(f);
}

static bool
is_favourite(const struct favourite *f, const struct addrinfo *address)
{
	return address->ai_addrlen == f->size &&
	    memcmp(address->ai_addr, &f->address, f->size) == 0;
}

const struct addrinfo *
favourite_of(struct favourite *f, const struct addrinfo *list)
{
	pthread_mutex_lock(&f->lock);
	while (list && !is_favourite(f, list))
		list = list->ai_next;
	pthread_mutex_unlock(&f->lock);
	return list;
}

void
favourite_set(struct favourite *f, const struct addrinfo *address)
{
	pthread_mutex_lock(&f->lock);
	f->size = address->ai_addrlen;
	memcpy(&f->address, address->ai_addr, f->size);
	pthread_mutex_unlock(&f->lock);
}
