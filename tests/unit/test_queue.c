/* SPDX-License-Identifier: ISC */
/*
 * Where sessions and couriers meet, with true relays on loopback: verdicts
 * come back, a relay that is away is not asked again (LO-04), the next
 * upstream gets what the first was not told of (UX-15, UX-43), nothing is
 * sent for a submitter who has left, a kept connection that died is no
 * failure (UX-38, UX-39), and stopping answers everybody (DU-41).
 */
#include <errno.h>
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
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "config.h"
#include "conn.h"
#include "message.h"
#include "queue.h"
#include "relay.h"
#include "thread.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { AMPLE = 60000, SHORT = 300 };

/* --- A relay ----------------------------------------------------------- */

/* What it says; NULL is a yes, "" hangs up. */
struct manners {
	const char *greeting, *hello, *login, *mail, *rcpt, *data, *end;
	const char *waits_at; /* the verb, "" for the greeting, "." for the
	                       * dot, at which it waits to be released */
	unsigned messages;    /* after which it hangs up; 0: never */
};

struct server {
	struct manners manners;
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool released;
	unsigned waiting;     /* connections that want to be released */
	unsigned connections; /* all that there were */
	unsigned open;
	unsigned messages;
	struct buf log;       /* all lines, of all connections */
};

/* One connection to it. */
struct service {
	struct server *server;
	struct conn *conn;
};

static void
wait_at(struct server *s, const char *where)
{
	pthread_mutex_lock(&s->lock);
	if (s->manners.waits_at && strcmp(s->manners.waits_at, where) == 0) {
		s->waiting++;
		pthread_cond_broadcast(&s->changed);
		while (!s->released &&
		    thread_wait(&s->changed, &s->lock, clock_now() + AMPLE))
			;
		s->waiting--;
	}
	pthread_mutex_unlock(&s->lock);
}

/* False if that was the last word. */
static bool
say(struct service *v, const char *text, const char *otherwise)
{
	if (text && !*text)
		return false;
	conn_printf(v->conn, "%s\r\n", text ? text : otherwise);
	return true;
}

static bool
hear(struct service *v, struct buf *line)
{
	struct server *s = v->server;

	if (conn_line(v->conn, line, 10000) != LINE_OK)
		return false;
	pthread_mutex_lock(&s->lock);
	buf_addf(&s->log, "%s\n", line->data);
	pthread_mutex_unlock(&s->lock);
	return true;
}

static bool
take_content(struct service *v, struct buf *line)
{
	struct server *s = v->server;
	bool enough;

	if (!say(v, s->manners.data, "354 go"))
		return false;
	if (s->manners.data)
		return true;
	do
		if (!hear(v, line))
			return false;
	while (strcmp(line->data, ".") != 0);
	wait_at(s, ".");
	pthread_mutex_lock(&s->lock);
	s->messages++;
	enough = s->manners.messages &&
	    s->messages % s->manners.messages == 0;
	pthread_mutex_unlock(&s->lock);
	if (!say(v, s->manners.end, "250 2.0.0 taken"))
		return false;
	conn_flush(v->conn);
	return !enough;
}

static bool
obey(struct service *v, struct buf *line)
{
	const struct manners *m = &v->server->manners;
	char verb[5];

	snprintf(verb, sizeof(verb), "%.4s", line->data);
	wait_at(v->server, verb);
	if (strcmp(verb, "EHLO") == 0)
		return say(v, m->hello, "250-relay\r\n250 PIPELINING");
	if (strcmp(verb, "AUTH") == 0)
		return say(v, m->login, "235 ok");
	if (strcmp(verb, "MAIL") == 0)
		return say(v, m->mail, "250 ok");
	if (strcmp(verb, "RCPT") == 0)
		return say(v, m->rcpt, "250 ok");
	if (strcmp(verb, "DATA") == 0)
		return take_content(v, line);
	if (strcmp(verb, "QUIT") == 0)
		return say(v, "221 bye", NULL) && !conn_flush(v->conn);
	return say(v, strcmp(verb, "RSET") == 0 ? "250 ok" : "502 what", NULL);
}

static void *
serve(void *argument)
{
	struct service *v = argument;
	struct server *s = v->server;
	struct buf line = {0};

	conn_set_deadline(v->conn, clock_now() + 2 * AMPLE);
	wait_at(s, "");
	if (say(v, s->manners.greeting, "220 relay"))
		while (hear(v, &line) && obey(v, &line))
			;
	conn_flush(v->conn);
	conn_close(v->conn);
	buf_free(&line);
	free(v);
	pthread_mutex_lock(&s->lock);
	s->open--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void *
accept_all(void *argument)
{
	struct server *s = argument;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		struct service *v = xcalloc(1, sizeof(*v));

		*v = (struct service){.server = s, .conn = conn_new(fd, -1)};
		pthread_mutex_lock(&s->lock);
		s->connections++;
		s->open++;
		pthread_mutex_unlock(&s->lock);
		if (!thread_start(serve, v))
			_exit(99);
	}
	return NULL;
}

/* A port of its own that refuses connections until server_listen(). */
static uint16_t
server_bind(struct server *s, const struct manners *manners)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	*s = (struct server){.manners = *manners, .fd = -1};
	pthread_mutex_init(&s->lock, NULL);
	thread_cond_init(&s->changed);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s->fd, (struct sockaddr *)&address, len) != 0 ||
	    getsockname(s->fd, (struct sockaddr *)&address, &len) != 0)
		fail_msg("bind: %s", strerror(errno));
	return ntohs(address.sin_port);
}

static void
server_listen(struct server *s)
{
	assert_int_equal(listen(s->fd, 100), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, accept_all, s), 0);
}

static void
server_release(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	s->released = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* Waits until so many connections want to be released. */
static void
server_await_waiting(struct server *s, unsigned count)
{
	int64_t deadline = clock_now() + AMPLE;

	pthread_mutex_lock(&s->lock);
	while (s->waiting < count &&
	    thread_wait(&s->changed, &s->lock, deadline))
		;
	assert_int_equal(s->waiting, count);
	pthread_mutex_unlock(&s->lock);
}

static unsigned
server_count(struct server *s, const unsigned *count)
{
	unsigned value;

	pthread_mutex_lock(&s->lock);
	value = *count;
	pthread_mutex_unlock(&s->lock);
	return value;
}

/* Whether it has heard that. */
static bool
server_heard(struct server *s, const char *text)
{
	bool heard;

	pthread_mutex_lock(&s->lock);
	heard = strstr(buf_text(&s->log), text) != NULL;
	pthread_mutex_unlock(&s->lock);
	return heard;
}

/* With no client left. */
static void
server_close(struct server *s)
{
	server_release(s);
	shutdown(s->fd, SHUT_RDWR);
	if (s->thread)
		pthread_join(s->thread, NULL);
	close(s->fd);
	pthread_mutex_lock(&s->lock);
	while (s->open &&
	    thread_wait(&s->changed, &s->lock, clock_now() + AMPLE))
		;
	assert_int_equal(s->open, 0);
	pthread_mutex_unlock(&s->lock);
	buf_free(&s->log);
}

/* --- A queue with its upstreams ---------------------------------------- */

/* A session that submits in a thread of its own, and when it was answered. */
struct session {
	struct house *house;
	struct message *message;
	struct verdict verdict;
	int64_t answered;
	pthread_t thread;
};

enum { SESSIONS = 5 };

struct house {
	struct config config;
	struct upstream upstreams[2];
	struct relay relays[2];
	struct server servers[2];
	struct queue *queue;
	int stop[2];
	struct session sessions[SESSIONS];
};

/* Upstreams with these manners; all listen already. The caller may change
 * the configuration before house_open(). On the heap, for the threads that a
 * failed test leaves behind. */
static struct house *
house_build(const struct manners *manners, size_t count)
{
	static const char *const names[] = {"first", "second"};
	struct house *h = xcalloc(1, sizeof(*h));

	assert_int_equal(pipe(h->stop), 0);
	for (size_t i = 0; i < count; i++) {
		h->upstreams[i] = (struct upstream){
			.name = xstrdup(names[i]),
			.host = xstrdup("127.0.0.1"),
			.port = server_bind(&h->servers[i], &manners[i]),
			.tls = TLS_MODE_NONE, .auth = AUTH_NONE,
			.ehlo = xstrdup("host.example"),
			.connections = 2, .messages_per_connection = 100,
			.recipients_per_message = 100, .idle = 10000,
			.connect_timeout = AMPLE, .timeout = AMPLE,
			.pipelining = true,
		};
		h->relays[i] = (struct relay){
			.upstream = &h->upstreams[i], .stop_fd = h->stop[0]};
		server_listen(&h->servers[i]);
	}
	h->config.upstreams = h->upstreams;
	h->config.upstream_count = count;
	h->config.listen.max_recipients = 1000;
	h->config.queue.direct_wait = AMPLE;
	return h;
}

static void
house_open(struct house *h, bool alone)
{
	h->queue = queue_new(&h->config, h->relays, NULL,
		    alone);
}

/* Says to all that wait on it that the process stops. */
static void
house_stop(struct house *h)
{
	close(h->stop[1]);
	h->stop[1] = -1;
	queue_stop(h->queue);
}

static void
house_close(struct house *h)
{
	if (h->stop[1] >= 0)
		house_stop(h);
	assert_true(queue_wait_for_couriers(h->queue, clock_now() + AMPLE));
	assert_int_equal(queue_budget(h->queue)->used, 0);
	queue_free(h->queue);
	for (size_t i = 0; i < h->config.upstream_count; i++) {
		server_close(&h->servers[i]);
		free(h->upstreams[i].name);
		free(h->upstreams[i].host);
		free(h->upstreams[i].ehlo);
	}
	close(h->stop[0]);
	free(h);
}

static struct message *
new_message(struct house *h, const char *to)
{
	struct message *m = message_new(queue_budget(h->queue), UINT64_MAX);
	char *names = xstrdup(to), *rest = names, *name;

	message_set_sender(m, "s@x");
	while ((name = strsep(&rest, " ")))
		message_add_recipient(m, name);
	buf_addf(&m->header, "X-Id: %s\r\n", m->id);
	assert_true(body_write(&m->body, "x\r\n", 3));
	free(names);
	return m;
}

static struct verdict
submit(struct house *h, const char *to)
{
	struct verdict v;

	memset(&v, 0xa5, sizeof(v));
	queue_submit(h->queue, new_message(h, to), &v);
	return v;
}

static void *
run_session(void *argument)
{
	struct session *s = argument;

	queue_submit(s->house->queue, s->message, &s->verdict);
	s->answered = clock_now();
	return NULL;
}

static void
session_start(struct house *h, size_t which)
{
	struct session *s = &h->sessions[which];

	*s = (struct session){.house = h, .message = new_message(h, "a@y")};
	assert_int_equal(pthread_create(&s->thread, NULL, run_session, s), 0);
}

static const struct session *
session_end(struct house *h, size_t which)
{
	pthread_join(h->sessions[which].thread, NULL);
	return &h->sessions[which];
}

static void
check_verdict(const struct verdict *v, enum outcome outcome, int code,
    const char *text)
{
	if (v->outcome != outcome || v->code != code || !strstr(v->text, text))
		fail_msg("%s at %s: %d %s", outcome_name(v->outcome),
		    stage_name(v->stage), v->code, v->text);
}

/* --- The tests --------------------------------------------------------- */

struct verdict_case {
	struct manners manners;
	const char *to;
	enum outcome outcome;
	enum scope scope;
	int code;
	const char *text;
	unsigned contents; /* how often the relay got the content */
};

static const struct verdict_case verdict_cases[] = {
	{{0}, "a@y", SENT, SCOPE_UPSTREAM, 250, "2.0.0 taken", 1},
	{{0}, "a@y b@y", SENT, SCOPE_UPSTREAM, 250, "2.0.0 taken", 1},
	{{.end = "554 5.6.0 no"}, "a@y", NEVER, SCOPE_MESSAGE, 554,
	    "5.6.0 no", 1},
	{{.end = "451 4.3.0 no"}, "a@y", LATER, SCOPE_MESSAGE, 451,
	    "4.3.0 no", 1},
	{{.end = ""}, "a@y", LATER, SCOPE_MESSAGE, 0, "closed", 1},
	{{.data = "554 no"}, "a@y", NEVER, SCOPE_MESSAGE, 554, "no", 0},
	{{.rcpt = "550 5.1.1 no"}, "a@y", NEVER, SCOPE_RECIPIENT, 550,
	    "5.1.1 <a@y>: no", 1}, /* the empty message to nobody */
	{{.rcpt = "550 5.1.1 no"}, "a@y b@y", NEVER, SCOPE_RECIPIENT, 550,
	    "5.1.1 <a@y>: no", 0},
	{{.rcpt = "450 no"}, "a@y b@y", LATER, SCOPE_RECIPIENT, 450,
	    "<a@y>: no", 0},
	{{.mail = "552 5.3.4 no", .rcpt = "503 no", .data = "503 no"}, "a@y",
	    NEVER, SCOPE_MESSAGE, 552, "5.3.4 no", 0},
	{{.mail = ""}, "a@y", LATER, SCOPE_MESSAGE, 0, "closed", 0},
	{{.greeting = "554 5.7.1 no"}, "a@y", LATER, SCOPE_UPSTREAM, 554,
	    "5.7.1 no", 0},
	{{.greeting = ""}, "a@y", LATER, SCOPE_UPSTREAM, 0, "closed", 0},
	{{.hello = "421 no"}, "a@y", LATER, SCOPE_UPSTREAM, 421, "no", 0},
	{{.mail = "530 5.7.0 no", .rcpt = "503 no", .data = "503 no"}, "a@y",
	    HOLD, SCOPE_UPSTREAM, 530, "5.7.0 no", 0},
};

/* By a courier, and by a process that has none. */
static void
test_verdicts(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * COUNT(verdict_cases); i++) {
		const struct verdict_case *t = &verdict_cases[i / 2];
		struct house *h = house_build(&t->manners, 1);
		struct verdict v;

		house_open(h, i % 2);
		v = submit(h, t->to);
		check_verdict(&v, t->outcome, t->code, t->text);
		assert_int_equal(v.scope, t->scope);
		assert_int_equal(v.maybe_delivered, t->manners.end &&
		    !*t->manners.end);
		assert_false(v.cut_short);
		assert_int_equal(server_count(&h->servers[0],
		    &h->servers[0].messages), t->contents);
		assert_int_equal(server_heard(&h->servers[0], "X-Id: "),
		    t->contents && !t->manners.rcpt);
		house_close(h);
	}
}

/* Nobody listens: the first submission finds out, those behind it are told
 * without a connection, although somebody would listen now. */
static void
test_relay_is_away(void **state)
{
	static const struct manners fine = {0};
	struct house *h = house_build(&fine, 1);
	struct server *absent = &h->servers[1];
	struct verdict v;

	(void)state;
	h->upstreams[0].port = server_bind(absent, &fine);
	house_open(h, false);
	v = submit(h, "a@y");
	check_verdict(&v, LATER, 0, "Connection refused");
	assert_int_equal(v.scope, SCOPE_UPSTREAM);
	assert_int_equal(v.stage, STAGE_CONNECT);
	server_listen(absent);
	for (int i = 0; i < 3; i++) {
		v = submit(h, "a@y");
		check_verdict(&v, LATER, 0, "the relay is away, next try in ");
		assert_non_null(strstr(v.text, "Connection refused"));
		assert_int_equal(v.scope, SCOPE_UPSTREAM);
		assert_int_equal(v.stage, STAGE_CONNECT);
	}
	assert_int_equal(server_count(absent, &absent->connections), 0);
	server_close(absent);
	house_close(h);
}

/* A pause is ended for whoever asks, but by clients once a minute only, and
 * then by the one who runs it. */
static void
test_wake(void **state)
{
	static const struct manners gone = {.greeting = ""};
	struct house *h = house_build(&gone, 1);
	unsigned *connections = &h->servers[0].connections;

	(void)state;
	house_open(h, false);
	submit(h, "a@y");
	submit(h, "a@y");
	assert_int_equal(server_count(&h->servers[0], connections), 1);
	assert_true(queue_nudge(h->queue));
	submit(h, "a@y");
	submit(h, "a@y");
	assert_int_equal(server_count(&h->servers[0], connections), 2);
	assert_false(queue_nudge(h->queue));
	submit(h, "a@y");
	assert_int_equal(server_count(&h->servers[0], connections), 2);
	queue_wake(h->queue);
	submit(h, "a@y");
	assert_int_equal(server_count(&h->servers[0], connections), 3);
	house_close(h);
}

/* Those in line when it goes away are told at once, not one by one. */
static void
test_line_is_cleared(void **state)
{
	static const struct manners gone = {.greeting = "", .waits_at = ""};
	struct house *h = house_build(&gone, 1);

	(void)state;
	h->upstreams[0].connections = 1;
	house_open(h, false);
	session_start(h, 0);
	server_await_waiting(&h->servers[0], 1);
	for (size_t i = 1; i < SESSIONS; i++)
		session_start(h, i);
	poll(NULL, 0, 100);
	server_release(&h->servers[0]);
	for (size_t i = 0; i < SESSIONS; i++) {
		const struct session *s = session_end(h, i);

		check_verdict(&s->verdict, LATER, 0, "closed");
		assert_int_equal(s->verdict.scope, SCOPE_UPSTREAM);
	}
	assert_int_equal(server_count(&h->servers[0],
	    &h->servers[0].connections), 1);
	house_close(h);
}

/* What the first upstream says about itself sends the message to the second;
 * what it says about the message does not. */
static const struct {
	struct manners first;
	bool goes_on;
} failover_cases[] = {
	{{.greeting = ""}, true},
	{{.greeting = "421 4.3.2 busy"}, true},
	{{.greeting = "554 5.7.1 no"}, true},
	{{.hello = "421 no"}, true},
	{{.hello = ""}, true},
	{{.mail = "530 5.7.0 no", .rcpt = "503 no", .data = "503 no"}, true},
	{{.mail = "451 4.7.1 no", .rcpt = "503 no", .data = "503 no"}, false},
	{{.mail = "550 5.7.1 no", .rcpt = "503 no", .data = "503 no"}, false},
	{{.mail = "421 bye"}, false},
	{{.mail = ""}, false},
	{{.rcpt = "450 4.2.1 no", .data = "503 no"}, false},
	{{.rcpt = "550 5.1.1 no", .data = "503 no"}, false},
	{{.data = "451 4.3.0 no"}, false},
	{{.end = "451 4.3.0 no"}, false},
	{{.end = "550 5.7.1 no"}, false},
	{{.end = ""}, false},
};

static void
check_failover(const struct manners *first, bool goes_on, bool alone)
{
	struct manners manners[2] = {*first};
	struct house *h = house_build(manners, 2);
	struct verdict v;

	house_open(h, alone);
	v = submit(h, "a@y");
	if ((v.outcome == SENT) != goes_on)
		fail_msg("%s at %s: %d %s", outcome_name(v.outcome),
		    stage_name(v.stage), v.code, v.text);
	assert_int_equal(server_count(&h->servers[1],
	    &h->servers[1].messages), goes_on);
	assert_int_equal(server_heard(&h->servers[1], "RCPT TO:<a@y>\n"),
	    goes_on);
	if (goes_on && !alone) { /* the first is not asked again */
		v = submit(h, "b@y");
		check_verdict(&v, SENT, 250, "taken");
		assert_int_equal(server_count(&h->servers[0],
		    &h->servers[0].connections), 1);
	}
	house_close(h);
}

static void
test_failover(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(failover_cases); i++)
		for (int alone = 0; alone < 2; alone++)
			check_failover(&failover_cases[i].first,
			    failover_cases[i].goes_on, alone);
}

/* The first upstream wants a login only when it hears the recipient (UX-47):
 * that recipient is named to the second all the same. */
static void
test_failover_behind_rcpt(void **state)
{
	static const struct manners first = {
		.rcpt = "530 5.7.0 log in", .data = "503 no"};

	(void)state;
	check_failover(&first, true, false);
	check_failover(&first, true, true);
}

static void
test_all_are_away(void **state)
{
	static const struct manners manners[2] = {
		{.greeting = "421 one"}, {.greeting = "421 two"}};
	struct house *h = house_build(manners, 2);
	struct verdict v;

	(void)state;
	house_open(h, false);
	v = submit(h, "a@y");
	check_verdict(&v, LATER, 421, "two");
	v = submit(h, "a@y");
	check_verdict(&v, LATER, 0, "one"); /* of the preferred one */
	for (int i = 0; i < 2; i++)
		assert_int_equal(server_count(&h->servers[i],
		    &h->servers[i].connections), 1);
	house_close(h);
}

/* One login, and those behind it are told to wait for a person (UX-15), who
 * can have it tried again. */
static void
test_refused_login(void **state)
{
	static const struct manners strict = {
		.hello = "250-relay\r\n250 AUTH PLAIN",
		.login = "535 5.7.8 wrong"};
	struct house *h = house_build(&strict, 1);
	char user[] = "u", password[] = "p";
	struct verdict v;

	(void)state;
	h->upstreams[0].auth = AUTH_PLAIN;
	h->upstreams[0].user = user;
	h->upstreams[0].password = (struct secret){
		.kind = SECRET_LITERAL, .text = password};
	house_open(h, false);
	v = submit(h, "a@y");
	check_verdict(&v, HOLD, 535, "5.7.8 wrong");
	assert_int_equal(v.scope, SCOPE_UPSTREAM);
	v = submit(h, "a@y");
	check_verdict(&v, HOLD, 0, "5.7.8 wrong");
	assert_true(queue_nudge(h->queue));
	submit(h, "a@y");
	assert_int_equal(server_count(&h->servers[0],
	    &h->servers[0].connections), 1);
	queue_wake(h->queue);
	v = submit(h, "a@y");
	check_verdict(&v, HOLD, 535, "5.7.8 wrong");
	house_close(h);
}

/* A relay that repeats our login does not get it into anybody's reply or
 * log (CL-62). */
static void
test_repeated_login(void **state)
{
	static const struct manners manners[] = {
		{.hello = "250-relay\r\n250 AUTH PLAIN",
		    .login = "535-5.7.8\r\n535 5.7.8 secret?"},
		{.hello = "250-relay\r\n250 AUTH PLAIN",
		    .login = "535 5.7.8 AHUAc2VjcmV0 is no command"},
	};
	char user[] = "u", password[] = "secret";

	(void)state;
	for (size_t i = 0; i < COUNT(manners); i++) {
		struct house *h = house_build(&manners[i], 1);
		struct verdict v;

		h->upstreams[0].auth = AUTH_PLAIN;
		h->upstreams[0].user = user;
		h->upstreams[0].password = (struct secret){
			.kind = SECRET_LITERAL, .text = password};
		house_open(h, true);
		v = submit(h, "a@y");
		check_verdict(&v, HOLD, 535, "repeats our login");
		assert_null(strstr(v.text, "secret"));
		assert_null(strstr(v.text, "c2VjcmV0"));
		house_close(h);
	}
}

/* Lost behind MAIL: the message's fault, also when it is submitted again, and
 * the relay's when another one meets the same. */
static void
test_lost_behind_mail(void **state)
{
	static const struct manners gone = {.mail = ""};
	struct house *h = house_build(&gone, 1);
	struct verdict v;

	(void)state;
	house_open(h, false);
	for (int i = 0; i < 3; i++) {
		v = submit(h, "a@y");
		check_verdict(&v, LATER, 0, "MAIL FROM: connection closed");
		assert_int_equal(v.scope, SCOPE_MESSAGE);
	}
	v = submit(h, "b@y");
	check_verdict(&v, LATER, 0, "MAIL FROM: connection closed");
	v = submit(h, "c@y");
	check_verdict(&v, LATER, 0, "the relay is away");
	assert_int_equal(server_count(&h->servers[0],
	    &h->servers[0].connections), 4);
	house_close(h);
}

/* A process without couriers has one direct_wait for all upstreams: one that
 * hangs does not use it all. */
static void
test_alone_with_hanging_upstream(void **state)
{
	static const struct manners manners[2] = {{.waits_at = ""}, {0}};
	struct house *h = house_build(manners, 2);
	struct verdict v;

	(void)state;
	h->config.queue.direct_wait = 4 * SHORT;
	house_open(h, true);
	v = submit(h, "a@y");
	check_verdict(&v, SENT, 250, "taken");
	assert_true(server_heard(&h->servers[1], "RCPT TO:<a@y>\n"));
	house_close(h);
}

/* The relay has not even greeted when the submitter must be answered: nothing
 * of the message is sent later, and the relay is not held to be away. */
static void
test_impatient(void **state)
{
	static const struct manners slow = {.waits_at = ""};
	struct house *h = house_build(&slow, 1);
	int64_t begun;
	struct verdict v;

	(void)state;
	h->config.queue.direct_wait = SHORT;
	house_open(h, false);
	begun = clock_now();
	v = submit(h, "gone@y");
	assert_in_range(clock_now() - begun, SHORT, AMPLE / 2);
	check_verdict(&v, LATER, 0, "direct_wait");
	assert_true(v.cut_short);
	assert_int_equal(v.scope, SCOPE_MESSAGE);
	server_release(&h->servers[0]);
	h->config.queue.direct_wait = AMPLE;
	v = submit(h, "here@y");
	check_verdict(&v, SENT, 250, "taken");
	assert_true(server_heard(&h->servers[0], "<here@y>"));
	assert_false(server_heard(&h->servers[0], "<gone@y>"));
	house_close(h);
}

/* The same with a relay that turns out to be away when nobody waits for it any
 * more: that is known then. */
static void
test_impatient_and_away(void **state)
{
	static const struct manners slow = {.waits_at = "", .greeting = ""};
	struct house *h = house_build(&slow, 1);
	struct verdict v;

	(void)state;
	h->config.queue.direct_wait = SHORT;
	house_open(h, false);
	v = submit(h, "gone@y");
	check_verdict(&v, LATER, 0, "direct_wait");
	server_release(&h->servers[0]);
	do
		v = submit(h, "here@y");
	while (!strstr(v.text, "the relay is away"));
	assert_false(server_heard(&h->servers[0], "MAIL"));
	house_close(h);
}

/* The same for those behind it in line. */
static void
test_impatient_in_line(void **state)
{
	static const struct manners slow = {.waits_at = ""};
	struct house *h = house_build(&slow, 1);

	(void)state;
	h->config.queue.direct_wait = SHORT;
	h->upstreams[0].connections = 1;
	h->upstreams[0].idle = SHORT;
	house_open(h, false);
	for (size_t i = 0; i < SESSIONS; i++)
		session_start(h, i);
	for (size_t i = 0; i < SESSIONS; i++) {
		const struct session *s = session_end(h, i);

		check_verdict(&s->verdict, LATER, 0, "direct_wait");
	}
	server_release(&h->servers[0]);
	while (server_count(&h->servers[0], &h->servers[0].open))
		poll(NULL, 0, 10);
	assert_false(server_heard(&h->servers[0], "MAIL"));
	assert_true(server_heard(&h->servers[0], "QUIT"));
	assert_int_equal(server_count(&h->servers[0],
	    &h->servers[0].connections), 1);
	house_close(h);
}

/* Milliseconds that the processor has worked for us. */
static int64_t
work_done(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

/* In the envelope the attempt is cut, behind the dot it is waited for; and
 * waiting is no work. */
static void
test_impatient_behind_mail(void **state)
{
	static const struct {
		struct manners manners;
		bool sent;
	} cases[] = {
		{{.waits_at = "MAIL"}, false}, {{.waits_at = "RCPT"}, false},
		{{.waits_at = "DATA"}, false}, {{.waits_at = "."}, true},
	};
	struct house *houses[2 * COUNT(cases)];
	int64_t before;

	(void)state;
	for (size_t i = 0; i < COUNT(houses); i++) {
		houses[i] = house_build(&cases[i / 2].manners, 1);
		houses[i]->config.queue.direct_wait = 3 * SHORT;
		house_open(houses[i], i % 2);
		session_start(houses[i], 0);
	}
	for (size_t i = 0; i < COUNT(houses); i++)
		server_await_waiting(&houses[i]->servers[0], 1);
	before = work_done();
	poll(NULL, 0, 4 * SHORT);
	assert_true(work_done() - before < SHORT / 2);
	for (size_t i = 0; i < COUNT(houses); i++) {
		const struct session *s;

		server_release(&houses[i]->servers[0]);
		s = session_end(houses[i], 0);
		check_verdict(&s->verdict, cases[i / 2].sent ? SENT : LATER,
		    cases[i / 2].sent ? 250 : 0, "");
		assert_int_equal(s->verdict.cut_short, !cases[i / 2].sent);
		assert_false(s->verdict.maybe_delivered);
		house_close(houses[i]);
	}
}

static void
test_connection_is_kept(void **state)
{
	static const struct manners fine = {0};
	struct house *h = house_build(&fine, 1);
	struct verdict v;

	(void)state;
	h->upstreams[0].connections = 1;
	house_open(h, false);
	for (int i = 0; i < 5; i++) {
		v = submit(h, "a@y");
		check_verdict(&v, SENT, 250, "taken");
	}
	assert_int_equal(server_count(&h->servers[0],
	    &h->servers[0].connections), 1);
	house_close(h);

	/* more may be made, but are not while one is idle */
	h = house_build(&fine, 1);
	house_open(h, false);
	for (int i = 0; i < 3; i++) {
		v = submit(h, "a@y");
		check_verdict(&v, SENT, 250, "taken");
		poll(NULL, 0, SHORT);
	}
	assert_int_equal(server_count(&h->servers[0],
	    &h->servers[0].connections), 1);
	house_close(h);

	h = house_build(&fine, 1);
	h->upstreams[0].connections = 1;
	h->upstreams[0].messages_per_connection = 2;
	house_open(h, false);
	for (int i = 0; i < 5; i++) {
		v = submit(h, "a@y");
		check_verdict(&v, SENT, 250, "taken");
	}
	assert_int_equal(server_count(&h->servers[0],
	    &h->servers[0].connections), 3);
	house_close(h);
}

/* Closed between two messages, with or without time to notice. */
static void
test_stale_connection(void **state)
{
	static const struct manners manners[] = {
		{.messages = 1}, {.messages = 2},
		{.messages = 1, .end = "250 2.0.0 taken\r\n421 4.4.2 bye"}};

	(void)state;
	for (size_t i = 0; i < 2 * COUNT(manners); i++) {
		struct house *h = house_build(&manners[i / 2], 1);

		house_open(h, false);
		for (int k = 0; k < 6; k++) {
			struct verdict v = submit(h, "a@y");

			check_verdict(&v, SENT, 250, "taken");
			if (i % 2)
				poll(NULL, 0, 50);
		}
		assert_int_equal(server_count(&h->servers[0],
		    &h->servers[0].messages), 6);
		house_close(h);
	}
}

/* A refused message leaves the connection fit for the next one. */
static void
test_after_refusal(void **state)
{
	static const struct manners picky = {.data = "451 4.3.0 no"};
	struct house *h = house_build(&picky, 1);

	(void)state;
	h->upstreams[0].connections = 1;
	house_open(h, false);
	for (int i = 0; i < 3; i++) {
		struct verdict v = submit(h, "a@y");

		check_verdict(&v, LATER, 451, "4.3.0 no");
	}
	assert_true(server_heard(&h->servers[0], "RSET"));
	assert_int_equal(server_count(&h->servers[0],
	    &h->servers[0].connections), 1);
	house_close(h);
}

/* Stopping with a courier that is connecting and others in line. */
static void
test_stop(void **state)
{
	static const struct manners slow = {.waits_at = ""};
	struct house *h = house_build(&slow, 1);
	int64_t begun;
	struct verdict v;

	(void)state;
	h->upstreams[0].connections = 1;
	house_open(h, false);
	for (size_t i = 0; i < SESSIONS; i++)
		session_start(h, i);
	server_await_waiting(&h->servers[0], 1);
	begun = clock_now();
	close(h->stop[1]); /* the courier sees it before the queue does */
	h->stop[1] = -1;
	for (size_t i = 0; i < SESSIONS; i++) {
		const struct session *s = session_end(h, i);

		check_verdict(&s->verdict, LATER, 0, "stopping");
		assert_true(s->answered - begun < AMPLE / 2);
	}
	queue_stop(h->queue);
	v = submit(h, "a@y");
	check_verdict(&v, LATER, 0, "stopping");
	assert_true(clock_now() - begun < AMPLE / 2);
	assert_int_equal(server_count(&h->servers[0],
	    &h->servers[0].connections), 1);
	house_close(h);
}

/* Those in line are answered even if the courier is stuck. */
static void
test_stop_in_line(void **state)
{
	static const struct manners slow = {.waits_at = ""};
	struct house *h = house_build(&slow, 1);
	int64_t begun;

	(void)state;
	h->upstreams[0].connections = 1;
	house_open(h, false);
	session_start(h, 0);
	server_await_waiting(&h->servers[0], 1);
	for (size_t i = 1; i < SESSIONS; i++)
		session_start(h, i);
	poll(NULL, 0, 100);
	begun = clock_now();
	queue_stop(h->queue);
	for (size_t i = 1; i < SESSIONS; i++) {
		const struct session *s = session_end(h, i);

		check_verdict(&s->verdict, LATER, 0, "stopping");
		assert_true(s->answered - begun < AMPLE / 2);
	}
	assert_false(queue_wait_for_couriers(h->queue, clock_now() + 50));
	house_stop(h);
	check_verdict(&session_end(h, 0)->verdict, LATER, 0, "stopping");
	house_close(h);
}

/* The relay has the message when the process stops: its word is waited for. */
static void
test_stop_behind_dot(void **state)
{
	static const struct manners slow = {.waits_at = "."};
	struct house *h = house_build(&slow, 1);
	const struct session *s;

	(void)state;
	house_open(h, false);
	session_start(h, 0);
	server_await_waiting(&h->servers[0], 1);
	house_stop(h);
	poll(NULL, 0, 100);
	server_release(&h->servers[0]);
	s = session_end(h, 0);
	check_verdict(&s->verdict, SENT, 250, "taken");
	house_close(h);
}

static void
test_idle_couriers_leave(void **state)
{
	static const struct manners fine = {0};
	struct house *h = house_build(&fine, 1);
	struct verdict v;

	(void)state;
	h->upstreams[0].idle = 50;
	house_open(h, false);
	for (int i = 0; i < 3; i++) {
		v = submit(h, "a@y");
		check_verdict(&v, SENT, 250, "taken");
		assert_true(queue_wait_for_couriers(h->queue,
		    clock_now() + AMPLE));
	}
	assert_int_equal(server_count(&h->servers[0],
	    &h->servers[0].connections), 3);
	assert_true(server_heard(&h->servers[0], "QUIT"));
	house_close(h);
}

static void
test_recipient_limit(void **state)
{
	static const struct manners fine[2] = {{0}, {0}};
	struct house *h = house_build(fine, 2);
	struct message *m = message_new(NULL, UINT64_MAX);

	(void)state;
	house_open(h, false);
	m->direct_only = true;
	assert_int_equal(queue_recipient_limit(h->queue, m, false), 100);
	h->upstreams[1].recipients_per_message = 50;
	assert_int_equal(queue_recipient_limit(h->queue, m, false), 50);
	h->config.listen.max_recipients = 7;
	assert_int_equal(queue_recipient_limit(h->queue, m, false), 7);
	m->direct_only = false;
	h->config.listen.max_recipients = 1000;
	assert_int_equal(queue_recipient_limit(h->queue, m, false), 1000);
	assert_int_equal(queue_recipient_limit(h->queue, m, true),
	    QUEUE_LOCAL_RECIPIENTS);
	message_free(m);
	house_close(h);
}

enum { CLIENTS = 8, MESSAGES = 25 };

/* The IDs of all that were sent. */
struct client {
	struct house *house;
	char ids[MESSAGES][QUEUE_ID_SIZE];
	unsigned sent;
	pthread_t thread;
};

static void *
run_client(void *argument)
{
	struct client *c = argument;

	for (int i = 0; i < MESSAGES; i++) {
		struct message *m = new_message(c->house, "a@y b@y");
		struct verdict v;

		memcpy(c->ids[c->sent], m->id, QUEUE_ID_SIZE);
		queue_submit(c->house->queue, m, &v);
		c->sent += v.outcome == SENT;
	}
	return NULL;
}

/* All at once, over few connections that do not live long: each is sent once
 * (LO-11). */
static void
test_many(void **state)
{
	static const struct manners busy[2] = {{.messages = 7}, {0}};
	struct client *clients = xcalloc(CLIENTS, sizeof(*clients));
	struct house *h = house_build(busy, 2);
	struct server *server = &h->servers[0];

	(void)state;
	h->upstreams[0].messages_per_connection = 10;
	h->upstreams[0].idle = 20;
	house_open(h, false);
	for (size_t i = 0; i < CLIENTS; i++) {
		clients[i].house = h;
		assert_int_equal(pthread_create(&clients[i].thread, NULL,
		    run_client, &clients[i]), 0);
	}
	for (size_t i = 0; i < CLIENTS; i++) {
		pthread_join(clients[i].thread, NULL);
		assert_int_equal(clients[i].sent, MESSAGES);
		for (int k = 0; k < MESSAGES; k++)
			assert_true(server_heard(server, clients[i].ids[k]));
	}
	assert_int_equal(server_count(server, &server->messages),
	    CLIENTS * MESSAGES);
	assert_int_equal(server_count(&h->servers[1],
	    &h->servers[1].connections), 0);
	house_close(h);
	free(clients);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_relay_is_away),
		cmocka_unit_test(test_wake),
		cmocka_unit_test(test_line_is_cleared),
		cmocka_unit_test(test_failover),
		cmocka_unit_test(test_failover_behind_rcpt),
		cmocka_unit_test(test_all_are_away),
		cmocka_unit_test(test_refused_login),
		cmocka_unit_test(test_repeated_login),
		cmocka_unit_test(test_lost_behind_mail),
		cmocka_unit_test(test_alone_with_hanging_upstream),
		cmocka_unit_test(test_impatient),
		cmocka_unit_test(test_impatient_and_away),
		cmocka_unit_test(test_impatient_in_line),
		cmocka_unit_test(test_impatient_behind_mail),
		cmocka_unit_test(test_connection_is_kept),
		cmocka_unit_test(test_stale_connection),
		cmocka_unit_test(test_after_refusal),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_stop_in_line),
		cmocka_unit_test(test_stop_behind_dot),
		cmocka_unit_test(test_idle_couriers_leave),
		cmocka_unit_test(test_recipient_limit),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
