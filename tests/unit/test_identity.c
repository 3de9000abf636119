/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "identity.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct identity completes = {.domain = "d.test"};
static const struct identity unqualified = {.domain = "d.test",
	.from = "ops@r.test", .rewrite = REWRITE_UNQUALIFIED};
static const struct identity always = {.domain = "d.test",
	.from = "ops@r.test", .rewrite = REWRITE_ALWAYS};

static const struct identity headers = {.domain = "d.test",
	.add_header = "X-Env: prod\r\nX-B: c\r\n",
	.remove_header = "X-Mailer User-Agent"};
static const struct identity removes = {.remove_header = "x-a"};

static struct message *
make(const char *sender, const char *recipient, const char *header)
{
	struct message *m = message_new(NULL, UINT64_MAX);

	message_set_sender(m, sender);
	message_add_recipient(m, recipient);
	buf_adds(&m->header, header);
	return m;
}

struct header_case {
	const struct identity *identity;
	const char *before, *after; /* NULL: as it was */
};

static void
check(const struct header_case *c)
{
	struct message *m = make("a@x.test", "b@x.test", c->before), *shown;
	struct outgoing out;

	shown = identity_render(c->identity, m, &out);
	assert_string_equal(buf_text(&shown->header),
	    c->after ? c->after : c->before);
	if (!c->after) /* nothing is copied */
		assert_ptr_equal(shown->header.data, m->header.data);
	assert_string_equal(buf_text(&m->header), c->before);
	assert_int_equal(message_size(shown),
	    strlen(c->after ? c->after : c->before) + 2);
	outgoing_free(&out);
	message_free(m);
}

static const struct header_case completed[] = {
	{&completes, "", NULL},
	{&completes, "From: a@b\r\nTo: c@d, \"e, f\" <g@h> (root)\r\n", NULL},
	{&completes, "From: root\r\n", "From: root@d.test\r\n"},
	{&completes, "From: root (Cron Daemon)\r\n",
	    "From: root@d.test (Cron Daemon)\r\n"},
	{&completes, "from : \"root\" <root>\r\n",
	    "from : \"root\" <root@d.test>\r\n"},
	{&completes, "To: a, b@c,\r\n\td (e, f), \"g h\" ,<i>\r\nSubject: to a\r\n",
	    "To: a@d.test, b@c,\r\n\td@d.test (e, f), \"g h\"@d.test ,"
	    "<i@d.test>\r\nSubject: to a\r\n"},
	{&completes, "Cc: Team: a, b@c;, d\r\n",
	    "Cc: Team: a@d.test, b@c;, d@d.test\r\n"},
	{&completes, "To: undisclosed-recipients:;\r\n", NULL},
	{&completes, "To: =?utf-8?q?J=C3=B6rg?= <j>, =?a?q?b?=\r\n",
	    "To: =?utf-8?q?J=C3=B6rg?= <j@d.test>, =?a?q?b?=\r\n"},
	{&completes, "Sender: a\r\nReply-To: b\r\nResent-From: c\r\n"
	    "Resent-To: d\r\nResent-Sender: e\r\nResent-Cc: f\r\n"
	    "X-To: g\r\nReturn-Path: h\r\n",
	    "Sender: a@d.test\r\nReply-To: b@d.test\r\n"
	    "Resent-From: c@d.test\r\nResent-To: d@d.test\r\n"
	    "Resent-Sender: e@d.test\r\nResent-Cc: f@d.test\r\n"
	    "X-To: g\r\nReturn-Path: h\r\n"},
	/* what is no address is left to whoever can read it */
	{&completes, "From: Cron Daemon\r\nSender:\r\n", NULL},
	{&completes, "From: Smith, John <john@x>\r\n", NULL},
	{&completes, "To: <a@\r\nCc: (b\r\n", NULL},
};

static const struct header_case replaced[] = {
	{&unqualified, "From: a@b.test\r\nSender: c@d.test\r\n", NULL},
	{&unqualified, "From: root (Cron Daemon)\r\nTo: root\r\n",
	    "From: \"Cron Daemon\" <ops@r.test>\r\nTo: root@d.test\r\n"
	    "Reply-To: root@d.test\r\n"},
	{&unqualified, "From: a@localhost\r\n",
	    "From: ops@r.test\r\nReply-To: a@localhost\r\n"},
	{&unqualified, "From: a@web1\r\nSender: b\r\nReply-To: c@d.test\r\n",
	    "From: ops@r.test\r\nSender: ops@r.test\r\n"
	    "Reply-To: c@d.test\r\n"},
	{&always, "From: \"A \\\"B\\\"\" (c)\r\n <a@b.test>\r\n",
	    "From: \"A \\\"B\\\"\" (c)\r\n <ops@r.test>\r\n"
	    "Reply-To: a@b.test\r\n"},
	{&always, "From: Ops <OPS@r.test>\r\n", NULL},
	{&always, "From: a@b.test (=?utf-8?q?J=C3=B6rg?=)\r\n",
	    "From: =?utf-8?q?J=C3=B6rg?= <ops@r.test>\r\n"
	    "Reply-To: a@b.test\r\n"},
	{&always, "From: a@b.test (\303\266)\r\n",
	    "From: ops@r.test (\303\266)\r\nReply-To: a@b.test\r\n"},
	{&always, "From: A <a@b.test>, c@d.test\r\nSender: A <a@b.test>\r\n",
	    "From: A <ops@r.test>, ops@r.test\r\nSender: A <ops@r.test>\r\n"
	    "Reply-To: a@b.test,\r\n\tc@d.test\r\n"},
	{&always, "From: Cron Daemon\r\n",
	    "From: \"Cron Daemon\" <ops@r.test>\r\n"},
	{&always, "From: Smith, John <john@x.test>\r\n",
	    "From: \"Smith, John\" <ops@r.test>\r\nReply-To: john@x.test\r\n"},
	{&always, "From:\r\n", "From: <ops@r.test>\r\n"},
	{&always, "From: \r\n \r\nTo: a@b\r\n",
	    "From: <ops@r.test> \r\n \r\nTo: a@b\r\n"},
	{&always, "From: <>\r\n", "From: <ops@r.test>\r\n"},
	{&unqualified, "Subject: x\r\n",
	    "Subject: x\r\nFrom: ops@r.test\r\n"},
	{&headers, "X-Mailer: a\r\n b\r\nTo: c\r\nuser-agent : d\r\n"
	    "X-Mailers: e\r\n", "To: c@d.test\r\nX-Mailers: e\r\n"
	    "X-Env: prod\r\nX-B: c\r\n"},
	{&removes, "X-A: b\r\n", ""},
	{&removes, "X-B: a\r\nX-A: b\r\n", "X-B: a\r\n"},
	{&always, "To: a@b.test\r\nFrom: ops@r.test\r\nCc: c@d.test\r\n", NULL},
};

static void
test_header(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(completed); i++)
		check(&completed[i]);
	for (size_t i = 0; i < COUNT(replaced); i++)
		check(&replaced[i]);
}

static void
test_envelope(void **state)
{
	static const struct {
		const struct identity *identity;
		const char *sender, *sent;
	} cases[] = {
		{&completes, "", ""}, {&completes, "root", "root@d.test"},
		{&completes, "a@localhost", "a@localhost"},
		{&completes, "\"a@b\"", "\"a@b\"@d.test"},
		{&unqualified, "", ""}, {&unqualified, "root", "ops@r.test"},
		{&unqualified, "a@localhost", "ops@r.test"},
		{&unqualified, "a@localhost.localdomain", "ops@r.test"},
		{&unqualified, "a@[127.0.0.1]", "a@[127.0.0.1]"},
		{&unqualified, "a@b.test", "a@b.test"},
		{&always, "", ""}, {&always, "a@b.test", "ops@r.test"},
		{&always, "Ops@R.test", "Ops@R.test"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct message *m = make(cases[i].sender, "root", "");
		struct outgoing out;
		struct message *shown = identity_render(cases[i].identity, m,
		    &out);
		struct buf to = {0};

		assert_string_equal(shown->sender, cases[i].sent);
		assert_string_equal(m->sender, cases[i].sender);
		recipient_add_address(&to, &shown->recipients[0]);
		assert_string_equal(to.data, "root@d.test");
		buf_free(&to);
		outgoing_free(&out);
		message_free(m);
	}
}

/* Between two smarthosts of one machine, say, an address stays as it is. */
static void
test_no_domain(void **state)
{
	static const struct identity nothing = {.domain = NULL};
	struct header_case c = {&nothing, "From: root\r\nTo: a, b\r\n", NULL};

	(void)state;
	check(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_envelope),
		cmocka_unit_test(test_no_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
