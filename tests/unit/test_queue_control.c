/* SPDX-License-Identifier: ISC */
/*
 * What an administrator asks of the queue: one run tries each stored message
 * once and ends, by itself or because no relay can be tried; pauses are seen,
 * and ended by who may.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "catalog.h"
#include "clock.h"
#include "config.h"
#include "message.h"
#include "queue.h"
#include "queue_internal.h"
#include "relay.h"
#include "spool.h"

enum { PATIENCE = 20000, ALL = 3 };

/* A spool, a queue on it, and a relay that refuses connections, or one that
 * writes files. */
struct house {
	char root[64];
	char directory[80];
	struct config config;
	struct upstream upstream;
	struct relay relay;
	struct spool *spool;
	struct queue *queue;
	struct queue_id ids[ALL];
	int port, stop[2];
};

static uint16_t
refusing_port(int *fd)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(*fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(
	    getsockname(*fd, (struct sockaddr *)&address, &len), 0);
	return ntohs(address.sin_port);
}

static void
store(struct house *h, size_t i, time_t next)
{
	struct message *m = message_new(NULL, UINT64_MAX);

	message_set_sender(m, "a@example.test");
	message_add_recipient(m, "b@example.test");
	buf_adds(&m->header, "Subject: x\r\n");
	assert_true(spool_commit(h->spool, m));
	assert_true(spool_put_off(m, next));
	assert_true(queue_id_read(&h->ids[i], m->id));
	message_free(m);
}

static struct house *
open_house(bool refuses)
{
	struct house *h = xcalloc(1, sizeof(*h));
	struct buf why = {0};

	snprintf(h->root, sizeof(h->root), "/tmp/sh-control-XXXXXX");
	assert_non_null(mkdtemp(h->root));
	snprintf(h->directory, sizeof(h->directory), "%s/sent", h->root);
	assert_int_equal(mkdir(h->directory, 0700), 0);
	assert_int_equal(pipe(h->stop), 0);
	h->spool = spool_open(h->root, &why);
	assert_non_null(h->spool);
	h->upstream = (struct upstream){
		.name = xstrdup("default"), .host = xstrdup("127.0.0.1"),
		.port = refusing_port(&h->port),
		.provider = refuses ? NULL : provider_find("capture"),
		.directory = h->directory, .tls = TLS_MODE_NONE,
		.auth = AUTH_NONE, .connections = 1,
		.messages_per_connection = 100, .recipients_per_message = 100,
		.idle = PATIENCE, .connect_timeout = PATIENCE,
		.timeout = PATIENCE,
	};
	h->relay = (struct relay){
		.upstream = &h->upstream, .stop_fd = h->stop[0]};
	h->config.upstreams = &h->upstream;
	h->config.upstream_count = 1;
	h->config.hostname = h->upstream.host;
	h->config.queue = (struct queue_config){.directory = h->root,
		.lifetime = 86400000, .retry_max = 3600000};
	h->queue = queue_new(&h->config, &h->relay, h->spool, false);
	for (size_t i = 0; i < ALL; i++) /* not due for long */
		store(h, i, time(NULL) + 1800);
	return h;
}

static int
remove_one(const char *path, const struct stat *file, int kind,
    struct FTW *walk)
{
	(void)file, (void)kind, (void)walk;
	return remove(path);
}

static void
close_house(struct house *h)
{
	queue_stop(h->queue);
	close(h->stop[1]);
	assert_true(queue_wait_for_couriers(h->queue,
	    clock_now() + PATIENCE));
	queue_free(h->queue);
	spool_close(h->spool);
	nftw(h->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(h->upstream.name);
	free(h->upstream.host);
	close(h->port);
	close(h->stop[0]);
	free(h);
}

/* How many messages there are still. */
static size_t
stored(const struct house *h)
{
	struct catalog c;
	size_t count;

	assert_true(catalog_read(&c, h->root, false));
	count = c.count;
	catalog_free(&c);
	return count;
}

static size_t
scheduled(struct house *h)
{
	size_t count;

	pthread_mutex_lock(&h->queue->lock);
	count = h->queue->schedule.count;
	pthread_mutex_unlock(&h->queue->lock);
	return count;
}

static void
run_once(struct house *h, size_t count)
{
	int64_t deadline = clock_now() + PATIENCE;
	struct buf why = {0};

	assert_true(queue_start_once(h->queue, h->ids, count, &why));
	while (queue_left(h->queue)) {
		assert_true(clock_now() < deadline);
		poll(NULL, 0, 1);
	}
}

static void
a_run_ends_when_all_is_sent(void **state)
{
	struct house *h = open_house(false);

	(void)state;
	run_once(h, ALL);
	assert_int_equal(stored(h), 0);
	close_house(h);
}

static void
a_run_tries_what_it_is_told(void **state)
{
	struct house *h = open_house(false);

	(void)state;
	run_once(h, 1);
	assert_int_equal(stored(h), ALL - 1);
	close_house(h);
}

/* The first one meets it; the others wait behind the pause; and what has been
 * tried is not tried again, however long the run takes. */
static void
a_run_ends_when_the_relay_is_away(void **state)
{
	struct house *h = open_house(true);
	struct pause_state pause;

	(void)state;
	run_once(h, ALL);
	assert_int_equal(stored(h), ALL);
	assert_int_equal(scheduled(h), ALL - 1);
	queue_upstream_state(h->queue, 0, &pause);
	assert_true(pause.paused);
	assert_false(pause.hold);
	assert_true(pause.wait > 50000 && pause.wait <= 60000);
	assert_non_null(strstr(pause.reason, "Connection refused"));
	close_house(h);
}

static void
wait_for_pause(struct house *h, struct pause_state *pause)
{
	int64_t deadline = clock_now() + PATIENCE;

	do {
		assert_true(clock_now() < deadline);
		poll(NULL, 0, 1);
		queue_upstream_state(h->queue, 0, pause);
	} while (!pause->paused || !pause->wait);
}

/* A retry that ends no pause changes when the messages are due, and nothing
 * else; one that does is followed by a probe. */
static void
who_may_end_a_pause(void **state)
{
	struct house *h = open_house(true);
	struct pause_state pause;
	struct buf why = {0};

	(void)state;
	assert_true(queue_start(h->queue, &why));
	queue_upstream_state(h->queue, 0, &pause);
	assert_false(pause.paused);
	while (scheduled(h) < ALL) /* the clock is looking for them */
		poll(NULL, 0, 1);
	assert_int_equal(queue_retry(h->queue, h->ids, ALL, false), ALL);
	wait_for_pause(h, &pause);
	while (scheduled(h) < ALL)
		poll(NULL, 0, 1);
	pthread_mutex_lock(&h->queue->lock);
	h->queue->lines[0].health.next_probe += PATIENCE;
	pthread_mutex_unlock(&h->queue->lock);
	assert_int_equal(queue_retry(h->queue, h->ids + 1, 1, false), 1);
	queue_upstream_state(h->queue, 0, &pause);
	assert_true(pause.wait > 60000);
	assert_int_equal(queue_wake(h->queue), ALL);
	do
		wait_for_pause(h, &pause);
	while (pause.wait > 60000);
	assert_int_equal(stored(h), ALL);
	close_house(h);
}

static void
a_sender_that_is_not_verified(void **state)
{
	const struct verdict v = {.outcome = HOLD, .scope = SCOPE_SENDER,
		.stage = STAGE_MAIL, .code = 550, .text = "5.7.1 verify"};
	struct house *h = open_house(true);
	struct pause_state pause;

	(void)state;
	pauses_add(&h->queue->senders, "a@example.test", &v, clock_now());
	queue_sender_state(h->queue, "b@example.test", &pause);
	assert_false(pause.paused);
	queue_sender_state(h->queue, "a@example.test", &pause);
	assert_true(pause.paused && pause.hold);
	assert_string_equal(pause.reason, "550 5.7.1 verify");
	assert_true(pause.wait > 0);
	queue_wake(h->queue);
	queue_sender_state(h->queue, "a@example.test", &pause);
	assert_false(pause.paused);
	close_house(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_ends_when_all_is_sent),
		cmocka_unit_test(a_run_tries_what_it_is_told),
		cmocka_unit_test(a_run_ends_when_the_relay_is_away),
		cmocka_unit_test(who_may_end_a_pause),
		cmocka_unit_test(a_sender_that_is_not_verified),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
