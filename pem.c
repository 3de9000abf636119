/* SPDX-License-Identifier: ISC */
/*
 * PEM (RFC 7468), with the latitude that certificate bundles need: text and
 * junk between the blocks, spaces within.
 */
#include "pem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

enum {
	FILE_MAX = 16 * 1024 * 1024,
	READ_SIZE = 4096,
};

/* What a byte is to the decoder, besides a digit (1 to 64) or nothing (0). */
enum {
	WHITE = 65,
	PADDING = 66,
};

static bool
read_all(int fd, struct buf *content)
{
	ssize_t got;

	do {
		buf_reserve(content, READ_SIZE);
		do
			got = read(fd, content->data + content->len,
			    content->size - content->len - 1);
		while (got < 0 && errno == EINTR);
		if (got < 0)
			return false;
		content->len += (size_t)got;
		if (content->len > FILE_MAX) {
			errno = EFBIG;
			return false;
		}
	} while (got);
	content->data[content->len] = '\0';
	return true;
}

bool
pem_read_file(const char *path, struct buf *content)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	bool good;
	int saved;

	if (fd < 0)
		return false;
	/* At once, since what grows leaves copies behind. */
	if (!fstat(fd, &st) && st.st_size > 0 && st.st_size < FILE_MAX)
		buf_reserve(content, (size_t)st.st_size + READ_SIZE);
	good = read_all(fd, content);
	saved = errno;
	close(fd);
	errno = saved;
	return good;
}

struct pem
pem_begin(const struct buf *content)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";
	static const char white[] = " \t\r\n";
	const char *text = buf_text(content);
	struct pem pem = {.at = text, .end = text + content->len};

	for (unsigned char i = 0; digits[i]; i++)
		pem.digits[(unsigned char)digits[i]] = i + 1;
	for (size_t i = 0; white[i]; i++)
		pem.digits[(unsigned char)white[i]] = WHITE;
	pem.digits['='] = PADDING;
	return pem;
}

static const char *
find(const char *from, const char *end, const char *text)
{
	return memmem(from, (size_t)(end - from), text, strlen(text));
}

static struct bytes
between(const char *start, const char *end)
{
	return (struct bytes){(const unsigned char *)start,
	    (size_t)(end - start)};
}

/* A block that another BEGIN interrupts is broken, and the other is not. */
bool
pem_next(struct pem *pem, struct pem_block *block)
{
	static const char begin[] = "-----BEGIN ", dashes[] = "-----";
	const char *label = find(pem->at, pem->end, begin);
	const char *label_end, *text, *text_end;

	if (!label)
		return false;
	label += strlen(begin);
	label_end = find(label, pem->end, dashes);
	if (!label_end)
		return false;
	text = text_end = label_end + strlen(dashes);
	pem->at = text;
	text_end = find(text, pem->end, dashes);
	if (!text_end || find(text_end, pem->end, "-----END ") != text_end)
		text_end = text;
	block->label = between(label, label_end);
	block->text = between(text, text_end);
	return true;
}

bool
pem_label_ends(const struct pem_block *block, const char *end)
{
	size_t len = strlen(end);

	return block->label.len >= len &&
	    !memcmp(block->label.data + block->label.len - len, end, len);
}

bool
pem_is_certificate(const struct pem_block *block)
{
	static const char *const labels[] = {
		"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"};

	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		if (block->label.len == strlen(labels[i]) &&
		    pem_label_ends(block, labels[i]))
			return true;
	return false;
}

/* Base64 (RFC 4648), strict but for white space. A bundle is more than 200 KB
 * of it, which every process reads that is about to send: a table is worth
 * its while. False if it is broken; then what is at out means nothing. */
static bool
decode(const struct pem *pem, struct bytes text, unsigned char *out,
    size_t *len)
{
	size_t digits = 0, padding = 0;
	uint32_t group = 0;

	*len = 0;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = text.data[i];
		unsigned char digit = c < sizeof(pem->digits) ? pem->digits[c]
		                                              : 0;

		if (digit == WHITE)
			continue;
		if (!digit || (padding && digit != PADDING))
			return false;
		padding += digit == PADDING;
		group = group << 6 | (digit == PADDING ? 0 : digit - 1U);
		if (++digits % 4)
			continue;
		out[(*len)++] = (unsigned char)(group >> 16);
		out[(*len)++] = (unsigned char)(group >> 8);
		out[(*len)++] = (unsigned char)group;
	}
	if (digits % 4 || padding > 2 || *len < padding)
		return false;
	*len -= padding;
	return true;
}

bool
pem_decode(const struct pem *pem, const struct pem_block *block,
    struct buf *der)
{
	size_t len;
	bool good;

	buf_reserve(der, block->text.len / 4 * 3 + 3);
	good = decode(pem, block->text, (unsigned char *)der->data + der->len,
	    &len);
	if (good)
		der->len += len;
	der->data[der->len] = '\0';
	return good && len;
}

void
pem_explain(const char *path, const struct buf *content, struct buf *why)
{
	if (content->len && content->data[0] == 0x30)
		buf_addf(why, "%s is binary (DER), but must be PEM; convert it "
		    "with \"openssl x509 -inform der -in %s\"", path, path);
	else
		buf_addf(why, "%s %s; it must hold certificates in PEM form",
		    path, content->len ? "holds no certificate" : "is empty");
}
