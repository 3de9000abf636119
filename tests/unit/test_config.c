/* SPDX-License-Identifier: ISC */
/*
 * Configuration: what the file and the environment say, what that amounts
 * to, and the sentence for each thing that is refused. Whatever is a password
 * here holds the word hunter2, and no sentence may hold that.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "config.h"
#include "config_keys.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(s) s, sizeof(s) - 1

#define NAMED "[smarthost]\nhostname = h.example.com\n"
#define SES NAMED "[upstream]\nprovider = ses\nuser = u\npassword = x\n" \
	"region = "
#define RELAY NAMED "[upstream]\nhost = relay.example\n"
#define LOGIN RELAY "user = me\n"
#define SECRET "hunter2"
#define B10 "bbbbbbbbbb"
#define B50 B10 B10 B10 B10 B10
#define HEX16 "0123456789abcdef"
#define SHA256 HEX16 HEX16 HEX16 HEX16

/* One configuration from a text and variables, which are copied. */
struct run {
	struct config config;
	struct buf error;
	char **environment;
	bool good;
};

static char **
copy_environment(const char *const *variables)
{
	char **copy = xcalloc(20, sizeof(*copy));

	for (size_t i = 0; variables && variables[i]; i++)
		copy[i] = xstrdup(variables[i]);
	return copy;
}

static struct run
run_bytes(const char *text, size_t len, const char *const *variables)
{
	struct run run = {.environment = copy_environment(variables)};
	char *exact = xmalloc(len);

	memcpy(exact, text, len);
	run.good = config_parse(&run.config, "test.conf", exact, len,
	    run.environment, &run.error);
	free(exact);
	if (run.good != !run.error.len)
		fail_msg("%d: %s", run.good, buf_text(&run.error));
	if (strstr(buf_text(&run.error), SECRET) ||
	    strstr(buf_text(&run.config.warnings), SECRET))
		fail_msg("the secret is in: %s%s", buf_text(&run.error),
		    buf_text(&run.config.warnings));
	return run;
}

static struct run
run_text(const char *text, const char *const *variables)
{
	return run_bytes(text, strlen(text), variables);
}

static struct run
run_good(const char *text, const char *const *variables)
{
	struct run run = run_text(text, variables);

	if (!run.good)
		fail_msg("%s\n%s", text, buf_text(&run.error));
	return run;
}

static void
run_end(struct run *run)
{
	config_free(&run->config);
	buf_free(&run->error);
	for (char **variable = run->environment; *variable; variable++)
		free(*variable);
	free(run->environment);
}

static size_t
count_lines(const char *text)
{
	size_t lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

/* The sentence that is the only one, or none for NULL. */
static void
expect_sentence(const char *what, const struct buf *sentences,
    const char *sentence)
{
	const char *text = buf_text(sentences);

	if (count_lines(text) != (sentence ? 1 : 0) ||
	    (sentence && !strstr(text, sentence)))
		fail_msg("%s\ngot: %s\nnot: %s", what, text,
		    sentence ? sentence : "(nothing)");
}

/* The shortest one: everything else is the default, as the contract says. */
static void
test_defaults(void **state)
{
	struct run run = run_good(RELAY, NULL);
	const struct config *c = &run.config;
	const struct upstream *u = c->upstreams;

	(void)state;
	assert_int_equal(c->warnings.len, 0);
	assert_string_equal(c->path, "test.conf");
	assert_string_equal(c->hostname, "h.example.com");
	assert_true(c->hostname_is_qualified);
	assert_null(c->run_as);
	assert_int_equal(c->log, LOG_TO_STDERR);
	assert_int_equal(c->log_format, LOG_AS_TEXT);
	assert_int_equal(c->log_level, LEVEL_INFO);
	assert_int_equal(c->stop_timeout, 8000);
	assert_int_equal(c->upstream_count, 1);
	assert_string_equal(u->name, "default");
	assert_null(u->provider);
	assert_null(u->region);
	assert_string_equal(u->host, "relay.example");
	assert_int_equal(u->port, 587);
	assert_int_equal(u->tls, TLS_MODE_STARTTLS);
	assert_null(u->tls_ca_file);
	assert_string_equal(u->tls_name, "relay.example");
	assert_int_equal(u->auth, AUTH_NONE);
	assert_null(u->user);
	assert_int_equal(u->password.kind, SECRET_NONE);
	assert_string_equal(u->ehlo, "h.example.com");
	assert_int_equal(u->connections, 2);
	assert_int_equal(u->messages_per_connection, 100);
	assert_int_equal(u->recipients_per_message, 100);
	assert_int_equal(u->idle, 5000);
	assert_int_equal(u->connect_timeout, 10000);
	assert_int_equal(u->timeout, 300000);
	assert_null(u->source_address);
	assert_int_equal(u->family, FAMILY_ANY);
	assert_true(u->pipelining);
	assert_null(u->directory);
	assert_string_equal(c->listen.socket, "/run/smarthost/socket");
	assert_true(c->listen.socket_is_default);
	assert_string_equal(c->listen.control, "/run/smarthost/control");
	assert_true(c->listen.control_is_default);
	assert_int_equal(c->listen.addresses.count, 0);
	assert_int_equal(c->listen.allow.count, 0);
	assert_false(c->listen.allow.anyone);
	assert_int_equal(c->listen.max_message, 50 * 1024 * 1024);
	assert_int_equal(c->listen.max_recipients, 1000);
	assert_int_equal(c->listen.max_clients, 256);
	assert_int_equal(c->listen.session_timeout, 300000);
	assert_false(c->listen.reject_bare_newline);
	assert_string_equal(c->queue.directory, "/var/spool/smarthost");
	assert_true(c->queue.directory_is_default);
	assert_false(c->queue.commit_first);
	assert_int_equal(c->queue.direct_wait, 10000);
	assert_null(c->queue.bounce_to);
	assert_null(c->queue.bounce_from);
	run_end(&run);
	assert_null(run.config.upstreams);
}

/* Every key, with another value than the default. */
static void
test_every_key(void **state)
{
	static const char text[] =
	    "# comment\n"
	    "; comment\n"
	    "  # indented comment ;\n"
	    " \t \n"
	    "[smarthost]\n"
	    "hostname=mail.example.com.\n"
	    "run_as = smarthost\n"
	    "log = syslog\n"
	    "log_format = json\n"
	    "log_level = debug\n"
	    "stop_timeout = 500ms\n"
	    "[upstream]\n"
	    "provider = ses\n"
	    "region = us-gov-east-1\n"
	    "host = relay_1.example\n"
	    "port = 2525\n"
	    "tls = implicit\n"
	    "tls_ca_file = /etc/ca.pem\n"
	    "tls_name = relay.example\n"
	    "tls_cert = /etc/client.pem\n"
	    "auth = cram-md5\n"
	    "user = me and you\n"
	    "password_command = pass 'show it' smtp\n"
	    "ehlo = out.example.com\n"
	    "connections = 7\n"
	    "messages_per_connection = 8\n"
	    "recipients_per_message = 9\n"
	    "idle = 0\n"
	    "connect_timeout = 1m\n"
	    "timeout = 1h\n"
	    "source_address = 2001:db8::1\n"
	    "family = ipv6\n"
	    "pipelining = off\n"
	    "[upstream   second ]  \n"
	    "provider = capture\n"
	    "directory = /tmp/mail\n"
	    "[listen]\n"
	    "socket = /tmp/s\n"
	    "control = /tmp/c\n"
	    "address = 127.0.0.1:25,[::1]:0  192.0.2.1:2525\n"
	    "tls_address = 127.0.0.1:465\n"
	    "tls_cert = /etc/c\n"
	    "tls_key = /etc/k\n"
	    "allow = 192.0.2.0/24, 2001:db8::/32\n"
	    "max_message = 10240\n"
	    "max_recipients = 1\n"
	    "max_clients = 3\n"
	    "session_timeout = 1d\n"
	    "bare_newline = reject\n"
	    "[queue]\n"
	    "directory = none\n"
	    "delivery = direct\n"
	    "direct_wait = 3";
	struct run run = run_good(text, NULL);
	const struct config *c = &run.config;
	const struct upstream *u = c->upstreams;

	(void)state;
	assert_int_equal(c->warnings.len, 0);
	assert_string_equal(c->hostname, "mail.example.com");
	assert_string_equal(c->run_as, "smarthost");
	assert_int_equal(c->log, LOG_TO_SYSLOG);
	assert_int_equal(c->log_format, LOG_AS_JSON);
	assert_int_equal(c->log_level, LEVEL_DEBUG);
	assert_int_equal(c->stop_timeout, 500);
	assert_int_equal(c->upstream_count, 2);
	assert_string_equal(u->provider->name, "ses");
	assert_string_equal(u->region, "us-gov-east-1");
	assert_string_equal(u->host, "relay_1.example");
	assert_int_equal(u->port, 2525);
	assert_int_equal(u->tls, TLS_MODE_IMPLICIT);
	assert_string_equal(u->tls_ca_file, "/etc/ca.pem");
	assert_string_equal(u->tls_name, "relay.example");
	assert_null(u->tls_fingerprint);
	assert_string_equal(u->tls_cert, "/etc/client.pem");
	assert_string_equal(u->tls_key, "/etc/client.pem");
	assert_int_equal(u->auth, AUTH_CRAM_MD5);
	assert_string_equal(u->user, "me and you");
	assert_int_equal(u->password.kind, SECRET_COMMAND);
	assert_string_equal(u->password.words[1], "show it");
	assert_string_equal(u->ehlo, "out.example.com");
	assert_int_equal(u->connections, 7);
	assert_int_equal(u->messages_per_connection, 8);
	assert_int_equal(u->recipients_per_message, 9);
	assert_int_equal(u->idle, 0);
	assert_int_equal(u->connect_timeout, 60000);
	assert_int_equal(u->timeout, 3600000);
	assert_string_equal(u->source_address, "2001:db8::1");
	assert_int_equal(u->family, FAMILY_IPV6);
	assert_false(u->pipelining);
	assert_string_equal(u[1].name, "second");
	assert_true(provider_is_capture(u[1].provider));
	assert_string_equal(u[1].directory, "/tmp/mail");
	assert_null(u[1].host);
	assert_string_equal(c->listen.socket, "/tmp/s");
	assert_false(c->listen.socket_is_default);
	assert_string_equal(c->listen.control, "/tmp/c");
	assert_false(c->listen.control_is_default);
	assert_int_equal(c->listen.addresses.count, 3);
	assert_string_equal(c->listen.addresses.list[1].text, "[::1]:0");
	assert_string_equal(c->listen.addresses.list[2].text, "192.0.2.1:2525");
	assert_int_equal(c->listen.allow.count, 2);
	assert_int_equal(c->listen.max_message, 10240);
	assert_int_equal(c->listen.max_recipients, 1);
	assert_int_equal(c->listen.max_clients, 3);
	assert_int_equal(c->listen.session_timeout, 86400000);
	assert_true(c->listen.reject_bare_newline);
	assert_null(c->queue.directory);
	assert_false(c->queue.directory_is_default);
	assert_int_equal(c->queue.direct_wait, 3000);
	run_end(&run);
}

/* Those that mean nothing without a directory. */
static void
test_queue_keys(void **state)
{
	struct run run = run_good(RELAY "[queue]\ndirectory = /spool\n"
	    "delivery = queue\nlifetime = 60s\nretry_max = 1d\n"
	    "bounce_to = \"the boss\"@example.com\n"
	    "bounce_from = bounces+a@[192.0.2.1]\n", NULL);
	const struct queue_config *q = &run.config.queue;

	(void)state;
	assert_int_equal(run.config.warnings.len, 0);
	assert_string_equal(q->directory, "/spool");
	assert_true(q->commit_first);
	assert_int_equal(q->lifetime, 60000);
	assert_int_equal(q->retry_max, 86400000);
	assert_string_equal(q->bounce_to, "\"the boss\"@example.com");
	assert_string_equal(q->bounce_from, "bounces+a@[192.0.2.1]");
	run_end(&run);
}

struct password_case {
	const char *line, *value, *why;
};

/* Kept whole, to the byte, or refused aloud; never cut, never joined. */
static const struct password_case password_cases[] = {
	{"password = " SECRET, SECRET, NULL},
	{"password=" SECRET, SECRET, NULL},
	{"password\t=\t" SECRET, SECRET, NULL},
	{"password   = " SECRET, SECRET, NULL},
	{"password = #" SECRET, "#" SECRET, NULL},
	{"password = " SECRET " #x", SECRET " #x", NULL},
	{"password = \"" SECRET "\"", "\"" SECRET "\"", NULL},
	{"password = '" SECRET, "'" SECRET, NULL},
	{"password = =" SECRET "=", "=" SECRET "=", NULL},
	{"password = a:" SECRET "=b", "a:" SECRET "=b", NULL},
	{"password = a = b " SECRET, "a = b " SECRET, NULL},
	{"password = [" SECRET "]", "[" SECRET "]", NULL},
	{"password=;" SECRET, ";" SECRET, NULL},
	{"password = " SECRET ";bar", SECRET ";bar", NULL},
	{"password = " SECRET ";", SECRET ";", NULL},
	{"password = \\n%s%n" SECRET, "\\n%s%n" SECRET, NULL},
	{"password = a  b\t" SECRET, "a  b\t" SECRET, NULL},
	{"password = p\xc3\xa4ss " SECRET " \xff",
	    "p\xc3\xa4ss " SECRET " \xff", NULL},
	{"password = " SECRET "\r", SECRET, NULL},
	{"password = " SECRET " ;bar", NULL, "password_file"},
	{"password = ;" SECRET, NULL, "password_file"},
	{"password = " SECRET "\t;bar", NULL, "password_file"},
	{"password = " SECRET " ", NULL, "begins or ends with a blank"},
	{"password = " SECRET "\t", NULL, "begins or ends with a blank"},
	{"password =  " SECRET, NULL, "begins or ends with a blank"},
	{"password = " SECRET "\n  " SECRET, NULL,
	    "7: [upstream]: is indented"},
	{"password = x\n\t" SECRET "=x", NULL, "7: [upstream]: is indented"},
	{"password = x\n" SECRET, NULL, "7: [upstream]: is not a section"},
	{"password = x\n" SECRET "==", NULL, "7: [upstream]: unknown key"},
	{"password = x\n=" SECRET, NULL, "7: [upstream]: is not a section"},
	{"password: " SECRET, NULL, "[upstream] password: is not a section"},
	{"password:a = " SECRET, NULL, "[upstream] password: is not a section"},
	{"password " SECRET, NULL, "[upstream] password: is not a section"},
	{"pasword = " SECRET, NULL, "pasword: unknown key; the nearest one is "
	    "password"},
	{"password = " SECRET "\x01", NULL, "password: holds a NUL"},
	{"password = " SECRET "\rx", NULL, "password: holds a NUL"},
	{"password =", NULL, "password: no value"},
	{"password = \npassword_file = /x", NULL, "6: [upstream] password: no "
	    "value"},
};

static void
test_password_is_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(password_cases); i++) {
		const struct password_case *t = &password_cases[i];
		char *text = xasprintf("%s%s\n", LOGIN, t->line);
		struct run run = run_text(text, NULL);
		const struct upstream *u = run.config.upstreams;

		if (t->why)
			expect_sentence(t->line, &run.error, t->why);
		else if (!run.good)
			fail_msg("%s: %s", t->line, buf_text(&run.error));
		else if (strcmp(u->password.text, t->value) != 0)
			fail_msg("%s: \"%s\"", t->line, u->password.text);
		free(text);
		run_end(&run);
	}
}

/* The limit is inih's, and a line of exactly that many bytes must be whole. */
static void
test_long_lines(void **state)
{
	(void)state;
	for (size_t len = 150; len < 600; len++) {
		char *value = xmalloc(len + 1), *text;
		struct run run;

		memset(value, 'b', len);
		memcpy(value + len - 7, SECRET, 7);
		value[len] = '\0';
		text = xasprintf("%spassword = %s\nport = 26\n", LOGIN, value);
		run = run_text(text, NULL);
		if (len <= 198 - strlen("password = ")) {
			assert_true(run.good);
			assert_string_equal(
			    run.config.upstreams->password.text, value);
		} else {
			expect_sentence(text, &run.error, "test.conf:6: "
			    "[upstream] password: longer than 198 bytes; a "
			    "long secret goes into a password_file");
		}
		run_end(&run);
		free(text);
		free(value);
	}
}

struct refusal {
	const char *text, *why;
};

/* One mistake, one sentence; the sentence tells the place. */
static const struct refusal refusals[] = {
	/* lines */
	{RELAY "port = 25\n" B50 B50 B50 "k=" B50 "root=1\n",
	    "test.conf:6: [upstream]: longer than 198 bytes"},
	{"port = 25\n" RELAY, "test.conf:1: a key before the first [section]"},
	{RELAY " port = 25\n", "test.conf:5: [upstream]: is indented"},
	{RELAY "port\n", "test.conf:5: [upstream] port: is not a section"},
	{RELAY "port: 25\n", "[upstream] port: is not a section"},
	{RELAY "user:x = y\n", "[upstream] user: is not a section"},
	{RELAY "port = 25 ; submission\n", "a comment needs a line of its own"},
	{RELAY "port = 25 # submission\n",
	    "[upstream] port = \"25 # submission\": is not a port number"},
	{RELAY "port = 25\nport = 25\n", "test.conf:6: [upstream] port = "
	    "\"25\": set before, in line 5"},
	{RELAY "port =\n", "[upstream] port: no value"},
	{RELAY "= 25\n", "is not a section, a comment, or key = value"},
	/* sections */
	{RELAY "[upstream]\nport = 25\n", "test.conf:5: [upstream] was there "
	    "before, in line 3"},
	{RELAY "[upstream default]\n", "was there before, in line 3"},
	{RELAY "[upstream a-b]\nhost = x\n[upstream A_B]\nhost = y\n",
	    "test.conf:7: [upstream] was there before, in line 5"},
	{RELAY "[smarthost]\n", "[smarthost] was there before, in line 1"},
	{RELAY "[lisen]\naddress = x\nfoo = 1\n", "test.conf:5: [lisen] is no "
	    "section; the nearest one is [listen]"},
	{RELAY "[]\n", "test.conf:5: [] is no section"},
	{RELAY "[ listen]\n", "test.conf:5: a section is [name]"},
	{RELAY "[Listen]\n", "[Listen] is no section"},
	{RELAY "[listen] x\n", "test.conf:5: a section is [name]"},
	{RELAY "[listen\n", "test.conf:5: a section is [name]"},
	{RELAY "[listen]]\n", "test.conf:5: a section is [name]"},
	{RELAY "[\n", "test.conf:5: a section is [name]"},
	{RELAY "[upstream " B50 "]\n", "test.conf:5: a section is [name], at "
	    "most 49 bytes"},
	{RELAY "[upstream " B10 B10 B10 "bbb]\n", "the name of an upstream "
	    "has 1 to 32 letters"},
	{RELAY "[upstream \"b\"]\n", "the name of an upstream"},
	{RELAY "[upstream b c]\n", "the name of an upstream"},
	{RELAY "[listen b]\n", "only an upstream has a name"},
	{RELAY "[listen] ; x\n", "a comment needs a line of its own"},
	/* unknown keys, and keys of later versions */
	{RELAY "hsot = x\n", "test.conf:5: [upstream] hsot: unknown key; the "
	    "nearest one is host"},
	{RELAY "Port = 25\n", "[upstream]: unknown key; the nearest one is "
	    "port"},
	{RELAY "hostname = x\n", "[upstream] hostname: unknown key here; it "
	    "belongs to [smarthost]"},
	{RELAY "tls_fingerprint = x\n", "[upstream] tls_fingerprint = \"x\": "
	    "is not a SHA-256 of 64 hexadecimal digits"},
	{RELAY "tls_fingerprint = " B50 "\n", "is not a SHA-256"},
	{RELAY "tls_fingerprint = " SHA256 "ab\n", "is not a SHA-256"},
	{RELAY "tls_fingerprint = " SHA256 ":\n", "is not a SHA-256"},
	{RELAY "tls_fingerprint = :" SHA256 "\n", "is not a SHA-256"},
	{RELAY "tls_fingerprint = " SHA256 "\ntls_ca_file = /x\n",
	    "tls_ca_file = \"/x\": tls_fingerprint accepts one certificate"},
	{RELAY "tls_fingerprint = " SHA256 "\ntls = none\n",
	    "tls_fingerprint: there is no TLS with tls = none"},
	{RELAY "tls_cert = x\n", "is neither a path that begins with / nor "
	    "credential:NAME"},
	{RELAY "tls_cert = /x\ntls = none\n", "tls_cert: there is no TLS"},
	{RELAY "tls_key = /x\n", "tls_key = \"/x\": set without tls_cert"},
	{RELAY "tls_cert = /x\ntls_key = credential:x\n", "tls_key = "
	    "\"credential:x\": CREDENTIALS_DIRECTORY is not set"},
	{RELAY "chunking = on\n", "eager"},
	{RELAY "senders = x\n", "is not a list of addresses such as "},
	{RELAY "senders = *@x\n", "no upstream is for all other senders"},
	{RELAY "rate = 14\n", "is not a rate such as 14/s, nor two such as 14/s, "
	    "10000/d"},
	{RELAY "rate = 14/w\n", "is not a rate"},
	{RELAY "rate = 14/ms\n", "is not a rate"},
	{RELAY "rate = /s\n", "is not a rate"},
	{RELAY "rate = 0/s\n", "is not a rate"},
	{RELAY "rate = 10000000/s\n", "is not a rate"},
	{RELAY "rate = 1/s, 2/m, 3/h\n", "is not a rate"},
	{RELAY "rate = ,\n", "is not a rate"},
	{RELAY "from = x\n", "[upstream] from = \"x\": has no domain"},
	{RELAY "rewrite = yes\n", "is not one of never, unqualified, always"},
	{RELAY "rewrite = always\n", "[upstream] from: not set, but rewrite is; "
	    "write the address that the relay lets send"},
	{RELAY "[identity]\nrewrite = unqualified\n", "[upstream] from: not "
	    "set, but rewrite is"},
	{RELAY "[identity]\ndomain = a b\n", "[identity] domain = \"a b\": "},
	{RELAY "[listen]\ntls_address = x\n", "[listen] tls_address = \"x\": "
	    "has x in it, which is not an address and a port"},
	{RELAY "[listen]\ntls_address = [::1]:465\n", "[listen] tls_address: "
	    "TLS needs a certificate; write tls_cert"},
	{RELAY "[listen]\ntls_address = 10.0.0.1:465\ntls_cert = /x\n",
	    "tls_address = \"10.0.0.1:465\": others than this machine"},
	{RELAY "[listen]\ntls_cert = x\n", "is neither a path"},
	{RELAY "[listen]\ntls_key = /x\n", "set without tls_cert"},
	{RELAY "[listen]\nauth_file = x\n", "is neither a path that begins "
	    "with / nor credential:NAME"},
	{RELAY "[listen]\nauth_file = /nowhere/x\n", "auth_file = \"/nowhere/"
	    "x\": cannot be read: No such file or directory"},
	{RELAY "[listen]\nmax_clients_per_address = 0\n",
	    "is not from 1 to 10000"},
	{RELAY "[listen]\nclient_rate = 1\n", "is not a rate such as 14/s"},
	{RELAY "[listen]\nallow = 0.0.0.0/0\n", "[listen] allow: lets everybody "
	    "send; write the networks that may, or the word anyone"},
	{RELAY "[listen]\nallow = 10.0.0.1 ::/0\n", "write the networks"},
	{RELAY "[listen]\nallow = 0.0.0.0/1, 128.0.0.0/1\n", "write the "
	    "networks"},
	{RELAY "[listen]\nallow = 2000::/3\n", "write the networks"},
	{RELAY "[listen]\nallow = ::ffff:64.0.0.0/98\n", "write the networks"},
	{RELAY "[queue]\nbounce_to = root\n", "[queue] bounce_to = \"root\": "
	    "has no domain; write one behind an @\n"},
	{RELAY "[queue]\nbounce_from = <>\n", "is not an address such as "
	    "postmaster@example.com\n"},
	{RELAY "[queue]\nbounce_from = a@b, c@d\n", "is not an address"},
	{RELAY "[queue]\nbounce_from = A <a@b>\n", "is not an address"},
	{RELAY "[queue]\nbounce_to = -a@b\n", "is not an address"},
	{RELAY "[queue]\nbounce_to = \xc3\xa9@b\n", "is not an address"},
	{RELAY "[identity]\nadd_header = X-A\n", "is not of the form Name: "
	    "value | Name: value"},
	{RELAY "[identity]\nadd_header = X-A: b | \n", "is not of the form"},
	{RELAY "[identity]\nadd_header = From: a@b\n", "is not of the form"},
	{RELAY "[identity]\nadd_header = X A: b\n", "is not of the form"},
	{RELAY "[identity]\nremove_header = X-A:\n", "is not a list of names"},
	{RELAY "[identity]\nremove_header = X-A, date\n", "are needed"},
	{RELAY "[staging]\nredirect = x\n", "[staging] redirect = \"x\": has no domain"},
	{RELAY "[staging]\nallow = a b@\n", "[staging] allow"},
	{RELAY "[status]\n", "[status] is not supported by this version"},
	{RELAY "auth = xoauth2\n", "auth: needs a user and a password"},
	/* words, numbers, sizes, times */
	{RELAY "auth = PLAIN\n", "[upstream] auth = \"PLAIN\": is not one of "
	    "auto, plain, login, cram-md5, xoauth2, oauthbearer, none\n"},
	{RELAY "tls = ssl\n", "is not one of starttls, implicit, none\n"},
	{RELAY "family = inet\n", "is not one of any, ipv4, ipv6\n"},
	{RELAY "pipelining = on\n", "is not one of auto, off\n"},
	{RELAY "[listen]\nbare_newline = no\n", "is not one of normalise, "
	    "reject\n"},
	{RELAY "[queue]\ndelivery = x\n", "is not one of direct, queue\n"},
	{NAMED "log = file\n", "is not one of stderr, syslog\n"},
	{NAMED "log_format = xml\n", "is not one of text, json\n"},
	{NAMED "log_level = all\n", "is not one of error, warning, info, "
	    "debug\n"},
	{RELAY "port = 0\n", "is not a port number from 1 to 65535"},
	{RELAY "port = 65536\n", "is not a port number"},
	{RELAY "port = smtp\n", "[upstream] port = \"smtp\": is not a port "
	    "number"},
	{RELAY "port = -1\n", "is not a port number"},
	{RELAY "port = 25x\n", "is not a port number"},
	{RELAY "port = 18446744073709551641\n", "is not a port number"},
	{RELAY "connections = 0\n", "is not from 1 to 1000"},
	{RELAY "connections = 1001\n", "is not from 1 to 1000"},
	{RELAY "connections = two\n", "is not a whole number"},
	{RELAY "connections = 2.5\n", "is not a whole number"},
	{RELAY "connections = 99999999999999999999999\n", "is not from 1"},
	{RELAY "recipients_per_message = 0\n", "is not from 1 to"},
	{RELAY "messages_per_connection = 0\n", "is not from 1 to"},
	{RELAY "[listen]\nmax_clients = 2\n", "is not from 3 to 10000"},
	{RELAY "[listen]\nmax_message = 1023\n", "is not from 1K to 2G"},
	{RELAY "[listen]\nmax_message = 3G\n", "is not from 1K to 2G"},
	{RELAY "[listen]\nmax_message = 9223372036854775807G\n", "is not from"},
	{RELAY "[listen]\nmax_message = 50MB\n", "is not a size such as"},
	{RELAY "[listen]\nmax_message = 50 M\n", "is not a size such as"},
	{RELAY "[listen]\nmax_message = M\n", "is not a size such as"},
	{RELAY "timeout = 5 m\n", "is not a time such as"},
	{RELAY "timeout = 5min\n", "is not a time such as"},
	{RELAY "timeout = -5m\n", "is not a time such as"},
	{RELAY "timeout = 1.5h\n", "is not a time such as"},
	{RELAY "timeout = 2h\n", "is not from 1ms to 1h"},
	{RELAY "timeout = 0\n", "is not from 1ms to 1h"},
	{RELAY "timeout = 99999999999999999d\n", "is not from 1ms to 1h"},
	/* names and addresses */
	{NAMED "[upstream]\nhost = a:25\n", "[upstream] host = \"a:25\": holds "
	    "a colon: host takes the name or address alone, the port goes "
	    "into port"},
	{NAMED "[upstream]\nhost = [::1]:25\n", "the port goes into port"},
	{NAMED "[upstream]\nhost = smtp://a\n", "holds a colon"},
	{NAMED "[upstream]\nhost = [a.example]\n", "is neither a host name"},
	{NAMED "[upstream]\nhost = a b\n", "is neither a host name"},
	{NAMED "[upstream]\nhost = a..b\n", "is neither a host name"},
	{NAMED "[upstream]\nhost = .\n", "is neither a host name"},
	{NAMED "[upstream]\nhost = 1.2.3\n", "is neither a host name"},
	{NAMED "[upstream]\nhost = 1.2.3.256\n", "is neither a host name"},
	{NAMED "[upstream]\nhost = -a\n", "is neither a host name"},
	{NAMED "[upstream]\nhost = m\xc3\xbcll.example\n", "host = \"m??ll."
	    "example\": is neither a host name"},
	{NAMED "[upstream]\nhost =\n", "host: no value"},
	{"[smarthost]\nhostname = my_host.example\n", "hostname = \"my_host."
	    "example\": is not a host name of letters, digits, hyphens"},
	{"[smarthost]\nhostname = " B50 B10 "bbbb.example\n", "is not a host "
	    "name"},
	{"[smarthost]\nhostname = 10.0.0.1\n", "is not a host name"},
	{"[smarthost]\nhostname = [10.0.0.1]\n", "is not a host name"},
	{RELAY "ehlo = localhost\n", "[upstream] ehlo = \"localhost\": means "
	    "nothing to a relay"},
	{RELAY "ehlo = LocalHost.localdomain\n", "means nothing to a relay"},
	{RELAY "ehlo = a_b.example\n", "is not a host name"},
	{RELAY "ehlo = [10.0.0]\n", "is not an address literal"},
	{RELAY "ehlo = [2001:db8::1]\n", "is not an address literal"},
	{RELAY "ehlo = [IPv6:10.0.0.1]\n", "is not an address literal"},
	{RELAY "ehlo = [IPv6:" B50 "]\n", "is not an address literal"},
	{RELAY "ehlo = []\n", "is not an address literal"},
	{RELAY "ehlo = [10.0.0.1\n", "is not an address literal"},
	{RELAY "tls_name = 10.0.0.1\n", "is not a host name"},
	{RELAY "source_address = eth0\n", "is not an address"},
	{RELAY "source_address = 10.0.0.1\nfamily = ipv6\n", "source_address = "
	    "\"10.0.0.1\": family says the other kind"},
	{RELAY "source_address = ::1\nfamily = ipv4\n", "family says the"},
	{RELAY "tls_ca_file = ca.pem\n", "is not a path that begins with /"},
	{RELAY "[listen]\naddress = 127.0.0.1\n", "[listen] address = \"127.0."
	    "0.1\": has 127.0.0.1 in it, which is not an address and a port"},
	{RELAY "[listen]\naddress = :25\n", "has :25 in it"},
	{RELAY "[listen]\naddress = *:25\n", "has *:25 in it"},
	{RELAY "[listen]\naddress = localhost:25\n", "has localhost:25 in it"},
	{RELAY "[listen]\naddress = ::1:25\n", "has ::1:25 in it"},
	{RELAY "[listen]\naddress = [127.0.0.1]:25\n", "[127.0.0.1]:25 in it"},
	{RELAY "[listen]\naddress = 127.0.0.1:65536\n", "65536 in it"},
	{RELAY "[listen]\naddress = 127.0.0.1:\n", "127.0.0.1: in it"},
	{RELAY "[listen]\naddress = 127.0.0.1:25, 127.0.0.1:smtp\n",
	    "has 127.0.0.1:smtp in it"},
	{RELAY "[listen]\naddress = [::1]25\n", "has [::1]25 in it"},
	{RELAY "[listen]\naddress = []:25\n", "has []:25 in it"},
	{RELAY "[listen]\naddress = [:25\n", "has [:25 in it"},
	{RELAY "[listen]\naddress = ,\n", "is an empty list"},
	{RELAY "[listen]\nallow = ,\n", "is an empty list"},
	{RELAY "[listen]\nallow = private, 10.0.0.1/8\n", "[listen] allow = "
	    "\"private, 10.0.0.1/8\": has 10.0.0.1/8 in it, which has bits"},
	{RELAY "[listen]\nsocket = socket\n", "is neither a path"},
	{RELAY "[listen]\nsocket = /" B50 B50 "bbbbbbb\n", "is longer than 107 "
	    "bytes"},
	{RELAY "[listen]\nsocket = /s\ncontrol = /s\n", "control = \"/s\": the "
	    "same as socket"},
	{RELAY "[queue]\ndirectory = here\n", "is neither a path that begins "
	    "with / nor none"},
	/* the whole */
	{"", "test.conf: no relay to send to; write a section [upstream] with "
	    "host = NAME, or set SMARTHOST_UPSTREAM_HOST"},
	{NAMED, "no relay to send to"},
	{NAMED "[upstream]\n", "test.conf:3: [upstream] host: not set"},
	{NAMED "[upstream]\nprovider = postfix\n", "host: not set"},
	{NAMED "[upstream]\nprovider = sengrid\n", "is none of those in "
	    "smarthost.conf(5), the nearest is sendgrid; for any other relay "
	    "leave it out and write host"},
	{NAMED "[upstream]\nprovider = sendgrid\n", "[upstream] password_file: "
	    "not set; provider = sendgrid needs a login: an API key as the "
	    "password"},
	{NAMED "[upstream]\nprovider = sendgrid\nuser = apikey\n",
	    "password_file: not set; provider = sendgrid needs"},
	{NAMED "[upstream]\nprovider = gmail\npassword = " SECRET "\n",
	    "[upstream] user: not set; provider = gmail needs a login: the "
	    "full address and an app password"},
	{NAMED "[upstream]\nprovider = mailjet\nauth = none\n", "auth = "
	    "\"none\": provider = mailjet needs a login: the API key as the "
	    "user and the secret key as the password"},
	{NAMED "[upstream]\nprovider = ses\nuser = u\npassword = " SECRET "\n",
	    "[upstream] region: not set; provider = ses needs it, such as "
	    "eu-west-1"},
	{NAMED "[upstream]\nprovider = ses-iam\nhost = h\n" "user = u\npassword "
	    "= " SECRET "\n", "region: not set; provider = ses-iam needs it"},
	{NAMED "[upstream]\nprovider = zoho\nuser = u\npassword = " SECRET
	    "\n", "region: not set; provider = zoho needs it, such as eu"},
	{SES "Frankfurt\n",
	    "region = \"Frankfurt\": is not a region such as eu-west-1"},
	{SES "eu-west-12\n",
	    "is not a region"},
	{SES "eu-1\n",
	    "is not a region"},
	{RELAY "region = eu-west-1\n", "region = \"eu-west-1\": this relay has "
	    "no regions"},
	{LOGIN, "[upstream] password_file: not set, but there is a user"},
	{RELAY "password = " SECRET "\n", "[upstream] user: not set, but there "
	    "is a password"},
	{RELAY "auth = login\n", "[upstream] auth: needs a user and a "
	    "password"},
	{LOGIN "password = " SECRET "\npassword_file = /x\n", "test.conf:7: "
	    "[upstream] password_file: set besides password; one of the two "
	    "has to go"},
	{LOGIN "password_command = a\npassword_file = /x\n",
	    "password_command: set besides password_file"},
	{LOGIN "password_command = a '" SECRET "\n", "has an open quote or no "
	    "word"},
	{LOGIN "password_file = " SECRET "\n", "[upstream] password_file: is "
	    "neither a path that begins with / nor credential:NAME"},
	{LOGIN "password_file = credential:x\n", "password_file = "
	    "\"credential:x\": CREDENTIALS_DIRECTORY is not set"},
	{LOGIN "password_file = credential:\n", "not the name of a credential"},
	{LOGIN "password_file = credential:../x\n", "not the name of a"},
	{LOGIN "password_file = credential:a/b\n", "not the name of a"},
	{NAMED "[upstream]\nprovider = capture\n", "[upstream] directory: not "
	    "set; provider = capture needs one"},
	{NAMED "[upstream]\nprovider = capture\ndirectory = /x\nhost = h\n",
	    "host = \"h\": provider = capture writes files and has no host"},
	{RELAY "directory = /x\n", "directory = \"/x\": only provider = "
	    "capture writes to a directory"},
	{RELAY "[listen]\naddress = 127.0.0.1:25, 192.0.2.1:25\n",
	    "test.conf:6: [listen] address = \"192.0.2.1:25\": others than "
	    "this machine can reach it; write allow"},
	{RELAY "[listen]\naddress = 0.0.0.0:25\n", "others than this machine"},
	{RELAY "[listen]\naddress = [::]:25\n", "others than this machine"},
	{RELAY "[listen]\naddress = [::ffff:10.0.0.1]:25\n", "others than"},
	{RELAY "[listen]\naddress = [::ffff:0.0.0.0]:25\n", "others than"},
	{RELAY "[listen]\nsocket = none\n", "[listen] socket = \"none\": "
	    "without an address nobody could send anything"},
	{RELAY "[listen]\nsocket = none\naddress = none\n", "without an "
	    "address nobody"},
	{RELAY "[queue]\ndirectory = none\ndelivery = queue\n", "[queue] "
	    "delivery = \"queue\": there is no queue directory"},
	{RELAY "[queue]\ndirectory = none\ndirect_wait = 0\n", "[queue] "
	    "direct_wait = \"0\": no message could be sent in no time"},
};

static void
test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(refusals); i++) {
		struct run run = run_text(refusals[i].text, NULL);

		expect_sentence(refusals[i].text, &run.error, refusals[i].why);
		assert_null(run.config.upstreams);
		assert_null(run.config.hostname);
		run_end(&run);
	}
}

/* What is odd but allowed, because somebody wrote it out. */
static const struct refusal warnings[] = {
	{RELAY, NULL},
	{LOGIN "password = " SECRET "\ntls = none\n", "[upstream] tls = "
	    "\"none\": the password crosses the network in the clear"},
	{RELAY "tls = none\n", NULL},
	{RELAY "[staging]\nredirect = a@b.test\n", "[staging] redirect: all "
	    "mail is redirected to a@b.test\n"},
	{RELAY "[staging]\nallow = *@c.test, d@e.test\n", "[staging] allow: "
	    "all mail but that to *@c.test d@e.test is refused\n"},
	{RELAY "from = a@b.test\n", "[upstream] from: not used with rewrite = "
	    "never; write rewrite = unqualified or always"},
	{RELAY "[identity]\nfrom = a@b.test\n", "[identity] from = "
	    "\"a@b.test\": not used with rewrite = never"},
	{RELAY "rewrite = always\n[identity]\nfrom = a@b.test\n", NULL},
	{RELAY "from = a@b.test\n[identity]\nrewrite = always\n", NULL},
	{NAMED "[upstream]\nhost = 127.0.0.1\ntls = none\nuser = u\npassword = "
	    SECRET "\n", NULL},
	{NAMED "[upstream]\nhost = localhost\ntls = none\nuser = u\npassword = "
	    SECRET "\n", NULL},
	{LOGIN "password = " SECRET "\nauth = none\n", "[upstream] auth = "
	    "\"none\": user and password are not used"},
	{LOGIN "password_file = /etc/passwd\n", "password_file = \"/etc/passwd\": "
	    "others can read this file; chmod 0600 /etc/passwd"},
	{LOGIN "password_file = /dev/null\n", NULL}, /* no file to chmod */
	{LOGIN "password_file = /nonexistent/file\n", NULL},
	{RELAY "[listen]\ntls_cert = /x\n", "[listen] tls_cert = \"/x\": not "
	    "used, because there is no address"},
	{RELAY "[listen]\ntls_cert = /x\naddress = 127.0.0.1:25\n", NULL},
	{RELAY "[listen]\nsocket = none\ntls_cert = /x\ntls_address = "
	    "127.0.0.1:465\n", NULL},
	{RELAY "[listen]\ntls_cert = /x\ntls_key = /etc/passwd\naddress = "
	    "127.0.0.1:25\n", "[listen] tls_key = \"/etc/passwd\": others can "
	    "read this file; chmod 0600 /etc/passwd"},
	{RELAY "[listen]\nallow = anyone\n", "[listen] allow: lets everybody "
	    "send"},
	{RELAY "[listen]\naddress = 0.0.0.0:25\nallow = 0.0.0.0/0, anyone\n",
	    "lets everybody send"},
	{RELAY "[listen]\naddress = [::]:25\nallow = 11.0.0.0/8, fc00::/7, "
	    "fe80::/10, 2001::/16\n", NULL},
	{RELAY "[listen]\naddress = 0.0.0.0:25\nallow = anyone, private\n",
	    "lets everybody send"},
	{RELAY "[listen]\naddress = 0.0.0.0:25\nallow = private\n",
	    "address = \"0.0.0.0:25\": allow has every private network"},
	{RELAY "[listen]\naddress = [::]:25\nallow = private\n",
	    "allow has every private network"},
	{RELAY "[listen]\naddress = [::ffff:0.0.0.0]:25\nallow = private\n",
	    "every private network"},
	{RELAY "[listen]\naddress = 10.0.0.1:25\nallow = private\n", NULL},
	{RELAY "[listen]\naddress = 0.0.0.0:25\nallow = 10.0.0.0/8\n", NULL},
	{RELAY "[listen]\naddress = 0.0.0.0:25\nallow = loopback\n", NULL},
	{RELAY "[listen]\naddress = 127.0.0.1:25 [::1]:25\n", NULL},
	{RELAY "[listen]\naddress = [::ffff:127.0.0.1]:25\n", NULL},
	{RELAY "[queue]\ndirectory = /var/spool/smarthost\n", NULL},
	{RELAY "[queue]\ndirectory = none\n", NULL},
	{RELAY "[queue]\ndirectory = none\nbounce_to = a@b\n",
	    "[queue] bounce_to: there is no "
	    "queue directory, so no notice is ever made\n"},
	{RELAY "[queue]\ndirectory = none\nbounce_from = a@b\n",
	    "[queue] bounce_from: there is "
	    "no queue directory"},
};

static void
test_warnings(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(warnings); i++) {
		struct run run = run_good(warnings[i].text, NULL);

		expect_sentence(warnings[i].text, &run.config.warnings,
		    warnings[i].why);
		run_end(&run);
	}
}

static void
test_fingerprint(void **state)
{
	static const char *const texts[] = {
		SHA256,
		"01:23:45:67:89:AB:CD:EF:01:23:45:67:89:ab:cd:ef:"
		"01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		char *text = xasprintf(RELAY "tls_fingerprint = %s\n",
		    texts[i]);
		struct run run = run_good(text, NULL);
		const char *bytes = run.config.upstreams[0].tls_fingerprint;

		for (int at = 0; at < 32; at += 8)
			assert_memory_equal(bytes + at,
			    "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
		run_end(&run);
		free(text);
	}
}

struct host_case {
	const char *lines, *host, *name;
	uint16_t port;
	enum tls_mode tls;
};

#define KEY "user = u\npassword = x\n"

static const struct host_case host_cases[] = {
	{"host = a.example.", "a.example", "a.example", 587,
	    TLS_MODE_STARTTLS},
	{"host = relay", "relay", "relay", 587, TLS_MODE_STARTTLS},
	{"host = a\nport = 465", "a", "a", 465, TLS_MODE_IMPLICIT},
	{"host = a\nport = 2465", "a", "a", 2465, TLS_MODE_IMPLICIT},
	{"host = a\nport = 465\ntls = starttls", "a", "a", 465,
	    TLS_MODE_STARTTLS},
	{"host = a\ntls = implicit", "a", "a", 465, TLS_MODE_IMPLICIT},
	{"host = a\ntls = implicit\nport = 25", "a", "a", 25,
	    TLS_MODE_IMPLICIT},
	{"host = a\ntls = none", "a", "a", 25, TLS_MODE_NONE},
	{"host = a\nport = 25", "a", "a", 25, TLS_MODE_STARTTLS},
	{"host = 192.0.2.1\ntls_name = a.example.", "192.0.2.1", "a.example",
	    587, TLS_MODE_STARTTLS},
	{"host = 192.0.2.1", "192.0.2.1", "192.0.2.1", 587,
	    TLS_MODE_STARTTLS},
	{"host = [::1]", "::1", "::1", 587, TLS_MODE_STARTTLS},
	{"host = [::1]\ntls = none", "::1", "::1", 25, TLS_MODE_NONE},
	{"host = 2001:db8::1\ntls_name = a", "2001:db8::1", "a", 587,
	    TLS_MODE_STARTTLS},
	{"provider = google-relay", "smtp-relay.gmail.com",
	    "smtp-relay.gmail.com", 587, TLS_MODE_STARTTLS},
	{KEY "provider = gmail", "smtp.gmail.com", "smtp.gmail.com", 465,
	    TLS_MODE_IMPLICIT},
	{KEY "provider = gmail\nport = 587", "smtp.gmail.com",
	    "smtp.gmail.com", 587, TLS_MODE_STARTTLS},
	{KEY "provider = gmail\ntls = starttls", "smtp.gmail.com",
	    "smtp.gmail.com", 587, TLS_MODE_STARTTLS},
	{KEY "provider = sendgrid\nport = 465", "smtp.sendgrid.net",
	    "smtp.sendgrid.net", 465, TLS_MODE_IMPLICIT},
	{KEY "provider = mailgun\nhost = smtp.eu.mailgun.org",
	    "smtp.eu.mailgun.org", "smtp.eu.mailgun.org", 587,
	    TLS_MODE_STARTTLS},
	{KEY "provider = mailjet", "in-v3.mailjet.com", "in-v3.mailjet.com",
	    587, TLS_MODE_STARTTLS},
	{KEY "provider = ses\nregion = eu-west-1",
	    "email-smtp.eu-west-1.amazonaws.com",
	    "email-smtp.eu-west-1.amazonaws.com", 587, TLS_MODE_STARTTLS},
	{KEY "provider = ses\nhost = vpc.example", "vpc.example",
	    "vpc.example", 587, TLS_MODE_STARTTLS},
	{KEY "provider = ses-iam\nregion = us-east-1",
	    "email-smtp.us-east-1.amazonaws.com",
	    "email-smtp.us-east-1.amazonaws.com", 587, TLS_MODE_STARTTLS},
	{KEY "provider = zoho\nregion = com.au", "smtp.zoho.com.au",
	    "smtp.zoho.com.au", 465, TLS_MODE_IMPLICIT},
	{KEY "provider = zoho\nhost = smtppro.zoho.in", "smtppro.zoho.in",
	    "smtppro.zoho.in", 465, TLS_MODE_IMPLICIT},
	{"provider = m365-direct\nregion = example-com",
	    "example-com.mail.protection.outlook.com",
	    "example-com.mail.protection.outlook.com", 25, TLS_MODE_STARTTLS},
	{KEY "provider = office365", "smtp.office365.com",
	    "smtp.office365.com", 587, TLS_MODE_STARTTLS},
	{"provider = postfix\nhost = mx", "mx", "mx", 587, TLS_MODE_STARTTLS},
	{"provider = postfix\nhost = mx\ntls = none", "mx", "mx", 25,
	    TLS_MODE_NONE},
};

static void
test_hosts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(host_cases); i++) {
		const struct host_case *t = &host_cases[i];
		char *text = xasprintf("%s[upstream]\n%s\n", NAMED, t->lines);
		struct run run = run_good(text, NULL);
		const struct upstream *u = run.config.upstreams;

		if (strcmp(u->host, t->host) || strcmp(u->tls_name, t->name) ||
		    u->port != t->port || u->tls != t->tls)
			fail_msg("%s: %s (%s) %u %d", t->lines, u->host,
			    u->tls_name, u->port, u->tls);
		free(text);
		run_end(&run);
	}
}

/* A provider and its key are a whole configuration. */
static void
test_preset(void **state)
{
	struct run run = run_good(NAMED "[upstream]\nprovider = sendgrid\n"
	    "password = " SECRET "\nconnections = 1\n", NULL);
	const struct upstream *u = run.config.upstreams;

	(void)state;
	assert_string_equal(u->user, "apikey");
	assert_string_equal(u->password.text, SECRET);
	assert_int_equal(u->auth, AUTH_AUTO);
	assert_int_equal(u->connections, 1);
	assert_int_equal(u->messages_per_connection, 1000);
	assert_int_equal(u->recipients_per_message, 1000);
	run_end(&run);
	run = run_good(NAMED "[upstream]\nprovider = sendgrid\nuser = other\n"
	    "password = x\n", NULL);
	assert_string_equal(run.config.upstreams->user, "other");
	run_end(&run);
}

static void
test_provider_table(void **state)
{
	const struct provider *p;
	unsigned i = 0;

	(void)state;
	for (; (p = provider_at(i)); i++) {
		assert_ptr_equal(provider_find(p->name), p);
		if (p->needs_login)
			assert_non_null(p->credentials);
		if (p->region)
			assert_non_null(strstr(p->host, "%s"));
		if (p->derives_password)
			assert_non_null(p->region);
		assert_int_equal(p->port == 465, p->tls == TLS_MODE_IMPLICIT);
		assert_int_equal(provider_is_capture(p),
		    !strcmp(p->name, "capture"));
	}
	assert_int_equal(i, 32);
	assert_null(provider_at(i + 1));
	assert_null(provider_find("Gmail"));
	assert_false(provider_is_capture(NULL));
}

/* How the manual page writes that preset. */
static char *
manual_row(const struct provider *p)
{
	const char *gap = p->host ? strstr(p->host, "%s") : NULL;
	const char *word = !p->region ? "" : strlen(p->region) == 2 ? "TLD"
	    : strstr(p->region, "com") ? "TENANT" : "REGION";
	char *host = !p->host ? xstrdup("-") : !gap ? xstrdup(p->host)
	    : xasprintf("%.*s%s%s", (int)(gap - p->host), p->host, word,
	          gap + 2);
	char *row = xasprintf(".It %s Ta %s Ta %u Ta %u Ta %u Ta %u\n", p->name,
	    host, p->port, p->connections, p->messages_per_connection,
	    p->recipients_per_message);

	free(host);
	return row;
}

/* The table of smarthost.conf(5) has all presets, in the same order. */
static void
test_provider_manual(void **state)
{
	FILE *page = fopen("man/smarthost.conf.5", "r");
	char *line = NULL;
	size_t size = 0;
	unsigned i = 0;

	(void)state;
	assert_non_null(page);
	while (getline(&line, &size, page) > 0) {
		const struct provider *p = provider_at(i);
		char *row;

		if (strncmp(line, ".It ", 4) || !strstr(line, " Ta ") ||
		    strstr(line, "Sy provider"))
			continue;
		assert_non_null(p);
		row = manual_row(p);
		assert_string_equal(line, row);
		free(row);
		i++;
	}
	assert_true(provider_is_capture(provider_at(i)));
	free(line);
	fclose(page);
}

/* The passwords that Amazon's own example key has in three regions. */
static void
test_derived_password(void **state)
{
	static const char *const known[][2] = {
		{"us-east-1", "BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9"},
		{"us-west-2", "BF2PynzbSCAjX08zhZZnP/kW+T9P5zs/1Er0pi5vTEmd"},
		{"eu-west-1", "BMW5RDrXmmVs0lV7GpI4oLkHXpZ4stDsk6q91z1g38Pk"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(known); i++) {
		struct buf secret = {0};

		buf_adds(&secret, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
		provider_derive_password(known[i][0], &secret);
		assert_string_equal(buf_text(&secret), known[i][1]);
		buf_wipe(&secret);
	}
}

struct name_case {
	const char *lines, *hostname, *ehlo;
	bool qualified;
};

static const struct name_case name_cases[] = {
	{"hostname = h.example\n[upstream]\nhost=r", "h.example", "h.example",
	    true},
	{"hostname = h.example.\n[upstream]\nhost=r\nehlo = e.example.",
	    "h.example", "e.example", true},
	{"hostname = h\n[upstream]\nhost=r", "h", NULL, false},
	{"hostname = localhost\n[upstream]\nhost=r", "localhost", NULL, false},
	{"hostname = localhost.localdomain\n[upstream]\nhost=r",
	    "localhost.localdomain", NULL, false},
	{"hostname = localhosts.example\n[upstream]\nhost=r",
	    "localhosts.example", "localhosts.example", true},
	{"hostname = h\n[upstream]\nhost=r\nehlo = [192.0.2.1]", "h",
	    "[192.0.2.1]", false},
	{"hostname = h\n[upstream]\nhost=r\nehlo = [IPv6:2001:db8::1]", "h",
	    "[IPv6:2001:db8::1]", false},
	{"hostname = h\n[upstream]\nhost=r\nehlo = e", "h", "e", false},
};

static void
test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(name_cases); i++) {
		const struct name_case *t = &name_cases[i];
		char *text = xasprintf("[smarthost]\n%s\n", t->lines);
		struct run run = run_good(text, NULL);
		const char *ehlo = run.config.upstreams->ehlo;

		if (strcmp(run.config.hostname, t->hostname) != 0 ||
		    run.config.hostname_is_qualified != t->qualified ||
		    !ehlo != !t->ehlo || (ehlo && strcmp(ehlo, t->ehlo) != 0))
			fail_msg("%s: %s %d %s", t->lines,
			    run.config.hostname,
			    run.config.hostname_is_qualified,
			    ehlo ? ehlo : "NULL");
		free(text);
		run_end(&run);
	}
}

static void
test_own_hostname(void **state)
{
	struct run run = run_good("[upstream]\nhost = r\n", NULL);
	const struct config *c = &run.config;

	(void)state;
	assert_true(*c->hostname);
	assert_int_equal(c->hostname_is_qualified, c->upstreams->ehlo != NULL);
	if (c->hostname_is_qualified)
		assert_non_null(strchr(c->hostname, '.'));
	run_end(&run);
}

/* The address in it as text, without brackets. */
static const char *
endpoint_text(const struct endpoint *e, char text[static 80])
{
	char host[INET6_ADDRSTRLEN];
	struct sockaddr_in6 ipv6;
	struct sockaddr_in ipv4;
	bool wide = e->address.ss_family == AF_INET6;

	memcpy(&ipv6, &e->address, sizeof(ipv6));
	memcpy(&ipv4, &e->address, sizeof(ipv4));
	assert_int_equal(e->size, wide ? sizeof(ipv6) : sizeof(ipv4));
	inet_ntop(e->address.ss_family, wide ? (void *)&ipv6.sin6_addr
	                                     : (void *)&ipv4.sin_addr, host,
	    sizeof(host));
	snprintf(text, 80, "%s %u", host,
	    (unsigned)ntohs(wide ? ipv6.sin6_port : ipv4.sin_port));
	return text;
}

/* What is listened on is what was written; an IPv4-mapped address is the IPv4
 * one, as it could not be bound otherwise. */
static void
test_listeners(void **state)
{
	static const char *const expected[] = {"127.0.0.1 25", "::1 0",
		"192.0.2.1 65535", "127.0.0.1 26", "2001:db8::1 27"};
	struct run run = run_good(RELAY "[listen]\naddress = 127.0.0.1:25 "
	    "[::1]:0, 192.0.2.1:65535 [::ffff:127.0.0.1]:26 "
	    "[2001:db8::1]:27\nallow = private\n", NULL);
	const struct endpoints *addresses = &run.config.listen.addresses;
	char text[80];

	(void)state;
	assert_int_equal(addresses->count, COUNT(expected));
	for (size_t i = 0; i < COUNT(expected); i++)
		assert_string_equal(endpoint_text(&addresses->list[i], text),
		    expected[i]);
	assert_string_equal(addresses->list[3].text, "[::ffff:127.0.0.1]:26");
	run_end(&run);
}

static void
test_sockets(void **state)
{
	struct run run = run_good(RELAY "[listen]\nsocket = /a/b/s\n", NULL);

	(void)state;
	assert_string_equal(run.config.listen.control, "/a/b/control");
	run_end(&run);
	run = run_good(RELAY "[listen]\nsocket = /s\n", NULL);
	assert_string_equal(run.config.listen.control, "/control");
	run_end(&run);
	run = run_good(RELAY "[listen]\nsocket = none\naddress = [::1]:25\n",
	    NULL);
	assert_null(run.config.listen.socket);
	assert_null(run.config.listen.control);
	assert_false(run.config.listen.socket_is_default);
	run_end(&run);
	run = run_good(RELAY "[listen]\ncontrol = none\n", NULL);
	assert_non_null(run.config.listen.socket);
	assert_null(run.config.listen.control);
	run_end(&run);
}

/* Byte order mark, CRLF, no line end, no text; and bytes that are no text. */
static void
test_bytes(void **state)
{
	static const char bom[] = "\xef\xbb\xbf" "[smarthost]\r\n"
	    "hostname = h.example\r\n\r\n[upstream]\r\nhost = r";
	static const char nul[] = RELAY "user = a\0b\n";
	static const char nul_comment[] = RELAY "# a\0b\n";
	static const char utf16[] = "\xff\xfe[\0u\0]\0";
	struct run run = run_bytes(BYTES(bom), NULL);

	(void)state;
	assert_true(run.good);
	assert_string_equal(run.config.upstreams->host, "r");
	assert_string_equal(run.config.hostname, "h.example");
	run_end(&run);
	run = run_bytes(BYTES(nul), NULL);
	expect_sentence("NUL", &run.error, "test.conf:5: [upstream] user: "
	    "holds a NUL");
	run_end(&run);
	run = run_bytes(BYTES(nul_comment), NULL);
	expect_sentence("NUL", &run.error, "test.conf:5: [upstream]: holds a");
	run_end(&run);
	run = run_bytes(BYTES(utf16), NULL);
	expect_sentence("UTF-16", &run.error, "test.conf:1: holds a NUL");
	run_end(&run);
	run = run_bytes("", 0, NULL);
	assert_false(run.good);
	run_end(&run);
}

/* A long comment is nobody's business. */
static void
test_long_comment(void **state)
{
	struct run run = run_good("#" B50 B50 B50 B50 B50 "[upstream]\n"
	    "  ;" B50 B50 B50 B50 B50 "\n" RELAY, NULL);

	(void)state;
	assert_int_equal(run.config.upstream_count, 1);
	run_end(&run);
}

static void
test_many_errors(void **state)
{
	struct buf text = {0};
	struct run run;

	(void)state;
	for (int i = 0; i < 25; i++)
		buf_addf(&text, "[section%d]\n", i);
	run = run_text(buf_text(&text), NULL);
	assert_int_equal(count_lines(buf_text(&run.error)), 11);
	assert_non_null(strstr(run.error.data, "test.conf:10:"));
	assert_null(strstr(run.error.data, "test.conf:11:"));
	assert_non_null(strstr(run.error.data, "and 15 more\n"));
	run_end(&run);
	buf_free(&text);
}

static void
test_many_upstreams(void **state)
{
	struct buf text = {0};
	struct run run;

	(void)state;
	buf_adds(&text, NAMED);
	for (int i = 0; i < 16; i++)
		buf_addf(&text, "[upstream n%d]\nhost = h%d\n", i, i);
	run = run_good(buf_text(&text), NULL);
	assert_int_equal(run.config.upstream_count, 16);
	assert_string_equal(run.config.upstreams[15].host, "h15");
	run_end(&run);
	buf_adds(&text, "[upstream n16]\nhost = h\n");
	run = run_text(buf_text(&text), NULL);
	expect_sentence("17", &run.error, "more than 16 upstreams");
	run_end(&run);
	buf_free(&text);
}

struct variable_case {
	const char *variables[4], *why;
};

static const struct variable_case variable_errors[] = {
	{{"SMARTHOST_UPSTREAM_PORT=smtp"}, "SMARTHOST_UPSTREAM_PORT = "
	    "\"smtp\": is not a port number"},
	{{"SMARTHOST_UPSTREAM_FOO=x"}, "SMARTHOST_UPSTREAM_FOO: unknown key; "
	    "the nearest one is"},
	{{"SMARTHOST_UPSTREAM_PASWORD=" SECRET}, "SMARTHOST_UPSTREAM_PASWORD: "
	    "unknown key; the nearest one is password\n"},
	{{"SMARTHOST_UPSTREAM_HOST2=x"}, "SMARTHOST_UPSTREAM_HOST2: unknown "
	    "key; the nearest one is host\n"},
	{{"SMARTHOST_UPSTREAM_B_HOST=x"}, "SMARTHOST_UPSTREAM_B_HOST: unknown "
	    "key"},
	{{"SMARTHOST_LISTEN_ALOW=x"}, "SMARTHOST_LISTEN_ALOW: unknown key; the "
	    "nearest one is allow"},
	{{"SMARTHOST_QUEUE_X=x"}, "SMARTHOST_QUEUE_X: unknown key"},
	{{"SMARTHOST_LISTEN_CLIENT_RATE=x"}, "SMARTHOST_LISTEN_CLIENT_RATE = \"x\": is "
	    "not a rate"},
	{{"SMARTHOST_IDENTITY_FROM=x"}, "SMARTHOST_IDENTITY_FROM = \"x\": has "
	    "no domain"},
	{{"SMARTHOST_STATUS_ADDRESS=x"}, "not supported by this version"},
	{{"SMARTHOST_STAGING_REDIRECT=x"}, "SMARTHOST_STAGING_REDIRECT = \"x\": "
	    "has no domain"},
	{{"SMARTHOST_LOG=file"}, "SMARTHOST_LOG = \"file\": is not one of"},
	{{"SMARTHOST_UPSTREAM_B__PORT=0", "SMARTHOST_UPSTREAM_B__HOST=b"},
	    "SMARTHOST_UPSTREAM_B__PORT = \"0\": is not a port"},
	{{"SMARTHOST_UPSTREAM_B__PORT=25"}, "SMARTHOST_UPSTREAM_B__HOST: not "
	    "set; write the name of the relay"},
	{{"SMARTHOST_UPSTREAM_B!__HOST=b"}, "SMARTHOST_UPSTREAM_B!__HOST: the "
	    "name of an upstream"},
	{{"SMARTHOST_UPSTREAM___HOST=b"}, "the name of an upstream"},
	{{"SMARTHOST_LISTEN_B__SOCKET=/s"}, "SMARTHOST_LISTEN_B__SOCKET: only "
	    "an upstream has a name"},
	{{"SMARTHOST_UPSTREAM_USER=a\nb"}, "SMARTHOST_UPSTREAM_USER = \"a?b\": "
	    "holds a control character"},
	/* Services of Kubernetes */
	{{"SMARTHOST_UPSTREAM_PORT=tcp://10.0.0.1:25"},
	    "SMARTHOST_UPSTREAM_PORT: a service link of Kubernetes, by its "
	    "looks; give that Service another name, or the pod "
	    "enableServiceLinks: false"},
	{{"SMARTHOST_UPSTREAM_PORT_25_TCP_ADDR=10.0.0.1"}, "Kubernetes"},
	{{"SMARTHOST_UPSTREAM_SERVICE_HOST=10.0.0.1"}, "Kubernetes"},
	{{"SMARTHOST_QUEUE_PORT=tcp://10.0.0.1:25"}, "Kubernetes"},
	/* two sources of one password */
	{{"SMARTHOST_UPSTREAM_USER=u", "SMARTHOST_UPSTREAM_PASSWORD=" SECRET,
	    "SMARTHOST_UPSTREAM_PASSWORD_FILE=/x"},
	    "SMARTHOST_UPSTREAM_PASSWORD_FILE: set besides password"},
	{{"SMARTHOST_UPSTREAM_PASSWORD=" SECRET}, "SMARTHOST_UPSTREAM_USER: "
	    "not set, but there is a password"},
	{{"SMARTHOST_UPSTREAM_USER=u"}, "SMARTHOST_UPSTREAM_PASSWORD_FILE: not "
	    "set, but there is a user"},
};

static void
test_variable_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(variable_errors); i++) {
		const struct variable_case *t = &variable_errors[i];
		const char *variables[6] = {"SMARTHOST_HOSTNAME=h.example",
			"SMARTHOST_UPSTREAM_HOST=r"};
		struct run run;

		memcpy(variables + 2, t->variables, 3 * sizeof(char *));
		run = run_text("", variables);
		expect_sentence(t->variables[0], &run.error, t->why);
		run_end(&run);
	}
}

/* Not ours, though the name begins so; nor is an empty one. */
static const struct variable_case harmless_variables[] = {
	{{"SMARTHOST_PORT=tcp://10.0.0.1:25"}, NULL},
	{{"SMARTHOST_PORT_25_TCP=tcp://10.0.0.1:25"}, NULL},
	{{"SMARTHOST_PORT_25_TCP_PROTO=tcp"}, NULL},
	{{"SMARTHOST_SERVICE_HOST=10.0.0.1"}, NULL},
	{{"SMARTHOST_SERVICE_PORT_SMTP=25"}, NULL},
	{{"SMARTHOST_ENV_FOO=x"}, NULL},
	{{"SMARTHOST_CONFIG=/etc/x"}, NULL},
	{{"SMARTHOST_UPSTREAM_PORT="}, NULL},
	{{"SMARTHOST_UPSTREAM_FOO="}, NULL},
	{{"SMARTHOST_FOO="}, NULL},
	{{"SMARTHOST_IDENTITY_DOMAIN="}, NULL},
	{{"SMARTHOST"}, NULL},
	{{"SMARTHOST_"}, NULL},
	{{"SMARTHOST_HOSTNAME"}, NULL},
	{{"MY_SMARTHOST_FOO=x"}, NULL},
	{{"=x"}, NULL},
	{{"SMARTHOST_FOO=" SECRET}, "SMARTHOST_FOO: no such variable; it is "
	    "ignored"},
	{{"SMARTHOST_UPSTREAM=x"}, "SMARTHOST_UPSTREAM: no such variable"},
	{{"SMARTHOST_CONFIGURATION=x"}, "no such variable"},
	{{"SMARTHOST_UPSTEAM_HOST=x"}, "no such variable"},
};

static void
test_harmless_variables(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(harmless_variables); i++) {
		const struct variable_case *t = &harmless_variables[i];
		struct run run = run_good(RELAY, t->variables);

		expect_sentence(t->variables[0], &run.config.warnings, t->why);
		assert_int_equal(run.config.upstreams->port, 587);
		run_end(&run);
	}
}

/* The environment wins, key by key; a list is replaced, not added to. */
static void
test_environment_wins(void **state)
{
	static const char *const variables[] = {
		"PATH=/bin", "SMARTHOST_HOSTNAME=env.example",
		"SMARTHOST_LOG_FORMAT=json", "SMARTHOST_UPSTREAM_HOST=env",
		"SMARTHOST_UPSTREAM_MY_RELAY__PORT=2525",
		"SMARTHOST_LISTEN_ADDRESS=127.0.0.1:2",
		"SMARTHOST_LISTEN_ALLOW=loopback",
		"SMARTHOST_QUEUE_DIRECT_WAIT=1s", NULL};
	struct run run = run_good(RELAY "port = 26\n[upstream my-relay]\n"
	    "host = second\nport = 27\n[listen]\naddress = 127.0.0.1:1\n"
	    "allow = 192.0.2.0/24\n[queue]\ndirect_wait = 2s\n", variables);
	const struct config *c = &run.config;

	(void)state;
	assert_string_equal(c->hostname, "env.example");
	assert_int_equal(c->log_format, LOG_AS_JSON);
	assert_int_equal(c->upstream_count, 2);
	assert_string_equal(c->upstreams[0].host, "env");
	assert_int_equal(c->upstreams[0].port, 26);
	assert_string_equal(c->upstreams[1].name, "my-relay");
	assert_string_equal(c->upstreams[1].host, "second");
	assert_int_equal(c->upstreams[1].port, 2525);
	assert_int_equal(c->listen.addresses.count, 1);
	assert_string_equal(c->listen.addresses.list[0].text, "127.0.0.1:2");
	assert_int_equal(c->listen.allow.count, 2);
	assert_int_equal(c->listen.allow.networks[0].bits, 96 + 8);
	assert_int_equal(c->queue.direct_wait, 1000);
	run_end(&run);
}

/* The file's upstreams, then the default, then the others by name, whatever
 * the order of the variables. */
static void
test_environment_alone(void **state)
{
	static const char *const variables[] = {
		"SMARTHOST_UPSTREAM_ZETA__HOST=z", "SMARTHOST_UPSTREAM_HOST=d",
		"SMARTHOST_UPSTREAM_A__HOST=a", "SMARTHOST_UPSTREAM_A__PORT=1",
		"SMARTHOST_HOSTNAME=h.example", NULL};
	static const char *const hosts[] = {"file", "d", "a", "z"};
	struct run run = run_good("[upstream file]\nhost = file\n", variables);
	struct config config;
	struct buf error = {0};

	(void)state;
	assert_int_equal(run.config.upstream_count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(run.config.upstreams[i].host, hosts[i]);
	assert_string_equal(run.config.upstreams[3].name, "zeta");
	assert_true(config_load(&config, NULL, run.environment, &error));
	assert_null(config.path);
	assert_int_equal(config.upstream_count, 3);
	config_free(&config);
	assert_false(config_load(&config, NULL, NULL, &error));
	expect_sentence("nothing", &error, "environment: no relay to send to");
	config_free(&config);
	buf_free(&error);
	run_end(&run);
}

/* One source wins, by where it stands: the file's are all put aside. */
static void
test_environment_password(void **state)
{
	static const char *const literal[] = {
		"SMARTHOST_UPSTREAM_PASSWORD=" SECRET " ;x ", NULL};
	static const char *const file[] = {
		"SMARTHOST_UPSTREAM_PASSWORD_FILE=/run/secret", NULL};
	static const char *const credential[] = {
		"CREDENTIALS_DIRECTORY=/run/credentials/s.service",
		"SMARTHOST_UPSTREAM_PASSWORD_FILE=credential:smtp", NULL};
	struct run run = run_good(LOGIN "password_file = /file\n", literal);
	const struct secret *password = &run.config.upstreams->password;

	(void)state;
	assert_int_equal(password->kind, SECRET_LITERAL);
	assert_string_equal(password->text, SECRET " ;x ");
	/* no trace of it is left where others may look */
	assert_memory_equal(run.environment[0],
	    "SMARTHOST_UPSTREAM_PASSWORD=\0\0\0\0\0\0\0\0\0\0\0\0", 40);
	run_end(&run);
	run = run_good(LOGIN "password = " SECRET "\n", file);
	password = &run.config.upstreams->password;
	assert_int_equal(password->kind, SECRET_FILE);
	assert_string_equal(password->text, "/run/secret");
	assert_string_equal(run.environment[0], file[0]);
	run_end(&run);
	run = run_good(LOGIN "password_command = pass\n", credential);
	password = &run.config.upstreams->password;
	assert_int_equal(password->kind, SECRET_FILE);
	assert_string_equal(password->text,
	    "/run/credentials/s.service/smtp");
	assert_null(password->words);
	run_end(&run);
}

/* Overwritten too when something else is wrong. */
static void
test_environment_password_wiped(void **state)
{
	static const char *const variables[] = {
		"SMARTHOST_UPSTREAM_B__PASSWORD=" SECRET,
		"SMARTHOST_UPSTREAM_PORT=x", NULL};
	struct run run = run_text(RELAY, variables);

	(void)state;
	assert_false(run.good);
	assert_string_equal(run.environment[0],
	    "SMARTHOST_UPSTREAM_B__PASSWORD=");
	run_end(&run);
}

static char *
temporary_file(const char *text, mode_t mode)
{
	char *path = xstrdup("/tmp/test_config.XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

struct file_case {
	const char *text;
	mode_t mode;
	const char *why;
};

static const struct file_case file_cases[] = {
	{RELAY, 0644, NULL},
	{LOGIN "password = " SECRET "\n", 0600, NULL},
	{LOGIN "password = " SECRET "\n", 0640, NULL},
	{LOGIN "password_file = /x\n", 0644, NULL},
	{LOGIN "password = " SECRET "\n", 0644, ":6: [upstream] password: "
	    "others can read this file: chmod 0600 /tmp/test_config."},
	{LOGIN "password = " SECRET "\n", 0604, "or use password_file"},
};

static void
test_load(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(file_cases); i++) {
		const struct file_case *t = &file_cases[i];
		char *path = temporary_file(t->text, t->mode);
		struct config config;
		struct buf error = {0};
		bool good = config_load(&config, path, NULL, &error);

		expect_sentence(t->text, &error, t->why);
		assert_null(strstr(buf_text(&error), SECRET));
		assert_int_equal(good, !t->why);
		if (good)
			assert_string_equal(config.path, path);
		config_free(&config);
		unlink(path);
		free(path);
		buf_free(&error);
	}
}

/* The environment's password does not make the file's any more private. */
static void
test_load_public_anyway(void **state)
{
	char *path = temporary_file(LOGIN "password = " SECRET "\n", 0644);
	char variable[] = "SMARTHOST_UPSTREAM_PASSWORD=other";
	char *environment[] = {variable, NULL};
	struct config config;
	struct buf error = {0};

	(void)state;
	assert_false(config_load(&config, path, environment, &error));
	expect_sentence("public", &error, "chmod 0600");
	unlink(path);
	free(path);
	buf_free(&error);
}

static void
expect_unreadable(const char *path, const char *why)
{
	struct config config;
	struct buf error = {0};

	assert_false(config_load(&config, path, NULL, &error));
	expect_sentence(path, &error, why);
	assert_non_null(strstr(error.data, path));
	assert_null(config.upstreams);
	config_free(&config);
	buf_free(&error);
}

static void
test_load_unreadable(void **state)
{
	char *large = temporary_file("", 0600);
	char *fifo = temporary_file("", 0600);

	(void)state;
	expect_unreadable("/nonexistent.conf", "No such file");
	expect_unreadable("/tmp", "not a regular file");
	expect_unreadable("/dev/null", "not a regular file");
	assert_int_equal(truncate(large, 1024 * 1024 + 1), 0);
	expect_unreadable(large, "larger than 1 MB");
	unlink(fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	expect_unreadable(fifo, "not a regular file");
	unlink(fifo);
	unlink(large);
	free(fifo);
	free(large);
}

/* "#key = value" of the sample: the key is there, the value is its default,
 * and it is one. */
static void
expect_default(const struct section *section, char *line)
{
	char *value = strchr(line, '='), *name = line;
	const struct key *key;

	*value++ = '\0';
	name[strcspn(name, " ")] = '\0';
	value += strspn(value, " ");
	key = section_key(section, name);
	if (!key)
		fail_msg("[%s] %s is no key", section->name, name);
	else if (key->initial && strcmp(key->initial, value) != 0)
		fail_msg("[%s] %s = %s, default is %s", section->name, name,
		    value, key->initial);
}

static size_t
count_keys(void)
{
	size_t count = 0;

	for (const struct section *s = config_sections; s->keys; s++)
		for (const struct key *key = s->keys; key->name; key++)
			count++;
	return count;
}

/* With its comments taken away the sample is right: it shows every key, each
 * with its default. */
static void
test_sample(void **state)
{
	FILE *file = fopen("conf/smarthost.conf", "r");
	const struct section *section = NULL;
	struct buf text = {0};
	char line[200];
	size_t keys = 0;
	struct run run;

	(void)state;
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		bool is_default = *line == '#' && line[1] >= 'a' &&
		    line[1] <= 'z' && strstr(line, " =");

		line[strcspn(line, "\n")] = '\0';
		if (*line == '[') {
			line[strcspn(line, "]")] = '\0';
			section = section_find(line + 1);
			buf_addf(&text, "%s]\n", line);
		} else if (!is_default || line[strlen(line) - 1] != '=') {
			buf_addf(&text, "%s\n", line + is_default);
		}
		keys += is_default;
		if (is_default)
			expect_default(section, line + 1);
	}
	fclose(file);
	assert_int_equal(keys, count_keys());
	run = run_good(text.data, NULL);
	assert_int_equal(run.config.warnings.len, 0);
	run_end(&run);
	buf_free(&text);
}

/* As it is, it lacks a relay and nothing else. */
static void
test_sample_as_it_is(void **state)
{
	struct config config;
	struct buf error = {0};

	(void)state;
	assert_false(
	    config_load(&config, "conf/smarthost.conf", NULL, &error));
	assert_non_null(strstr(error.data, "[upstream] host: not set"));
	assert_int_equal(strcspn(error.data, "\n") + 1, error.len);
	buf_free(&error);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_key),
		cmocka_unit_test(test_password_is_whole),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_fingerprint),
		cmocka_unit_test(test_queue_keys),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_preset),
		cmocka_unit_test(test_provider_table),
		cmocka_unit_test(test_provider_manual),
		cmocka_unit_test(test_derived_password),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_own_hostname),
		cmocka_unit_test(test_listeners),
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_long_comment),
		cmocka_unit_test(test_many_errors),
		cmocka_unit_test(test_many_upstreams),
		cmocka_unit_test(test_variable_errors),
		cmocka_unit_test(test_harmless_variables),
		cmocka_unit_test(test_environment_wins),
		cmocka_unit_test(test_environment_alone),
		cmocka_unit_test(test_environment_password),
		cmocka_unit_test(test_environment_password_wiped),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_load_public_anyway),
		cmocka_unit_test(test_load_unreadable),
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_sample_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
