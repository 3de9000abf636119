/* SPDX-License-Identifier: ISC */
#ifndef SETUP_H
#define SETUP_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "config.h"
#include "relay.h"

/* What a process needs before it can deliver: the configuration, the anchors,
 * and the upstreams as couriers see them. */
struct setup {
	struct config config;
	struct tls_trust **trusts; /* one an upstream; NULL where unused */
	struct relay *relays;      /* one an upstream */
	struct tls_server *tls;    /* of the listener, or NULL */
	bool hasty;                /* for a connection or two, and one thread */
};

/* The file that -c, SMARTHOST_CONFIG or the default name; NULL when there is
 * no file at the default place and the environment configures an upstream. */
const char *setup_config_path(const char *option);

/* Reads the configuration. False with sentences, one a line, in why; the
 * exit status is then EX_CONFIG. */
bool setup_read(struct setup *, const char *path, struct buf *why);

/* The same for the file that -C names among the options of sendmail, which
 * has to be root's. */
bool setup_read_option(struct setup *, const char *path, struct buf *why);

/* Looks up the user that is to run the daemon. False with a sentence if there
 * is none of that name. */
bool setup_find_user(const char *name, uid_t *, gid_t *, struct buf *why);

/* Root becomes that user, for good. False with a sentence if he cannot. */
bool setup_become(const char *name, uid_t, gid_t, struct buf *why);

/* Loads what the configuration refers to: anchors, password files, capture
 * directories; as the user that will use them. */
bool setup_prepare(struct setup *, struct buf *why);

/* The same for the listener: the daemon's certificate and key. */
bool setup_prepare_listener(struct setup *, struct buf *why);

/* What is wrong in the aliases file, and what of it is left out, or that all of
 * it is, since it cannot be read; sentences, one a line. Whoever uses the file
 * logs them himself. */
void setup_read_aliases(const struct setup *, struct buf *errors,
    struct buf *warnings);

/* Commands are run by this process instead of ours; NULL: by ours. */
struct helper;
void setup_use_helper(struct setup *, const struct helper *);

/* stop_fd for every connection of the upstreams; -1: none. */
void setup_relays(struct setup *, int stop_fd, bool trace);

void setup_free(struct setup *);

/* Secrets must not end up in a core file: call it before one is read. */
void setup_forbid_core_files(void);

/* Prints sentences, one a line, each behind the prefix. */
void setup_print(FILE *, const char *prefix, const struct buf *sentences);

#endif
