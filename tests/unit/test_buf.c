/* SPDX-License-Identifier: ISC */
/*
 * Growable bytes and base64.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(s) s, sizeof(s) - 1

static void
test_empty(void **state)
{
	struct buf b = {0};
	char *text;

	(void)state;
	assert_string_equal(buf_text(&b), "");
	buf_clear(&b);
	buf_free(&b);
	buf_wipe(&b);
	assert_null(b.data);
	text = buf_take(&b);
	assert_string_equal(text, "");
	free(text);
	buf_add(&b, "", 0);
	assert_int_equal(b.len, 0);
	assert_string_equal(buf_text(&b), "");
	buf_free(&b);
	assert_null(b.data);
}

/* One byte at a time across many doublings, NUL bytes among them. */
static void
test_growth(void **state)
{
	struct buf b = {0};

	(void)state;
	for (size_t i = 0; i < 100000; i++) {
		buf_addc(&b, (char)(i % 251));
		assert_int_equal(b.len, i + 1);
		assert_true(b.size > b.len);
		assert_int_equal(b.data[b.len], '\0');
	}
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal((unsigned char)b.data[i], i % 251);
	assert_true(b.size < 4 * b.len);
	buf_free(&b);
}

/* Every size around the first allocation, in one step and in two. */
static void
test_sizes(void **state)
{
	char bytes[300];

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	for (size_t n = 0; n < sizeof(bytes); n++) {
		struct buf b = {0};

		buf_add(&b, bytes, n);
		assert_int_equal(strlen(buf_text(&b)), n);
		buf_add(&b, bytes, n);
		assert_int_equal(strlen(buf_text(&b)), 2 * n);
		assert_int_equal(b.len, 2 * n);
		buf_free(&b);
	}
}

static void
test_text(void **state)
{
	struct buf b = {0};
	size_t size;
	char *text;

	(void)state;
	buf_adds(&b, "one ");
	buf_addf(&b, "%s %d%c", "two", 3, '!');
	buf_addf(&b, "%s", "");
	assert_string_equal(buf_text(&b), "one two 3!");
	assert_int_equal(b.len, 10);

	size = b.size;
	buf_clear(&b);
	assert_string_equal(buf_text(&b), "");
	assert_int_equal(b.len, 0);
	assert_int_equal(b.size, size);

	/* longer than what is reserved */
	buf_addf(&b, "<%0500d>", 7);
	assert_int_equal(b.len, 502);
	assert_string_equal(buf_text(&b) + 499, "07>");

	text = buf_take(&b);
	assert_int_equal(strlen(text), 502);
	assert_null(b.data);
	assert_int_equal(b.len + b.size, 0);
	free(text);

	buf_adds(&b, "secret");
	buf_wipe(&b);
	assert_null(b.data);
	assert_int_equal(b.len + b.size, 0);
}

static void
test_strings(void **state)
{
	char *s = xstrdup("abc");

	(void)state;
	assert_string_equal(s, "abc");
	free(s);
	s = xstrndup("abcdef", 3);
	assert_string_equal(s, "abc");
	free(s);
	s = xstrndup("", 0);
	assert_string_equal(s, "");
	free(s);
	s = xasprintf("%d-%s", 5, "x");
	assert_string_equal(s, "5-x");
	free(s);
	s = xasprintf("%s", "");
	assert_string_equal(s, "");
	free(s);
	s = xcalloc(3, 2);
	assert_memory_equal(s, "\0\0\0\0\0", 6);
	s = xrealloc(s, 10, 2);
	assert_memory_equal(s, "\0\0\0\0\0", 6);
	free(s);
	free(xmalloc(0));
	free(xcalloc(0, 0));
	free(xrealloc(NULL, 0, 0));
}

/* A size that overflows is no memory: the process ends with 75, at once. */
static void
test_out_of_memory(void **state)
{
	int status = 0;
	pid_t child = fork();

	(void)state;
	if (!child) {
		close(STDERR_FILENO);
		xrealloc(NULL, SIZE_MAX / 2, 3);
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EX_TEMPFAIL);
}

struct printable_case {
	const char *s;
	size_t len;
	size_t max;
	const char *printable;
};

static const struct printable_case printable_cases[] = {
	{BYTES(""), 10, ""},
	{BYTES("abc"), 10, "abc"},
	{BYTES("abc"), 3, "abc"},
	{BYTES("abc"), 2, "ab"},
	{BYTES("abc"), 0, ""},
	{BYTES(" ~"), 10, " ~"},
	{BYTES("\x1f\x7f"), 10, "??"},
	{BYTES("a\r\nb\tc\0d"), 10, "a??b?c?d"},
	{BYTES("\x80\xff\xc3\xa9\x1b["), 10, "?????["},
	{BYTES("%s%n"), 10, "%s%n"},
};

static void
test_printable(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(printable_cases); i++) {
		const struct printable_case *t = &printable_cases[i];
		struct buf b = {0};

		buf_adds(&b, ">");
		buf_add_printable(&b, t->s, t->len, t->max);
		assert_string_equal(buf_text(&b) + 1, t->printable);
		assert_int_equal(b.len, 1 + strlen(t->printable));
		buf_free(&b);
	}
}

struct base64_case {
	const char *bytes;
	size_t len;
	const char *text;
};

/* The first seven are RFC 4648 section 10. */
static const struct base64_case base64_cases[] = {
	{BYTES(""), ""},
	{BYTES("f"), "Zg=="},
	{BYTES("fo"), "Zm8="},
	{BYTES("foo"), "Zm9v"},
	{BYTES("foob"), "Zm9vYg=="},
	{BYTES("fooba"), "Zm9vYmE="},
	{BYTES("foobar"), "Zm9vYmFy"},
	{BYTES("\0user\0pass"), "AHVzZXIAcGFzcw=="},
	{BYTES("\0"), "AA=="},
	{BYTES("\0\0\0"), "AAAA"},
	{BYTES("\xff\xff\xff"), "////"},
	{BYTES("\xfb\xef\xbe"), "++++"},
	{BYTES("\xff\xfe"), "//4="},
};

static void
test_base64(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(base64_cases); i++) {
		const struct base64_case *t = &base64_cases[i];
		struct buf b = {0};

		buf_adds(&b, ">");
		buf_add_base64(&b, t->bytes, t->len);
		assert_string_equal(buf_text(&b) + 1, t->text);
		buf_clear(&b);
		buf_adds(&b, ">");
		assert_true(buf_add_unbase64(&b, t->text, strlen(t->text)));
		assert_int_equal(b.len, 1 + t->len);
		assert_memory_equal(b.data + 1, t->bytes, t->len);
		assert_int_equal(b.data[b.len], '\0');
		buf_free(&b);
	}
}

/* There and back, for all lengths and byte values. */
static void
test_base64_round(void **state)
{
	unsigned char bytes[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(255 - i);
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		struct buf text = {0}, back = {0};

		buf_add_base64(&text, bytes, n);
		assert_int_equal(text.len, (n + 2) / 3 * 4);
		assert_true(buf_add_unbase64(&back, buf_text(&text),
		    text.len));
		assert_int_equal(back.len, n);
		if (n)
			assert_memory_equal(back.data, bytes, n);
		buf_free(&text);
		buf_free(&back);
	}
}

struct bad_base64_case {
	const char *s;
	size_t len;
};

static const struct bad_base64_case bad_base64_cases[] = {
	{BYTES("Z")},
	{BYTES("Zg")},
	{BYTES("Zg=")},
	{BYTES("Zm9vY")},
	{BYTES("Zm9vYg")},
	{BYTES("=")},
	{BYTES("====")},
	{BYTES("Z===")},
	{BYTES("=Zg=")},
	{BYTES("Zg=A")},
	{BYTES("Zg==Zg==")},
	{BYTES("Zm8=Zm9v")},
	{BYTES("Zm9v====")},
	{BYTES("Zm9v\r\n")},
	{BYTES("Zm9v\n   ")},
	{BYTES(" Zm9")},
	{BYTES("Zm 9")},
	{BYTES("Zm9\0")},
	{BYTES("\0\0\0\0")},
	{BYTES("Zm9-")},
	{BYTES("Zm9_")},
	{BYTES("Zm9*")},
	{BYTES("Zm9\xc3")},
	{BYTES("Zm9vZm9vZm9*")},
};

static void
test_base64_strict(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bad_base64_cases); i++) {
		const struct bad_base64_case *t = &bad_base64_cases[i];
		struct buf b = {0};

		buf_adds(&b, "before");
		if (buf_add_unbase64(&b, t->s, t->len))
			fail_msg("\"%s\" is taken", t->s);
		assert_int_equal(b.len, 6);
		assert_string_equal(buf_text(&b), "before");
		buf_free(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64_round),
		cmocka_unit_test(test_base64_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
