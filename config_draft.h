/* SPDX-License-Identifier: ISC */
#ifndef CONFIG_DRAFT_H
#define CONFIG_DRAFT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "config_keys.h"

/*
 * A configuration in the making, for the config*.c files only:
 *
 *     draft_start(&draft, ...);
 *     config_read_text(&draft, ...);      lines of the file
 *     config_read_environment(&draft);    wins over them
 *     config_judge(&draft);               defaults, presets, the whole
 *     good = draft_finish(&draft);
 */

enum {
	UPSTREAMS_MAX = 16,
	UPSTREAM_NAME_MAX = 32,
	COMPLAINTS_MAX = 10, /* more help nobody */
};

struct buf;
struct config;
struct upstream;

/* Where a key was set: a line of the file, or IN_ENVIRONMENT; 0: nowhere. */
#define IN_ENVIRONMENT UINT_MAX

/* One section of the configuration, whoever speaks of it. */
struct block {
	const struct section *section;
	const char *name;         /* of an upstream, else NULL */
	void *target;             /* the struct that its keys fill */
	unsigned header;          /* the line of its [header], or 0 */
	unsigned where[KEYS_MAX]; /* in the order of the section's keys */
};

struct draft {
	struct config *config;
	const char *file;         /* its name in sentences */
	bool is_public;           /* others can read the file */
	bool from_root;           /* nobody else may have written it */
	char **environment;       /* may be NULL */
	struct buf *error;
	unsigned complaints;
	struct block smarthost, listen, queue, identity, staging;
	struct block upstreams[UPSTREAMS_MAX]; /* parallel to the config's */
};

/* What a sentence is about; NULL and 0 where there is no such thing. */
struct place {
	const struct block *block;
	const char *key;   /* without a block: the whole name of a variable */
	const char *value; /* never that of a secret */
	unsigned where;
};

/* An empty configuration, for a draft whose file, environment and error are
 * set. */
void draft_start(struct draft *, struct config *);

/* Whether there was no complaint; says how many were left out. */
bool draft_finish(struct draft *);

/* Adds a sentence to the errors, or to the warnings: the place, then what is
 * wrong and what to do. */
void draft_complain(struct draft *, const struct place *, const char *format,
    ...) __attribute__((format(printf, 3, 4)));
void draft_warn(struct draft *, const struct place *, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The block of a section; for an upstream, the one of that name (NULL: the
 * default), made if there is none. Names differ by more than case and
 * punctuation, which a variable cannot tell apart. NULL after a complaint
 * about place. */
struct block *draft_block(struct draft *, const struct section *,
    const char *name, const struct place *);

/* Sets a key from the text of the file or of a variable. */
void draft_set(struct draft *, struct block *, const char *key,
    const char *value, unsigned where);

/* Where the key of that name was set. */
unsigned block_where(const struct block *, const char *key);

/* For a sentence about a key that was set, or should have been. */
struct place block_place(const struct block *, const char *key,
    const char *value);

/* Gives each key that was not set its initial value. */
void block_take_defaults(struct block *);

/* For a file that is named by an absolute path or credential:NAME, which
 * becomes a path: warns if others can read what is secret. config_files.c */
void config_judge_file(struct draft *, const struct place *, char **path,
    bool secret);

/* config_reader.c, config_environment.c, config_judge.c, config_upstream.c,
 * config_tls.c, config_identity.c */
void config_read_text(struct draft *, const char *text, size_t len);
void config_read_environment(struct draft *);
void config_judge(struct draft *);
void config_judge_upstream(struct draft *, struct block *);

/* Whether it is this machine by its loopback interface. */
bool config_host_is_local(const char *host);
void config_judge_identity(struct draft *);
void config_judge_tls(struct draft *, const struct block *,
    struct upstream *);
void config_judge_listen_tls(struct draft *);

#endif
