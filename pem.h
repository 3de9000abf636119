/* SPDX-License-Identifier: ISC */
#ifndef PEM_H
#define PEM_H

#include <stdbool.h>
#include <stddef.h>

#include "der.h"

struct buf;

/*
 * PEM (RFC 7468): blocks of base64 between boundary lines, with anything
 * around them.
 *
 *     struct pem pem = pem_begin(&content);
 *     while (pem_next(&pem, &block))
 *             if (pem_is_certificate(&block) &&
 *                 pem_decode(&pem, &block, &der))
 *                     ...
 */
struct pem {
	const char *at, *end;
	unsigned char digits[128];
};

/* Points into the content. One without its END line has an empty text. */
struct pem_block {
	struct bytes label, text;
};

/* Appends the file's content, at most 16 MB. False with errno. The caller
 * frees it, wiped if it may be a key. */
bool pem_read_file(const char *path, struct buf *content);

struct pem pem_begin(const struct buf *content);
bool pem_next(struct pem *, struct pem_block *);

bool pem_is_certificate(const struct pem_block *);

/* Whether the label ends with this, such as "PRIVATE KEY". */
bool pem_label_ends(const struct pem_block *, const char *);

/* Appends what it holds to der, which leaves no copies behind if it is empty
 * before; false, and nothing, if it is broken. */
bool pem_decode(const struct pem *, const struct pem_block *,
    struct buf *der);

/* Appends half a sentence on a file in which there is no certificate: that it
 * is empty, or DER, or something else. */
void pem_explain(const char *path, const struct buf *content,
    struct buf *why);

#endif
