/* SPDX-License-Identifier: ISC */
#ifndef PROVIDER_H
#define PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

struct buf;

enum tls_mode { TLS_MODE_STARTTLS, TLS_MODE_IMPLICIT, TLS_MODE_NONE };

/* What a preset says of a relay; 0 or NULL where it leaves the default. */
struct provider {
	const char *name;
	const char *host;         /* %s is the region; NULL: yours to say */
	const char *other_ports;  /* for a person whose network drops port */
	uint16_t port;
	uint8_t tls;              /* enum tls_mode */
	uint8_t connections;
	uint16_t messages_per_connection;
	uint16_t recipients_per_message;
	bool needs_login;         /* useless without user and password */
	bool login_first;         /* AUTH LOGIN is what it documents */
	bool takes_tokens_only;   /* auth = xoauth2 unless it is written */
	bool derives_password;    /* from a secret key and the region */
	const char *credentials;  /* its own words for user and password */
	const char *user;         /* the literal user name, if there is one */
	const char *region;       /* an example of one, if there has to be */
};

/* The preset of that name, or NULL. */
const struct provider *provider_find(const char *name);

/* Presets in the order of the table, NULL after the last: for suggestions. */
const struct provider *provider_at(unsigned index);

/* Whether it writes files instead of sending (provider = capture). */
bool provider_is_capture(const struct provider *);

/* For those that derive it: puts the SMTP password of that region in the place
 * of the secret access key. */
void provider_derive_password(const char *region, struct buf *secret);

#endif
