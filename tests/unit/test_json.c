/* SPDX-License-Identifier: ISC */
/*
 * Strings and times in JSON: every byte there is, characters of every length,
 * and what is no character at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void
check(const char *text, const char *json)
{
	struct buf out = {0};

	json_add_string(&out, text);
	assert_string_equal(out.data, json);
	buf_free(&out);
}

static void
plain_text_stays(void **state)
{
	struct buf out = {0}, expected = {0};
	char all[96] = "";

	(void)state;
	check("", "\"\"");
	check(NULL, "null");
	check("b@example.test", "\"b@example.test\"");
	buf_addc(&expected, '"');
	for (int c = ' '; c <= '~'; c++) {
		all[c - ' '] = (char)c;
		if (c == '"' || c == '\\')
			buf_addc(&expected, '\\');
		buf_addc(&expected, (char)c);
	}
	buf_addc(&expected, '"');
	json_add_string(&out, all);
	assert_string_equal(out.data, expected.data);
	buf_free(&out);
	buf_free(&expected);
}

static void
control_characters_are_escaped(void **state)
{
	(void)state;
	for (int c = 1; c < ' '; c++) {
		char text[2] = {(char)c}, json[16];

		snprintf(json, sizeof(json), "\"\\u%04x\"", c);
		check(text, json);
	}
	check("\x7f", "\"\\u007f\"");
	check("a\r\nb", "\"a\\u000d\\u000ab\"");
}

/* The first and the last of each length, and those around the surrogates. */
static void
characters_are_numbers(void **state)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{"\xc2\x80", "\"\\u0080\""},
		{"\xc3\xbc", "\"\\u00fc\""},
		{"\xdf\xbf", "\"\\u07ff\""},
		{"\xe0\xa0\x80", "\"\\u0800\""},
		{"\xed\x9f\xbf", "\"\\ud7ff\""},
		{"\xee\x80\x80", "\"\\ue000\""},
		{"\xef\xbf\xbf", "\"\\uffff\""},
		{"\xf0\x90\x80\x80", "\"\\ud800\\udc00\""},
		{"\xf0\x9f\x93\xa7", "\"\\ud83d\\udce7\""},
		{"\xf4\x8f\xbf\xbf", "\"\\udbff\\udfff\""},
		{"a\xc3\xbc\xc3\xbc" "b", "\"a\\u00fc\\u00fcb\""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		check(cases[i].text, cases[i].json);
}

static void
what_is_no_character_is_replaced(void **state)
{
#define BAD "\\ufffd"
	static const struct {
		const char *text, *json;
	} cases[] = {
		{"\x80", "\"" BAD "\""},
		{"\xc3", "\"" BAD "\""},
		{"\xc3(", "\"" BAD "(\""},
		{"\xe2\x82", "\"" BAD BAD "\""},
		{"\xf0\x9f\x93", "\"" BAD BAD BAD "\""},
		{"\xc0\xaf", "\"" BAD BAD "\""},         /* overlong */
		{"\xe0\x80\xaf", "\"" BAD BAD BAD "\""}, /* overlong */
		{"\xed\xa0\x80", "\"" BAD BAD BAD "\""}, /* a surrogate */
		{"\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\""},
		{"\xf8\x88\x80\x80\x80", "\"" BAD BAD BAD BAD BAD "\""},
		{"\xff", "\"" BAD "\""},
		{"\xc3\xbc\xff\xc3\xbc", "\"\\u00fc" BAD "\\u00fc\""},
	};
#undef BAD

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		check(cases[i].text, cases[i].json);
}

static void
times_are_rfc_3339(void **state)
{
	static const struct {
		time_t when;
		const char *json;
	} cases[] = {
		{0, "\"1970-01-01T00:00:00Z\""},
		{951782400, "\"2000-02-29T00:00:00Z\""},
		{1767603600, "\"2026-01-05T09:00:00Z\""},
		{INT64_C(253402300799), "\"9999-12-31T23:59:59Z\""},
		{INT64_C(253402300800), "null"},
		{INT64_MAX, "null"},
		{-1, "null"},
		{INT64_MIN, "null"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf out = {0};

		json_add_time(&out, cases[i].when);
		assert_string_equal(out.data, cases[i].json);
		buf_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text_stays),
		cmocka_unit_test(control_characters_are_escaped),
		cmocka_unit_test(characters_are_numbers),
		cmocka_unit_test(what_is_no_character_is_replaced),
		cmocka_unit_test(times_are_rfc_3339),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
