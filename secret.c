/* SPDX-License-Identifier: ISC */
/*
 * Passwords: written out, in a file, or printed by a command. Nothing is kept
 * between two calls, and no copy is left behind in memory that was freed.
 * A command is started without a shell and without fork(), which is not for
 * a process with threads.
 */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "helper.h"

enum {
	SECRET_MAX = 16 * 1024,
	COMMAND_MS = 30 * 1000,
	REAP_MS = 10, /* between two looks at a command that closed stdout */
	NO_SUCH_PROGRAM = 127,
};

/* Somewhere to put a secret while nobody knows whether it is one. */
struct vessel {
	char *data; /* SECRET_MAX and one more, which proves it too long */
	size_t len;
};

static struct vessel
vessel_new(void)
{
	return (struct vessel){.data = xmalloc(SECRET_MAX + 1)};
}

static void
vessel_free(struct vessel *v)
{
	explicit_bzero(v->data, SECRET_MAX + 1);
	free(v->data);
}

/* One read; what read(2) returns. */
static ssize_t
vessel_fill(struct vessel *v, int fd)
{
	ssize_t got;

	do
		got = read(fd, v->data + v->len, SECRET_MAX + 1 - v->len);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		v->len += (size_t)got;
	return got;
}

/* Without one line end, if what is left is fit to be a password. */
static const char *
pour(const char *data, size_t len, struct buf *out)
{
	if (len > SECRET_MAX)
		return "gave more than 16 KB";
	if (len && data[len - 1] == '\n')
		len--;
	if (len && data[len - 1] == '\r')
		len--;
	if (!len)
		return "is empty";
	if (memchr(data, '\0', len))
		return "holds a NUL byte";
	buf_add(out, data, len);
	return NULL;
}

static const char *
open_file(const char *path, int *fd)
{
	struct stat st;

	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (*fd < 0 || fstat(*fd, &st))
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "is not a regular file";
	return NULL;
}

static const char *
read_file(int fd, struct buf *out)
{
	struct vessel v = vessel_new();
	const char *fault;
	ssize_t got;

	do
		got = vessel_fill(&v, fd);
	while (got > 0 && v.len <= SECRET_MAX);
	fault = got < 0 ? strerror(errno) : pour(v.data, v.len, out);
	vessel_free(&v);
	return fault;
}

static bool
from_file(const char *path, struct buf *out, struct buf *why)
{
	const char *fault;
	int fd, error;

	fault = open_file(path, &fd);
	error = fd < 0 ? errno : 0;
	if (!fault)
		fault = read_file(fd, out);
	if (fd >= 0)
		close(fd);
	if (fault)
		buf_addf(why, "password_file %s: %s", path, fault);
	errno = error;
	return !fault;
}

static int
left_ms(int64_t deadline)
{
	int64_t left = deadline - clock_now();

	return left > 0 ? (int)left : 0;
}

/* The daemon's threads block signals, and what is ignored stays ignored in
 * the command: it shall start as from a shell. */
static int
set_signals(posix_spawnattr_t *attributes)
{
	sigset_t none, usual;

	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	sigaddset(&usual, SIGCHLD);
	return posix_spawnattr_setsigmask(attributes, &none) ||
	    posix_spawnattr_setsigdefault(attributes, &usual) ||
	    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK |
	        POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

/* stdout first: if our own 0 to 2 were closed, the pipe may be one of them. */
static int
set_files(posix_spawn_file_actions_t *files, int output)
{
	return posix_spawn_file_actions_adddup2(files, output, 1) ||
	    posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY,
	        0) ||
	    posix_spawn_file_actions_addopen(files, 2, "/dev/null", O_WRONLY,
	        0);
}

/* 0 or an errno. */
static int
spawn(char **words, int output, pid_t *child)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int error = ENOMEM;

	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	if (!set_files(&files, output) && !set_signals(&attributes))
		error = posix_spawnp(child, words[0], &files, &attributes,
		    words, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return error;
}

/* A command that runs. */
struct run {
	pid_t child;
	int output;  /* to read */
	int stop_fd; /* or -1 */
	int64_t deadline;
	bool stopped;
};

/* Whether there is output to read, now or within so many milliseconds. */
static bool
await_output(struct run *r, int timeout)
{
	struct pollfd fds[2] = {
		{.fd = r->output, .events = POLLIN},
		{.fd = r->stop_fd, .events = POLLIN},
	};
	int ready;

	do
		ready = poll(fds, 2, timeout);
	while (ready < 0 && errno == EINTR);
	r->stopped = ready > 0 && fds[1].revents;
	return ready > 0 && !r->stopped;
}

/* Until the command closes its output; false when time or space ran out. */
static bool
read_output(struct run *r, struct vessel *v)
{
	while (await_output(r, left_ms(r->deadline))) {
		if (vessel_fill(v, r->output) <= 0)
			return true;
		if (v->len > SECRET_MAX)
			return false;
	}
	return false;
}

/* What waitpid(2) returns once the child has ended, 0 when time ran out. */
static pid_t
await_end(struct run *r, int *status)
{
	pid_t ended;

	r->output = -1; /* at its end: it would keep us from waiting */
	while (!(ended = waitpid(r->child, status, WNOHANG)) &&
	    left_ms(r->deadline) && !r->stopped)
		await_output(r, REAP_MS);
	return ended;
}

/* The group too: whatever it has started is of no more use. */
static void
kill_and_reap(pid_t child)
{
	kill(-child, SIGKILL);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Adds what was wrong with the end, or nothing. posix_spawn() may report a
 * program that cannot be started in this way too. */
static void
explain_end(const struct run *r, pid_t ended, int status, struct buf *why)
{
	if (r->stopped)
		buf_adds(why, "smarthost is stopping, killed");
	else if (ended == 0)
		buf_adds(why, "not done within 30 s, killed");
	else if (ended < 0)
		buf_adds(why, "its exit status was lost");
	else if (WIFSIGNALED(status))
		buf_addf(why, "killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) == NO_SUCH_PROGRAM)
		buf_adds(why, "cannot be started (exit status 127)");
	else if (WEXITSTATUS(status))
		buf_addf(why, "exit status %d", WEXITSTATUS(status));
}

/* Adds to out, or what went wrong to why, which is empty. */
static void
run_command(struct run *r, struct buf *out, struct buf *why)
{
	struct vessel v = vessel_new();
	pid_t ended = 0;
	int status = 0;

	if (read_output(r, &v))
		ended = await_end(r, &status);
	if (!ended)
		kill_and_reap(r->child);
	if (v.len <= SECRET_MAX)
		explain_end(r, ended, status, why);
	if (!why->len) {
		const char *fault = pour(v.data, v.len, out);

		buf_adds(why, fault ? fault : "");
	}
	vessel_free(&v);
}

static bool
from_command(char **words, int stop_fd, struct buf *out, struct buf *why)
{
	struct run r = {.stop_fd = stop_fd};
	struct buf fault = {0};
	int pipes[2], error;
	bool good;

	if (pipe2(pipes, O_CLOEXEC)) {
		error = errno;
		buf_addf(why, "password_command: %s", strerror(error));
		errno = error;
		return false;
	}
	r.deadline = clock_now() + COMMAND_MS;
	r.output = pipes[0];
	error = spawn(words, pipes[1], &r.child);
	close(pipes[1]);
	if (error)
		buf_addf(&fault, "cannot be started: %s", strerror(error));
	else
		run_command(&r, out, &fault);
	close(pipes[0]);
	good = !fault.len;
	if (!good)
		buf_addf(why, "password_command %s: %s", words[0],
		    buf_text(&fault));
	buf_free(&fault);
	errno = r.stopped ? ECANCELED : error;
	return good;
}

bool
secret_read(const struct secret *secret, int stop_fd, struct buf *out,
    struct buf *why)
{
	const char *fault;

	switch (secret->kind) {
	case SECRET_FILE:
		return from_file(secret->text, out, why);
	case SECRET_COMMAND:
		if (secret->helper)
			return helper_ask(secret->helper, secret->words,
			    stop_fd, out, why);
		return from_command(secret->words, stop_fd, out, why);
	case SECRET_LITERAL:
		fault = pour(secret->text, strlen(secret->text), out);
		break;
	case SECRET_NONE:
	default:
		fault = "is not set";
	}
	if (fault)
		buf_addf(why, "password %s", fault);
	errno = 0;
	return !fault;
}

static void
wipe_text(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

void
secret_free(struct secret *secret)
{
	wipe_text(secret->text);
	secret_words_free(secret->words);
	*secret = (struct secret){0};
}

void
secret_words_free(char **words)
{
	for (char **word = words; word && *word; word++)
		wipe_text(*word);
	free(words);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* One word of the command line; false when a quote or backslash is open. */
static bool
read_word(const char **at, struct buf *word)
{
	const char *s = *at;
	char quote = '\0';

	for (; *s && (quote || !is_blank(*s)); s++) {
		if (*s == quote)
			quote = '\0';
		else if (!quote && (*s == '\'' || *s == '"'))
			quote = *s;
		else if (*s != '\\' || quote == '\'' || *++s)
			buf_addc(word, *s);
		else
			return false; /* nothing follows the backslash */
	}
	*at = s;
	return !quote;
}

static void
add_word(char ***words, size_t *count, char *word)
{
	*words = xrealloc(*words, *count + 2, sizeof(**words));
	(*words)[(*count)++] = word;
	(*words)[*count] = NULL;
}

char **
secret_split(const char *command)
{
	char **words = NULL;
	size_t count = 0;

	for (;;) {
		struct buf word = {0};
		bool whole;

		while (is_blank(*command))
			command++;
		if (!*command)
			return words;
		whole = read_word(&command, &word);
		add_word(&words, &count, buf_take(&word));
		if (!whole) {
			secret_words_free(words);
			return NULL;
		}
	}
}
