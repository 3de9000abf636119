/* SPDX-License-Identifier: ISC */
#ifndef RECORD_H
#define RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct message;

/* The text at the beginning of a message's file, as the head of spool.c
 * explains it. */

/* Bytes: what the most recipients take that there may be. */
enum { RECORD_MAX = 128 * 1024 * 1024 };

/* Appends it: the same number of bytes whatever the recipients' results are. A
 * fresh one looks only at those that are known: a courier may be at work on the
 * others. */
void record_add(struct buf *, const struct message *, bool fresh);

/* The text at the beginning of a file, up to and with its end line, and its
 * length; the caller frees. NULL if there is none, or only one much longer than
 * max. What had to be read is in start then, which is to be empty before: of a
 * small file all of it. */
char *record_load(int fd, size_t max, struct buf *start, size_t *len);

/* Whether the file is a message of another version, which is not ours to
 * judge. */
bool record_is_other_version(int fd);

/* Reads it, up to and with its end line, into a message that has its ID; the
 * text is taken apart. Says how long the header and the whole content are.
 * False if it is no such text. */
bool record_read(char *text, struct message *, uint64_t *header,
    uint64_t *content);

#endif
