/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "aliases.h"
#include "buf.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What the file says, as "name=target,target;" in the order of names. */
struct file_case {
	const char *text, *aliases, *errors, *warnings;
};

static const struct file_case cases[] = {
	{"", "", "", ""},
	{"# a: b\n\n  \t\n \t# c: d\n", "", "", ""},
	{"root: a@b.test\n", "root=a@b.test;", "", ""},
	{"root: a@b.test", "root=a@b.test;", "", ""},
	{"root: a@b.test\r\nb: c\r\n", "b=c;root=a@b.test;", "", ""},
	{"Root :a, b@c.test ,\n# in between\n\td\n", "Root=a,b@c.test,d;", "",
	    ""},
	{"root:\n a\n b:\n", NULL, "F:1: \"a b:\" is not an address\n", ""},
	{"\"j. \\\"doe\" : \\root, \"x, y\"@z.test, X <a@b.test> (c, d)\n",
	    "j. \"doe=\\root,\"x, y\"@z.test,a@b.test;", "", ""},
	{"a: root\nroot: root, b@c.test\n", "a=root;root=root,b@c.test;", "",
	    ""},
	/* left out */
	{"a: |/bin/x, \"|/bin/x, y\", /dev/null, \"/a b\", :include:/l, b\n",
	    "a=b;", "",
	    "F:1: \"|/bin/x\" is left out: smarthost runs no command\n"
	    "F:1: \"\"|/bin/x, y\"\" is left out: smarthost runs no command\n"
	    "F:1: \"/dev/null\" is left out: smarthost writes to no file\n"
	    "F:1: \"\"/a b\"\" is left out: smarthost writes to no file\n"
	    "F:1: \":include:/l\" is left out: smarthost reads no list from a "
	    "file; write the addresses here\n"},
	{"a: |x\n", "a=;", "",
	    "F:1: \"|x\" is left out: smarthost runs no command\n"},
	{"a: b\nA: c\n", "a=b;", "",
	    "F:2: \"A\" is left out: it has an alias already\n"},
	{"a@b.test: c\n", "", "", "F:1: \"a@b.test\" is left out: only names "
	    "of this host have aliases\n"},
	/* wrong */
	{"a: b\n\nc\n", NULL, "F:3: \"c\" is not of the form name: address, "
	    "address\n", ""},
	{": b\n", NULL, "F:1: \"\" is not of the form name: address, "
	    "address\n", ""},
	{"\"a: b\n", NULL, "F:1: \"\"a: b\" is not of the form name: address, "
	    "address\n", ""},
	{"a:\n", NULL, "F:1: \"a\" says nothing about where its mail goes\n",
	    ""},
	{"a: b c\n", NULL, "F:1: \"b c\" is not an address\n", ""},
	{"a: b@\n", NULL, "F:1: \"b@\" is not an address\n", ""},
	{"a: b@c.test # to him\n", NULL,
	    "F:1: \"b@c.test # to him\" is not an address\n", ""},
	{"  a: b\n", NULL, "F:1: goes on with nothing: a name begins at the "
	    "left margin\n", ""},
	{"a: b\nb: A\n", NULL, "F:1: \"a\" is in a loop, or leads through "
	    "more than 50 aliases\n", ""},
	{"x: a, y@z.test\na: b\nb: c\nc: a\n", NULL, "F:2: \"a\" is in a "
	    "loop, or leads through more than 50 aliases\n", ""},
};

static void
add_aliases(struct buf *out, const struct aliases *all)
{
	for (size_t i = 0; i < all->count; i++) {
		buf_addf(out, "%s=", all->list[i].name);
		for (size_t k = 0; k < all->list[i].count; k++)
			buf_addf(out, "%s%s", k ? "," : "",
			    all->list[i].targets[k]);
		buf_adds(out, ";");
	}
}

static void
test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf errors = {0}, warnings = {0}, text = {0};
		const struct aliases_talk talk = {&errors, &warnings};
		struct aliases *all = aliases_parse("F", cases[i].text,
		    strlen(cases[i].text), &talk);

		if (!cases[i].aliases) /* one sentence of a loop is enough */
			errors.len = strcspn(errors.data, "\n") + 1,
			errors.data[errors.len] = '\0';
		assert_string_equal(buf_text(&errors), cases[i].errors);
		assert_string_equal(buf_text(&warnings), cases[i].warnings);
		add_aliases(&text, all);
		if (cases[i].aliases)
			assert_string_equal(buf_text(&text), cases[i].aliases);
		aliases_free(all);
		buf_free(&errors);
		buf_free(&warnings);
		buf_free(&text);
	}
}

/* A chain of aliases, whose names are in the order of the chain or in the other
 * one. */
static void
test_long_chains(void **state)
{
	(void)state;
	for (int way = -1; way <= 1; way += 2)
		for (int links = 40; links <= 200; links += 160) {
			struct buf errors = {0}, text = {0};
			const struct aliases_talk talk = {&errors, &errors};
			int first = way > 0 ? 1000 : 9000;

			for (int i = 0; i < links; i++)
				buf_addf(&text, "a%d: a%d\n", first + way * i,
				    first + way * (i + 1));
			aliases_free(aliases_parse("F", text.data, text.len,
			    &talk));
			assert_int_equal(errors.len > 0, links > 50);
			buf_free(&errors);
			buf_free(&text);
		}
}

/* A chain of aliases, and a NUL. */
static void
test_bounds(void **state)
{
	(void)state;
	for (unsigned links = 50; links <= 60; links += 10) {
		struct buf errors = {0}, warnings = {0}, text = {0};
		const struct aliases_talk talk = {&errors, &warnings};
		struct aliases *all;

		for (unsigned i = 0; i < links; i++)
			buf_addf(&text, "a%u: a%u\n", i, i + 1);
		all = aliases_parse("F", text.data, text.len, &talk);
		assert_int_equal(errors.len > 0, links > 50);
		aliases_free(all);
		buf_clear(&errors);
		aliases_free(aliases_parse("F", "a: b\0c\n", 7, &talk));
		assert_string_equal(errors.data, "F:1: holds a NUL byte\n");
		buf_free(&errors);
		buf_free(&warnings);
		buf_free(&text);
	}
}

static void
test_find(void **state)
{
	static const char text[] = "b: x\nA: y\nc: z\n";
	struct buf errors = {0};
	const struct aliases_talk talk = {&errors, &errors};
	struct aliases *all = aliases_parse("F", text, sizeof(text) - 1, &talk);

	(void)state;
	assert_string_equal(aliases_find(all, "a")->targets[0], "y");
	assert_string_equal(aliases_find(all, "B")->targets[0], "x");
	assert_null(aliases_find(all, ""));
	assert_null(aliases_find(all, "d"));
	aliases_free(all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_long_chains),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
