/* SPDX-License-Identifier: ISC */
#ifndef DER_H
#define DER_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that belong to somebody else. */
struct bytes {
	const unsigned char *data;
	size_t len;
};

bool bytes_equal(struct bytes, struct bytes);

enum {
	DER_BOOLEAN = 0x01,
	DER_INTEGER = 0x02,
	DER_BIT_STRING = 0x03,
	DER_OCTET_STRING = 0x04,
	DER_OBJECT_ID = 0x06,
	DER_UTC_TIME = 0x17,
	DER_GENERALIZED_TIME = 0x18,
	DER_SEQUENCE = 0x30,
	DER_SET = 0x31,
};

struct der_element {
	unsigned char tag;
	struct bytes whole, content; /* with and without its header */
};

/* Each takes the first element off in. false, and nothing taken, if it is
 * broken or, with a tag given, another one. */
bool der_take(struct bytes *in, struct der_element *);
bool der_enter(struct bytes *in, unsigned char tag, struct bytes *content);
bool der_skip(struct bytes *in, unsigned char tag);

#endif
