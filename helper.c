/* SPDX-License-Identifier: ISC */
/*
 * The process that runs commands for the daemon. For each request, a number
 * and a socket for the answer, it forks; the child runs the command and ends.
 * The socket's closing is what tells the child that nobody waits any more.
 *
 * An answer is an int, the errno of what failed, a letter, and the output
 * (behind y) or a sentence (behind n).
 */
#include "helper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "config.h"
#include "secret.h"

enum {
	ANSWER_MAX = 16 * 1024 + 1024,
	PATIENCE_MS = 35 * 1000, /* a little more than a command may take */
	HEAD = sizeof(int) + 1,
	DESCRIPTORS = 256, /* the daemon has fewer at its start */
};

struct helper {
	int fd;           /* to ask at */
	char ***commands; /* copies */
	size_t count;
};

static bool
same_words(char *const *a, char *const *b)
{
	while (*a && *b && strcmp(*a, *b) == 0)
		a++, b++;
	return !*a && !*b;
}

/* The number of a command; count if it is none of them. */
static size_t
number_of(const struct helper *h, char *const *words)
{
	size_t i = 0;

	while (i < h->count && !same_words(h->commands[i], words))
		i++;
	return i;
}

bool
helper_knows(const struct helper *h, char *const *words)
{
	return h && number_of(h, words) < h->count;
}

static void
add_command(struct helper *h, char *const *words)
{
	size_t count = 0;
	char **copy;

	while (words[count])
		count++;
	copy = xcalloc(count + 1, sizeof(*copy));
	for (size_t i = 0; i < count; i++)
		copy[i] = xstrdup(words[i]);
	h->commands = xrealloc(h->commands, h->count + 1,
	    sizeof(*h->commands));
	h->commands[h->count++] = copy;
}

/* --- The other process ---------------------------------------------------- */

/* A command's number and where to answer; false when the daemon has gone. */
static bool
take_request(int fd, unsigned char *number, int *answer)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.room = ""};
	struct iovec part = {number, 1};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control)};
	const struct cmsghdr *c;
	ssize_t got;

	do
		got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	c = CMSG_FIRSTHDR(&m);
	if (got != 1 || !c || c->cmsg_type != SCM_RIGHTS)
		return false;
	memcpy(answer, CMSG_DATA(c), sizeof(*answer));
	return true;
}

static void
run_command(char **words, int answer)
{
	const struct secret command = {.kind = SECRET_COMMAND, .words = words};
	struct buf out = {0}, why = {0};
	bool ok = secret_read(&command, answer, &out, &why);
	int error = ok ? 0 : errno;
	char head[HEAD];

	memcpy(head, &error, sizeof(error));
	head[HEAD - 1] = ok ? 'y' : 'n';
	(void)!send(answer, head, HEAD, MSG_NOSIGNAL);
	(void)!send(answer, ok ? out.data : buf_text(&why),
	    ok ? out.len : why.len, MSG_NOSIGNAL);
	buf_wipe(&out);
	buf_free(&why);
}

/* Signals that stop the daemon are its to heed: it may need a password for the
 * last thing that it does. */
static _Noreturn void
serve(const struct helper *h, int fd)
{
	unsigned char number;
	int answer;

	(void)prctl(PR_SET_NAME, "smarthost-cmds");
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); /* nobody waits for the children */
	for (int other = 3; other < DESCRIPTORS; other++)
		if (other != fd)
			close(other);
	while (take_request(fd, &number, &answer)) {
		if (number < h->count && fork() == 0) {
			signal(SIGCHLD, SIG_DFL);
			signal(SIGTERM, SIG_DFL);
			signal(SIGINT, SIG_DFL);
			signal(SIGHUP, SIG_DFL);
			run_command(h->commands[number], answer);
			_exit(0);
		}
		close(answer);
	}
	_exit(0);
}

bool
helper_start(const struct config *config, struct helper **out)
{
	struct helper *h = xcalloc(1, sizeof(*h));
	int pair[2];
	pid_t child;

	*out = NULL;
	for (size_t i = 0; i < config->upstream_count; i++) {
		char **words = config->upstreams[i].password.words;

		if (words && number_of(h, words) == h->count &&
		    h->count <= UINT8_MAX)
			add_command(h, words);
	}
	h->fd = -1;
	if (!h->count) {
		helper_free(h);
		return true;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		helper_free(h);
		return false;
	}
	child = fork();
	if (child == 0)
		serve(h, pair[1]);
	close(pair[1]);
	h->fd = pair[0];
	*out = h;
	return child > 0;
}

void
helper_free(struct helper *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->count; i++)
		secret_words_free(h->commands[i]);
	free(h->commands);
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}

/* --- The daemon's side ---------------------------------------------------- */

static bool
send_request(const struct helper *h, size_t number, int answer)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.room = ""};
	unsigned char byte = (unsigned char)number;
	struct iovec part = {&byte, 1};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &answer, sizeof(int));
	return sendmsg(h->fd, &m, MSG_NOSIGNAL) == 1;
}

/* The whole answer, or what has come when somebody or something ends the
 * wait; *stopped: it is our own stop. */
static size_t
read_answer(int fd, int stop_fd, char *answer, bool *stopped)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
		{.fd = stop_fd, .events = POLLIN}};
	int64_t deadline = clock_now() + PATIENCE_MS;
	size_t len = 0;
	ssize_t got = 1;

	while (got > 0 && len < ANSWER_MAX) {
		int64_t left = deadline - clock_now();
		int ready = poll(fds, 2, left > 0 ? (int)left : 0);

		if (ready < 0 && errno == EINTR)
			continue;
		*stopped = ready > 0 && fds[1].revents;
		if (ready <= 0 || *stopped)
			break;
		got = read(fd, answer + len, ANSWER_MAX - len);
		len += got > 0 ? (size_t)got : 0;
	}
	return len;
}

/* Takes an answer apart; errno is then that of the command. */
static bool
use_answer(const char *answer, size_t len, char *const *words,
    struct buf *out, struct buf *why)
{
	int error = 0;

	if (len < HEAD) {
		buf_addf(why, "password_command %s: the process that runs "
		    "commands does not answer, or smarthost is stopping",
		    words[0]);
		errno = 0;
		return false;
	}
	memcpy(&error, answer, sizeof(error));
	buf_add(answer[HEAD - 1] == 'y' ? out : why, answer + HEAD,
	    len - HEAD);
	errno = error;
	return answer[HEAD - 1] == 'y';
}

bool
helper_ask(const struct helper *h, char *const *words, int stop_fd,
    struct buf *out, struct buf *why)
{
	size_t number = number_of(h, words), len = 0;
	char *answer = xmalloc(ANSWER_MAX);
	int pair[2] = {-1, -1};
	bool ok, stopped = false;

	if (number < h->count &&
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
		bool sent = send_request(h, number, pair[1]);

		close(pair[1]);
		if (sent)
			len = read_answer(pair[0], stop_fd, answer,
			    &stopped);
		close(pair[0]);
	}
	ok = use_answer(answer, len, words, out, why);
	explicit_bzero(answer, ANSWER_MAX);
	free(answer);
	if (stopped)
		errno = ECANCELED;
	return ok;
}
