/* SPDX-License-Identifier: ISC */
/*
 * A strict walker over DER (X.690): lengths are definite and in their
 * shortest form, tags are one byte, no element is longer than what holds it.
 */
#include "der.h"

#include <string.h>

bool
bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

/* The length of an element and of its header; false if there is no such. */
static bool
read_header(struct bytes in, size_t *header, size_t *len)
{
	size_t more;

	if (in.len < 2 || (in.data[0] & 0x1f) == 0x1f)
		return false;
	*header = 2;
	*len = in.data[1];
	if (*len < 0x80)
		return true;
	more = *len & 0x7f;
	if (more < 1 || more > 3 || in.len < 2 + more || !in.data[2])
		return false;
	*header += more;
	*len = 0;
	for (size_t i = 2; i < *header; i++)
		*len = *len << 8 | in.data[i];
	return *len >= 0x80;
}

bool
der_take(struct bytes *in, struct der_element *e)
{
	size_t header, len;

	if (!read_header(*in, &header, &len) || in->len - header < len)
		return false;
	e->tag = in->data[0];
	e->whole = (struct bytes){in->data, header + len};
	e->content = (struct bytes){in->data + header, len};
	in->data += header + len;
	in->len -= header + len;
	return true;
}

bool
der_enter(struct bytes *in, unsigned char tag, struct bytes *content)
{
	struct bytes rest = *in;
	struct der_element e;

	if (!der_take(&rest, &e) || e.tag != tag)
		return false;
	*content = e.content;
	*in = rest;
	return true;
}

bool
der_skip(struct bytes *in, unsigned char tag)
{
	struct bytes ignored;

	return der_enter(in, tag, &ignored);
}
