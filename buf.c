/* SPDX-License-Identifier: ISC */
/*
 * Growable bytes, allocation that cannot fail, and base64.
 */
#include "buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* No log here: a log line might need memory too. */
static void
out_of_memory(void)
{
	static const char text[] = "smarthost: out of memory\n";

	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(EX_TEMPFAIL);
}

void *
xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *
xcalloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *
xrealloc(void *old, size_t count, size_t size)
{
	void *p;

	if (size && count > SIZE_MAX / size)
		out_of_memory();
	p = realloc(old, count && size ? count * size : 1);
	if (!p)
		out_of_memory();
	return p;
}

char *
xstrndup(const char *s, size_t len)
{
	char *copy = xmalloc(len + 1);

	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *
xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

void
buf_reserve(struct buf *b, size_t more)
{
	size_t need = b->len + more + 1;
	size_t size = b->size ? b->size : 64;

	if (need < more)
		out_of_memory();
	if (need <= b->size)
		return;
	while (size < need)
		size = size > SIZE_MAX / 2 ? need : size * 2;
	b->data = xrealloc(b->data, size, 1);
	b->data[b->len] = '\0';
	b->size = size;
}

void
buf_add(struct buf *b, const void *data, size_t len)
{
	buf_reserve(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void
buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void
buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

__attribute__((format(printf, 2, 0))) static void
buf_addv(struct buf *b, const char *format, va_list args)
{
	va_list again;
	size_t room;
	int len;

	buf_reserve(b, 100); /* most are shorter, and are printed once */
	room = b->size - b->len;
	va_copy(again, args);
	len = vsnprintf(b->data + b->len, room, format, again);
	va_end(again);
	if (len >= 0 && (size_t)len >= room) {
		buf_reserve(b, (size_t)len);
		len = vsnprintf(b->data + b->len, (size_t)len + 1, format,
		    args);
	}
	b->len += len > 0 ? (size_t)len : 0;
	b->data[b->len] = '\0';
}

void
buf_addf(struct buf *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_addv(b, format, args);
	va_end(args);
}

char *
xasprintf(const char *format, ...)
{
	struct buf b = {0};
	va_list args;

	va_start(args, format);
	buf_addv(&b, format, args);
	va_end(args);
	return buf_take(&b);
}

void
buf_add_printable(struct buf *b, const char *s, size_t len, size_t max)
{
	if (len > max)
		len = max;
	buf_add(b, s, len);
	for (char *c = b->data + b->len - len; len--; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

const char *
buf_text(const struct buf *b)
{
	return b->data ? b->data : "";
}

void
buf_clear(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

char *
buf_take(struct buf *b)
{
	char *text = b->data ? b->data : xstrdup("");

	*b = (struct buf){0};
	return text;
}

void
buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

void
buf_wipe(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->size);
	buf_free(b);
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
buf_add_base64(struct buf *b, const void *data, size_t len)
{
	const unsigned char *in = data;

	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t bits = (uint32_t)in[i] << 16;
		char out[4];

		bits |= left > 1 ? (uint32_t)in[i + 1] << 8 : 0;
		bits |= left > 2 ? (uint32_t)in[i + 2] : 0;
		out[0] = base64_digits[bits >> 18];
		out[1] = base64_digits[bits >> 12 & 63];
		out[2] = left > 1 ? base64_digits[bits >> 6 & 63] : '=';
		out[3] = left > 2 ? base64_digits[bits & 63] : '=';
		buf_add(b, out, sizeof(out));
	}
}

/* The value of a base64 digit, or -1. */
static int
base64_value(char c)
{
	const char *digit = c ? strchr(base64_digits, c) : NULL;

	return digit ? (int)(digit - base64_digits) : -1;
}

/* Four digits, of which the last may be padding, to at most three bytes. */
static bool
add_group(struct buf *b, const char *s, size_t digits)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < 4; i++) {
		int value = i < digits ? base64_value(s[i]) : 0;

		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
	}
	for (size_t i = 0; i + 1 < digits; i++)
		buf_addc(b, (char)(bits >> (16 - 8 * i)));
	return true;
}

bool
buf_add_unbase64(struct buf *b, const char *s, size_t len)
{
	size_t before = b->len, padding = 0;
	bool ok = len % 4 == 0;

	while (ok && padding < 2 && padding < len &&
	    s[len - 1 - padding] == '=')
		padding++;
	for (size_t i = 0; ok && i < len; i += 4)
		ok = add_group(b, s + i, i + 4 == len ? 4 - padding : 4);
	if (!ok && b->len > before) {
		b->len = before;
		b->data[before] = '\0';
	}
	return ok;
}
