/* SPDX-License-Identifier: ISC */
#ifndef SHACRYPT_H
#define SHACRYPT_H

#include <stdbool.h>
#include <stddef.h>

enum { SHACRYPT_PASSWORD_MAX = 512 };

/* Whether it looks like a hash of crypt(3) of one of the kinds known here:
 * $5$ (SHA-256) and $6$ (SHA-512), with or without rounds=. */
bool shacrypt_is_hash(const char *hash);

/* Whether that is the password, of at most SHACRYPT_PASSWORD_MAX bytes: the
 * hash is made again, and compared in constant time. What it costs depends on
 * the kind and the rounds. */
bool shacrypt_fits(const char *hash, const void *password, size_t len);

#endif
