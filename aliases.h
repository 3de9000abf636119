/* SPDX-License-Identifier: ISC */
#ifndef ALIASES_H
#define ALIASES_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/*
 * The aliases file as sendmail has had it for forty years:
 *
 *     # comment
 *     root:      alice, bob@example.com
 *     "j. doe":  Jane <jane@example.com>,
 *                \root
 *     default:   ops@example.com
 *
 * Nothing is delivered on this host, so a target that is a command, a file or
 * a list in another file is left out, with a sentence.
 */
struct alias {
	char *name;     /* without quotes */
	char **targets; /* addresses; a backslash before one means that it is
	                 * not looked up again */
	size_t count;   /* 0: all of them were left out */
	unsigned line;
};

struct aliases {
	struct alias *list; /* sorted by name, each name once */
	size_t count;
	unsigned holders;   /* for whoever shares it; 1 at first */
};

/* What there is to say about a file, one sentence a line, "FILE:LINE: ...". */
struct aliases_talk {
	struct buf *errors;   /* it cannot be used */
	struct buf *warnings; /* something in it is left out */
};

/* Never fails to return; unless errors stays empty the result must not be
 * used. The caller frees. */
struct aliases *aliases_parse(const char *file, const char *text, size_t len,
    const struct aliases_talk *);

/* The same from the file. NULL, with errno set, when it cannot be read. */
struct aliases *aliases_read(const char *file, const struct aliases_talk *);
void aliases_free(struct aliases *); /* NULL is fine */

/* Caseless; NULL: none. */
const struct alias *aliases_find(const struct aliases *, const char *name);

#endif
