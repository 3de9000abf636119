/* SPDX-License-Identifier: ISC */
#ifndef CLIENTS_H
#define CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pace.h"

/*
 * What each address of the network has: connections at a time, and messages
 * in some time. The key of an address is access_key(). Any thread may call.
 */
struct clients;

/* What each may have; the configuration that holds now says it each time. */
struct client_limits {
	unsigned connections;  /* 0: any number */
	struct rates messages;
};

struct clients *clients_new(void);
void clients_free(struct clients *);

/* Counts one more connection of that address. False if it has too many, or may
 * send nothing more for now; then it is not counted. */
bool clients_enter(struct clients *, const uint8_t key[16],
    const struct client_limits *);
void clients_leave(struct clients *, const uint8_t key[16]);

/* Counts one more message of an address that has a connection. False if there
 * are too many; then it is not counted. */
bool clients_may_send(struct clients *, const uint8_t key[16],
    const struct client_limits *);

/* Whether an address may try to log in: it has not guessed too often of late.
 * And one more wrong guess. */
bool clients_may_log_in(struct clients *, const uint8_t key[16]);
void clients_guessed(struct clients *, const uint8_t key[16]);

#endif
