/* SPDX-License-Identifier: ISC */
/*
 * Who may use the listener: words and networks against peers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "access.h"
#include "buf.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct sockaddr_storage
peer(const char *text)
{
	struct sockaddr_storage address = {0};
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
		memcpy(&address, &ipv4, sizeof(ipv4));
	else if (inet_pton(AF_INET6, text, &ipv6.sin6_addr) == 1)
		memcpy(&address, &ipv6, sizeof(ipv6));
	else
		fail_msg("%s is no address", text);
	return address;
}

static struct access
access_of(const char *words)
{
	char *text = xstrdup(words), *rest = text, *word;
	struct access access = {0};
	struct buf why = {0};

	while ((word = strsep(&rest, " ")))
		if (*word && !access_add(&access, word, &why))
			fail_msg("%s %s", word, buf_text(&why));
	free(text);
	return access;
}

struct allow_case {
	const char *words, *peer;
	bool allowed;
};

static const struct allow_case allow_cases[] = {
	/* loopback always, and nobody else without a word */
	{"", "127.0.0.1", true},
	{"", "127.255.255.254", true},
	{"", "::1", true},
	{"", "::ffff:127.0.0.1", true},
	{"", "128.0.0.1", false},
	{"", "::", false},
	{"", "::2", false},
	{"", "0.0.0.0", false},
	{"", "::127.0.0.1", false},
	{"192.0.2.0/24", "127.0.0.1", true},
	{"loopback", "127.0.0.1", true},
	{"loopback", "192.0.2.1", false},
	/* networks, at their edges */
	{"192.0.2.0/24", "192.0.2.0", true},
	{"192.0.2.0/24", "192.0.2.255", true},
	{"192.0.2.0/24", "192.0.1.255", false},
	{"192.0.2.0/24", "192.0.3.0", false},
	{"192.0.2.128/25", "192.0.2.127", false},
	{"192.0.2.128/25", "192.0.2.128", true},
	{"192.0.2.6/31", "192.0.2.7", true},
	{"192.0.2.6/31", "192.0.2.8", false},
	{"192.0.2.7", "192.0.2.7", true},
	{"192.0.2.7/32", "192.0.2.7", true},
	{"192.0.2.7", "192.0.2.6", false},
	{"0.0.0.0/0", "203.0.113.9", true},
	{"0.0.0.0/0", "2001:db8::1", false},
	{"::/0", "2001:db8::1", true},
	{"::/0", "203.0.113.9", true},
	{"2001:db8:8000::/33", "2001:db8:8000::1", true},
	{"2001:db8:8000::/33", "2001:db8:7fff::1", false},
	{"2001:db8::1", "2001:db8::1", true},
	{"2001:db8::1", "2001:db8::2", false},
	/* an address has many names, but one meaning */
	{"10.0.0.0/8", "::ffff:10.0.0.1", true},
	{"10.0.0.0/8", "::ffff:11.0.0.1", false},
	{"10.0.0.0/8", "::10.0.0.1", false},
	{"::ffff:10.0.0.0/104", "10.255.0.1", true},
	{"::ffff:10.0.0.0/104", "11.0.0.1", false},
	{"::ffff:10.0.0.1", "10.0.0.1", true},
	/* words */
	{"anyone", "203.0.113.9", true},
	{"anyone", "2001:db8::1", true},
	{"private", "10.0.0.0", true},
	{"private", "10.255.255.255", true},
	{"private", "9.255.255.255", false},
	{"private", "11.0.0.0", false},
	{"private", "172.16.0.0", true},
	{"private", "172.31.255.255", true},
	{"private", "172.15.255.255", false},
	{"private", "172.32.0.0", false},
	{"private", "192.168.0.0", true},
	{"private", "192.168.255.255", true},
	{"private", "192.167.255.255", false},
	{"private", "192.169.0.0", false},
	{"private", "100.64.0.0", true},
	{"private", "100.127.255.255", true},
	{"private", "100.63.255.255", false},
	{"private", "100.128.0.0", false},
	{"private", "169.254.0.1", true},
	{"private", "169.255.0.0", false},
	{"private", "::ffff:192.168.1.1", true},
	{"private", "fc00::1", true},
	{"private", "fdff::1", true},
	{"private", "fe00::1", false},
	{"private", "fbff::1", false},
	{"private", "fe80::1", true},
	{"private", "febf::1", true},
	{"private", "fec0::1", false},
	{"private", "2001:db8::1", false},
	/* lists */
	{"192.0.2.1 198.51.100.0/24", "192.0.2.1", true},
	{"192.0.2.1 198.51.100.0/24", "198.51.100.77", true},
	{"192.0.2.1 198.51.100.0/24", "192.0.2.2", false},
};

static void
test_allows(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(allow_cases); i++) {
		const struct allow_case *t = &allow_cases[i];
		struct access access = access_of(t->words);
		struct sockaddr_storage address = peer(t->peer);
		bool allowed = access_allows(&access,
		    (struct sockaddr *)&address);

		if (allowed != t->allowed)
			fail_msg("\"%s\" %s %s", t->words,
			    allowed ? "allows" : "refuses", t->peer);
		access_free(&access);
		assert_null(access.networks);
		assert_int_equal(access.count, 0);
		assert_false(access.anyone);
	}
}

struct word_case {
	const char *word, *why;
};

static const struct word_case bad_words[] = {
	{"", "is not an address"},
	{"localhost", "is not an address"},
	{"relay.example", "is not an address"},
	{"Private", "is not an address"},
	{"10", "is not an address"},
	{"10.0.0", "is not an address"},
	{"10/8", "is not an address"},
	{"10.0.0.0.0", "is not an address"},
	{"010.0.0.1", "is not an address"},
	{"256.0.0.1", "is not an address"},
	{" 10.0.0.1", "is not an address"},
	{"[::1]", "is not an address"},
	{"fe80::1%eth0", "is not an address"},
	{"10.0.0.1:25", "is not an address"},
	{"/8", "is not an address"},
	{"2001:db8:1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb",
	    "is not an address"},
	{"10.0.0.0/", "0 to 32"},
	{"10.0.0.0/33", "0 to 32"},
	{"10.0.0.0/-1", "0 to 32"},
	{"10.0.0.0/8x", "0 to 32"},
	{"10.0.0.0/8/8", "0 to 32"},
	{"10.0.0.0/ 8", "0 to 32"},
	{"10.0.0.0/4294967304", "0 to 32"},
	{"10.0.0.0/255.0.0.0", "0 to 32"},
	{"2001:db8::/129", "0 to 128"},
	{"10.0.0.1/8", "bits set behind its prefix"},
	{"192.0.2.7/31", "bits set behind its prefix"},
	{"2001:db8::1/64", "bits set behind its prefix"},
	{"0.0.0.1/0", "bits set behind its prefix"},
};

static void
test_bad_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bad_words); i++) {
		const struct word_case *t = &bad_words[i];
		struct access access = {0};
		struct buf why = {0};

		if (access_add(&access, t->word, &why))
			fail_msg("\"%s\" is taken", t->word);
		if (!strstr(buf_text(&why), t->why))
			fail_msg("\"%s\" %s", t->word, buf_text(&why));
		assert_int_equal(access.count, 0);
		assert_false(access.anyone);
		buf_free(&why);
		access_free(&access);
	}
}

static void
test_unix_socket(void **state)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	struct sockaddr other = {.sa_family = AF_UNSPEC};
	struct access nobody = {0}, anyone = {.anyone = true};

	(void)state;
	assert_true(access_is_loopback((struct sockaddr *)&local));
	assert_true(access_allows(&nobody, (struct sockaddr *)&local));
	assert_false(access_is_loopback(&other));
	assert_false(access_allows(&nobody, &other));
	assert_true(access_allows(&anyone, &other));
}

static void
test_is_loopback(void **state)
{
	struct sockaddr_storage near = peer("::ffff:127.9.9.9");
	struct sockaddr_storage far = peer("10.0.0.1");

	(void)state;
	assert_true(access_is_loopback((struct sockaddr *)&near));
	assert_false(access_is_loopback((struct sockaddr *)&far));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allows),
		cmocka_unit_test(test_bad_words),
		cmocka_unit_test(test_unix_socket),
		cmocka_unit_test(test_is_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
