/* SPDX-License-Identifier: ISC */
/*
 * A client and a server of ours, hand in hand over a socket pair: the end of a
 * connection in all its forms, records both ways at once, what the certificate
 * says, and the memory of a session. Other implementations are in tests/e2e.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "tls.h"
#include "tls_session.h"
#include "trust.h"

/* Self-signed, EC P-256, for relay.test, *.relay.test and 127.0.0.1. Its dates
 * do not matter to a pin. */
static const char pem[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3nhqB3DSEJcmGIit\n"
    "7rKKkK32xmADMnhwXBLa6Nm5UdahRANCAATa2ur53h94EIGL3W3SUxsLDqCLGEH1\n"
    "lStrPcE2Lm+vv3RCqco4jZ6cCJoMHCXjquoF6+znfXMYVSCrAeRmCo5J\n"
    "-----END PRIVATE KEY-----\n"
    "-----BEGIN CERTIFICATE-----\n"
    "MIIByjCCAXCgAwIBAgIUR7rI60dqeJMlvpZtAYlQsWgCoo8wCgYIKoZIzj0EAwIw\n"
    "JDENMAsGA1UECgwEVGVzdDETMBEGA1UEAwwKcmVsYXkudGVzdDAgFw0yNjExMjcw\n"
    "MDU2MjRaGA8yMDk1MDUwOTAwNTYyNFowJDENMAsGA1UECgwEVGVzdDETMBEGA1UE\n"
    "AwwKcmVsYXkudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNra6vneH3gQ\n"
    "gYvdbdJTGwsOoIsYQfWVK2s9wTYub6+/dEKpyjiNnpwImgwcJeOq6gXr7Od9cxhV\n"
    "IKsB5GYKjkmjfjB8MB0GA1UdDgQWBBSv7j9GLkaqYTyxcaE05KaSljkrjDAfBgNV\n"
    "HSMEGDAWgBSv7j9GLkaqYTyxcaE05KaSljkrjDAPBgNVHRMBAf8EBTADAQH/MCkG\n"
    "A1UdEQQiMCCCCnJlbGF5LnRlc3SCDCoucmVsYXkudGVzdIcEfwAAATAKBggqhkjO\n"
    "PQQDAgNIADBFAiBXtBNyFE5uUlMqZ8oPQKwflA1pDYc9bxFm5/39Kmz/WwIhAPLi\n"
    "+8OsJrqnFAWrffdVhC7EKz85zN1FtshvZUKjE5qM\n"
    "-----END CERTIFICATE-----\n";

static const unsigned char fingerprint[TLS_FINGERPRINT_SIZE] = {
	0x94, 0xab, 0xe5, 0x80, 0x38, 0xc0, 0x55, 0xa5,
	0x8c, 0xc1, 0xa8, 0x4f, 0x49, 0x14, 0x78, 0xb7,
	0x42, 0xfe, 0x87, 0xeb, 0xcf, 0x81, 0x4e, 0x48,
	0x09, 0x33, 0xb1, 0xd0, 0xe2, 0x9b, 0x81, 0x3f,
};

enum { ENOUGH = 1000 }; /* pumps for anything that ends at all */

struct end {
	struct tls *tls;
	int fd;
	unsigned state;
};

struct pair {
	struct tls_trust *trust;
	struct tls_server *own;
	struct end client, server;
};

static struct tls_server *
load_own(void)
{
	char path[] = "/tmp/test_tls_pair.XXXXXX";
	int fd = mkstemp(path);
	struct tls_server *own;
	struct buf why = {0};

	assert_true(fd >= 0);
	assert_int_equal(write(fd, pem, sizeof(pem) - 1), sizeof(pem) - 1);
	close(fd);
	own = tls_server_load(path, path, &why);
	unlink(path);
	if (!own)
		fail_msg("%s", buf_text(&why));
	return own;
}

static void
start(struct pair *p)
{
	int fds[2];

	p->trust = tls_trust_pin(fingerprint);
	p->own = load_own();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	p->client = (struct end){tls_client_new(p->trust, "relay.test"),
		fds[0], 0};
	p->server = (struct end){tls_server_new(p->own), fds[1], 0};
}

static void
pump(struct end *e)
{
	if (e->fd >= 0)
		e->state = tls_pump(e->tls, e->fd);
}

static void
hang_up(struct end *e)
{
	close(e->fd);
	e->fd = -1;
}

static void
greet(struct pair *p)
{
	start(p);
	for (int i = 0; i < ENOUGH && !(p->client.state & p->server.state &
	         TLS_READY); i++) {
		pump(&p->client);
		pump(&p->server);
	}
	assert_true(p->client.state & TLS_READY);
	assert_true(p->server.state & TLS_READY);
}

static void
stop(struct pair *p)
{
	tls_free(p->client.tls);
	tls_free(p->server.tls);
	tls_trust_free(p->trust);
	tls_server_free(p->own);
	if (p->client.fd >= 0)
		close(p->client.fd);
	if (p->server.fd >= 0)
		close(p->server.fd);
}

static void
say(struct end *e, const char *text)
{
	assert_int_equal(tls_give(e->tls, text, strlen(text)), strlen(text));
	tls_flush(e->tls);
	pump(e);
}

static void
assert_hears(struct end *e, const char *text)
{
	char data[100];
	size_t got;

	pump(e);
	got = tls_take(e->tls, data, sizeof(data));
	assert_int_equal(got, strlen(text));
	assert_memory_equal(data, text, got);
}

/* However often it is pumped, the state is the same, and nothing is left to
 * wait for. */
static void
assert_ended(struct end *e, unsigned how)
{
	for (int i = 0; i < 10; i++) {
		pump(e);
		assert_true(e->state & how);
		assert_false(e->state & (TLS_WANTS_READ | TLS_WANTS_WRITE |
		    TLS_HAS_INPUT | TLS_TAKES_OUTPUT));
	}
}

static void
test_hands_are_shaken(void **state)
{
	static const char suite[] = "TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256";
	struct tls_peer peer = {0}, none = {0};
	struct pair p;

	(void)state;
	greet(&p);
	assert_string_equal(tls_description(p.client.tls), suite);
	assert_string_equal(tls_description(p.server.tls), suite);
	say(&p.client, "EHLO x\r\n");
	assert_hears(&p.server, "EHLO x\r\n");
	say(&p.server, "250 x\r\n");
	assert_hears(&p.client, "250 x\r\n");
	assert_true(tls_peer(p.client.tls, &peer));
	assert_string_equal(buf_text(&peer.issuer), "CN=relay.test, O=Test");
	assert_string_equal(buf_text(&peer.names),
	    "relay.test, *.relay.test, 127.0.0.1");
	assert_int_equal(peer.not_after, 3955740984);
	assert_false(tls_peer(p.server.tls, &none));
	tls_peer_free(&peer);
	tls_peer_free(&none);
	stop(&p);
}

/* close_notify comes behind what was said before, and is answered. */
static void
test_goodbye(void **state)
{
	struct pair p;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct end *one = i ? &p.server : &p.client;
		struct end *other = i ? &p.client : &p.server;

		greet(&p);
		say(one, "QUIT\r\n");
		tls_goodbye(one->tls);
		pump(one);
		assert_hears(other, "QUIT\r\n");
		assert_ended(other, TLS_CLOSED);
		assert_ended(one, TLS_CLOSED);
		tls_goodbye(one->tls);
		assert_int_equal(tls_give(one->tls, "x", 1), 0);
		assert_ended(one, TLS_CLOSED);
		stop(&p);
	}
}

/* A connection that is gone, with and without words that nobody has read. */
static void
test_goodbye_to_nobody(void **state)
{
	struct pair p;

	(void)state;
	for (int i = 0; i < 3; i++) {
		greet(&p);
		if (i == 1)
			say(&p.server, "421 4.4.2 timed out\r\n");
		if (i == 2)
			say(&p.client, "unread");
		hang_up(&p.server);
		if (i == 1)
			assert_hears(&p.client, "421 4.4.2 timed out\r\n");
		tls_goodbye(p.client.tls);
		pump(&p.client);
		assert_ended(&p.client, TLS_CLOSED | TLS_FAILED);
		tls_goodbye(p.client.tls);
		assert_ended(&p.client, TLS_CLOSED | TLS_FAILED);
		stop(&p);
	}
}

/* Cut at every byte of the server's last flight: no spin, no success. */
static void
test_cut_handshake(void **state)
{
	unsigned char flight[3000];
	struct pair p;
	ssize_t len = 1;

	(void)state;
	for (ssize_t cut = 0; cut < len; cut += 7) {
		int wire[2];

		start(&p);
		pump(&p.client);
		pump(&p.server);
		len = recv(p.client.fd, flight, sizeof(flight), 0);
		assert_in_range(len, 500, sizeof(flight) - 1);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, wire), 0);
		assert_int_equal(write(wire[1], flight, (size_t)cut), cut);
		close(wire[1]);
		close(p.client.fd);
		p.client.fd = wire[0];
		pump(&p.client);
		assert_ended(&p.client, TLS_FAILED);
		assert_string_equal(tls_description(p.client.tls), "");
		stop(&p);
	}
}

static void
test_damaged_record(void **state)
{
	unsigned char record[200];
	struct buf why = {0};
	struct pair p;
	ssize_t len;

	(void)state;
	greet(&p);
	say(&p.client, "MAIL FROM:<a@example.test>\r\n");
	len = recv(p.server.fd, record, sizeof(record), 0);
	assert_true(len > 20);
	record[len - 1] ^= 1;
	assert_int_equal(write(p.client.fd, record, (size_t)len), len);
	pump(&p.server);
	assert_ended(&p.server, TLS_FAILED);
	tls_explain(p.server.tls, &why);
	assert_non_null(strstr(buf_text(&why), "bad MAC"));
	buf_free(&why);
	stop(&p);
}

struct flow {
	size_t given, taken;
};

/* A piece out of what has to go, and all that has come. */
static void
move(struct end *e, struct flow *out, struct flow *in, size_t total)
{
	unsigned char data[4096];
	size_t got, want = total - out->given;

	pump(e);
	if (want > sizeof(data))
		want = sizeof(data);
	for (size_t i = 0; i < want; i++)
		data[i] = (unsigned char)((out->given + i) * 7 >> 3);
	out->given += tls_give(e->tls, data, want);
	tls_flush(e->tls);
	pump(e);
	while ((got = tls_take(e->tls, data, sizeof(data)))) {
		for (size_t i = 0; i < got; i++)
			assert_int_equal(data[i], (unsigned char)((in->taken +
			    i) * 7 >> 3));
		in->taken += got;
	}
}

/* More than the sockets hold, at once: neither waits for the other. The
 * records of the server are the smaller ones. */
static void
test_both_ways_at_once(void **state)
{
	enum { TOTAL = 2000000 };
	struct flow up = {0, 0}, down = {0, 0};
	struct pair p;

	(void)state;
	greet(&p);
	for (int i = 0; i < 100 * ENOUGH && (up.taken < TOTAL ||
	         down.taken < TOTAL); i++) {
		move(&p.client, &up, &down, TOTAL);
		move(&p.server, &down, &up, TOTAL);
	}
	assert_int_equal(up.taken, TOTAL);
	assert_int_equal(down.taken, TOTAL);
	stop(&p);
}

static void
test_other_certificate(void **state)
{
	unsigned char other[TLS_FINGERPRINT_SIZE] = {0};
	struct buf why = {0};
	struct pair p;

	(void)state;
	start(&p);
	tls_free(p.client.tls);
	tls_trust_free(p.trust);
	p.trust = tls_trust_pin(other);
	p.client.tls = tls_client_new(p.trust, "relay.test");
	for (int i = 0; i < 20; i++) {
		pump(&p.client);
		pump(&p.server);
	}
	assert_ended(&p.client, TLS_FAILED);
	hang_up(&p.client);
	pump(&p.server);
	assert_ended(&p.server, TLS_FAILED);
	tls_explain(p.client.tls, &why);
	assert_non_null(strstr(buf_text(&why), "94abe58038c055a5"));
	buf_clear(&why);
	tls_explain(p.server.tls, &why);
	assert_non_null(strstr(buf_text(&why), "connection closed by the client in the "
	    "middle of the TLS handshake"));
	buf_free(&why);
	stop(&p);
}

/* ---- the memory of a session ---- */

static void
test_session(void **state)
{
	struct tls_session *s = tls_session_new();
	br_ssl_session_parameters one = {.session_id_len = 32,
		.session_id = "one", .version = BR_TLS12};
	br_ssl_session_parameters got = {.session_id_len = 0};

	(void)state;
	assert_false(tls_session_get(s, "relay.test", &got));
	tls_session_put(s, "relay.test", &one);
	assert_false(tls_session_get(s, "other.test", &got));
	assert_false(tls_session_get(s, "relay.tes", &got));
	assert_true(tls_session_get(s, "relay.test", &got));
	assert_memory_equal(got.session_id, one.session_id, 32);
	one.session_id_len = 0; /* the relay keeps none */
	one.session_id[0] = 'x';
	tls_session_put(s, "relay.test", &one);
	assert_true(tls_session_get(s, "relay.test", &got));
	assert_int_equal(got.session_id[0], 'o');
	tls_session_drop(s);
	assert_false(tls_session_get(s, "relay.test", &got));
	tls_session_free(s);
	tls_session_free(NULL);
}

/* The one that was offered is given up when the connection fails, and only
 * then. */
static void
test_session_that_fails(void **state)
{
	br_ssl_session_parameters one = {.session_id_len = 32,
		.session_id = "one", .version = BR_TLS12,
		.cipher_suite = BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256};
	br_ssl_session_parameters got;
	struct pair p;

	(void)state;
	for (int i = 0; i < 2; i++) {
		start(&p);
		tls_free(p.client.tls);
		tls_session_put(p.trust->session, "relay.test", &one);
		p.client.tls = tls_client_new(p.trust, "relay.test");
		pump(&p.client);
		if (i)
			hang_up(&p.server);
		for (int j = 0; j < 20; j++) {
			pump(&p.client);
			pump(&p.server);
		}
		assert_true(p.client.state & (i ? TLS_FAILED : TLS_READY));
		tls_free(p.client.tls);
		p.client.tls = NULL;
		assert_int_equal(tls_session_get(p.trust->session,
		    "relay.test", &got), !i);
		stop(&p);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hands_are_shaken),
		cmocka_unit_test(test_goodbye),
		cmocka_unit_test(test_goodbye_to_nobody),
		cmocka_unit_test(test_cut_handshake),
		cmocka_unit_test(test_damaged_record),
		cmocka_unit_test(test_both_ways_at_once),
		cmocka_unit_test(test_other_certificate),
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_session_that_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
