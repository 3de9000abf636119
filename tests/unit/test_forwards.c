/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "log.h"
#include "message.h"
#include "forwards.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char path[] = "/tmp/test-route-XXXXXX";
static char hostname[] = "web1.example.test", local_to[] = "all@r.test";
static char domain[] = "d.test", same[] = "WEB1.example.test";

static void
write_file(const char *text)
{
	char *fresh = xasprintf("%s.new", path);
	FILE *file = fopen(fresh, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(fresh, path), 0);
	free(fresh);
}

/* "address address!": an unrouted one has the mark. */
static char *
text_of(const struct message *m)
{
	struct buf out = {0};

	for (size_t i = 0; i < m->recipient_count; i++) {
		const struct recipient *r = &m->recipients[i];

		assert_int_equal(r->unrouted, r->outcome == HOLD);
		buf_addf(&out, "%s%s%s", i ? " " : "", r->address,
		    r->unrouted ? "!" : r->outcome == SENT ? "+" : "");
	}
	return buf_take(&out);
}

/* A '+' behind a recipient says that it has the message. */
static struct message *
make(const char *recipients)
{
	struct message *m = message_new(NULL, UINT64_MAX);
	char *text = xstrdup(recipients), *rest = NULL;

	message_set_sender(m, "a@b.test");
	for (char *word = strtok_r(text, " ", &rest); word;
	     word = strtok_r(NULL, " ", &rest)) {
		bool sent = word[strlen(word) - 1] == '+';

		word[strlen(word) - sent] = '\0';
		message_add_recipient(m, word);
		if (sent)
			recipient_set(&m->recipients[m->recipient_count - 1],
			    SENT, 250, "ok");
	}
	free(text);
	return m;
}

struct route_case {
	const char *file; /* NULL: none */
	char *local_to, *domain;
	const char *before, *after; /* NULL: nothing changes */
};

#define ROOT "root: ops@r.test\n"

static const struct route_case cases[] = {
	{NULL, NULL, NULL, "a@b.test c@d.test", NULL},
	{NULL, NULL, NULL, "root", "root!"},
	{NULL, NULL, NULL, "a@b.test root@localhost", "a@b.test root!"},
	{NULL, local_to, NULL, "root", "all@r.test"},
	{NULL, local_to, NULL, "root www@WEB1 x@web1.example.test "
	    "y@localhost.localdomain z@localhost", "all@r.test"},
	{NULL, local_to, NULL, "root@web2.example.test root@example.test", NULL},
	{NULL, NULL, domain, "root", NULL},
	{NULL, NULL, domain, "root@localhost", "root"},
	{NULL, NULL, domain, "root@d.test", NULL},
	{NULL, local_to, domain, "root@d.test root", "root@d.test all@r.test"},
	/* a host that has the name of the domain */
	{NULL, NULL, NULL, "bob@web1.example.test", "bob!"},
	{NULL, local_to, same, "bob@web1.example.test bob@web1 bob",
	    "bob@web1.example.test all@r.test"},
	{ROOT, local_to, same, "root@web1.example.test", "ops@r.test"},
	{ROOT, NULL, NULL, "root", "ops@r.test"},
	{ROOT, NULL, NULL, "ROOT@localhost other", "ops@r.test other!"},
	{ROOT, NULL, domain, "other root", "other ops@r.test"},
	{ROOT, local_to, domain, "root other", "ops@r.test all@r.test"},
	{ROOT, NULL, NULL, "root ops@r.test", "ops@r.test"},
	{ROOT, NULL, NULL, "root ops@r.test+", "ops@r.test+"},
	{ROOT, NULL, NULL, "root+ a@b.test", NULL},
	{ROOT, NULL, NULL, "postmaster PostMaster@localhost", "ops@r.test"},
	{"postmaster: p@r.test\n" ROOT, NULL, NULL, "postmaster", "p@r.test"},
	{"a: b, c, x@r.test\nb: x@r.test, y@r.test\nc: b, \\d\n", local_to,
	    NULL, "a", "x@r.test y@r.test all@r.test"},
	{"a: a\n", NULL, NULL, "a", "a!"},
	{"a: a\n", local_to, NULL, "a", "all@r.test"},
	{"a: a, x@r.test\n", NULL, NULL, "a", "x@r.test"},
	{"a: A@localhost, x@r.test\n", NULL, NULL, "a", "x@r.test"},
	{"a: \\a, x@r.test\n", NULL, NULL, "a", "a! x@r.test"},
	{"a: b@localhost\nb: a@localhost\n", NULL, NULL, "a x@y.test",
	    "x@y.test a!"},
	{"a: |x\n" ROOT, NULL, NULL, "a", "a!"},
	{"a: |x\ndefault: d@r.test\n", NULL, NULL, "a b", "a! d@r.test"},
	{"default: root\n", NULL, NULL, "a b", "root!"},
	{"default: x@r.test\n" ROOT, local_to, NULL, "a b root",
	    "x@r.test ops@r.test"},
	{"a..b: x@r.test\n", NULL, NULL, "\"a..b\"@localhost \"a\\..b\"",
	    "x@r.test"},
	{"a: b c\n" ROOT, NULL, NULL, "root", "root!"}, /* not used at all */
};

/* To hold one is no change of who gets it. */
static bool
has_same_words(const char *before, const char *after)
{
	struct message *a = make(before), *b = make(after);
	size_t found = 0;

	for (size_t i = 0; i < a->recipient_count; i++)
		for (size_t k = 0; k < b->recipient_count; k++) {
			char *word = b->recipients[k].address;

			word[strcspn(word, "!")] = '\0';
			found += !strcmp(word, a->recipients[i].address);
		}
	found = found == a->recipient_count && found == b->recipient_count;
	message_free(a);
	message_free(b);
	return found;
}

static void
check(const struct route_case *c)
{
	struct config config = {.hostname = hostname};
	struct message *m = make(c->before);
	struct forwards *r;
	char *text;
	bool unchanged;

	config.identity.local_to = c->local_to;
	config.identity.domain = c->domain;
	if (c->file) {
		write_file(c->file);
		config.identity.aliases = path;
	}
	r = forwards_new(&config);
	unchanged = !forwards_apply(r, m);
	text = text_of(m);
	if (strcmp(text, c->after ? c->after : c->before) != 0)
		fail_msg("%s%s: %s", c->file ? c->file : "", c->before, text);
	assert_int_equal(unchanged, has_same_words(c->before, text));
	assert_int_equal(forwards_has_unrouted(m), strchr(text, '!') != NULL);
	free(text);
	/* And once more: what is held stays so, the rest is left alone. */
	assert_false(forwards_apply(r, m));
	forwards_free(r);
	message_free(m);
}

static void
test_routes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		check(&cases[i]);
}

static void
expect(struct forwards *r, const char *before, const char *after)
{
	struct message *m = make(before);
	char *text;

	forwards_apply(r, m);
	text = text_of(m);
	assert_string_equal(text, after);
	free(text);
	message_free(m);
}

/* The file is read again when it is another; one that makes no sense, or is
 * gone, changes nothing. */
static void
test_changes(void **state)
{
	struct config config = {.hostname = hostname};
	struct forwards *r;

	(void)state;
	write_file(ROOT);
	config.identity.aliases = path;
	r = forwards_new(&config);
	expect(r, "root", "ops@r.test");
	write_file("root: other@r.test\n");
	expect(r, "root", "other@r.test");
	write_file("root other\n");
	expect(r, "root", "other@r.test");
	unlink(path);
	expect(r, "root", "other@r.test");
	write_file(ROOT);
	expect(r, "root", "ops@r.test");
	forwards_free(r);
}

/* What the sender asked of notices is true of everybody who gets it. */
static void
test_wishes(void **state)
{
	struct config config = {.hostname = hostname};
	struct message *m = make("root");
	struct forwards *r;

	(void)state;
	write_file("root: a@b.test, c@d.test\n");
	config.identity.aliases = path;
	m->recipients[0].notify = NOTIFY_NEVER;
	m->recipients[0].original = xstrdup("rfc822;root");
	r = forwards_new(&config);
	assert_true(forwards_apply(r, m));
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(m->recipients[i].notify, NOTIFY_NEVER);
		assert_string_equal(m->recipients[i].original, "rfc822;root");
	}
	forwards_free(r);
	message_free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_wishes),
	};
	int fd = mkstemp(path), failed;

	close(fd);
	log_open(LOG_TO_NOWHERE, LOG_AS_TEXT, LEVEL_ERROR);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
