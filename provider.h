/* SPDX-License-Identifier: ISC */
#ifndef PROVIDER_H
#define PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

enum tls_mode { TLS_MODE_STARTTLS, TLS_MODE_IMPLICIT, TLS_MODE_NONE };

/* What a preset says of a relay; 0 or NULL where it leaves the default. */
struct provider {
	const char *name;
	const char *host;         /* %s is the region; NULL: yours to say */
	uint16_t port;
	enum tls_mode tls;
	const char *other_ports;  /* for a person whose network drops port */
	const char *user;         /* the literal user name, if there is one */
	const char *credentials;  /* its own words for user and password */
	bool needs_region;
	bool needs_login;         /* useless without user and password */
	unsigned recipients_per_message;
	unsigned messages_per_connection;
	unsigned connections;
};

/* The preset of that name, or NULL. */
const struct provider *provider_find(const char *name);

/* Presets in the order of the table, NULL after the last: for suggestions. */
const struct provider *provider_at(unsigned index);

/* Whether it writes files instead of sending (provider = capture). */
bool provider_is_capture(const struct provider *);

#endif
