/* SPDX-License-Identifier: ISC */
#ifndef SECRET_H
#define SECRET_H

#include <stdbool.h>

struct buf;
struct helper;

enum secret_kind { SECRET_NONE, SECRET_LITERAL, SECRET_FILE, SECRET_COMMAND };

/* Where a password comes from. The strings belong to the struct. */
struct secret {
	enum secret_kind kind;
	char *text;    /* the password, the file's path, or the command line */
	char **words;  /* the command's words, NULL-ended; else NULL */
	const struct helper *helper; /* runs the command; NULL: we do */
};

/* Splits a command line on blanks; single and double quotes keep blanks, a
 * backslash keeps the next byte outside single quotes; no shell. NULL when a
 * quote is open, nothing follows a backslash, or there is no word. The caller
 * frees with secret_words_free(). */
char **secret_split(const char *command);
void secret_words_free(char **words);

/* Appends the password to out: the literal, the file's content, or what the
 * command prints (at most 16 KB, within 30 s and before stop_fd, if not -1,
 * becomes readable; its stderr thrown away), each without the line end behind
 * it. Read anew at each call, so a rotated file is picked up. false with a
 * sentence in why, which never holds any of the secret, and with errno set, or
 * 0 if it was no call that failed; nothing is appended to out then. The caller
 * wipes out with buf_wipe(), and hands it over empty: a buffer that has to
 * grow leaves a copy behind.
 *
 * Safe in any thread. The command gets an empty signal mask, its own process
 * group, which is killed if it takes too long, and the environment of this
 * process; it fails if SIGCHLD is ignored or if somebody else reaps the
 * children of this thread by waiting for any. */
bool secret_read(const struct secret *, int stop_fd, struct buf *out,
    struct buf *why);

/* Overwrites and frees what the struct holds; it is empty then. */
void secret_free(struct secret *);

#endif
