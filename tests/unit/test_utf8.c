/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "buf.h"
#include "utf8.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
assert_shown(const char *text, size_t max, const char *shown)
{
	struct buf out = {0};

	utf8_add_visible(&out, text, max);
	assert_string_equal(buf_text(&out), shown);
	buf_free(&out);
}

/* Characters stay, whatever a terminal would obey does not. */
static void
test_visible(void **state)
{
	static const char *const cases[][2] = {
		{"", ""},
		{"a b~", "a b~"},
		{"gr\xc3\xbc" "n@\xe4\xbe\x8b.test", "gr\xc3\xbc" "n@\xe4\xbe\x8b.test"},
		{"\xf0\x9f\x93\xa8", "\xf0\x9f\x93\xa8"},
		{"\x1b[2J\r\n\t\x7f", "?[2J????"},
		{"\xc2\x9b" "31m", "?31m"},             /* CSI in one byte */
		{"a\xe2\x80\xae" "b", "a?b"},           /* right to left */
		{"a\xe2\x81\xa7" "b\xef\xbb\xbf", "a?b?"}, /* isolate, BOM */
		{"\xc0\xaf", "??"},                     /* overlong */
		{"\xed\xa0\x80", "???"},                /* surrogate */
		{"\xc3", "?"},
		{"\xff" "a", "?a"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_shown(cases[i][0], 100, cases[i][1]);
}

/* No half of a character. */
static void
test_cut(void **state)
{
	(void)state;
	assert_shown("abc", 2, "ab");
	assert_shown("a\xc3\xbc", 3, "a\xc3\xbc");
	assert_shown("a\xc3\xbc", 2, "a?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_visible),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
