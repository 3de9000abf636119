/* SPDX-License-Identifier: ISC */
/*
 * Every section and key there is: one line a key, with what it takes and what
 * holds if nobody sets it. What a later version will know is listed apart, so
 * that it is neither ignored nor taken for a misspelling.
 */
#include "config_keys.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "config.h"

enum { SECOND = 1000, HOUR = 3600 * SECOND, DAY = 24 * HOUR };

#define SMARTHOST(member) offsetof(struct config, member)
#define UPSTREAM(member) offsetof(struct upstream, member)
#define LISTEN(member) offsetof(struct listen_config, member)
#define QUEUE(member) offsetof(struct queue_config, member)
#define IDENTITY(member) offsetof(struct identity_config, member)
#define STAGING(member) offsetof(struct staging_config, member)
#define FROM_TO(least, most) &(const struct range){least, most}

static const struct choice log_choices[] = {
	{"stderr", LOG_TO_STDERR}, {"syslog", LOG_TO_SYSLOG}, {NULL, 0}};
static const struct choice format_choices[] = {
	{"text", LOG_AS_TEXT}, {"json", LOG_AS_JSON}, {NULL, 0}};
static const struct choice level_choices[] = {
	{"error", LEVEL_ERROR}, {"warning", LEVEL_WARNING},
	{"info", LEVEL_INFO}, {"debug", LEVEL_DEBUG}, {NULL, 0}};
static const struct choice tls_choices[] = {
	{"starttls", TLS_MODE_STARTTLS}, {"implicit", TLS_MODE_IMPLICIT},
	{"none", TLS_MODE_NONE}, {NULL, 0}};
static const struct choice auth_choices[] = {
	{"auto", AUTH_AUTO}, {"plain", AUTH_PLAIN}, {"login", AUTH_LOGIN},
	{"cram-md5", AUTH_CRAM_MD5}, {"xoauth2", AUTH_XOAUTH2},
	{"oauthbearer", AUTH_OAUTHBEARER}, {"none", AUTH_NONE}, {NULL, 0}};
static const struct choice family_choices[] = {
	{"any", FAMILY_ANY}, {"ipv4", FAMILY_IPV4}, {"ipv6", FAMILY_IPV6},
	{NULL, 0}};
static const struct choice pipelining_choices[] = {
	{"auto", true}, {"off", false}, {NULL, 0}};
static const struct choice chunking_choices[] = {
	{"off", CHUNKING_OFF}, {"auto", CHUNKING_AUTO},
	{"eager", CHUNKING_EAGER}, {NULL, 0}};
static const struct choice newline_choices[] = {
	{"normalise", false}, {"reject", true}, {NULL, 0}};
static const struct choice delivery_choices[] = {
	{"direct", false}, {"queue", true}, {NULL, 0}};
static const struct choice held_choices[] = {
	{"queue", false}, {"refuse", true}, {NULL, 0}};

static const struct choice rewrite_choices[] = {
	{"never", REWRITE_NEVER}, {"unqualified", REWRITE_UNQUALIFIED},
	{"always", REWRITE_ALWAYS}, {NULL, 0}};

static const struct key smarthost_keys[] = {
	{"hostname", parse_hostname, SMARTHOST(hostname), NULL, NULL},
	{"run_as", parse_text, SMARTHOST(run_as), NULL, NULL},
	{"log", parse_choice, SMARTHOST(log), "stderr", log_choices},
	{"log_format", parse_choice, SMARTHOST(log_format), "text",
	    format_choices},
	{"log_level", parse_choice, SMARTHOST(log_level), "info",
	    level_choices},
	{"stop_timeout", parse_time, SMARTHOST(stop_timeout), "8s",
	    FROM_TO(0, HOUR)},
	{NULL, NULL, 0, NULL, NULL},
};

static const struct key upstream_keys[] = {
	{"provider", parse_provider, UPSTREAM(provider), NULL, NULL},
	{"region", parse_region, UPSTREAM(region), NULL, NULL},
	{"host", parse_host, UPSTREAM(host), NULL, NULL},
	{"port", parse_port, UPSTREAM(port), NULL, NULL},
	{"tls", parse_choice, UPSTREAM(tls), NULL, tls_choices},
	{"tls_ca_file", parse_path, UPSTREAM(tls_ca_file), NULL, NULL},
	{"tls_name", parse_hostname, UPSTREAM(tls_name), NULL, NULL},
	{"tls_fingerprint", parse_fingerprint, UPSTREAM(tls_fingerprint), NULL,
	    NULL},
	{"tls_cert", parse_file, UPSTREAM(tls_cert), NULL, NULL},
	{"tls_key", parse_file, UPSTREAM(tls_key), NULL, NULL},
	{"auth", parse_choice, UPSTREAM(auth), "auto", auth_choices},
	{"user", parse_text, UPSTREAM(user), NULL, NULL},
	{"password", parse_password, UPSTREAM(password), NULL, NULL},
	{"password_file", parse_password_file, UPSTREAM(password), NULL, NULL},
	{"password_command", parse_password_command, UPSTREAM(password), NULL,
	    NULL},
	{"ehlo", parse_ehlo, UPSTREAM(ehlo), NULL, NULL},
	{"connections", parse_count, UPSTREAM(connections), "2",
	    FROM_TO(1, 1000)},
	{"messages_per_connection", parse_count,
	    UPSTREAM(messages_per_connection), "100", FROM_TO(1, 1000000)},
	{"recipients_per_message", parse_count,
	    UPSTREAM(recipients_per_message), "100", FROM_TO(1, 100000)},
	{"rate", parse_rates, UPSTREAM(rates), NULL, NULL},
	{"idle", parse_time, UPSTREAM(idle), "5s", FROM_TO(0, HOUR)},
	{"connect_timeout", parse_time, UPSTREAM(connect_timeout), "10s",
	    FROM_TO(1, HOUR)},
	{"timeout", parse_time, UPSTREAM(timeout), "5m", FROM_TO(1, HOUR)},
	{"source_address", parse_address, UPSTREAM(source_address), NULL,
	    NULL},
	{"family", parse_choice, UPSTREAM(family), "any", family_choices},
	{"pipelining", parse_flag, UPSTREAM(pipelining), "auto",
	    pipelining_choices},
	{"chunking", parse_choice, UPSTREAM(chunking), "off",
	    chunking_choices},
	{"senders", parse_patterns, UPSTREAM(senders), NULL, NULL},
	{"directory", parse_path, UPSTREAM(directory), NULL, NULL},
	{"from", parse_mailbox, UPSTREAM(from), NULL, NULL},
	{"rewrite", parse_choice, UPSTREAM(rewrite), NULL, rewrite_choices},
	{NULL, NULL, 0, NULL, NULL},
};

_Static_assert(sizeof(upstream_keys) <= KEYS_MAX * sizeof(struct key),
    "the longest section has too many keys");

static const struct key listen_keys[] = {
	{"socket", parse_socket, LISTEN(socket), "/run/smarthost/socket",
	    NULL},
	{"control", parse_socket, LISTEN(control), NULL, NULL},
	{"address", parse_listeners, LISTEN(addresses), NULL, NULL},
	{"tls_address", parse_listeners, LISTEN(tls_addresses), NULL, NULL},
	{"tls_cert", parse_file, LISTEN(tls_cert), NULL, NULL},
	{"tls_key", parse_file, LISTEN(tls_key), NULL, NULL},
	{"auth_file", parse_file, LISTEN(auth_file), NULL, NULL},
	{"allow", parse_allow, LISTEN(allow), NULL, NULL},
	{"max_message", parse_size, LISTEN(max_message), "50M",
	    FROM_TO(1 << 10, INT64_C(2) << 30)},
	{"max_recipients", parse_count, LISTEN(max_recipients), "1000",
	    FROM_TO(1, 100000)},
	{"max_clients", parse_count, LISTEN(max_clients), "256",
	    FROM_TO(3, 10000)},
	{"max_clients_per_address", parse_limit,
	    LISTEN(limits.connections), "none", FROM_TO(1, 10000)},
	{"client_rate", parse_rates, LISTEN(limits.messages), "none", NULL},
	{"session_timeout", parse_time, LISTEN(session_timeout), "5m",
	    FROM_TO(1, DAY)},
	{"bare_newline", parse_flag, LISTEN(reject_bare_newline), "normalise",
	    newline_choices},
	{NULL, NULL, 0, NULL, NULL},
};

static const struct key queue_keys[] = {
	{"directory", parse_path_or_none, QUEUE(directory),
	    "/var/spool/smarthost", NULL},
	{"delivery", parse_flag, QUEUE(commit_first), "direct",
	    delivery_choices},
	{"direct_wait", parse_time, QUEUE(direct_wait), "10s",
	    FROM_TO(0, HOUR)},
	{"lifetime", parse_time, QUEUE(lifetime), "5d",
	    FROM_TO(60 * SECOND, 60 * (int64_t)DAY)},
	{"retry_max", parse_time, QUEUE(retry_max), "1h",
	    FROM_TO(60 * SECOND, DAY)},
	{"held", parse_flag, QUEUE(refuse_held), "queue", held_choices},
	{"min_free", parse_size, QUEUE(min_free), NULL,
	    FROM_TO(0, INT64_C(1) << 50)},
	{"bounce_to", parse_mailbox, QUEUE(bounce_to), NULL, NULL},
	{"bounce_from", parse_mailbox, QUEUE(bounce_from), NULL, NULL},
	{NULL, NULL, 0, NULL, NULL},
};

static const struct key identity_keys[] = {
	{"domain", parse_hostname, IDENTITY(domain), NULL, NULL},
	{"from", parse_mailbox, IDENTITY(from), NULL, NULL},
	{"rewrite", parse_choice, IDENTITY(rewrite), "never", rewrite_choices},
	{"aliases", parse_path_or_none, IDENTITY(aliases), "/etc/aliases",
	    NULL},
	{"local_to", parse_mailbox, IDENTITY(local_to), NULL, NULL},
	{"add_header", parse_add_header, IDENTITY(add_header), NULL, NULL},
	{"remove_header", parse_remove_header, IDENTITY(remove_header), NULL,
	    NULL},
	{"archive_to", parse_mailbox, IDENTITY(archive_to), NULL, NULL},
	{NULL, NULL, 0, NULL, NULL},
};

static const struct key staging_keys[] = {
	{"redirect", parse_mailbox, STAGING(redirect), NULL, NULL},
	{"allow", parse_patterns, STAGING(allow), NULL, NULL},
	{NULL, NULL, 0, NULL, NULL},
};

const struct section config_sections[] = {
	{"smarthost", smarthost_keys, ""},
	{"upstream", upstream_keys, ""},
	{"listen", listen_keys, ""},
	{"queue", queue_keys, ""},
	{"identity", identity_keys, ""},
	{"staging", staging_keys, ""},
	{"status", NULL, ""},
	{NULL, NULL, NULL},
};

const struct section *
section_find(const char *name)
{
	for (const struct section *s = config_sections; s->name; s++)
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

const struct key *
section_key(const struct section *section, const char *name)
{
	for (const struct key *key = section->keys; key->name; key++)
		if (!strcmp(key->name, name))
			return key;
	return NULL;
}

bool
section_has_later(const struct section *section, const char *name)
{
	char *word = xasprintf(" %s ", name);
	bool found = strstr(section->later, word);

	free(word);
	return found;
}

/* How many letters to add, drop or change (Levenshtein), row by row. */
static size_t
distance(const char *a, const char *b)
{
	size_t width = strlen(b), result;
	size_t *row = xcalloc(width + 1, sizeof(*row));

	for (size_t j = 0; j <= width; j++)
		row[j] = j;
	for (; *a; a++) {
		size_t corner = row[0]++;

		for (size_t j = 1; j <= width; j++) {
			size_t best = corner + (*a != b[j - 1]);

			corner = row[j];
			if (best > corner + 1)
				best = corner + 1;
			if (best > row[j - 1] + 1)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	result = row[width];
	free(row);
	return result;
}

void
keep_nearer(const char **nearest, const char *candidate, const char *name)
{
	if (!*nearest || distance(candidate, name) < distance(*nearest, name))
		*nearest = candidate;
}

const char *
section_nearest(const char *name)
{
	const char *nearest = NULL;

	for (const struct section *s = config_sections; s->keys; s++)
		keep_nearer(&nearest, s->name, name);
	return nearest;
}

const char *
section_nearest_key(const struct section *section, const char *name)
{
	const char *nearest = NULL;

	for (const struct key *key = section->keys; key->name; key++)
		keep_nearer(&nearest, key->name, name);
	return nearest;
}

bool
key_is_secret(const struct key *key)
{
	return key->parse == parse_password;
}

bool
key_hides(const struct key *key, const char *value)
{
	if (key->parse == parse_password_file) /* or the password itself */
		return *value != '/' && !credential_name(value);
	return key_is_secret(key) || key->parse == parse_password_command;
}

bool
key_is_password(const struct key *key)
{
	return key_is_secret(key) || key->parse == parse_password_command ||
	    key->parse == parse_password_file;
}
