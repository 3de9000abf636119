/* SPDX-License-Identifier: ISC */
/*
 * Header lines over 998 bytes: where they are folded, what unfolding gives
 * back, and that it is done once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "fold.h"

/* text times count. */
static char *
many(const char *text, size_t count)
{
	struct buf out = {0};

	while (count--)
		buf_adds(&out, text);
	return buf_take(&out);
}

static size_t
longest_line(const char *text)
{
	size_t longest = 0;

	for (; *text; text += strcspn(text, "\r") + 2) {
		size_t len = strcspn(text, "\r");

		longest = len > longest ? len : longest;
	}
	return longest;
}

/* Without the CRLFs in front of white space; blanks at the start of such a line
 * are left out too where they were put in. */
static char *
unfold(const char *text, const char *inserted)
{
	struct buf out = {0};
	size_t len = strlen(inserted);

	for (; *text; text++) {
		if (strncmp(text, inserted, len) == 0)
			text += len - 1;
		else
			buf_addc(&out, *text);
	}
	return buf_take(&out);
}

/* Folds "before" head times "text"; checks what must hold for all. */
static char *
check(const char *head, const char *text, size_t count, unsigned done)
{
	char *body = many(text, count);
	char *line = xasprintf("%s%s\r\n", head, body);
	struct buf header = {0};
	unsigned result;
	char *back, *once;

	buf_adds(&header, line);
	result = fold_header(&header);
	assert_int_equal(result, done);
	back = unfold(header.data, done & FOLD_SPACE ? "\r\n " : "\r\n");
	if (done == FOLD_CLEAN || done == FOLD_SPACE) {
		line[strlen(line) - 2] = '\0';
		if (done == FOLD_SPACE)
			back[strlen(back) - 2] = '\0';
		assert_string_equal(back, line);
		assert_true(longest_line(header.data) <= 998);
	}
	once = xstrdup(header.data);
	assert_int_equal(fold_header(&header) & ~(unsigned)FOLD_LEFT, 0);
	assert_string_equal(header.data, once);
	free(once);
	free(back);
	free(line);
	free(body);
	return buf_take(&header);
}

static void
test_short(void **state)
{
	(void)state;
	free(check("X: ", "a", 995, 0));
	free(check("Subject: a b c", " d", 100, 0));
	free(check("", "", 0, 0));
}

static void
test_white_space(void **state)
{
	(void)state;
	free(check("Subject: word", " word", 1000, FOLD_CLEAN));
	free(check("Subject: word", "\tword", 1000, FOLD_CLEAN));
	free(check("References: <a@b>", " <0123456789@example.test>", 500,
	    FOLD_CLEAN));
	/* only behind the colon */
	free(check("X-Long-Name-Of-It: ", "a", 990, FOLD_CLEAN));
}

static void
test_commas(void **state)
{
	char *text;

	(void)state;
	free(check("To:a@example.test", ",b@example.test", 300, FOLD_SPACE));
	/* not in angle brackets, when there is a better place */
	text = check("X:<a,b>", ",<c,d>", 300, FOLD_SPACE);
	assert_null(strstr(text, "c,\r\n"));
	free(text);
	text = check("X:\"a,b\"", ",\"c,\\\"d\"", 300, FOLD_SPACE);
	assert_null(strstr(text, "c,\r\n"));
	free(text);
}

static void
test_words(void **state)
{
	(void)state;
	free(check("X:", "a", 5000, FOLD_SPACE));
	free(check("X: ", "a", 5000, FOLD_CLEAN | FOLD_SPACE));
}

/* What they are in front of goes on in another line, however many there are;
 * nothing else is missing. */
static void
check_end(const char *head, const char *text, size_t count, const char *wanted,
    unsigned done)
{
	char *out = check(head, text, count, done);

	assert_true(longest_line(out) <= 998);
	assert_string_equal(out, wanted);
	free(out);
}

static void
test_blanks_at_the_end(void **state)
{
	char *word = many("a", 997), *line = xasprintf("X: b\r\n %s", word);
	char *kept = xasprintf("%s\r\n", line);

	(void)state;
	check_end("X: a", " ", 2000, "X: a\r\n", FOLD_TRIMMED);
	check_end("X:", " \t", 500, "X:\r\n", FOLD_TRIMMED);
	check_end("X: a\r\n\t", "\t", 2000, "X: a\r\n\t\r\n", FOLD_TRIMMED);
	check_end(line, "", 0, kept, 0);
	check_end(line, " ", 1, kept, FOLD_TRIMMED);
	check_end(line, "\t", 2000, kept, FOLD_TRIMMED);
	check_end("X: {\"a\":1}", " ", 2000, "X: {\"a\":1}\r\n",
	    FOLD_TRIMMED);
	free(kept);
	free(line);
	free(word);
}

/* What tells a provider what to do. */
static void
test_json(void **state)
{
	char *text;

	(void)state;
	text = check("X-SMTPAPI: {\"to\":[\"a@x.test\"",
	    ",\"b, c@x.test\"", 400, FOLD_SPACE);
	assert_null(strstr(text, "b,\r\n"));
	free(text);
	free(check("X-SMTPAPI: {\"to\": [\"a@x.test\"", ", \"b@x.test\"", 400,
	    FOLD_CLEAN));
	/* a string of it is folded where it has blanks, and not cut */
	free(check("X-SMTPAPI: {\"text\":\"a", " word", 400, FOLD_CLEAN));
	text = check("X-SMTPAPI:{\"token\":\"", "a", 3000, FOLD_LEFT);
	assert_int_equal(longest_line(text), 3000 + 20);
	free(text);
}

/* Only the field that is too long changes. */
static void
test_others(void **state)
{
	char *body = many(" word", 300);
	char *text = xasprintf("A: 1\r\n\t2\r\nB:%s\r\nC:3\r\n", body);
	struct buf header = {0};

	(void)state;
	buf_adds(&header, text);
	assert_int_equal(fold_header(&header), FOLD_CLEAN);
	assert_int_equal(strncmp(header.data, "A: 1\r\n\t2\r\nB: word", 16), 0);
	assert_non_null(strstr(header.data, " word\r\nC:3\r\n"));
	buf_free(&header);
	free(text);
	free(body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_white_space),
		cmocka_unit_test(test_commas),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_blanks_at_the_end),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
