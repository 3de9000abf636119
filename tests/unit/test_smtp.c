/* SPDX-License-Identifier: ISC */
/*
 * A relay with several addresses (UX-43): who is asked, in which order, how
 * long, and what is remembered. The resolver is this file's own, and so is
 * time, which goes faster than outside.
 */
#undef _FORTIFY_SOURCE /* its poll() could not be replaced */
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "clock.h"
#include "config.h"
#include "favourite.h"
#include "reply.h"
#include "smtp.h"

enum {
	SECOND = 1000,
	TIMEOUT = 300 * SECOND,
	ALMOST = 290 * SECOND,
	HOSTS_MAX = 4,
	FAST = 50,
	SLOW = 20, /* for what must not fail on a busy machine */
};

static long speed = FAST;

int
clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int)syscall(SYS_clock_gettime, clock, time);

	time->tv_sec = time->tv_sec * speed +
	    time->tv_nsec / (1000000000 / speed);
	time->tv_nsec = time->tv_nsec % (1000000000 / speed) * speed;
	return result;
}

int
poll(struct pollfd *fds, nfds_t count, int timeout)
{
	struct timespec time = {timeout / 1000 / speed,
		timeout % (1000 * speed) * (1000000L / speed)};

	return ppoll(fds, count, timeout < 0 ? NULL : &time, NULL);
}

/* One address: what it answers, each time after so many milliseconds. It hangs
 * up instead of an answer that is not there. */
struct host {
	int delay;
	const char *greeting, *hello, *login;
	bool absent; /* nobody listens */
	bool silent; /* connecting to it takes for ever */
	int fd, filler;
	uint16_t port;
	char name;
	pthread_t thread;
};

#define GOOD .greeting = "220 ok\r\n", \
	.hello = "250-relay.test\r\n250 AUTH PLAIN\r\n", .login = "235 ok\r\n"

/* The hosts of the relay, by their numbers in the order of the resolver, and
 * in which order they were asked. */
static struct {
	struct host hosts[HOSTS_MAX];
	size_t count;
	pthread_mutex_t lock;
	char asked[64];
} relay = {.lock = PTHREAD_MUTEX_INITIALIZER};

int
getaddrinfo(const char *host, const char *service,
    const struct addrinfo *hints, struct addrinfo **list)
{
	struct addrinfo **end = list;

	(void)host, (void)service;
	for (size_t i = 0; i < relay.count; i++) {
		struct sockaddr_in *address = xcalloc(1, sizeof(*address));
		struct addrinfo *one = xcalloc(1, sizeof(*one));

		address->sin_family = AF_INET;
		address->sin_port = htons(relay.hosts[i].port);
		address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		one->ai_family = AF_INET;
		one->ai_socktype = hints->ai_socktype;
		one->ai_addr = (struct sockaddr *)address;
		one->ai_addrlen = sizeof(*address);
		*end = one;
		end = &one->ai_next;
	}
	return relay.count ? 0 : EAI_NONAME;
}

void
freeaddrinfo(struct addrinfo *list)
{
	while (list) {
		struct addrinfo *next = list->ai_next;

		free(list->ai_addr);
		free(list);
		list = next;
	}
}

static void
note(char name)
{
	pthread_mutex_lock(&relay.lock);
	relay.asked[strlen(relay.asked)] = name;
	pthread_mutex_unlock(&relay.lock);
}

/* After its time; false when the client does not wait for it. */
static bool
say(const struct host *h, int fd, const char *text)
{
	struct pollfd gone = {.fd = fd, .events = POLLRDHUP};

	return text && poll(&gone, 1, h->delay) == 0 &&
	    send(fd, text, strlen(text), MSG_NOSIGNAL) > 0;
}

static bool
hear(int fd, const char *verb)
{
	char line[1024];
	ssize_t got = recv(fd, line, sizeof(line), 0);

	return got > 4 && memcmp(line, verb, 4) == 0;
}

static void *
run_host(void *argument)
{
	struct host *h = argument;
	int fd;

	while ((fd = accept(h->fd, NULL, NULL)) >= 0) {
		note(h->name);
		if (say(h, fd, h->greeting) && hear(fd, "EHLO") &&
		    say(h, fd, h->hello) && hear(fd, "AUTH") &&
		    say(h, fd, h->login) && hear(fd, "QUIT"))
			say(h, fd, "221 bye\r\n");
		close(fd);
	}
	return NULL;
}

static void
add_host(struct host host)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct host *h = &relay.hosts[relay.count];
	socklen_t len = sizeof(address);

	*h = host;
	h->name = (char)('A' + relay.count++);
	h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(h->fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(h->fd, (struct sockaddr *)&address,
	    &len), 0);
	h->port = ntohs(address.sin_port);
	if (h->silent) {
		assert_int_equal(listen(h->fd, 0), 0);
		h->filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(h->filler,
		    (struct sockaddr *)&address, len), 0);
	}
	if (h->absent || h->silent)
		return;
	assert_int_equal(listen(h->fd, 10), 0);
	assert_int_equal(pthread_create(&h->thread, NULL, run_host, h), 0);
}

static int
remove_hosts(void **state)
{
	(void)state;
	for (size_t i = 0; i < relay.count; i++) {
		struct host *h = &relay.hosts[i];

		shutdown(h->fd, SHUT_RDWR);
		if (h->silent)
			close(h->filler);
		else if (!h->absent)
			pthread_join(h->thread, NULL);
		close(h->fd);
	}
	relay.count = 0;
	speed = FAST;
	return 0;
}

/* What a test asks for, beyond the relay's hosts. */
struct terms {
	struct favourite *favourite;
	bool another_relay;
	int deadline; /* ms from now; 0: none */
	bool starttls;
};

/* Who was asked, in order, for one connection; a '!' behind it if that did not
 * open. */
static const char *
ask(const struct terms *terms, struct verdict *v)
{
	char name[] = "relay.test", user[] = "user", password[] = "password";
	const struct upstream upstream = {
		.host = name,
		.tls = terms->starttls ? TLS_MODE_STARTTLS : TLS_MODE_NONE,
		.user = user,
		.password = {.kind = SECRET_LITERAL, .text = password},
		.connect_timeout = 10 * SECOND,
		.timeout = TIMEOUT,
		.messages_per_connection = 1,
	};
	struct smtp *s = smtp_new(&upstream, NULL, -1);
	bool open;

	pthread_mutex_lock(&relay.lock);
	memset(relay.asked, 0, sizeof(relay.asked));
	pthread_mutex_unlock(&relay.lock);
	smtp_set_others(s, terms->favourite, terms->another_relay);
	open = smtp_open(s,
	    terms->deadline ? clock_now() + terms->deadline : 0, v);
	smtp_close(s);
	if (!open)
		note('!');
	return relay.asked;
}

static const struct host bad_hosts[] = {
	{.greeting = NULL},
	{.greeting = "554 5.3.2 go away\r\n"},
	{.greeting = "421 4.3.2 not now\r\n"},
	{.greeting = "what?\r\n"},
	{.greeting = "220 ok\r\n", .hello = NULL},
	{.greeting = "220 ok\r\n", .hello = "550 5.7.1 I do not like you\r\n"},
	{.greeting = "220 ok\r\n", .hello = "421 4.3.2 not now\r\n"},
	{.greeting = "220 ok\r\n", .hello = "220 said twice\r\n"},
	/* the bound is for all of it, not for each answer */
	{GOOD, .delay = 20 * SECOND},
	{GOOD, .delay = ALMOST},
};

static void
test_next_address(void **state)
{
	struct verdict v;

	(void)state;
	for (size_t i = 0; i < sizeof(bad_hosts) / sizeof(*bad_hosts); i++) {
		add_host(bad_hosts[i]);
		add_host((struct host){GOOD});
		assert_string_equal(ask(&(struct terms){0}, &v), "AB");
		remove_hosts(NULL);
	}
	add_host((struct host){.absent = true});
	add_host((struct host){GOOD});
	assert_string_equal(ask(&(struct terms){0}, &v), "B");
}

/* With a time for all, the first addresses leave the others theirs. */
static void
test_shares_of_a_deadline(void **state)
{
	const struct terms terms = {.deadline = 45 * SECOND};
	struct verdict v;

	(void)state;
	speed = SLOW;
	add_host((struct host){GOOD, .delay = ALMOST});
	add_host((struct host){GOOD, .delay = ALMOST});
	add_host((struct host){GOOD});
	assert_string_equal(ask(&terms, &v), "ABC");
}

/* Each address has connect_timeout, however many there are. */
static void
test_silent_addresses(void **state)
{
	int64_t began = clock_now();
	struct verdict v;

	(void)state;
	add_host((struct host){.silent = true});
	add_host((struct host){.silent = true});
	add_host((struct host){GOOD});
	assert_string_equal(ask(&(struct terms){0}, &v), "C");
	assert_true(clock_now() - began >= 20 * SECOND);
}

/* Whoever has nobody else to ask is as patient as RFC 5321 says. */
static void
test_last_resort(void **state)
{
	struct verdict v;

	(void)state;
	add_host((struct host){.absent = true});
	add_host((struct host){GOOD, .delay = 40 * SECOND});
	assert_string_equal(ask(&(struct terms){0}, &v), "B");
}

static void
test_another_relay(void **state)
{
	const struct terms terms = {.another_relay = true};
	struct verdict v;

	(void)state;
	add_host((struct host){GOOD, .delay = ALMOST});
	assert_string_equal(ask(&terms, &v), "A!");
	assert_int_equal(v.outcome, LATER);
	assert_int_equal(v.scope, SCOPE_UPSTREAM);
	assert_string_equal(v.text, "greeting: timed out");
}

/* The one that came furthest says what is wrong. */
static void
test_all_fail(void **state)
{
	struct verdict v;

	(void)state;
	add_host((struct host){.greeting = "220 ok\r\n",
	    .hello = "550 5.7.1 not you\r\n"});
	add_host((struct host){.greeting = "554 5.3.2 go away\r\n"});
	add_host((struct host){.absent = true});
	assert_string_equal(ask(&(struct terms){0}, &v), "AB!");
	assert_int_equal(v.outcome, LATER);
	assert_int_equal(v.scope, SCOPE_UPSTREAM);
	assert_int_equal(v.code, 550);
	assert_string_equal(v.text, "5.7.1 not you");
}

/* What the configuration demands and an address lacks, another may have. */
static void
test_no_starttls(void **state)
{
	const struct terms terms = {.starttls = true};
	struct verdict v;

	(void)state;
	add_host((struct host){GOOD});
	add_host((struct host){GOOD});
	assert_string_equal(ask(&terms, &v), "AB!");
	assert_int_equal(v.stage, STAGE_TLS);
}

/* Another address would refuse it as well, and count it. */
static void
test_login_is_not_repeated(void **state)
{
	struct verdict v;

	(void)state;
	add_host((struct host){.greeting = "220 ok\r\n",
	    .hello = "250-relay.test\r\n250 AUTH PLAIN\r\n",
	    .login = "535 5.7.8 no\r\n"});
	add_host((struct host){GOOD});
	assert_string_equal(ask(&(struct terms){0}, &v), "A!");
	assert_int_equal(v.outcome, HOLD);
	assert_int_equal(v.code, 535);
}

static void
test_favourite(void **state)
{
	struct terms terms = {.favourite = favourite_new()};
	struct verdict v;

	(void)state;
	add_host((struct host){.greeting = "554 5.3.2 go away\r\n"});
	add_host((struct host){.greeting = "554 5.3.2 go away\r\n"});
	add_host((struct host){GOOD});
	assert_string_equal(ask(&terms, &v), "ABC");
	assert_string_equal(ask(&terms, &v), "C");
	pthread_mutex_lock(&relay.lock);
	relay.hosts[2].greeting = "421 4.3.2 not now\r\n";
	relay.hosts[1].greeting = "220 ok\r\n";
	relay.hosts[1].hello = relay.hosts[2].hello;
	relay.hosts[1].login = relay.hosts[2].login;
	pthread_mutex_unlock(&relay.lock);
	assert_string_equal(ask(&terms, &v), "CAB");
	assert_string_equal(ask(&terms, &v), "B");
	relay.count = 1; /* the resolver knows less now */
	assert_string_equal(ask(&terms, &v), "A!");
	relay.count = 3;
	assert_string_equal(ask(&terms, &v), "B");
	favourite_free(terms.favourite);
}

/* An address that opens but lets nobody in must not become the first. */
static void
test_no_favourite_without_login(void **state)
{
	struct terms terms = {.favourite = favourite_new()};
	struct verdict v;

	(void)state;
	add_host((struct host){.greeting = "421 4.3.2 not now\r\n"});
	add_host((struct host){.greeting = "220 ok\r\n",
	    .hello = "250-relay.test\r\n250 AUTH PLAIN\r\n", .login = NULL});
	assert_string_equal(ask(&terms, &v), "AB!");
	assert_string_equal(ask(&terms, &v), "AB!");
	favourite_free(terms.favourite);
}

static void
test_no_address(void **state)
{
	struct verdict v;

	(void)state;
	assert_string_equal(ask(&(struct terms){0}, &v), "!");
	assert_int_equal(v.outcome, LATER);
	assert_int_equal(v.scope, SCOPE_UPSTREAM);
	assert_non_null(strstr(v.text, "cannot resolve relay.test"));
}

#define TEST(name) cmocka_unit_test_teardown(name, remove_hosts)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_next_address),
		TEST(test_shares_of_a_deadline),
		TEST(test_silent_addresses),
		TEST(test_last_resort),
		TEST(test_another_relay),
		TEST(test_all_fail),
		TEST(test_no_starttls),
		TEST(test_login_is_not_repeated),
		TEST(test_favourite),
		TEST(test_no_favourite_without_login),
		TEST(test_no_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
