/* SPDX-License-Identifier: ISC */
/*
 * The end of data, dots and line ends: cases SM-*, SO-01 to SO-11 and CL-42,
 * each fed whole, a byte at a time, and cut in two at every offset.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "data.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct data_case {
	const char *in;   /* behind the 354, or stdin */
	const char *out;
	const char *rest; /* what is left behind the end; NULL: no end */
};

static const struct data_case smtp_cases[] = {
	{"a\r\n.\r\nQUIT", "a\r\n", "QUIT"},
	{".\r\nQUIT", "", "QUIT"},
	{"a\n.\nMAIL\r\n.\r\n", "a\r\n.\r\nMAIL\r\n", ""},
	{"a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n", ""},
	{"a\r\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n", ""},
	{"a\r\n.\rb\r\n.\r\n", "a\r\n. b\r\n", ""},
	{"a\r.\rb\r\n.\r\n", "a . b\r\n", ""},
	{"a\r.\nb\r\n.\r\n", "a .\r\nb\r\n", ""},
	{"a\n.\rb\r\n.\r\n", "a\r\n. b\r\n", ""},
	{"a\r.\r\nb\r\n.\r\n", "a .\r\nb\r\n", ""},
	{"a\r\n.\r\r\nb\r\n.\r\n", "a\r\n. \r\nb\r\n", ""},
	{"a\r\n. \r\n.\t\r\n.\r\n", "a\r\n \r\n\t\r\n", ""},
	{".\nb\r\n.\r\n", ".\r\nb\r\n", ""},
	{"\n.\r\nb\r\n.\r\n", "\r\n.\r\nb\r\n", ""},
	{"a\r\n..\r\n..b\r\n.c\r\n.\r\n", "a\r\n.\r\n.b\r\nc\r\n", ""},
	{"a\r\n.", "a\r\n", NULL},
	{"a\r\n.\r", "a\r\n", NULL},
	{"a\r\r\n.\r\n", "a \r\n", ""},
	{"a\r\n\r\n\r\n.\r\n", "a\r\n\r\n\r\n", ""},
};

static const struct data_case stdin_cases[] = {
	{"a\n.\nb\n", "a\r\n", "b\n"},
	{"a\r\n.\r\nb\n", "a\r\n", "b\n"},
	{"a\n..\nb", "a\r\n..\r\nb", NULL},
	{"a\n.b\n", "a\r\n.b\r\n", NULL},
	{"a\n. \n", "a\r\n. \r\n", NULL},
};

static const struct data_case raw_cases[] = {
	{"a\n.\nb\n", "a\r\n.\r\nb\r\n", NULL},
	{"a\r\n.\r\nMAIL\r\n", "a\r\n.\r\nMAIL\r\n", NULL},
	{"a\rb\nc\r\r\nd", "a b\r\nc \r\nd", NULL},
};

/* Chunks of BDAT: no dot is anything but a dot. */
static const struct data_case chunk_cases[] = {
	{"a\r\n.\r\nMAIL\r\n", "a\r\n.\r\nMAIL\r\n", NULL},
	{".\r\n..\r\n.x\r\n", ".\r\n..\r\n.x\r\n", NULL},
	{"a\rb\nc\r\r\n.\n.\r", "a b\r\nc \r\n.\r\n.", NULL},
};

/* Feeds the input in pieces that end at first, then every step bytes. */
static void
check_case(const struct data_case *c, enum data_source source, size_t first,
    size_t step)
{
	size_t len = strlen(c->in), at = 0, end = first < len ? first : len;
	struct data_reader r;
	struct buf out = {0};

	data_start(&r, source);
	while (!data_ended(&r) && at < len) {
		size_t used = data_read(&r, c->in + at, end - at, &out);

		assert_true(used == end - at || data_ended(&r));
		at += used;
		end = end + step < len ? end + step : len;
	}
	assert_string_equal(buf_text(&out), c->out);
	assert_int_equal(data_ended(&r), c->rest != NULL);
	if (c->rest)
		assert_string_equal(c->in + at, c->rest);
	buf_free(&out);
}

static void
check_all(const struct data_case *cases, size_t count, enum data_source source)
{
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(cases[i].in);

		check_case(&cases[i], source, 1, 1);
		for (size_t cut = 0; cut <= len; cut++)
			check_case(&cases[i], source, cut, len);
	}
}

static void
test_smtp(void **state)
{
	(void)state;
	check_all(smtp_cases, COUNT(smtp_cases), DATA_FROM_SMTP);
}

static void
test_stdin(void **state)
{
	(void)state;
	check_all(stdin_cases, COUNT(stdin_cases), DATA_FROM_STDIN);
	check_all(raw_cases, COUNT(raw_cases), DATA_FROM_STDIN_RAW);
}

static void
test_chunks(void **state)
{
	(void)state;
	check_all(chunk_cases, COUNT(chunk_cases), DATA_FROM_CHUNKS);
}

static void
test_finish(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"", ""}, {"a", "a\r\n"}, {"a\n", "a\r\n"}, {"a\r", "a\r\n"},
		{".", ""}, {"\n", "\r\n"}, {"a\r\n", "a\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct data_reader r;
		struct buf out = {0};

		data_start(&r, DATA_FROM_STDIN);
		data_read(&r, cases[i].in, strlen(cases[i].in), &out);
		data_finish(&r, &out);
		assert_string_equal(buf_text(&out), cases[i].out);
		buf_free(&out);
	}
}

/* No line is longer than 998 bytes, no other byte is lost or added. */
static void
test_long_lines(void **state)
{
	static const size_t lengths[] = {
		997, 998, 999, 1000, 1994, 1995, 1996, 10000, 1000000};

	(void)state;
	for (size_t i = 0; i < COUNT(lengths); i++) {
		struct data_reader r;
		struct buf in = {0}, out = {0};
		size_t letters = 0, column = 0;

		for (size_t k = 0; k < lengths[i]; k++)
			buf_addc(&in, 'x');
		buf_adds(&in, "\r\n.\r\n");
		data_start(&r, DATA_FROM_SMTP);
		assert_int_equal(data_read(&r, in.data, in.len, &out), in.len);
		assert_true(data_ended(&r));
		for (size_t k = 0; k < out.len; k++) {
			letters += out.data[k] == 'x';
			column = out.data[k] == '\n' ? 0 : column + 1;
			assert_true(column <= 999); /* with the CR */
		}
		assert_int_equal(letters, lengths[i]);
		buf_free(&in);
		buf_free(&out);
	}
}

/* A dot at the start of a chunk is not at the start of a line (SM-20). */
static void
test_dot_at_chunk_start(void **state)
{
	struct data_reader r;
	struct buf out = {0};

	(void)state;
	data_start(&r, DATA_FROM_SMTP);
	data_read(&r, "abc", 3, &out);
	data_read(&r, ".\r\n", 3, &out);
	assert_false(data_ended(&r));
	assert_string_equal(out.data, "abc.\r\n");
	buf_free(&out);
}

static void
test_flags(void **state)
{
	static const struct {
		const char *in;
		bool bare, eight;
		enum data_source source;
	} cases[] = {
		{"a\r\n.\r\n", false, false, DATA_FROM_SMTP},
		{"a\nb\r\n.\r\n", true, false, DATA_FROM_SMTP},
		{"a\rb\r\n.\r\n", true, false, DATA_FROM_SMTP},
		{"\r\n.\nb\r\n.\r\n", true, false, DATA_FROM_SMTP},
		{"\xc3\xa4\r\n.\r\n", false, true, DATA_FROM_SMTP},
		{"a\r\n.\r\n", false, false, DATA_FROM_CHUNKS},
		{"a\nb", true, false, DATA_FROM_CHUNKS},
		{"a\rb", true, false, DATA_FROM_CHUNKS},
		{"a\r\n\r", true, false, DATA_FROM_CHUNKS},
		{"a\nb", false, false, DATA_FROM_STDIN_RAW},
		{"\xc3\xa4\r\n", false, true, DATA_FROM_CHUNKS},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct data_reader r;
		struct buf out = {0};

		data_start(&r, cases[i].source);
		data_read(&r, cases[i].in, strlen(cases[i].in), &out);
		data_finish(&r, &out);
		assert_int_equal(r.bare_newline, cases[i].bare);
		assert_int_equal(r.eight_bit, cases[i].eight);
		buf_free(&out);
	}
}

/* What is stuffed, sent and read again is the same; the end comes once. */
static void
test_stuff_and_back(void **state)
{
	static const char text[] =
	    ".\r\n..\r\n.x\r\nx.\r\n\r\n.\r\nlast .\r\n.";

	(void)state;
	for (size_t cut = 0; cut < sizeof(text); cut++) {
		struct data_reader r;
		struct buf wire = {0}, back = {0};
		bool start = true;

		data_stuff(&start, text, cut, &wire);
		data_stuff(&start, text + cut, sizeof(text) - 1 - cut, &wire);
		buf_adds(&wire, "\r\n.\r\n");
		data_start(&r, DATA_FROM_SMTP);
		assert_int_equal(data_read(&r, wire.data, wire.len, &back),
		    wire.len);
		assert_true(data_ended(&r));
		assert_int_equal(back.len, sizeof(text) - 1 + 2);
		assert_memory_equal(back.data, text, sizeof(text) - 1);
		buf_free(&wire);
		buf_free(&back);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_smtp),
		cmocka_unit_test(test_stdin),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_finish),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_dot_at_chunk_start),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_stuff_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
