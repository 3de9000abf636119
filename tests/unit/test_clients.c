/* SPDX-License-Identifier: ISC */
/*
 * What each address may have, and that nobody is remembered for ever.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "access.h"
#include "clients.h"

enum { DAY = 24 * 3600 * 1000, MANY = 5000 };

static const struct client_limits two = {2, {{{0, 0}, {0, 0}}}},
    rate = {0, {{{3, DAY}, {0, 0}}}}, other_rate = {0, {{{4, DAY}, {0, 0}}}};
static const uint8_t alice[16] = "alice", bob[16] = "bob";

static void
test_connections(void **state)
{
	struct clients *c = clients_new();

	(void)state;
	for (int i = 0; i < MANY; i++) {
		assert_true(clients_enter(c, alice, &two));
		assert_true(clients_enter(c, alice, &two));
		assert_false(clients_enter(c, alice, &two));
		assert_true(clients_enter(c, bob, &two));
		assert_true(clients_may_send(c, alice, &two));
		clients_leave(c, alice);
		assert_true(clients_enter(c, alice, &two));
		assert_false(clients_enter(c, alice, &two));
		clients_leave(c, alice);
		clients_leave(c, alice);
		clients_leave(c, bob);
	}
	clients_free(c);
}

static void
test_rate(void **state)
{
	struct clients *c = clients_new();

	(void)state;
	assert_true(clients_enter(c, alice, &rate));
	for (int i = 0; i < 3; i++)
		assert_true(clients_may_send(c, alice, &rate));
	assert_false(clients_may_send(c, alice, &rate));
	assert_false(clients_enter(c, alice, &rate));
	assert_true(clients_enter(c, bob, &rate));
	assert_true(clients_may_send(c, bob, &rate));
	/* gone and come again, and then the rate is another */
	clients_leave(c, alice);
	assert_false(clients_enter(c, alice, &rate));
	assert_true(clients_enter(c, alice, &other_rate));
	assert_true(clients_may_send(c, alice, &other_rate));
	assert_false(clients_may_send(c, alice, &other_rate));
	clients_leave(c, alice);
	clients_leave(c, bob);
	clients_free(c);
}

/* Whoever is connected is known, however many come and go. */
static void
test_many(void **state)
{
	struct clients *c = clients_new();

	(void)state;
	assert_true(clients_enter(c, alice, &rate));
	for (int i = 0; i < 3; i++)
		assert_true(clients_may_send(c, alice, &rate));
	for (int i = 0; i < MANY; i++) {
		uint8_t key[16] = {0};

		memcpy(key, &i, sizeof(i));
		assert_true(clients_enter(c, key, &rate));
		clients_leave(c, key);
	}
	assert_false(clients_may_send(c, alice, &rate));
	clients_leave(c, alice);
	clients_free(c);
}

static void
test_guesses(void **state)
{
	struct clients *c = clients_new();

	(void)state;
	assert_true(clients_enter(c, alice, &two));
	for (int i = 0; i < 20; i++) {
		assert_true(clients_may_log_in(c, alice));
		clients_guessed(c, alice);
	}
	assert_false(clients_may_log_in(c, alice));
	assert_true(clients_may_log_in(c, bob));
	clients_leave(c, alice);
	assert_true(clients_enter(c, alice, &two));
	assert_false(clients_may_log_in(c, alice));
	clients_leave(c, alice);
	clients_free(c);
}

static void
key_of(const char *text, uint8_t key[16])
{
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};
	struct sockaddr_storage address = {0};

	if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1) {
		memcpy(&address, &ipv4, sizeof(ipv4));
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &ipv6.sin6_addr),
		    1);
		memcpy(&address, &ipv6, sizeof(ipv6));
	}
	assert_true(access_key((struct sockaddr *)&address, key));
}

static void
check_keys(const char *one, const char *other, bool same)
{
	uint8_t a[16], b[16];

	key_of(one, a);
	key_of(other, b);
	if ((memcmp(a, b, 16) == 0) != same)
		fail_msg("%s and %s", one, other);
}

static void
test_keys(void **state)
{
	struct sockaddr local = {.sa_family = AF_UNIX};
	uint8_t key[16];

	(void)state;
	check_keys("192.0.2.1", "192.0.2.1", true);
	check_keys("192.0.2.1", "192.0.2.2", false);
	check_keys("192.0.2.1", "::ffff:192.0.2.1", true);
	check_keys("::ffff:192.0.2.1", "::ffff:192.0.2.2", false);
	check_keys("2001:db8::1", "2001:db8::2", true);
	check_keys("2001:db8:0:1::1", "2001:db8:0:2::1", false);
	assert_false(access_key(&local, key));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_guesses),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
