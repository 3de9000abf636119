/* SPDX-License-Identifier: ISC */
#ifndef ACCOUNTS_H
#define ACCOUNTS_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

/*
 * Who may log in at the listener: [listen] auth_file, with lines
 *
 *     user:hash[:sender, sender...]
 *
 * and comments that begin with #. Nothing is kept between two calls, so that a
 * file that has changed holds at once.
 */

/* Whoever has logged in. Zero it; free with account_free(). */
struct account {
	char *user;    /* NULL: nobody */
	char *senders; /* whom he may send as, or NULL: anybody */
};

enum login_result {
	LOGIN_GOOD,
	LOGIN_REFUSED,    /* no such user, or not his password: it takes the
	                   * same time */
	LOGIN_IMPOSSIBLE, /* the file cannot be read; errno says why */
};

/* Sets the account if it is good. */
enum login_result accounts_login(const char *path, const char *user,
    const struct buf *password, struct account *);

/* Whether the account may send as that address; "" is the null sender, which
 * anybody may be. A sender of the list is an address, or @domain for all of
 * one, in any case of letters. */
bool account_may_send(const struct account *, const char *address);
void account_free(struct account *);

/* Whether every line of the file can be used; otherwise half a sentence about
 * the first that cannot, or about the file, in why. */
bool accounts_judge(const char *path, struct buf *why);

#endif
