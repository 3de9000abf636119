/* SPDX-License-Identifier: ISC */
/*
 * The arguments of MAIL and RCPT: cases SE-25 to SE-30, with what SE-19, SE-21
 * to SE-24, CL-02 and CL-38 ask of the addresses and of the xtext in them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "command.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { MAX_MESSAGE = 1000 };

struct command_case {
	const char *arguments;
	const char *result; /* the mailbox, or the code that refuses it */
};

#define LETTERS_30 "abcdefghijklmnopqrstuvwxyz0123"
#define LETTERS_60 LETTERS_30 LETTERS_30
#define LETTERS_63 LETTERS_60 "ijk"
#define LETTERS_64 LETTERS_63 "l"
#define LETTERS_189 LETTERS_63 "." LETTERS_63 "." LETTERS_60 "i"

/* The same for both verbs, behind FROM or TO. */
static const struct command_case path_cases[] = {
	{":<a@b>", "a@b"},
	{":<a.b+c@d.example>", "a.b+c@d.example"},
	/* lenient and never a different address (SE-27) */
	{": <a@b>", "a@b"},
	{":   <a@b>", "a@b"},
	{" :<a@b>", "a@b"},
	{":a@b", "a@b"},
	{": a@b", "a@b"},
	{":<a@b> ", "a@b"},
	{":<a@b>   ", "a@b"},
	{":<a@b>X", "501"},
	{":<a@b>>", "501"},
	{":<a@b><c@d>", "501"},
	{":<a@b>,<c@d>", "501"},
	{":<a@b>\t", "501"},
	{":<a@b", "501"},
	{":<<a@b>", "501"},
	{":<<a@b>>", "501"},
	{":< a@b>", "501"},
	{":<a@b >", "501"},
	{":a@b>", "501"},
	{":Name <a@b>", "555"}, /* an address without a domain */
	{":\"a@b\"", "\"a@b\""},
	{"", "501"},
	{":", "501"},
	{": ", "501"},
	{"<a@b>", "501"},
	{" <a@b>", "501"},
	{"=<a@b>", "501"},
	{"X:<a@b>", "501"},
	{"::<a@b>", "501"},
	/* no domain (SE-25) */
	{":<postmaster>", "postmaster"},
	{":<Postmaster>", "Postmaster"},
	{":postmaster", "postmaster"},
	{":<a@>", "501"},
	{":<@b>", "501"},
	{":<@>", "501"},
	{":<a@b@c>", "501"},
	{":<a b@c>", "501"},
	{":<a@b..c>", "501"},
	{":<a@b c>", "501"},
	/* lengths (SE-26) */
	{":<" LETTERS_64 "@b>", LETTERS_64 "@b"},
	{":<" LETTERS_64 "m@b>", "501"},
	{":<a@" LETTERS_63 ".c>", "a@" LETTERS_63 ".c"},
	{":<a@" LETTERS_64 ".c>", "501"},
	{":<" LETTERS_64 "@" LETTERS_189 ">", LETTERS_64 "@" LETTERS_189},
	{":<" LETTERS_64 "@" LETTERS_189 "j>", "501"},
	{":" LETTERS_64 "@" LETTERS_189 "j", "501"},
	/* quoted, byte for byte (SE-21) */
	{":<\"a b\"@x>", "\"a b\"@x"},
	{":<\"a\\\"b\"@x>", "\"a\\\"b\"@x"},
	{":<\"a\\\\\"@x>", "\"a\\\\\"@x"},
	{":<\"a>b\"@x>", "\"a>b\"@x"},
	{":<\"@\"@x>", "\"@\"@x"},
	{":<\"\"@x>", "\"\"@x"},
	{":<\"a> SIZE=1\"@x>", "\"a> SIZE=1\"@x"},
	{":<\"\\\"@x>", "501"},
	{":<\"a\"b@x>", "501"},
	{":<\"a@x>", "501"},
	/* source routes are dropped (SE-22) */
	{":<@a,@b:c@d>", "c@d"},
	{":<@a:c@d>", "c@d"},
	{":<@a,@b>", "501"},
	{":<@a:>", "501"},
	{":<@a:@b>", "501"},
	/* address literals (SE-24) */
	{":<a@[1.2.3.4]>", "a@[1.2.3.4]"},
	{":<a@[IPv6:::1]>", "a@[IPv6:::1]"},
	{":<a@[]>", "501"},
	{":<a@[x>", "501"},
	{":<a@[1.2.3.4>", "501"},
	{":<a@[1.2.3.4]x>", "501"},
	{":<a@[1.2.3.400]>", "501"},
	/* not ASCII (SE-19) */
	{":<\xc3\xa9@b>", "553"},
	{":<a@\xc3\xa9>", "553"},
	{":<a\x80@b>", "553"},
	{":<\xff@b>", "553"},
	{":\xc3\xa9@b", "553"},
	/* what would be an option of a program (CL-02) */
	{":<-oQ/tmp@b>", "553"},
	{":<-a>", "553"},
	{":<a-@b>", "a-@b"},
	/* control bytes */
	{":<a\x01@b>", "501"},
	{":<a\tb@c>", "501"},
	{":<a@b\x7f>", "501"},
	/* a shell's and printf's words are only bytes (CL-35) */
	{":<`id`@x>", "`id`@x"},
	{":<|sh@x>", "|sh@x"},
	{":<%n%s@x>", "%n%s@x"},
	{":<$(id)@x>", "501"},
};

static const struct command_case mail_cases[] = {
	{"FROM:<>", ""},
	{"FROM: <>", ""},
	{"from:<>", ""},
	{"From:<a@b>", "a@b"},
	{"FROM:<> SIZE=1", ""},
	{"FROM:< >", "501"},
	{"TO:<a@b>", "501"},
	{"FRO:<a@b>", "501"},
	{"FROMX:<a@b>", "501"},
	{"", "501"},
	/* SIZE (SE-28) */
	{"FROM:<a@b> SIZE=0", "a@b"},
	{"FROM:<a@b> SIZE=999", "a@b"},
	{"FROM:<a@b> SIZE=1000", "a@b"},
	{"FROM:<a@b> SIZE=0001000", "a@b"},
	{"FROM:<a@b>   SIZE=1  ", "a@b"},
	{"FROM:<a@b> size=1", "a@b"},
	{"FROM:a@b SIZE=1", "a@b"},
	{"FROM:<a@b> SIZE=1001", "552"},
	{"FROM:<a@b> SIZE=4294967296", "552"},
	{"FROM:<a@b> SIZE=4294967297", "552"},
	{"FROM:<a@b> SIZE=18446744073709551615", "552"},
	{"FROM:<a@b> SIZE=18446744073709551616", "552"},
	{"FROM:<a@b> SIZE=18446744073709551617", "552"},
	{"FROM:<a@b> SIZE=1000000000000000000000000000000", "552"},
	{"FROM:<a@b> SIZE=-1", "501"},
	{"FROM:<a@b> SIZE=+1", "501"},
	{"FROM:<a@b> SIZE=abc", "501"},
	{"FROM:<a@b> SIZE=1k", "501"},
	{"FROM:<a@b> SIZE=0x1", "501"},
	{"FROM:<a@b> SIZE=1.0", "501"},
	{"FROM:<a@b> SIZE=1=1", "501"},
	{"FROM:<a@b> SIZE=\xb2", "501"},
	{"FROM:<a@b> SIZE=", "501"},
	{"FROM:<a@b> SIZE", "501"},
	{"FROM:<a@b> SIZE= 1", "501"},
	{"FROM:<a@b> SIZE =1", "501"},
	{"FROM:<a@b>SIZE=1", "501"},
	/* BODY (SE-29) */
	{"FROM:<a@b> BODY=8BITMIME", "a@b"},
	{"FROM:<a@b> BODY=7BIT", "a@b"},
	{"FROM:<a@b> body=8bitmime", "a@b"},
	{"FROM:<a@b> BODY=BINARYMIME", "501"},
	{"FROM:<a@b> BODY=FOO", "501"},
	{"FROM:<a@b> BODY=8BIT", "501"},
	{"FROM:<a@b> BODY=8BITMIMEX", "501"},
	{"FROM:<a@b> BODY=", "501"},
	{"FROM:<a@b> BODY", "501"},
	/* all of them (SE-30) */
	{"FROM:<a@b> SIZE=1 BODY=7BIT", "a@b"},
	{"FROM:<a@b> BODY=7BIT SIZE=1", "a@b"},
	{"FROM:<a@b> SIZE=1 SIZE=1", "501"},
	{"FROM:<a@b> SIZE=1 BODY=7BIT size=2", "501"},
	{"FROM:<a@b> BODY=7BIT BODY=8BITMIME", "501"},
	{"FROM:<a@b> FOO=BAR", "555"},
	{"FROM:<a@b> FOO", "555"},
	{"FROM:<a@b> =", "555"},
	{"FROM:<a@b> =1", "555"},
	{"FROM:<a@b> SIZE=1 FOO=BAR", "555"},
	{"FROM:<a@b> FOO=BAR SIZE=1", "555"},
	{"FROM:<a@b> SIZ=1", "555"},
	{"FROM:<a@b> SIZES=1", "555"},
	{"FROM:<a@b> RET=HDRS", "555"},
	{"FROM:<a@b> ENVID=x", "555"},
	{"FROM:<a@b> ENVID=+0A", "555"},
	{"FROM:<a@b> NOTIFY=NEVER", "555"},
	{"FROM:<a@b> AUTH=<>", "555"},
	{"FROM:<a@b> AUTH=x+0Ay+0A", "555"},
	{"FROM:<a@b> <c@d>", "555"},
};

/* With DSN offered; the rest of the result is as describe() has it. */
static const struct command_case mail_wishes[] = {
	{"FROM:<a@b>", "a@b"},
	/* RET */
	{"FROM:<a@b> RET=FULL", "a@b ret F"},
	{"FROM:<a@b> ret=hdrs", "a@b ret H"},
	{"FROM:<> RET=HDRS", " ret H"},
	{"FROM:<a@b> RET", "501"},
	{"FROM:<a@b> RET=", "501"},
	{"FROM:<a@b> RET=HDR", "501"},
	{"FROM:<a@b> RET=FULLY", "501"},
	{"FROM:<a@b> RET=FULL,HDRS", "501"},
	{"FROM:<a@b> RET=FULL RET=FULL", "501"},
	{"FROM:<a@b> RET=FULL ret=HDRS", "501"},
	/* ENVID */
	{"FROM:<a@b> ENVID=QQ314159", "a@b id QQ314159"},
	{"FROM:<a@b> envid=a+2Bb+3D+20", "a@b id a+2Bb+3D+20"},
	{"FROM:<a@b> ENVID=-", "a@b id -"},
	{"FROM:<a@b> ENVID=!~<>;\"", "a@b id !~<>;\""},
	{"FROM:<a@b> ENVID=" LETTERS_60 LETTERS_30 "0123456789",
	    "a@b id " LETTERS_60 LETTERS_30 "0123456789"},
	{"FROM:<a@b> ENVID=" LETTERS_60 LETTERS_30 "01234567890", "501"},
	{"FROM:<a@b> ENVID", "501"},
	{"FROM:<a@b> ENVID=", "501"},
	{"FROM:<a@b> ENVID=a=b", "501"},
	{"FROM:<a@b> ENVID=a+", "501"},
	{"FROM:<a@b> ENVID=a+4", "501"},
	{"FROM:<a@b> ENVID=a+4 1", "501"},
	{"FROM:<a@b> ENVID=a+4G", "501"},
	{"FROM:<a@b> ENVID=a+G4", "501"},
	{"FROM:<a@b> ENVID=a++41", "501"},
	{"FROM:<a@b> ENVID=a+2b", "501"},
	{"FROM:<a@b> ENVID=+0A", "501"},
	{"FROM:<a@b> ENVID=x+0D+0Ay", "501"},
	{"FROM:<a@b> ENVID=+00", "501"},
	{"FROM:<a@b> ENVID=+1F", "501"},
	{"FROM:<a@b> ENVID=+7F", "501"},
	{"FROM:<a@b> ENVID=+80", "501"},
	{"FROM:<a@b> ENVID=+C3+A9", "501"},
	{"FROM:<a@b> ENVID=\xc3\xa9", "501"},
	{"FROM:<a@b> SMTPUTF8 ENVID=\xc3\xa9", "501"},
	{"FROM:<a@b> ENVID=a\x7f", "501"},
	{"FROM:<a@b> ENVID=a\tb", "501"},
	{"FROM:<a@b> ENVID=x ENVID=x", "501"},
	/* SMTPUTF8 */
	{"FROM:<a@b> SMTPUTF8", "a@b utf8"},
	{"FROM:<a@b> smtputf8", "a@b utf8"},
	{"FROM:<> SMTPUTF8", " utf8"},
	{"FROM:<\xc3\xa9@b> SMTPUTF8", "\xc3\xa9@b utf8"},
	{"FROM:<a@\xc3\xa9> BODY=8BITMIME SMTPUTF8", "a@\xc3\xa9 utf8"},
	{"FROM:<\xc3\xa9@b> BODY=8BITMIME", "553"},
	{"FROM:<\xff@b> SMTPUTF8", "553"},
	{"FROM:<\xc0\x8a@b> SMTPUTF8", "553"},
	{"FROM:<\xed\xa0\x80@b> SMTPUTF8", "553"},
	{"FROM:<\xc2\x85@b> SMTPUTF8", "501"},
	{"FROM:<a@b> SMTPUTF8=", "501"},
	{"FROM:<a@b> SMTPUTF8=1", "501"},
	{"FROM:<a@b> SMTPUTF8 SMTPUTF8", "501"},
	{"FROM:<a@b> SMTPUTF", "555"},
	{"FROM:<a@b> SMTPUTF88", "555"},
	/* all of them, and what belongs to RCPT */
	{"FROM:<a@b> ENVID=x SMTPUTF8 RET=FULL SIZE=1 BODY=7BIT",
	    "a@b ret F id x utf8"},
	{"FROM:<a@b> NOTIFY=NEVER", "555"},
	{"FROM:<a@b> ORCPT=rfc822;x", "555"},
	{"FROM:<a@b> AUTH=<>", "555"},
	{"FROM:<a@b> AUTH=x+0Ay+0A", "555"},
};

#define LETTERS_480 LETTERS_60 LETTERS_60 LETTERS_60 LETTERS_60 LETTERS_60 \
	LETTERS_60 LETTERS_60 LETTERS_60

static const struct command_case rcpt_wishes[] = {
	{"TO:<a@b>", "a@b"},
	/* NOTIFY */
	{"TO:<a@b> NOTIFY=NEVER", "a@b notify 1"},
	{"TO:<a@b> notify=never", "a@b notify 1"},
	{"TO:<a@b> NOTIFY=SUCCESS", "a@b notify 2"},
	{"TO:<a@b> NOTIFY=FAILURE", "a@b notify 4"},
	{"TO:<a@b> NOTIFY=DELAY", "a@b notify 8"},
	{"TO:<a@b> NOTIFY=SUCCESS,FAILURE,DELAY", "a@b notify 14"},
	{"TO:<a@b> NOTIFY=delay,Failure", "a@b notify 12"},
	{"TO:<a@b> NOTIFY=DELAY,DELAY", "a@b notify 8"},
	{"TO:<a@b> NOTIFY", "501"},
	{"TO:<a@b> NOTIFY=", "501"},
	{"TO:<a@b> NOTIFY=,", "501"},
	{"TO:<a@b> NOTIFY=DELAY,", "501"},
	{"TO:<a@b> NOTIFY=,DELAY", "501"},
	{"TO:<a@b> NOTIFY=DELAY,,FAILURE", "501"},
	{"TO:<a@b> NOTIFY=DELAY;FAILURE", "501"},
	{"TO:<a@b> NOTIFY=NEVER,FAILURE", "501"},
	{"TO:<a@b> NOTIFY=FAILURE,NEVER", "501"},
	{"TO:<a@b> NOTIFY=NEVE", "501"},
	{"TO:<a@b> NOTIFY=NEVERS", "501"},
	{"TO:<a@b> NOTIFY=ALWAYS", "501"},
	{"TO:<a@b> NOTIFY=NEVER NOTIFY=NEVER", "501"},
	/* ORCPT */
	{"TO:<a@b> ORCPT=rfc822;c@d", "a@b original rfc822;c@d"},
	{"TO:<a@b> orcpt=X-400;a+3Db+2B", "a@b original X-400;a+3Db+2B"},
	{"TO:<a@b> ORCPT=rfc822;a;b", "a@b original rfc822;a;b"},
	{"TO:<a@b> ORCPT=rfc822;+22a+20b+22@c",
	    "a@b original rfc822;+22a+20b+22@c"},
	{"TO:<a@b> ORCPT=rfc822;" LETTERS_480 "0123456789012",
	    "a@b original rfc822;" LETTERS_480 "0123456789012"},
	{"TO:<a@b> ORCPT=rfc822;" LETTERS_480 "01234567890123", "501"},
	{"TO:<a@b> ORCPT", "501"},
	{"TO:<a@b> ORCPT=", "501"},
	{"TO:<a@b> ORCPT=a@b", "501"},
	{"TO:<a@b> ORCPT=rfc822;", "501"},
	{"TO:<a@b> ORCPT=;a@b", "501"},
	{"TO:<a@b> ORCPT=rfc 822;a@b", "501"},
	{"TO:<a@b> ORCPT=rfc/822;a@b", "501"},
	{"TO:<a@b> ORCPT=rfc822;x+0Ay", "501"},
	{"TO:<a@b> ORCPT=rfc822;x+0ay", "501"},
	{"TO:<a@b> ORCPT=rfc822;x+", "501"},
	{"TO:<a@b> ORCPT=rfc822;+C3+A9@b", "501"},
	{"TO:<a@b> ORCPT=rfc822;a=b", "501"},
	{"TO:<a@b> ORCPT=rfc822;\xc3\xa9@b", "501"},
	{"TO:<a@b> ORCPT=utf-8;\xc3\xa9@b", "501"},
	{"TO:<a@b> ORCPT=utf-8;\\x{E9}@b", "a@b original utf-8;\\x{E9}@b"},
	{"TO:<a@b> ORCPT=rfc822;a ORCPT=rfc822;a", "501"},
	/* both, and what belongs to MAIL */
	{"TO:<a@b> ORCPT=rfc822;a NOTIFY=NEVER",
	    "a@b notify 1 original rfc822;a"},
	{"TO:<a@b> NOTIFY=NEVER FOO", "555"},
	{"TO:<a@b> RET=FULL", "555"},
	{"TO:<a@b> ENVID=x", "555"},
	{"TO:<a@b> SMTPUTF8", "555"},
	{"TO:<a@b> SIZE=1", "555"},
	{"TO:<\xc3\xa9@b>", "553"},
	{"TO:<> NOTIFY=NEVER", "501"},
};

/* And MAIL has said SMTPUTF8. */
static const struct command_case rcpt_utf8_cases[] = {
	{"TO:<a@b>", "a@b utf8"},
	{"TO:<\xc3\xa9@\xc3\xa9> NOTIFY=NEVER", "\xc3\xa9@\xc3\xa9 notify 1 "
	    "utf8"},
	{"TO:<a@b> ORCPT=utf-8;\xc3\xa9@b",
	    "a@b original utf-8;\xc3\xa9@b utf8"},
	{"TO:<a@b> ORCPT=UTF-8;\xc3\xa9+2B@b",
	    "a@b original UTF-8;\xc3\xa9+2B@b utf8"},
	{"TO:<a@b> ORCPT=utf-8;\xe9@b", "501"},
	{"TO:<a@b> ORCPT=utf-8;\xc2\x85@b", "501"},
	{"TO:<a@b> ORCPT=utf-8;+C3+A9@b", "501"},
	{"TO:<a@b> ORCPT=rfc822;\xc3\xa9@b", "501"},
	{"TO:<a@b> ORCPT=\xc3\xa9;a@b", "501"},
	{"TO:<\xe9@b>", "553"},
	{"TO:<a\xc2\x9f@b>", "501"},
};

static const struct command_case rcpt_cases[] = {
	{"TO:<>", "501"},
	{"TO: <>", "501"},
	{"to:<a@b>", "a@b"},
	{"FROM:<a@b>", "501"},
	{"T:<a@b>", "501"},
	{"", "501"},
	{"TO:<a@b> NOTIFY=NEVER", "555"},
	{"TO:<a@b> ORCPT=rfc822;x+0Ay", "555"},
	{"TO:<a@b> SIZE=1", "555"},
	{"TO:<a@b> x", "555"},
	{"TO:<a@b> <c@d>", "555"},
};

/* All that was said, as text that the caller frees. */
static char *
describe(const struct command *c)
{
	struct buf out = {0};

	buf_adds(&out, buf_text(&c->mailbox));
	if (c->returns)
		buf_addf(&out, " ret %c", c->returns);
	if (c->envelope_id.len)
		buf_addf(&out, " id %s", c->envelope_id.data);
	if (c->notify)
		buf_addf(&out, " notify %u", c->notify);
	if (c->original.len)
		buf_addf(&out, " original %s", c->original.data);
	if (c->utf8)
		buf_adds(&out, " utf8");
	return buf_take(&out);
}

/* Runs one command on a copy that a sanitizer guards, and compares. */
static void
check_with(struct command c, bool mail, const char *text, const char *result)
{
	char *arguments = xstrdup(text);
	const char *refusal = mail ? command_mail(&c, arguments)
				   : command_rcpt(&c, arguments);
	bool refused = strlen(result) == 3 && strspn(result, "0123456789") == 3;
	char *said = describe(&c);

	if (!refused && refusal)
		fail_msg("%.80s is refused with %s", text, refusal);
	if (!refused)
		assert_string_equal(said, result);
	else if (!refusal)
		fail_msg("%.80s is taken as \"%s\"", text, said);
	else if (strncmp(refusal, result, 3) != 0 || refusal[4] != '5')
		fail_msg("%.80s is refused with %s", text, refusal);
	command_free(&c);
	free(said);
	free(arguments);
}

/* Without DSN. */
static void
check_command(bool mail, const char *text, const char *result)
{
	check_with((struct command){.max_message = MAX_MESSAGE}, mail, text,
	    result);
}

static void
test_wishes(void **state)
{
	const struct command dsn = {.max_message = MAX_MESSAGE, .dsn = true};
	const struct command utf8 = {.dsn = true, .utf8 = true};

	(void)state;
	for (size_t i = 0; i < COUNT(mail_wishes); i++)
		check_with(dsn, true, mail_wishes[i].arguments,
		    mail_wishes[i].result);
	for (size_t i = 0; i < COUNT(rcpt_wishes); i++)
		check_with(dsn, false, rcpt_wishes[i].arguments,
		    rcpt_wishes[i].result);
	for (size_t i = 0; i < COUNT(rcpt_utf8_cases); i++)
		check_with(utf8, false, rcpt_utf8_cases[i].arguments,
		    rcpt_utf8_cases[i].result);
	/* SMTPUTF8 is no part of DSN */
	check_command(true, "FROM:<\xc3\xa9@b> SMTPUTF8",
	    "\xc3\xa9@b utf8");
}

static void
test_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(path_cases); i++) {
		const struct command_case *t = &path_cases[i];
		struct buf line = {0};

		buf_addf(&line, "FROM%s", t->arguments);
		check_command(true, line.data, t->result);
		buf_clear(&line);
		buf_addf(&line, "TO%s", t->arguments);
		check_command(false, line.data, t->result);
		buf_free(&line);
	}
}

static void
test_mail(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(mail_cases); i++)
		check_command(true, mail_cases[i].arguments,
		    mail_cases[i].result);
}

static void
test_rcpt(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rcpt_cases); i++)
		check_command(false, rcpt_cases[i].arguments,
		    rcpt_cases[i].result);
}

/* Sizes near the limit, and a limit beyond 32 bits. */
static void
test_size_limits(void **state)
{
	static const struct {
		uint64_t limit;
		const char *size;
		bool taken;
	} cases[] = {
		{0, "0", true}, {0, "1", false}, {1, "1", true},
		{UINT64_C(5000000000), "5000000000", true},
		{UINT64_C(5000000000), "5000000001", false},
		{UINT64_C(5000000000), "705032704", true},
		{UINT64_C(999999999999999999), "999999999999999999", true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct command c = {.max_message = cases[i].limit};
		struct buf line = {0};
		const char *refusal;

		buf_addf(&line, "FROM:<a@b> SIZE=%s", cases[i].size);
		refusal = command_mail(&c, line.data);
		assert_int_equal(refusal == NULL, cases[i].taken);
		if (refusal)
			assert_memory_equal(refusal, "552 5.3.4 ", 10);
		buf_free(&line);
		command_free(&c);
	}
}

/* 10 KB of anything is refused, not cut and not crashed upon. */
static void
test_long(void **state)
{
	static const struct {
		const char *before;
		char filler;
		const char *behind, *code;
	} cases[] = {
		{"FROM:<", 'a', "@b>", "501"},
		{"FROM:<a@", 'b', ">", "501"},
		{"FROM:<", '<', "", "501"},
		{"FROM:<\"", '\\', "\"@b>", "501"},
		{"FROM:<@a:", '@', ":b@c>", "501"},
		{"FROM:<a@b> ", 'X', "=1", "555"},
		{"FROM:<a@b> FOO=", 'X', "", "555"},
		{"FROM:<a@b> SIZE=", '9', "", "552"},
		{"FROM:<a@b> BODY=", '8', "", "501"},
		{"FROM", ' ', "<a@b>", "501"},
		{"FROM:<a@b>", ' ', "FOO", "555"},
		{"FROM:<a@b>", ' ', "", ""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf line = {0};

		buf_adds(&line, cases[i].before);
		for (int k = 0; k < 10240; k++)
			buf_addc(&line, cases[i].filler);
		buf_adds(&line, cases[i].behind);
		check_command(true, line.data,
		    *cases[i].code ? cases[i].code : "a@b");
		buf_free(&line);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_mail),
		cmocka_unit_test(test_rcpt),
		cmocka_unit_test(test_wishes),
		cmocka_unit_test(test_size_limits),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
