/* SPDX-License-Identifier: ISC */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "access.h"
#include "buf.h"
#include "clients.h"
#include "log.h"
#include "pace.h"
#include "provider.h"
#include "secret.h"

enum address_family { FAMILY_ANY, FAMILY_IPV4, FAMILY_IPV6 };
enum chunking {
	CHUNKING_OFF,
	CHUNKING_AUTO,  /* the content by BDAT, behind the envelope's answers */
	CHUNKING_EAGER, /* with the envelope, in one write */
};
enum auth_choice {
	AUTH_AUTO, AUTH_PLAIN, AUTH_LOGIN, AUTH_CRAM_MD5, AUTH_XOAUTH2,
	AUTH_OAUTHBEARER, AUTH_NONE
};

/* Which senders are replaced by from. */
enum rewrite {
	REWRITE_NEVER,
	REWRITE_UNQUALIFIED, /* those without a full domain */
	REWRITE_ALWAYS,
};

/* Where to listen: as it was written, and what that says. An IPv4-mapped IPv6
 * address is the IPv4 one. */
struct endpoint {
	char *text;                /* "127.0.0.1:25", "[::1]:25" */
	struct sockaddr_storage address;
	socklen_t size;            /* of the address */
};

struct endpoints {
	struct endpoint *list;
	size_t count;
};

/* One relay. Times are in milliseconds. Strings belong to the config. */
struct upstream {
	char *name;                /* "default" for [upstream] */
	const struct provider *provider;   /* or NULL */
	char *region;              /* or NULL */
	char *host;                /* a name without a trailing dot, or an
	                            * address without brackets; NULL only for
	                            * provider = capture */
	uint16_t port;
	enum tls_mode tls;
	char *tls_ca_file;         /* or NULL */
	char *tls_name;            /* the name to verify; host by default;
	                            * NULL only where host is */
	char *tls_fingerprint;     /* SHA-256 (32 bytes) of the certificate to
	                            * accept, or NULL */
	char *tls_cert, *tls_key;  /* files; both or neither are NULL */
	enum auth_choice auth;     /* AUTH_NONE when there is no user */
	char *user;                /* or NULL */
	struct secret password;
	char *ehlo;                /* or NULL: the address literal */
	unsigned connections;
	unsigned messages_per_connection;
	unsigned recipients_per_message;
	struct rates rates;        /* of recipients */
	int64_t idle;
	int64_t connect_timeout;
	int64_t timeout;
	char *source_address;      /* or NULL */
	enum address_family family;
	bool pipelining;           /* auto; false when off */
	enum chunking chunking;
	char *senders;             /* patterns, a blank between two; or NULL */
	char *directory;           /* for provider = capture, else NULL */
	char *from;                /* NULL only with REWRITE_NEVER */
	enum rewrite rewrite;
};

struct identity_config {
	char *domain;              /* completes addresses; NULL: hostname */
	char *from;                /* or NULL */
	enum rewrite rewrite;
	char *aliases;             /* path, or NULL: none */
	bool aliases_is_default;
	char *local_to;            /* or NULL */
	char *add_header;          /* whole lines, or NULL */
	char *remove_header;       /* names, a blank between two; or NULL */
	char *archive_to;          /* gets everything too; or NULL */
};

struct staging_config {
	char *redirect;            /* or NULL */
	char *allow;               /* patterns, a blank between two; or NULL */
};

struct listen_config {
	char *socket;              /* path, or NULL when set to none */
	bool socket_is_default;
	char *control;             /* path, or NULL when set to none, or when
	                            * socket is and this is not set */
	bool control_is_default;
	struct endpoints addresses, tls_addresses;
	char *tls_cert, *tls_key;  /* files; both or neither are NULL */
	char *auth_file;           /* or NULL */
	struct access allow;
	uint64_t max_message;      /* bytes */
	unsigned max_recipients;
	unsigned max_clients;
	struct client_limits limits; /* of each address */
	int64_t session_timeout;
	bool reject_bare_newline;
};

struct queue_config {
	char *directory;           /* NULL: none */
	bool directory_is_default;
	bool commit_first;         /* delivery = queue */
	int64_t direct_wait;
	int64_t lifetime;          /* of a message that waits */
	int64_t retry_max;         /* the longest pause between two tries */
	bool refuse_held;          /* held = refuse */
	uint64_t min_free;         /* bytes the disk must have to spare */
	char *bounce_to;           /* who gets notices; NULL: the sender */
	char *bounce_from;         /* who sends them; NULL: the null sender */
};

struct config {
	char *path;                /* the file, or NULL: environment only */
	char *hostname;            /* never NULL, never empty: configured, else
	                            * the host's own name */
	bool hostname_is_qualified; /* fit for EHLO towards a relay */
	bool hostname_is_own;      /* not configured but the machine's */
	char *run_as;              /* or NULL */
	enum log_target log;
	enum log_format log_format;
	enum log_level log_level;
	int64_t stop_timeout;
	struct upstream *upstreams; /* in order of preference: the file's, in
	                             * its order, then those that only the
	                             * environment names, the default first */
	size_t upstream_count;
	struct listen_config listen;
	struct queue_config queue;
	struct identity_config identity;
	struct staging_config staging;
	struct buf warnings;       /* sentences, one a line; the caller logs */
};

/* Reads path (NULL: the environment alone), then lets SMARTHOST_* in the
 * environment win, then judges the whole. An empty variable is as if not
 * set. A secret variable's value is overwritten in place, so that whoever
 * loads a second time (a reload) keeps a copy of the variables and passes a
 * copy of that. false when anything is wrong: error then holds one sentence a
 * line, each with file, line, key, value and what to do; the config is empty.
 * May look up the host's own name, if hostname is not set and has no dot.
 * The caller frees with config_free() and keeps it const in between. */
bool config_load(struct config *, const char *path, char **environment,
    struct buf *error);

/* The same, and with from_root only of a file that is root's and that nobody
 * else may write: for a name that a hostile caller may have given, as what it
 * says can run a command. */
bool config_load_from(struct config *, const char *path, char **environment,
    struct buf *error, bool from_root);

/* As config_load(), from text instead of a file, for tests and the fuzzer;
 * name stands for the file in errors, and text may be NULL if len is 0. */
bool config_parse(struct config *, const char *name, const char *text,
    size_t len, char **environment, struct buf *error);

/* The machine's name as it is, or localhost where that is no host name. The
 * caller frees. */
char *config_own_name(void);

/* Completes the machine's own name with the domain that the resolver knows,
 * which may take as long as the resolver does; for a process that is about to
 * talk to a relay. */
void config_complete_hostname(struct config *);

/* Overwrites secrets and frees. */
void config_free(struct config *);

#endif
