/* SPDX-License-Identifier: ISC */
/*
 * A relay for benchmarks: takes every message and forgets it, offers STARTTLS,
 * AUTH, PIPELINING and CHUNKING, and answers as late as it is told.
 *
 *     tlssink PORT CERTIFICATE KEY MILLISECONDS
 *
 * A batch of replies goes out so many milliseconds after the last byte that
 * was read before it; 0: at once. While there is news, "sess=N mesg=N" is
 * printed some times a second: sessions that have ended, messages taken.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

enum { INPUT = 65536, OUTPUT = 4096, LINE = 2048, REPORT_MS = 5 };

static SSL_CTX *context;
static int delay;
static atomic_ulong sessions, messages;

struct client {
	int fd;
	SSL *tls; /* NULL while plain */
	size_t start, end, out;
	char input[INPUT], output[OUTPUT];
};

static void
flush(struct client *c)
{
	size_t sent = 0;

	while (sent < c->out) {
		int n = c->tls ? SSL_write(c->tls, c->output + sent,
				     (int)(c->out - sent))
			       : (int)send(c->fd, c->output + sent,
				     c->out - sent, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	c->out = 0;
}

/* Reads more; what was said goes out first, when its time has come. */
static bool
fill(struct client *c)
{
	struct pollfd fd = {.fd = c->fd, .events = POLLIN};
	int n;

	if (c->out && !(c->tls && SSL_pending(c->tls)) &&
	    (!delay || poll(&fd, 1, delay) == 0))
		flush(c);
	n = c->tls ? SSL_read(c->tls, c->input, INPUT)
		   : (int)recv(c->fd, c->input, INPUT, 0);
	c->start = 0;
	c->end = n > 0 ? (size_t)n : 0;
	return n > 0;
}

static bool
next_byte(struct client *c, char *byte)
{
	if (c->start == c->end && !fill(c))
		return false;
	*byte = c->input[c->start++];
	return true;
}

static bool
read_line(struct client *c, char line[LINE])
{
	size_t len = 0;
	char byte;

	while (next_byte(c, &byte) && byte != '\n')
		if (len < LINE - 1)
			line[len++] = byte;
	while (len && line[len - 1] == '\r')
		len--;
	line[len] = '\0';
	return c->end > 0;
}

static void
say(struct client *c, const char *text)
{
	size_t len = strlen(text);

	if (c->out + len > OUTPUT)
		flush(c);
	memcpy(c->output + c->out, text, len);
	c->out += len;
}

static bool
is(const char *line, const char *verb)
{
	return strncasecmp(line, verb, strlen(verb)) == 0;
}

/* Up to the line that is a dot. */
static bool
read_data(struct client *c)
{
	static const char end[] = "\r\n.\r\n";
	size_t seen = 2; /* the line end of DATA */
	char byte;

	while (seen < 5) {
		if (!next_byte(c, &byte))
			return false;
		seen = byte == end[seen] ? seen + 1 : byte == '\r';
	}
	return true;
}

static bool
skip(struct client *c, size_t bytes)
{
	while (bytes) {
		size_t there = c->end - c->start;

		if (!there && !fill(c))
			return false;
		there = c->end - c->start;
		if (there > bytes)
			there = bytes;
		c->start += there;
		bytes -= there;
	}
	return true;
}

static bool
take_chunk(struct client *c, const char *line)
{
	char *rest;
	size_t bytes = strtoul(line + 5, &rest, 10);
	bool last = strcasestr(rest, "LAST") != NULL;

	if (!skip(c, bytes))
		return false;
	messages += last;
	say(c, "250 2.0.0 Ok\r\n");
	return true;
}

static bool
take_data(struct client *c)
{
	say(c, "354 Go on\r\n");
	if (!read_data(c))
		return false;
	messages++;
	say(c, "250 2.0.0 Ok\r\n");
	return true;
}

static bool
start_tls(struct client *c)
{
	say(c, "220 2.0.0 Ready\r\n");
	flush(c);
	c->start = c->end = 0;
	c->tls = SSL_new(context);
	SSL_set_fd(c->tls, c->fd);
	return SSL_accept(c->tls) == 1;
}

static bool
authenticate(struct client *c, const char *line)
{
	char answer[LINE];
	int questions = is(line, "AUTH LOGIN") ? 2 : strlen(line) < 12;

	if (is(line, "AUTH LOGIN ")) /* the user came with it */
		questions--;
	while (questions--) {
		say(c, "334 \r\n");
		if (!read_line(c, answer))
			return false;
	}
	say(c, "235 2.7.0 Ok\r\n");
	return true;
}

static bool
serve_command(struct client *c, const char *line)
{
	if (is(line, "EHLO")) {
		say(c, "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
		       "250-SIZE\r\n250-ENHANCEDSTATUSCODES\r\n"
		       "250-CHUNKING\r\n");
		say(c, c->tls ? "250 AUTH PLAIN LOGIN\r\n"
			      : "250 STARTTLS\r\n");
	} else if (is(line, "STARTTLS")) {
		return start_tls(c);
	} else if (is(line, "AUTH")) {
		return authenticate(c, line);
	} else if (is(line, "DATA")) {
		return take_data(c);
	} else if (is(line, "BDAT")) {
		return take_chunk(c, line);
	} else if (is(line, "QUIT")) {
		say(c, "221 2.0.0 Bye\r\n");
		return false;
	} else {
		say(c, "250 2.0.0 Ok\r\n");
	}
	return true;
}

static void *
serve(void *argument)
{
	struct client *c = argument;
	char line[LINE];

	say(c, "220 sink.test ESMTP\r\n");
	while (read_line(c, line) && serve_command(c, line))
		;
	flush(c);
	if (c->tls) {
		SSL_shutdown(c->tls);
		SSL_free(c->tls);
	}
	close(c->fd);
	free(c);
	sessions++;
	return NULL;
}

static void *
report(void *argument)
{
	unsigned long known = 0;

	(void)argument;
	for (;;) {
		unsigned long now = sessions + messages;

		if (now != known) {
			printf("sess=%lu mesg=%lu\n", sessions, messages);
			fflush(stdout);
		}
		known = now;
		poll(NULL, 0, REPORT_MS);
	}
	return NULL;
}

static int
listen_on(const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((unsigned short)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(fd, 512)) {
		perror("tlssink");
		exit(1);
	}
	return fd;
}

int
main(int argc, char **argv)
{
	int listening, on = 1;
	pthread_t thread;

	if (argc != 5)
		return 64;
	signal(SIGPIPE, SIG_IGN);
	delay = atoi(argv[4]);
	context = SSL_CTX_new(TLS_server_method());
	if (SSL_CTX_use_certificate_chain_file(context, argv[2]) != 1 ||
	    SSL_CTX_use_PrivateKey_file(context, argv[3],
		SSL_FILETYPE_PEM) != 1) {
		fprintf(stderr, "tlssink: %s or %s cannot be used\n", argv[2],
		    argv[3]);
		return 1;
	}
	listening = listen_on(argv[1]);
	pthread_create(&thread, NULL, report, NULL);
	for (;;) {
		int fd = accept(listening, NULL, NULL);
		struct client *c;

		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		c = calloc(1, sizeof(*c));
		c->fd = fd;
		if (pthread_create(&thread, NULL, serve, c) == 0)
			pthread_detach(thread);
	}
}
