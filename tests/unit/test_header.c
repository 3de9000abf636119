/* SPDX-License-Identifier: ISC */
/*
 * Fields of a header: stepping, finding, removing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "header.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(s) s, sizeof(s) - 1

/* A copy without a NUL behind it, so that a sanitizer sees a read too far. */
static char *
exact(const char *s, size_t len)
{
	char *copy = xmalloc(len);

	memcpy(copy, s, len);
	return copy;
}

struct next_case {
	const char *header;
	size_t len;
	const char *fields; /* each field, then '|', its value, then '#' */
};

static const struct next_case next_cases[] = {
	{BYTES(""), ""},
	{BYTES("A: b\r\n"), "A: b\r\n| b\r\n#"},
	{BYTES("A:\r\n"), "A:\r\n|\r\n#"},
	{BYTES("A:"), "A:|#"},
	{BYTES("A:b"), "A:b|b#"},
	{BYTES("A: b\r\nC: d\r\n"), "A: b\r\n| b\r\n#C: d\r\n| d\r\n#"},
	{BYTES("A: b\r\n c\r\n\td\r\nE:f\r\n"),
	    "A: b\r\n c\r\n\td\r\n| b\r\n c\r\n\td\r\n#E:f\r\n|f\r\n#"},
	{BYTES("A: b\r\n \r\nC:d\r\n"),
	    "A: b\r\n \r\n| b\r\n \r\n#C:d\r\n|d\r\n#"},
	{BYTES("A:\r\n b: c\r\n"), "A:\r\n b: c\r\n|\r\n b: c\r\n#"},
	{BYTES("A \t: b\r\n"), "A \t: b\r\n| b\r\n#"},
	{BYTES("A\r\n : b\r\n"), "A\r\n : b\r\n| b\r\n#"},
	{BYTES("A: b:c\r\n"), "A: b:c\r\n| b:c\r\n#"},
	{BYTES("A: b\nC: d\n"), "A: b\n| b\n#C: d\n| d\n#"},
	{BYTES("A: b\r\n c"), "A: b\r\n c| b\r\n c#"},
	/* no fields */
	{BYTES("no field\r\nA:b\r\n"), "A:b\r\n|b\r\n#"},
	{BYTES("no field\r\n C:d\r\nA:b\r\n"), "A:b\r\n|b\r\n#"},
	{BYTES("From x Mon 1 10:00:00\r\nA:b\r\n"), "A:b\r\n|b\r\n#"},
	{BYTES(" C:d\r\nA:b\r\n"), "A:b\r\n|b\r\n#"},
	{BYTES(": x\r\nA:b\r\n"), "A:b\r\n|b\r\n#"},
	{BYTES("\xc3\xa9: x\r\nA:b\r\n"), "A:b\r\n|b\r\n#"},
	{BYTES("\r\nA:b\r\n"), "A:b\r\n|b\r\n#"},
	{BYTES("\r\n\r\n"), ""},
	{BYTES("A"), ""},
};

static void
test_next(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(next_cases); i++) {
		const struct next_case *t = &next_cases[i];
		char *copy = exact(t->header, t->len);
		struct buf all = {0};
		struct field field;
		size_t at = 0;

		while (header_next(copy, t->len, &at, &field)) {
			assert_ptr_equal(field.start + field.len, copy + at);
			buf_add(&all, field.start, field.len);
			buf_addc(&all, '|');
			buf_add(&all, field.value, field.value_len);
			buf_addc(&all, '#');
		}
		assert_int_equal(at, t->len);
		assert_string_equal(buf_text(&all), t->fields);
		buf_free(&all);
		free(copy);
	}
}

struct is_case {
	const char *field;
	size_t len;
	bool is_bcc;
};

static const struct is_case is_cases[] = {
	{BYTES("Bcc: x\r\n"), true},
	{BYTES("BCC:x\r\n"), true},
	{BYTES("bcc:\r\n"), true},
	{BYTES("Bcc : x\r\n"), true},
	{BYTES("Bcc \t : x\r\n"), true},
	{BYTES("Bcc\t: x\r\n"), true},
	{BYTES("Bcc\0: x\r\n"), true},
	{BYTES("Bcc\x01 \0: x\r\n"), true},
	{BYTES("Bcc\r\n : x\r\n"), true},
	{BYTES("Bcc\r: x\r\n"), true},
	{BYTES("Bc: x\r\n"), false},
	{BYTES("Bccc: x\r\n"), false},
	{BYTES("X-Bcc: x\r\n"), false},
	{BYTES("Resent-Bcc: x\r\n"), false},
	{BYTES("Cc: x\r\n"), false},
	{BYTES("To: Bcc: x\r\n"), false},
};

static void
test_is(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(is_cases); i++) {
		const struct is_case *t = &is_cases[i];
		char *copy = exact(t->field, t->len);
		struct field field;
		size_t at = 0;

		assert_true(header_next(copy, t->len, &at, &field));
		if (field_is(&field, "Bcc") != t->is_bcc)
			fail_msg("\"%s\" is taken wrongly", t->field);
		free(copy);
	}
}

static void
test_find(void **state)
{
	static const char header[] =
	    "To: a\r\n"
	    "cc: b\r\n c\r\n"
	    "no field\r\n"
	    "CC : d\r\n"
	    "Subject: To: x\r\n To: y\r\n";
	const size_t len = sizeof(header) - 1;
	struct field field = {0};

	(void)state;
	assert_true(header_find(header, len, "Cc", &field));
	assert_ptr_equal(field.start, header + 7);
	assert_int_equal(field.len, 11);
	assert_int_equal(field.value_len, 8);
	assert_memory_equal(field.value, " b\r\n c\r\n", 8);
	assert_true(header_find(header, len, "subject", &field));
	assert_ptr_equal(field.start + field.len, header + len);
	assert_false(header_find(header, len, "Bcc", &field));
	assert_false(header_find(header, len, "", &field));
	assert_false(header_find(NULL, 0, "To", &field));

	assert_int_equal(header_count(header, len, "to"), 1);
	assert_int_equal(header_count(header, len, "Cc"), 2);
	assert_int_equal(header_count(header, len, "Bcc"), 0);
	assert_int_equal(header_count(NULL, 0, "To"), 0);
}

struct remove_case {
	const char *before;
	size_t len;
	const char *after;
	size_t after_len;
};

static const struct remove_case remove_cases[] = {
	{BYTES(""), BYTES("")},
	{BYTES("To: a\r\n"), BYTES("To: a\r\n")},
	{BYTES("Bcc: a\r\n"), BYTES("")},
	{BYTES("Bcc:"), BYTES("")},
	{BYTES("bcc: a\r\nTo: b\r\n"), BYTES("To: b\r\n")},
	{BYTES("To: b\r\nBCC: a"), BYTES("To: b\r\n")},
	{BYTES("To: b\r\nBcc: a\r\n\tc,\r\n d\r\nCc: e\r\n f\r\n"),
	    BYTES("To: b\r\nCc: e\r\n f\r\n")},
	{BYTES("Bcc: a\r\nBcc: b\r\nbcc: c\r\n d\r\nTo: e\r\n"),
	    BYTES("To: e\r\n")},
	{BYTES("A:1\r\nBcc: a\r\nB:22\r\nBcc: a\r\nC:333\r\nBcc: a\r\nD:4\r\n"),
	    BYTES("A:1\r\nB:22\r\nC:333\r\nD:4\r\n")},
	{BYTES("A:1\r\nBcc\0: a\r\nBcc\t: b\r\nBcc : c\r\nB:2\r\n"),
	    BYTES("A:1\r\nB:2\r\n")},
	{BYTES("A:1\r\nBcc\r\n : a\r\nB:2\r\n"), BYTES("A:1\r\nB:2\r\n")},
	{BYTES("A:1\nBcc: a\nB:2\n"), BYTES("A:1\nB:2\n")},
	{BYTES("Resent-Bcc: a\r\nX-Bcc: b\r\nBcc-X: c\r\n"),
	    BYTES("Resent-Bcc: a\r\nX-Bcc: b\r\nBcc-X: c\r\n")},
	{BYTES("A: 1\r\n Bcc: a\r\nB:\0\r\nBcc: b\r\n"),
	    BYTES("A: 1\r\n Bcc: a\r\nB:\0\r\n")},
	{BYTES("no field\r\nBcc: a\r\nno field\r\n"),
	    BYTES("no field\r\nno field\r\n")},
};

static void
test_remove(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(remove_cases); i++) {
		const struct remove_case *t = &remove_cases[i];
		struct buf header = {0};

		if (t->len)
			buf_add(&header, t->before, t->len);
		header_remove(&header, "Bcc");
		if (header.len != t->after_len ||
		    memcmp(buf_text(&header), t->after, t->after_len) != 0)
			fail_msg("\"%s\" became \"%s\"", t->before,
			    buf_text(&header));
		if (header.data)
			assert_int_equal(header.data[header.len], '\0');
		header_remove(&header, "Bcc");
		assert_int_equal(header.len, t->after_len);
		buf_free(&header);
	}
}

/* 100,000 fields to remove: linear, or not done in time. */
static void
test_remove_many(void **state)
{
	struct buf header = {0};

	(void)state;
	alarm(120);
	for (int i = 0; i < 100000; i++)
		buf_adds(&header, "Bcc: someone@x.example\r\nX: y\r\n");
	header_remove(&header, "bcc");
	assert_int_equal(header.len, 100000 * 6);
	assert_int_equal(header_count(header.data, header.len, "x"), 100000);
	buf_free(&header);
	alarm(0);
}

struct line_case {
	const char *line;
	size_t len;
	bool is_field;
};

static const struct line_case line_cases[] = {
	{BYTES("A:"), true},
	{BYTES("Subject: x\r\n"), true},
	{BYTES("Subject : x"), true},
	{BYTES("Subject\t : x"), true},
	{BYTES("Bcc\0: x"), true},
	{BYTES("!#~: x"), true},
	{BYTES("http://x"), true},
	{BYTES(""), false},
	{BYTES("\r\n"), false},
	{BYTES("\n"), false},
	{BYTES(":"), false},
	{BYTES(": x"), false},
	{BYTES(" A: x"), false},
	{BYTES("\tA: x"), false},
	{BYTES("Subject"), false},
	{BYTES("Subject\r\n"), false},
	{BYTES("Subject\r\n: x"), false},
	{BYTES("Subject\n : x"), false},
	{BYTES("Hello world: x"), false},
	{BYTES("From a@b Mon Jan  1 10:00:00 2024"), false},
	{BYTES("\xc3\xa9: x"), false},
	{BYTES("A\xa0: x"), false},
	{BYTES("A\x7f: x"), false},
};

static void
test_line_is_field(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(line_cases); i++) {
		const struct line_case *t = &line_cases[i];
		char *copy = exact(t->line, t->len);

		if (header_line_is_field(copy, t->len) != t->is_field)
			fail_msg("\"%s\" is taken wrongly", t->line);
		free(copy);
	}
}

/* A name that does not fit into a line is text. */
static void
test_longest_name(void **state)
{
	struct buf line = {0};

	(void)state;
	while (line.len < 997)
		buf_addc(&line, 'a');
	buf_adds(&line, ": x\r\n");
	assert_true(header_line_is_field(line.data, line.len));
	assert_false(header_line_is_field(line.data, 997));
	line.data[996] = ' ';
	assert_true(header_line_is_field(line.data, line.len));
	line.data[997] = ' ';
	line.data[998] = ':';
	assert_false(header_line_is_field(line.data, line.len));
	buf_free(&line);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_is),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_remove_many),
		cmocka_unit_test(test_line_is_field),
		cmocka_unit_test(test_longest_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
