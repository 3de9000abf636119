/* SPDX-License-Identifier: ISC */
/*
 * The sendmail command line: every flag that a peer knows, its value joined
 * and apart (CL-08), bundles, where the options end (CL-01, CL-02), the names
 * it is called by (CL-59); the value of an ignored option (CL-03, CL-04) is
 * never a recipient.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "sendmail_options.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { WORDS = 10 };

/* Runs it on copies of the words, NULL-ended, that a sanitizer guards. The
 * copies are freed with free_words(). */
static bool
read_options(struct sendmail_options *o, const char *const *words,
    char **argv, const char **bad)
{
	int argc = 0;

	for (; words[argc]; argc++)
		argv[argc] = xstrdup(words[argc]);
	argv[argc] = NULL;
	return sendmail_options(o, argc, argv, bad);
}

static void
free_words(char **argv)
{
	for (; *argv; argv++)
		free(*argv);
}

/* All that was understood, on one line: letters for the flags, then values,
 * then the recipients behind a '|'. */
static char *
describe(const struct sendmail_options *o)
{
	static const char *const modes[] = {"", "list ", "aliases ", "run ",
		"session ", "verify ", "daemon ", "unsupported "};
	struct buf out = {0};

	buf_adds(&out, modes[o->mode]);
	buf_adds(&out, o->extract ? "t" : "");
	buf_adds(&out, o->dot_is_content ? "i" : "");
	buf_adds(&out, o->verbose ? "v" : "");
	buf_adds(&out, o->queue_only ? "q" : "");
	buf_adds(&out, o->quiet ? "e" : "");
	if (o->queue_id)
		buf_addf(&out, " I=%s", o->queue_id);
	if (o->sender)
		buf_addf(&out, " f=%s", o->sender);
	if (o->full_name)
		buf_addf(&out, " F=%s", o->full_name);
	if (o->config)
		buf_addf(&out, " C=%s", o->config);
	if (o->notify)
		buf_addf(&out, " N=%s", o->notify);
	if (o->returns)
		buf_addf(&out, " R=%s", o->returns);
	if (o->envelope_id)
		buf_addf(&out, " V=%s", o->envelope_id);
	buf_addc(&out, '|');
	for (size_t i = 0; i < o->recipient_count; i++)
		buf_addf(&out, "%s%s", i ? "," : "", o->recipients[i]);
	return buf_take(&out);
}

struct options_case {
	const char *words[WORDS];
	const char *result; /* as describe(), or the option at fault */
};

static void
check_cases(const struct options_case *cases, size_t count, bool good)
{
	for (size_t i = 0; i < count; i++) {
		const struct options_case *t = &cases[i];
		struct sendmail_options o;
		const char *bad = NULL;
		char *argv[WORDS];
		char *result;

		assert_int_equal(read_options(&o, t->words, argv, &bad), good);
		result = good ? describe(&o) : xstrdup(bad);
		if (strcmp(result, t->result) != 0)
			fail_msg("%s %s %s ...: \"%s\", not \"%s\"",
			    t->words[1], t->words[2] ? t->words[2] : "",
			    t->words[2] && t->words[3] ? t->words[3] : "",
			    result, t->result);
		free(result);
		free_words(argv);
	}
}

static const struct options_case flag_cases[] = {
	{{"sendmail"}, "|"},
	{{"sendmail", "a@x"}, "|a@x"},
	{{"sendmail", "a@x", "b@x"}, "|a@x,b@x"},
	{{"sendmail", "-t"}, "t|"},
	{{"sendmail", "-t", "a@x"}, "t|a@x"},
	{{"sendmail", "-i", "a@x"}, "i|a@x"},
	{{"sendmail", "-v", "a@x"}, "v|a@x"},
	{{"sendmail", "-G", "a@x"}, "|a@x"},
	{{"sendmail", "-U", "a@x"}, "|a@x"},
	{{"sendmail", "-m", "a@x"}, "|a@x"},
	{{"sendmail", "-n", "a@x"}, "|a@x"},
	{{"sendmail", "-x", "a@x"}, "|a@x"},
	/* letters together */
	{{"sendmail", "-ti"}, "ti|"},
	{{"sendmail", "-it"}, "ti|"},
	{{"sendmail", "-tiv", "a@x"}, "tiv|a@x"},
	{{"sendmail", "-vnGUxt", "a@x"}, "tv|a@x"},
	{{"sendmail", "-tm", "a@x"}, "t|a@x"},
	{{"sendmail", "-tf", "s@x", "a@x"}, "t f=s@x|a@x"},
	{{"sendmail", "-tfs@x", "a@x"}, "t f=s@x|a@x"},
	{{"sendmail", "-toi"}, "ti|"},
	{{"sendmail", "-ioem", "-todi", "a@x"}, "ti|a@x"},
	/* as programs call it */
	{{"/usr/sbin/sendmail", "-FCronDaemon", "-i", "-B8BITMIME", "-oem",
	  "root"}, "i F=CronDaemon|root"},
	{{"/usr/sbin/sendmail", "-t", "-i"}, "ti|"},
	{{"sendmail", "-t", "-oi", "-f", "www@x"}, "ti f=www@x|"},
	{{"sendmail", "-i", "-f", "s@x", "--", "a@x"}, "i f=s@x|a@x"},
	{{"sendmail", "-oi", "-odi", "-oem", "-f", "s@x", "-r", "r@x", "a@x"},
	    "i f=r@x|a@x"},
	{{"sendmail", "-G", "-i", "-L", "tag", "-fs@x", "a@x"},
	    "i f=s@x|a@x"},
};

static void
test_flags(void **state)
{
	(void)state;
	check_cases(flag_cases, COUNT(flag_cases), true);
}

/* An option letter in front of m, which takes no value of its own. */
static void
test_metoo_in_front(void **state)
{
	static const struct options_case cases[] = {
		{{"sendmail", "-mt", "a@x"}, "t|a@x"},
		{{"sendmail", "-mi", "a@x"}, "i|a@x"},
		{{"sendmail", "-mfs@x", "a@x"}, " f=s@x|a@x"},
	};

	(void)state;
	check_cases(cases, COUNT(cases), true);
}

static const struct options_case value_cases[] = {
	{{"sendmail", "-fs@x", "a@x"}, " f=s@x|a@x"},
	{{"sendmail", "-f", "s@x", "a@x"}, " f=s@x|a@x"},
	{{"sendmail", "-rs@x", "a@x"}, " f=s@x|a@x"},
	{{"sendmail", "-r", "s@x", "a@x"}, " f=s@x|a@x"},
	{{"sendmail", "-f<>", "a@x"}, " f=<>|a@x"},
	{{"sendmail", "-f", "<>", "a@x"}, " f=<>|a@x"},
	{{"sendmail", "-f", "", "a@x"}, " f=|a@x"},
	{{"sendmail", "-f", "-i", "a@x"}, " f=-i|a@x"},
	{{"sendmail", "-f", "--", "a@x"}, " f=--|a@x"},
	{{"sendmail", "-fi", "a@x"}, " f=i|a@x"},
	{{"sendmail", "-f", "s@x", "-f", "r@x", "a@x"}, " f=r@x|a@x"},
	{{"sendmail", "-f", "a@s\nRCPT TO:<z@z>", "a@x"},
	    " f=a@s\nRCPT TO:<z@z>|a@x"},
	{{"sendmail", "-FCronDaemon", "a@x"}, " F=CronDaemon|a@x"},
	{{"sendmail", "-F", "A B", "a@x"}, " F=A B|a@x"},
	{{"sendmail", "-F", "", "a@x"}, " F=|a@x"},
	{{"sendmail", "-Ffoo", "-fs@x", "a@x"}, " f=s@x F=foo|a@x"},
	{{"sendmail", "-C/etc/x", "a@x"}, " C=/etc/x|a@x"},
	{{"sendmail", "-C", "/etc/x", "a@x"}, " C=/etc/x|a@x"},
	{{"sendmail", "-oi", "a@x"}, "i|a@x"},
	{{"sendmail", "-o", "i", "a@x"}, "i|a@x"},
	{{"sendmail", "-N", "never", "a@x"}, " N=never|a@x"},
	{{"sendmail", "-Nfailure,delay", "a@x"}, " N=failure,delay|a@x"},
	{{"sendmail", "-tN", "success", "-i"}, "ti N=success|"},
	{{"sendmail", "-R", "hdrs", "a@x"}, " R=hdrs|a@x"},
	{{"sendmail", "-Rfull", "a@x"}, " R=full|a@x"},
	{{"sendmail", "-V", "id", "a@x"}, " V=id|a@x"},
	{{"sendmail", "-V-t", "a@x"}, " V=-t|a@x"},
	{{"sendmail", "-N", "x", "-N", "never", "-R", "-t", "-V", ""},
	    " N=never R=-t V=|"},
};

static void
test_values(void **state)
{
	(void)state;
	check_cases(value_cases, COUNT(value_cases), true);
}

/* Accepted and without effect. The value is one that would have an effect if
 * it were read as an option, or be a recipient. */
static void
test_ignored(void **state)
{
	static const char *const options[] = {
		"-A", "-B", "-D", "-H", "-L", "-M", "-O", "-S", "-X", "-a",
		"-e", "-h", "-p", "-w"};

	(void)state;
	for (size_t i = 0; i < COUNT(options); i++) {
		char *joined = xasprintf("%stiv", options[i]);
		struct options_case cases[] = {
			{{"sendmail", joined, "a@x"}, "|a@x"},
			{{"sendmail", options[i], "val", "a@x"}, "|a@x"},
			{{"sendmail", "-t", options[i], "val", "-i", "a@x"},
			    "ti|a@x"},
			{{"sendmail", options[i], "z@z", "--", "a@x"},
			    "|a@x"},
		};

		check_cases(cases, COUNT(cases), true);
		free(joined);
	}
}

/* The values that are in use. */
static const struct options_case ignored_cases[] = {
	{{"sendmail", "-Am", "a@x"}, "|a@x"},
	{{"sendmail", "-Ac", "a@x"}, "|a@x"},
	{{"sendmail", "-B", "8BITMIME", "a@x"}, "|a@x"},
	{{"sendmail", "-h", "5", "a@x"}, "|a@x"},
	{{"sendmail", "-h5", "a@x"}, "|a@x"},
	{{"sendmail", "-em", "a@x"}, "|a@x"},
	{{"sendmail", "-e", "m", "a@x"}, "|a@x"},
	{{"sendmail", "-d", "a@x"}, "|a@x"},
	{{"sendmail", "-d0.1", "a@x"}, "|a@x"},
	{{"sendmail", "-X/tmp/transcript", "a@x"}, "|a@x"},
	{{"sendmail", "-X", "/tmp/transcript", "a@x"}, "|a@x"},
	{{"sendmail", "-OQueueDirectory=/tmp", "a@x"}, "|a@x"},
	{{"sendmail", "-O", "QueueDirectory=/tmp", "a@x"}, "|a@x"},
	{{"sendmail", "-oQ/tmp", "a@x"}, "|a@x"},
	{{"sendmail", "-odb", "a@x"}, "|a@x"},
	{{"sendmail", "-odi", "a@x"}, "|a@x"},
	{{"sendmail", "-oem", "a@x"}, "|a@x"},
	{{"sendmail", "-oee", "a@x"}, "|a@x"},
	{{"sendmail", "-oit", "a@x"}, "|a@x"},
	{{"sendmail", "-o", "dq", "a@x"}, "q|a@x"},
	{{"sendmail", "-odd", "a@x"}, "q|a@x"},
	{{"sendmail", "-odq", "-odb", "a@x"}, "|a@x"},
	{{"sendmail", "-oeq", "a@x"}, "e|a@x"},
	{{"sendmail", "-e", "q", "a@x"}, "e|a@x"},
	{{"sendmail", "-oeq", "-oem", "a@x"}, "|a@x"},
	{{"sendmail", "-oep", "-oew", "a@x"}, "|a@x"},
	{{"sendmail", "-Mrv", "-Mc", "a@x"}, "|a@x"},
	{{"sendmail", "-Qwhy", "a@x"}, "|a@x"},
	{{"sendmail", "-t-i"}, "ti|"},
	{{"sendmail", "-om", "a@x"}, "|a@x"},
};

static void
test_ignored_values(void **state)
{
	(void)state;
	check_cases(ignored_cases, COUNT(ignored_cases), true);
}

static const struct options_case end_cases[] = {
	{{"sendmail", "--"}, "|"},
	{{"sendmail", "--", "a@x"}, "|a@x"},
	{{"sendmail", "--", "-bs"}, "|-bs"},
	{{"sendmail", "--", "-oQ/tmp", "-C/etc/passwd", "--", "-t"},
	    "|-oQ/tmp,-C/etc/passwd,--,-t"},
	{{"sendmail", "-t", "--", "-i"}, "t|-i"},
	{{"sendmail", "-"}, "|-"},
	{{"sendmail", "-", "-t"}, "|-,-t"},
	{{"sendmail", "-i", "-", "a@x"}, "i|-,a@x"},
	{{"sendmail", ""}, "|"},
	{{"sendmail", "", "-t"}, "|,-t"},
	/* behind the first recipient everything is one */
	{{"sendmail", "a@x", "-t"}, "|a@x,-t"},
	{{"sendmail", "a@x", "-bp"}, "|a@x,-bp"},
	{{"sendmail", "a@x", "--", "b@x"}, "|a@x,--,b@x"},
};

static void
test_end(void **state)
{
	(void)state;
	check_cases(end_cases, COUNT(end_cases), true);
}

static const struct options_case mode_cases[] = {
	{{"sendmail", "-bm", "a@x"}, "|a@x"},
	{{"sendmail", "-b", "m", "a@x"}, "|a@x"},
	{{"sendmail", "-bp"}, "list |"},
	{{"sendmail", "-b", "p"}, "list |"},
	{{"sendmail", "-bi"}, "aliases |"},
	{{"sendmail", "-I"}, "aliases |"},
	{{"sendmail", "-q"}, "run |"},
	{{"sendmail", "-q30m"}, "run |"},
	{{"sendmail", "-q1h", "-v"}, "run v|"},
	{{"sendmail", "-qIabc"}, "run  I=abc|"},
	{{"sendmail", "-qRabc"}, "run |"},
	{{"sendmail", "-qIabc", "-q"}, "run |"},
	{{"sendmail", "-q", "-v"}, "run v|"},
	/* a message is not lost for it */
	{{"sendmail", "-q15m", "-t"}, "t|"},
	{{"sendmail", "-q", "a@x"}, "|a@x"},
	{{"sendmail", "-q", "15m"}, "run |15m"},
	{{"sendmail", "-q", "1h30m"}, "|1h30m"},
	{{"sendmail", "-q", "m"}, "|m"},
	{{"sendmail", "-q15m", "-bd"}, "daemon |"},
	{{"sendmail", "-bd", "-q1h"}, "daemon |"},
	{{"sendmail", "-L", "sm-mta", "-bd", "-q1h"}, "daemon |"},
	{{"sendmail", "-bD"}, "daemon |"},
	{{"sendmail", "-qf", "-v"}, "run v|"},
	{{"sendmail", "-qp5m"}, "run |"},
	{{"sendmail", "-Ac", "-q"}, "run |"},
	{{"sendmail", "-bp", "-q"}, "list |"},
	{{"sendmail", "-bs"}, "session |"},
	{{"sendmail", "-b", "s"}, "session |"},
	{{"sendmail", "-bs", "-oi", "-fs@x"}, "session i f=s@x|"},
	{{"sendmail", "-bv", "a@x"}, "verify |a@x"},
	{{"sendmail", "-bt"}, "unsupported |"},
	{{"sendmail", "-bX"}, "unsupported |"},
	{{"sendmail", "-bs", "-bm", "a@x"}, "|a@x"},
	/* the names */
	{{"mailq"}, "list |"},
	{{"/usr/bin/mailq", "-v"}, "list v|"},
	{{"mailq", "-Ac"}, "list |"},
	{{"newaliases"}, "aliases |"},
	{{"/usr/bin/newaliases", "-v"}, "aliases v|"},
	{{"/mailq/sendmail", "a@x"}, "|a@x"},
	{{"mailqueue", "a@x"}, "|a@x"},
	{{"", "a@x"}, "|a@x"},
};

static void
test_modes(void **state)
{
	(void)state;
	check_cases(mode_cases, COUNT(mode_cases), true);
}

/* What the person is told about. */
static void
test_unsupported_letters(void **state)
{
	static const struct options_case cases[] = {
		{{"sendmail", "-bX"}, "X"},
		{{"sendmail", "-v", "-bP"}, "P"},
		{{"sendmail", "-b", "h"}, "h"},
		{{"sendmail", "-ivbt"}, "t"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct sendmail_options o;
		const char *bad = NULL;
		char *argv[WORDS];

		assert_true(read_options(&o, cases[i].words, argv, &bad));
		assert_int_equal(o.mode, MODE_UNSUPPORTED);
		assert_int_equal(o.unsupported, cases[i].result[0]);
		free_words(argv);
	}
}

static const struct options_case bad_cases[] = {
	{{"sendmail", "-f"}, "-f"},
	{{"sendmail", "-t", "-f"}, "-f"},
	{{"sendmail", "-tf"}, "-tf"},
	{{"sendmail", "-F"}, "-F"},
	{{"sendmail", "-r"}, "-r"},
	{{"sendmail", "-C"}, "-C"},
	{{"sendmail", "-X"}, "-X"},
	{{"sendmail", "-O"}, "-O"},
	{{"sendmail", "--help"}, "--help"},
	{{"sendmail", "-t", "--read-envelope-from"}, "--read-envelope-from"},
	{{"sendmail", "-i", "-f", "s@x", "-N"}, "-N"},
};

static void
test_value_missing(void **state)
{
	(void)state;
	check_cases(bad_cases, COUNT(bad_cases), false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_metoo_in_front),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_ignored),
		cmocka_unit_test(test_ignored_values),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_unsupported_letters),
		cmocka_unit_test(test_value_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
