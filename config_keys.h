/* SPDX-License-Identifier: ISC */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The sections, their keys, and what a key takes; for config*.c only. */

struct buf;
struct endpoints;
struct input;
struct sockaddr_storage;

enum { KEYS_MAX = 40 }; /* of one section */

struct key {
	const char *name;
	bool (*parse)(const struct input *);
	size_t offset;       /* of the member in its section's struct */
	const char *initial; /* what holds if nobody sets it, or NULL */
	const void *detail;  /* struct range or struct choice[], for parse */
};

struct section {
	const char *name;
	const struct key *keys; /* until the one without a name; NULL: the
	                         * whole section belongs to a later version */
	const char *later;      /* keys of later versions, between blanks */
};

/* Both tables end with an element whose name is NULL. */
extern const struct section config_sections[];

const struct section *section_find(const char *name);
const struct key *section_key(const struct section *, const char *name);

/* Whether the key is known, but not to this version. */
bool section_has_later(const struct section *, const char *name);

/* The known name that is nearest to what somebody wrote. */
const char *section_nearest(const char *name);
void keep_nearer(const char **nearest, const char *candidate,
    const char *name); /* in *nearest, if it is nearer to name */
const char *section_nearest_key(const struct section *, const char *name);

/* Whether its value is a secret; whether that value may at least hold one and
 * is not for sentences; whether it is one of the ways to say what the password
 * is. */
bool key_is_secret(const struct key *);
bool key_hides(const struct key *, const char *value);
bool key_is_password(const struct key *);

/* A value to be read. The parse functions replace *member, or leave it as it
 * is, add half a sentence to why ("is not ...") and return false. */
struct input {
	const struct key *key;
	void *member;
	const char *text;
	struct buf *why;
};

struct range {
	int64_t least, most;
};

struct choice {
	const char *word; /* NULL: the end of the list */
	int value;
};

/* For the parse functions: add half a sentence and return false; put text, to
 * be freed later, in the place of the char * and return true. */
bool input_refuse(const struct input *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool input_take(const struct input *, char *text);

bool parse_text(const struct input *);     /* char * */
bool parse_path(const struct input *);     /* char * */
bool parse_file(const struct input *);     /* char *, or credential:NAME */
bool parse_fingerprint(const struct input *); /* char *, 32 bytes */
bool parse_path_or_none(const struct input *);
bool parse_socket(const struct input *);   /* a path or none, not too long */
bool parse_mailbox(const struct input *);  /* char *, an address */
bool parse_hostname(const struct input *); /* char * */
bool parse_ehlo(const struct input *);
bool parse_host(const struct input *);
bool parse_address(const struct input *);
bool parse_region(const struct input *);
bool parse_provider(const struct input *); /* const struct provider * */
bool parse_port(const struct input *);     /* uint16_t */
bool parse_count(const struct input *);    /* unsigned, detail: range */
bool parse_limit(const struct input *);    /* the same, or none: 0 */
bool parse_size(const struct input *);     /* uint64_t, detail: range */
bool parse_time(const struct input *);     /* int64_t, detail: range in ms */
bool parse_rates(const struct input *);    /* struct rates */
bool parse_choice(const struct input *);   /* an enum, detail: choices */
bool parse_flag(const struct input *);     /* bool, detail: choices */
bool parse_listeners(const struct input *); /* struct endpoints */
bool parse_allow(const struct input *);    /* struct access */
bool parse_patterns(const struct input *); /* char *, of addresses */
bool parse_add_header(const struct input *);    /* char *, whole lines */
bool parse_remove_header(const struct input *); /* char *, names */
bool parse_password(const struct input *); /* struct secret */
bool parse_password_file(const struct input *);
bool parse_password_command(const struct input *);

/* A password_file that begins so is one of $CREDENTIALS_DIRECTORY: the name
 * behind it, or NULL. */
#define CREDENTIAL_PREFIX "credential:"
const char *credential_name(const char *text);

/* Letters, digits and hyphens between dots, as DNS wants them. */
bool is_host_name(const char *);

/* A region of Amazon's. */
bool is_region(const char *);

/* localhost, or a name that begins so and goes on with a dot. */
bool is_localhost(const char *);

/* Reads an address without a port. */
bool read_ip(const char *, struct sockaddr_storage *);

void endpoints_free(struct endpoints *);

#endif
