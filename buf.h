/* SPDX-License-Identifier: ISC */
#ifndef BUF_H
#define BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Growable bytes. A zeroed struct is an empty buffer. data is NULL until the
 * first byte and NUL-terminated from then on; the NUL is not counted in len.
 * The struct's owner calls buf_free(). Running out of memory ends the process
 * with exit status 75: whatever was accepted is at the relay or on disk.
 */
struct buf {
	char *data;
	size_t len;
	size_t size;
};

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t count, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);

/* A formatted string that the caller frees. */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Makes room for so many bytes more, so that adding them does not move those
 * that are there, which would leave a copy of a secret behind. */
void buf_reserve(struct buf *b, size_t more);

void buf_add(struct buf *b, const void *data, size_t len);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends at most max bytes of s with everything that is not printable ASCII
 * turned into '?', so that it is safe in a log line, a reply or a header. */
void buf_add_printable(struct buf *b, const char *s, size_t len, size_t max);

/* The text, never NULL; "" while the buffer is empty. */
const char *buf_text(const struct buf *b);

/* Empties the buffer and keeps its memory. */
void buf_clear(struct buf *b);

/* Hands the text over to the caller, who frees it; the buffer is empty. */
char *buf_take(struct buf *b);
void buf_free(struct buf *b);

/* As buf_free(), after overwriting the bytes: for secrets. */
void buf_wipe(struct buf *b);

/* Appends base64 (RFC 4648 section 4, with padding, without line ends). */
void buf_add_base64(struct buf *b, const void *data, size_t len);

/* Appends the bytes that s encodes; false, and nothing appended, if s is not
 * strict base64. */
bool buf_add_unbase64(struct buf *b, const char *s, size_t len);

#endif
