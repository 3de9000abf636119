/* SPDX-License-Identifier: ISC */
/*
 * Envelope paths and header address lists. Every table row is one case; a
 * row that fails is printed with its input.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "address.h"
#include "buf.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(s) s, sizeof(s) - 1

#define L10 "abcdefghij"
#define L60 L10 L10 L10 L10 L10 L10
#define L63 L60 "klm"

/* A copy without a NUL behind it, so that a sanitizer sees a read too far. */
static char *
exact(const char *s, size_t len)
{
	char *copy = xmalloc(len);

	memcpy(copy, s, len);
	return copy;
}

struct check_case {
	const char *s;
	size_t len;
	enum address_status status;
};

static const struct check_case check_cases[] = {
	{BYTES("a@b"), ADDRESS_OK},
	{BYTES("root"), ADDRESS_OK},
	{BYTES("A.z09!#$%&'*+-/=?^_`{|}~@x.example"), ADDRESS_OK},
	{BYTES("foo..bar@docomo.ne.jp"), ADDRESS_OK},
	{BYTES("a.@x"), ADDRESS_OK},
	{BYTES(".a@x"), ADDRESS_OK},
	{BYTES("a@my_host-1"), ADDRESS_OK},
	{BYTES("a@1.2.3.4"), ADDRESS_OK},
	{BYTES("`id`@x"), ADDRESS_OK},
	{BYTES("|sh@x"), ADDRESS_OK},
	{BYTES("%n%n%s@x"), ADDRESS_OK},
	/* quoted local parts */
	{BYTES("\"a b\"@x"), ADDRESS_OK},
	{BYTES("\"a\\\"b\"@x"), ADDRESS_OK},
	{BYTES("\"a>b\"@x"), ADDRESS_OK},
	{BYTES("\"\"@x"), ADDRESS_OK},
	{BYTES("\"@\"@x"), ADDRESS_OK},
	{BYTES("\"a\\\\\"@x"), ADDRESS_OK},
	{BYTES("\"-a\"@x"), ADDRESS_OK},
	{BYTES("\"a b\""), ADDRESS_OK},
	{BYTES("\"\\\"@x"), ADDRESS_SYNTAX},
	{BYTES("\"a\"b@x"), ADDRESS_SYNTAX},
	{BYTES("a\"b\"@x"), ADDRESS_SYNTAX},
	{BYTES("\"a"), ADDRESS_SYNTAX},
	{BYTES("\""), ADDRESS_SYNTAX},
	{BYTES("\"a\tb\"@x"), ADDRESS_SYNTAX},
	{BYTES("\"a\\\tb\"@x"), ADDRESS_SYNTAX},
	/* not an address */
	{BYTES(""), ADDRESS_EMPTY},
	{BYTES(" "), ADDRESS_SYNTAX},
	{BYTES("@"), ADDRESS_SYNTAX},
	{BYTES("@x"), ADDRESS_SYNTAX},
	{BYTES("a@"), ADDRESS_SYNTAX},
	{BYTES("a@b@c"), ADDRESS_SYNTAX},
	{BYTES("a b@x"), ADDRESS_SYNTAX},
	{BYTES("a@x "), ADDRESS_SYNTAX},
	{BYTES(" a@x"), ADDRESS_SYNTAX},
	{BYTES("<a@x>"), ADDRESS_SYNTAX},
	{BYTES("a@x."), ADDRESS_SYNTAX},
	{BYTES("a@.x"), ADDRESS_SYNTAX},
	{BYTES("a@x..y"), ADDRESS_SYNTAX},
	{BYTES("a@x,b@y"), ADDRESS_SYNTAX},
	{BYTES("a(c)@x"), ADDRESS_SYNTAX},
	{BYTES("a\\b@x"), ADDRESS_SYNTAX},
	{BYTES(";sh;@x"), ADDRESS_SYNTAX},
	{BYTES("$(id)@x"), ADDRESS_SYNTAX},
	{BYTES("a@$(id)"), ADDRESS_SYNTAX},
	/* control bytes */
	{BYTES("a@x\n"), ADDRESS_SYNTAX},
	{BYTES("a@x\nb@y"), ADDRESS_SYNTAX},
	{BYTES("a@x\rb@y"), ADDRESS_SYNTAX},
	{BYTES("a@x\0"), ADDRESS_SYNTAX},
	{BYTES("a\0b@x"), ADDRESS_SYNTAX},
	{BYTES("\0"), ADDRESS_SYNTAX},
	{BYTES("\"a\nb\"@x"), ADDRESS_SYNTAX},
	{BYTES("\"a\\\nb\"@x"), ADDRESS_SYNTAX},
	{BYTES("a\x7f@x"), ADDRESS_SYNTAX},
	{BYTES("a@x\x1b"), ADDRESS_SYNTAX},
	{BYTES("\xc3\xa9\n@x"), ADDRESS_SYNTAX},
	/* address literals */
	{BYTES("a@[1.2.3.4]"), ADDRESS_OK},
	{BYTES("a@[IPv6:::1]"), ADDRESS_OK},
	{BYTES("a@[ipv6:2001:db8::25]"), ADDRESS_OK},
	{BYTES("a@[IPv6:::ffff:1.2.3.4]"), ADDRESS_OK},
	{BYTES("a@[IPv6:ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]"),
	    ADDRESS_OK},
	{BYTES("a@[]"), ADDRESS_SYNTAX},
	{BYTES("a@["), ADDRESS_SYNTAX},
	{BYTES("a@[x"), ADDRESS_SYNTAX},
	{BYTES("a@[x]"), ADDRESS_SYNTAX},
	{BYTES("a@[IPv6:]"), ADDRESS_SYNTAX},
	{BYTES("a@[::1]"), ADDRESS_SYNTAX},
	{BYTES("a@[IPv6:1.2.3.4]"), ADDRESS_SYNTAX},
	{BYTES("a@[IPv6:fe80::1%lo]"), ADDRESS_SYNTAX},
	{BYTES("a@[1.2.3.256]"), ADDRESS_SYNTAX},
	{BYTES("a@[1.2.3.4]x"), ADDRESS_SYNTAX},
	{BYTES("a@[1.2.3.4].x"), ADDRESS_SYNTAX},
	{BYTES("a@[1.2.3.4\0]"), ADDRESS_SYNTAX},
	{BYTES("a@[" L60 "]"), ADDRESS_SYNTAX},
	/* one byte more than the longest */
	{BYTES("a@[IPv6:0ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]"),
	    ADDRESS_SYNTAX},
	/* 8-bit bytes */
	{BYTES("\xc3\xa9@x"), ADDRESS_UTF8},
	{BYTES("\xc3\xa9"), ADDRESS_UTF8},
	{BYTES("a@\xc3\xa9.example"), ADDRESS_UTF8},
	{BYTES("\"\xc3\xa9 \\\"\"@x"), ADDRESS_UTF8},
	{BYTES("\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b.\xe5\xb9\xbf"),
	    ADDRESS_UTF8},
	{BYTES("\xf0\x9f\x93\xa7@x"), ADDRESS_UTF8},
	{BYTES("\xf4\x8f\xbf\xbf@x"), ADDRESS_UTF8},
	{BYTES("\xc2\xa0@x"), ADDRESS_UTF8},
	{BYTES("a@[\xc3\xa9]"), ADDRESS_SYNTAX},
	{BYTES("a@[IPv6:\xc3\xa9]"), ADDRESS_SYNTAX},
	{BYTES("\xc3\xa9@@x"), ADDRESS_SYNTAX},
	{BYTES("\xc3\xa9 @x"), ADDRESS_SYNTAX},
	{BYTES("a@\xc3\xa9..x"), ADDRESS_SYNTAX},
	{BYTES("-\xc3\xa9@x"), ADDRESS_OPTION},
	/* of a label its characters count, of all else the bytes */
	{BYTES("a@" L60 "\xc3\xa9\xc3\xa9\xc3\xa9"), ADDRESS_UTF8},
	{BYTES("a@" L60 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"),
	    ADDRESS_TOO_LONG},
	{BYTES(L60 "kl\xc3\xa9@x"), ADDRESS_UTF8},
	{BYTES(L63 "\xc3\xa9@x"), ADDRESS_TOO_LONG},
	/* control characters */
	{BYTES("\xc2\x80@x"), ADDRESS_SYNTAX},
	{BYTES("\xc2\x9f@x"), ADDRESS_SYNTAX},
	{BYTES("a@\xc2\x85x"), ADDRESS_SYNTAX},
	{BYTES("\"\xc2\x9b\"@x"), ADDRESS_SYNTAX},
	/* what is no character */
	{BYTES("\"\xff\"@x"), ADDRESS_NOT_UTF8},
	{BYTES("a\x80@x"), ADDRESS_NOT_UTF8},
	{BYTES("a\xc3@x"), ADDRESS_NOT_UTF8},
	{BYTES("a@\xc3"), ADDRESS_NOT_UTF8},
	{BYTES("a@\xe4\xbe"), ADDRESS_NOT_UTF8},
	{BYTES("\xc0\x8a@x"), ADDRESS_NOT_UTF8},
	{BYTES("\xc1\xbf@x"), ADDRESS_NOT_UTF8},
	{BYTES("\xe0\x80\x8a@x"), ADDRESS_NOT_UTF8},
	{BYTES("\xe0\x9f\xbf@x"), ADDRESS_NOT_UTF8},
	{BYTES("\xf0\x8f\xbf\xbf@x"), ADDRESS_NOT_UTF8},
	{BYTES("\xed\xa0\x80@x"), ADDRESS_NOT_UTF8},
	{BYTES("\xed\xbf\xbf@x"), ADDRESS_NOT_UTF8},
	{BYTES("\xf4\x90\x80\x80@x"), ADDRESS_NOT_UTF8},
	{BYTES("\xf8\x88\x80\x80\x80@x"), ADDRESS_NOT_UTF8},
	{BYTES("gr\xfc" "n@x"), ADDRESS_NOT_UTF8},
	/* looks like an option */
	{BYTES("-bs"), ADDRESS_OPTION},
	{BYTES("-oQ/tmp/x y"), ADDRESS_OPTION},
	{BYTES("-C/etc/passwd"), ADDRESS_OPTION},
	{BYTES("-a@x"), ADDRESS_OPTION},
	{BYTES("-"), ADDRESS_OPTION},
	{BYTES("a-@x"), ADDRESS_OK},
	/* limits */
	{BYTES(L63 "n@x"), ADDRESS_OK},
	{BYTES(L63 "no@x"), ADDRESS_TOO_LONG},
	{BYTES(L63 "n"), ADDRESS_OK},
	{BYTES(L63 "no"), ADDRESS_TOO_LONG},
	{BYTES("\"" L60 "kl\"@x"), ADDRESS_OK},
	{BYTES("\"" L60 "klm\"@x"), ADDRESS_TOO_LONG},
	{BYTES("a@" L63), ADDRESS_OK},
	{BYTES("a@" L63 "n"), ADDRESS_TOO_LONG},
	{BYTES("a@x." L63 "n.y"), ADDRESS_TOO_LONG},
	/* 254 and 255 bytes, labels at their longest */
	{BYTES("a@" L63 "." L63 "." L63 "." L60), ADDRESS_OK},
	{BYTES("ab@" L63 "." L63 "." L63 "." L60), ADDRESS_TOO_LONG},
	{BYTES(L63 "n@" L63 "." L63 "." L60 "k"), ADDRESS_OK},
	{BYTES(L63 "n@" L63 "." L63 "." L60 "kl"), ADDRESS_TOO_LONG},
};

static void
test_check(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(check_cases); i++) {
		const struct check_case *t = &check_cases[i];
		char *copy = exact(t->s, t->len);
		enum address_status status = address_check(copy, t->len);

		free(copy);
		if (status != t->status)
			fail_msg("\"%s\": %s, expected: %s", t->s,
			    address_status_text(status),
			    address_status_text(t->status));
	}
}

/* Each byte alone in an atom, in quotes and in a domain. */
static void
test_every_byte(void **state)
{
	static const char atext[] = "0123456789abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&'*+-/=?^_`{|}~.";
	static const char label[] = "0123456789abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

	(void)state;
	for (int c = 0; c < 256; c++) {
		char atom[] = {'a', (char)c, 'b', '@', 'x'};
		char pair[] = {'"', '\\', (char)c, '"', '@', 'x'};
		char domain[] = {'a', '@', 'x', (char)c, 'x'};
		bool ascii = c >= ' ' && c < 0x7f;

		assert_int_equal(address_check(atom, 5) == ADDRESS_OK,
		    c == '@' ? 0 : memchr(atext, c, sizeof(atext) - 1) != NULL);
		assert_int_equal(address_check(pair, 6) == ADDRESS_OK, ascii);
		assert_int_equal(address_check(domain, 5) == ADDRESS_OK,
		    c == '.' || memchr(label, c, sizeof(label) - 1) != NULL);
		if (c >= 0x80)
			assert_int_equal(address_check(atom, 5),
			    ADDRESS_NOT_UTF8);
	}
}

struct path_case {
	const char *s;
	size_t len;
	enum address_status status;
	const char *mailbox;
	size_t used;
};

static const struct path_case path_cases[] = {
	{BYTES("<a@b>"), ADDRESS_OK, "a@b", 5},
	{BYTES("<a@b> SIZE=1"), ADDRESS_OK, "a@b", 5},
	{BYTES("<a@b>X"), ADDRESS_OK, "a@b", 5},
	{BYTES("<a@b>>"), ADDRESS_OK, "a@b", 5},
	{BYTES(" <a@b>"), ADDRESS_OK, "a@b", 6},
	{BYTES("\t  <a@b>"), ADDRESS_OK, "a@b", 8},
	{BYTES("<postmaster>"), ADDRESS_OK, "postmaster", 12},
	{BYTES("<>"), ADDRESS_EMPTY, "", 2},
	{BYTES(" <> BODY=8BITMIME"), ADDRESS_EMPTY, "", 3},
	/* without brackets */
	{BYTES("a@b"), ADDRESS_OK, "a@b", 3},
	{BYTES("a@b SIZE=1"), ADDRESS_OK, "a@b", 3},
	{BYTES("  a@b\tX"), ADDRESS_OK, "a@b", 5},
	{BYTES("\"a b\"@x Y"), ADDRESS_OK, "\"a b\"@x", 7},
	{BYTES("a@b>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("a@b\n"), ADDRESS_SYNTAX, "", 0},
	{BYTES("@a:b@c"), ADDRESS_SYNTAX, "", 0},
	{BYTES(""), ADDRESS_SYNTAX, "", 0},
	{BYTES("  "), ADDRESS_SYNTAX, "", 0},
	/* quotes */
	{BYTES("<\"a>b\"@x>"), ADDRESS_OK, "\"a>b\"@x", 9},
	{BYTES("<\"a b\"@x> Z"), ADDRESS_OK, "\"a b\"@x", 9},
	{BYTES("<\"a\\\"b\"@x>"), ADDRESS_OK, "\"a\\\"b\"@x", 10},
	{BYTES("<\"\"@x>"), ADDRESS_OK, "\"\"@x", 6},
	{BYTES("<\"@\"@x>"), ADDRESS_OK, "\"@\"@x", 7},
	{BYTES("<\"a\\\\\"@x>"), ADDRESS_OK, "\"a\\\\\"@x", 9},
	{BYTES("<\"\\\"@x>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<\"a\"b@x>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<a@\"x>"), ADDRESS_SYNTAX, "", 0},
	/* source routes */
	{BYTES("<@a,@b:c@d>"), ADDRESS_OK, "c@d", 11},
	{BYTES("<@a:c@d>X"), ADDRESS_OK, "c@d", 8},
	{BYTES("<@[IPv6:::1],@b:\"c:\"@d>"), ADDRESS_OK, "\"c:\"@d", 23},
	{BYTES("<@a:>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<@a>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<@a,b:c@d>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<@a,:c@d>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<@:c@d>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<@a:@b:c@d>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<@a\n:c@d>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<@[1.2.3.4\0]:c@d>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<@a"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<@"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<@[a:"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<a:c@d>"), ADDRESS_SYNTAX, "", 0},
	/* broken, or of another status */
	{BYTES("<"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<a@b"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<a@b\0>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("< a@b>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<a@b >"), ADDRESS_SYNTAX, "", 0},
	{BYTES("< >"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<<a@b>>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<a@b\r\nRCPT TO:<c@d>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("\n<a@b>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<a@[]>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<a@[x>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<a@[IPv6:::1]>"), ADDRESS_OK, "a@[IPv6:::1]", 14},
	{BYTES("<-bs>"), ADDRESS_OPTION, "", 0},
	{BYTES("<\xc3\xa9@x>"), ADDRESS_UTF8, "\xc3\xa9@x", 6},
	{BYTES("\xc3\xa9@x Z"), ADDRESS_UTF8, "\xc3\xa9@x", 4},
	{BYTES("<@a:\xc3\xa9@x>"), ADDRESS_UTF8, "\xc3\xa9@x", 9},
	{BYTES("<\xe9@x>"), ADDRESS_NOT_UTF8, "", 0},
	{BYTES("<\xc2\x8a@x>"), ADDRESS_SYNTAX, "", 0},
	{BYTES("<a@" L63 "n>"), ADDRESS_TOO_LONG, "", 0},
	/* the limit is on what is sent on, without the route */
	{BYTES("<@" L63 "." L63 ":a@" L63 "." L63 "." L63 "." L60 ">"),
	    ADDRESS_OK, "a@" L63 "." L63 "." L63 "." L60, 385},
	{BYTES("<@" L63 "." L63 "." L63 "." L63 ".x:a@b>"),
	    ADDRESS_SYNTAX, "", 0},
};

static void
test_path(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(path_cases); i++) {
		const struct path_case *t = &path_cases[i];
		char *copy = exact(t->s, t->len);
		struct buf mailbox = {0};
		size_t used = 0;
		enum address_status status;

		buf_adds(&mailbox, "=");
		status = address_path(copy, t->len, &mailbox, &used);
		if (status != t->status || used != t->used)
			fail_msg("\"%s\": %s, %zu used", t->s,
			    address_status_text(status), used);
		assert_string_equal(buf_text(&mailbox) + 1, t->mailbox);
		assert_int_equal(mailbox.len, 1 + strlen(t->mailbox));
		buf_free(&mailbox);
		free(copy);
	}
}

static void
test_qualified(void **state)
{
	(void)state;
	assert_true(address_is_qualified("a@b"));
	assert_true(address_is_qualified("\"a\"@b"));
	assert_true(address_is_qualified("\"@\\\"@\"@b"));
	assert_false(address_is_qualified("a"));
	assert_false(address_is_qualified(""));
	assert_false(address_is_qualified("\"a@b\""));
	assert_false(address_is_qualified("\"a\\\"@b\""));
}

static void
test_status_text(void **state)
{
	(void)state;
	for (int a = ADDRESS_OK; a <= ADDRESS_OPTION; a++)
		for (int b = ADDRESS_OK; b < a; b++)
			assert_string_not_equal(
			    address_status_text((enum address_status)a),
			    address_status_text((enum address_status)b));
}

struct list_case {
	const char *s;
	size_t len;
	size_t broken;
	const char *found; /* each with a '\n' behind it */
};

static const struct list_case list_cases[] = {
	{BYTES(""), 0, ""},
	{BYTES(" \r\n \t"), 0, ""},
	{BYTES(",, ,"), 0, ""},
	{BYTES("a@b"), 0, "a@b\n"},
	{BYTES("root"), 0, "root\n"},
	{BYTES("a@b, root ,c@d,"), 0, "a@b\nroot\nc@d\n"},
	{BYTES(" , a@b,, c@d"), 0, "a@b\nc@d\n"},
	{BYTES("a@b,\r\n c@d,\n\te@f\r\n"), 0, "a@b\nc@d\ne@f\n"},
	{BYTES("foo..bar@x, a.@y"), 0, "foo..bar@x\na.@y\n"},
	/* display names */
	{BYTES("A B <a@b>"), 0, "a@b\n"},
	{BYTES("<a@b>"), 0, "a@b\n"},
	{BYTES("A B<a@b>,C<c@d>"), 0, "a@b\nc@d\n"},
	{BYTES("\"B, A\" <a@b>, c@d"), 0, "a@b\nc@d\n"},
	{BYTES("\"B \\\"<x@y>,\\\\\" <a@b>"), 0, "a@b\n"},
	{BYTES("\"B\r\n A\" <a@b>"), 0, "a@b\n"},
	{BYTES("\"\" <a@b>"), 0, "a@b\n"},
	{BYTES("John Q. Public <a@b>"), 0, "a@b\n"},
	{BYTES("a@b <a@b>, x@y <c@d>"), 0, "a@b\nc@d\n"},
	{BYTES("J\xf6rg <a@b>, \xc3\xa9\xc3\xa9 <c@d>"), 0, "a@b\nc@d\n"},
	{BYTES("[list] \\o/ :) <a@b>"), 0, "a@b\n"},
	{BYTES("[a,b] <c@d>, [x<e@f>]"), 2, "c@d\n"},
	{BYTES("[list <a@b>, c@d"), 0, "a@b\nc@d\n"},
	{BYTES("N\0L <a@b>"), 0, "a@b\n"},
	{BYTES("=?utf-8?Q?J=C3=B6rg?= <a@b>"), 0, "a@b\n"},
	{BYTES("=?utf-8?B?w6k=?= =?utf-8?B?w6k=?= <a@b>"), 0, "a@b\n"},
	{BYTES("=?utf-8?Q?Doe,_J.<x@y>?= <a@b>, c@d"), 0, "a@b\nc@d\n"},
	{BYTES("=?utf-8?Q?J=C3=B6rg?=<a@b>"), 0, "a@b\n"},
	{BYTES("=?utf-8?Q?name?="), 1, ""},
	{BYTES("<=?utf-8?Q?name?=@x>"), 1, ""},
	{BYTES("=?utf-8?Q?Doe, J?= <a@b>"), 1, "a@b\n"},
	{BYTES("=?a?=@b"), 0, "=?a?=@b\n"},
	/* comments */
	{BYTES("a@b (A, B)"), 0, "a@b\n"},
	{BYTES("(x@y, z) a@b"), 0, "a@b\n"},
	{BYTES("(a (nested (c)) \\) \\( comment) a@b, c@d"), 0, "a@b\nc@d\n"},
	{BYTES("A (c) B <(c)a@b(c)> (c), c@d"), 0, "a@b\nc@d\n"},
	{BYTES("a(comment)@b"), 0, "a@b\n"},
	{BYTES("a@(Chris's host.)public.example"), 0, "a@public.example\n"},
	{BYTES("(only a comment), a@b"), 0, "a@b\n"},
	{BYTES("a@b (no end, c@d"), 1, ""},
	{BYTES("(no end"), 1, ""},
	{BYTES("a@b (\\"), 1, ""},
	{BYTES("a@b), c@d"), 1, "c@d\n"},
	/* blanks in an address (RFC 5322 section 4.4) */
	{BYTES("a @ b"), 0, "a@b\n"},
	{BYTES("A < a\r\n @ b . c >"), 0, "a@b.c\n"},
	{BYTES("jdoe@test  . example"), 0, "jdoe@test.example\n"},
	{BYTES("a . b @ c"), 0, "a.b@c\n"},
	{BYTES("Dr. Smith, a@b"), 1, "a@b\n"},
	{BYTES("a@b, Dr. Smith"), 1, "a@b\n"},
	{BYTES("a@b: Dr. Smith;"), 1, ""},
	{BYTES("J. Doe <root>, A <a.b>"), 0, "root\na.b\n"},
	{BYTES("Dr(x).Smith, a@b"), 1, "a@b\n"},
	{BYTES("two words, a@b"), 1, "a@b\n"},
	{BYTES("two(c)words, a@b"), 1, "a@b\n"},
	{BYTES("a b@c, d@e"), 1, "d@e\n"},
	{BYTES("<a b@c>, d@e"), 1, "d@e\n"},
	{BYTES("a@x\nb@y"), 1, ""},
	{BYTES("a@b c@d"), 1, ""},
	/* quoted local parts, literals */
	{BYTES("\"a b\"@x"), 0, "\"a b\"@x\n"},
	{BYTES("<\"a,>b\"@x>"), 0, "\"a,>b\"@x\n"},
	{BYTES("\"a\\\"b\"@x, \"\"@x"), 0, "\"a\\\"b\"@x\n\"\"@x\n"},
	{BYTES("\"a\r\n b\"@x"), 0, "\"a b\"@x\n"},
	{BYTES("\"a\n b\"@x"), 0, "\"a b\"@x\n"},
	{BYTES("\"a\nb\"@x"), 1, ""},
	{BYTES("\"a\r b\"@x"), 1, ""},
	{BYTES("\"a\\\n b\"@x"), 1, ""},
	{BYTES("\"a\"b@x, \"a\" b@x, c@d"), 2, "c@d\n"},
	{BYTES("\"no end <a@b>, c@d"), 1, ""},
	{BYTES("\"no end\\"), 1, ""},
	{BYTES("\"no end\\\""), 1, ""},
	{BYTES("a@[1.2.3.4], b@[IPv6:::1]"), 0, "a@[1.2.3.4]\nb@[IPv6:::1]\n"},
	{BYTES("A <b@[IPv6:::1]>"), 0, "b@[IPv6:::1]\n"},
	{BYTES("a@[], b@[x, c@d"), 2, "c@d\n"},
	/* groups */
	{BYTES("undisclosed-recipients:;"), 0, ""},
	{BYTES("undisclosed-recipients: ;, a@b"), 0, "a@b\n"},
	{BYTES("My Group: a@b, C <c@d>;, e@f"), 0, "a@b\nc@d\ne@f\n"},
	{BYTES("A Group(Some people)\r\n :C J <c@(his host.)p.example>,\r\n"
	    "   joe@example.org,\r\n J <jdoe@one.test> (my dear friend);"
	    " (the end of the group)"),
	    0, "c@p.example\njoe@example.org\njdoe@one.test\n"},
	{BYTES("g: a@b"), 0, "a@b\n"},
	{BYTES("\"g: x\": a@b;"), 0, "a@b\n"},
	{BYTES("g:;h:;"), 0, ""},
	{BYTES("a@b; c@d"), 0, "a@b\nc@d\n"},
	/* routes */
	{BYTES("<@a,@b:c@d>, e@f"), 0, "c@d\ne@f\n"},
	{BYTES("C <@a, , @b : c@d>"), 0, "c@d\n"},
	{BYTES("<@[IPv6:::1]:c@d>"), 0, "c@d\n"},
	{BYTES("<@a,b@c>, d@e"), 1, "d@e\n"},
	{BYTES("<@a,b:c@d>, e@f"), 1, "e@f\n"},
	{BYTES("<@a, b@c, d@e"), 1, "d@e\n"},
	{BYTES("<@a>, d@e"), 1, "d@e\n"},
	{BYTES("<@a:>, d@e"), 1, "d@e\n"},
	{BYTES("<a:b@c>, d@e"), 1, "d@e\n"},
	/* brackets */
	{BYTES("A <a@b, c@d"), 1, "c@d\n"},
	{BYTES("A <a@b"), 1, ""},
	{BYTES("A <"), 1, ""},
	{BYTES("a@b>, c@d"), 1, "c@d\n"},
	{BYTES("<>, c@d"), 1, "c@d\n"},
	{BYTES("A <>, c@d"), 1, "c@d\n"},
	{BYTES("<<a@b>>, c@d"), 1, "c@d\n"},
	{BYTES("<a@b> <c@d>, e@f"), 1, "e@f\n"},
	{BYTES("<a@b> x, e@f"), 1, "e@f\n"},
	{BYTES("<a@b>: c@d, e@f"), 1, "e@f\n"},
	/* what address_check() refuses */
	{BYTES("@, @x, a@, a@b@c, a@x., d@e"), 5, "d@e\n"},
	{BYTES("-bs, \xe9@x, a@\x80, a\0@x, d@e"), 4, "d@e\n"},
	{BYTES("\xc3\xa9@x, J\xf6 <\xc3\xa9@\xc3\xa9>, d@\xc2\x85"), 1,
	    "\xc3\xa9@x\n\xc3\xa9@\xc3\xa9\n"},
	{BYTES("a@" L63 "n, d@e"), 1, "d@e\n"},
	{BYTES("a\\,b@c"), 1, "b@c\n"},
};

static void
collect(void *context, const char *mailbox, size_t len)
{
	struct buf *all = context;

	assert_true(address_is_good(address_check(mailbox, len)));
	assert_int_equal(strlen(mailbox), len);
	buf_add(all, mailbox, len);
	buf_addc(all, '\n');
}

static void
test_list(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(list_cases); i++) {
		const struct list_case *t = &list_cases[i];
		char *copy = exact(t->s, t->len);
		struct buf all = {0};
		size_t broken = address_list(copy, t->len, collect, &all);

		if (broken != t->broken || strcmp(buf_text(&all), t->found))
			fail_msg("\"%s\": %zu broken, found:\n%s", t->s,
			    broken, buf_text(&all));
		buf_free(&all);
		free(copy);
	}
}

static void
count(void *context, const char *mailbox, size_t len)
{
	size_t *n = context;

	assert_int_equal(len, strlen(mailbox));
	++*n;
}

static void
test_long_list(void **state)
{
	struct buf list = {0};
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 10000; i++)
		buf_addf(&list, "\"Doe, %d\" (c)\r\n <user%d@x.example>, ", i,
		    i);
	assert_int_equal(address_list(list.data, list.len, count, &n), 0);
	assert_int_equal(n, 10000);
	buf_free(&list);
}

struct hostile_case {
	const char *unit;
	const char *tail;
	size_t found;
	size_t broken;
};

/* 100,000 units each: more than the stack holds if one recurses, and hours if
 * one goes back. */
static const struct hostile_case hostile_cases[] = {
	{"(", "a@b", 0, 1},
	{"(", "", 0, 1},
	{"(\\", "a@b", 0, 1},
	{"()", "a@b", 1, 0},
	{"\"", " <a@b>", 1, 0},
	{"\"", "\", c@d", 0, 1},
	{"<", "a@b", 0, 1},
	{"<@", "a@b>", 0, 1},
	{"<@a,", "@b:a@b>", 0, 50001},
	{"[", "a@b", 0, 1},
	{"[.", "a@b", 0, 1},
	{"=?", "a@b", 0, 1},
	{"=?,", "a@b", 1, 100000},
	{"=?u?q?.", "<a@b>", 1, 0},
	{"=?,<", "a@b", 0, 100001},
	{"g:", "a@b", 1, 0},
	{"\\", "a@b", 0, 1},
	{"@", "", 0, 1},
	{"a.", "a@b", 0, 1},
	{"a ", "<a@b>", 1, 0},
	{",", "a@b", 1, 0},
	{";", "a@b", 1, 0},
	{"\r\n ", "a@b", 1, 0},
};

static void
test_hostile_list(void **state)
{
	(void)state;
	alarm(120);
	for (size_t i = 0; i < COUNT(hostile_cases); i++) {
		const struct hostile_case *t = &hostile_cases[i];
		struct buf list = {0};
		size_t n = 0, broken;

		for (int k = 0; k < 100000; k++)
			buf_adds(&list, t->unit);
		buf_adds(&list, t->tail);
		broken = address_list(list.data, list.len, count, &n);
		if (n != t->found || broken != t->broken)
			fail_msg("%s...%s: %zu found, %zu broken", t->unit,
			    t->tail, n, broken);
		buf_free(&list);
	}
	alarm(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_qualified),
		cmocka_unit_test(test_status_text),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_long_list),
		cmocka_unit_test(test_hostile_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
