/* SPDX-License-Identifier: ISC */
/*
 * Passwords from files and commands. The clock is this file's own, so that
 * 30 seconds pass in a moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "clock.h"
#include "secret.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SECRET "hunter2"

/* What every look at the clock but the first is ahead, for one read. */
static int64_t jump_ms;
static unsigned looks;
static int stop_fd = -1;
static int last_errno; /* behind the last read */

int64_t
clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 +
	    (looks++ ? jump_ms : 0);
}

struct split_case {
	const char *command, *words; /* between bars */
};

static const struct split_case split_cases[] = {
	{"pass", "pass"},
	{"pass show smtp", "pass|show|smtp"},
	{"  pass\t show  ", "pass|show"},
	{"a 'b c' d", "a|b c|d"},
	{"a \"b c\" d", "a|b c|d"},
	{"a'b'\"c\"d", "abcd"},
	{"a '' b", "a||b"},
	{"''", ""},
	{"a 'b\"c'", "a|b\"c"},
	{"a \"b'c\"", "a|b'c"},
	{"a b\\ c", "a|b c"},
	{"a \\'b", "a|'b"},
	{"a \\\\b", "a|\\b"},
	{"a 'b\\c'", "a|b\\c"},
	{"a \"b\\\"c\"", "a|b\"c"},
	{"a $HOME `id` ; rm > x | y", "a|$HOME|`id`|;|rm|>|x|||y"},
	{"caf\xc3\xa9 x", "caf\xc3\xa9|x"},
	{"", NULL},
	{" \t ", NULL},
	{"a 'b", NULL},
	{"a \"b", NULL},
	{"a 'b\\'c'", NULL},
	{"a \\", NULL},
	{"a \"b\\", NULL},
};

static void
test_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(split_cases); i++) {
		const struct split_case *t = &split_cases[i];
		char **words = secret_split(t->command);
		struct buf joined = {0};

		for (char **word = words; word && *word; word++)
			buf_addf(&joined, "%s%s", word == words ? "" : "|",
			    *word);
		if (!words != !t->words ||
		    (words && strcmp(buf_text(&joined), t->words) != 0))
			fail_msg("%s: %s", t->command, buf_text(&joined));
		secret_words_free(words);
		buf_free(&joined);
	}
	secret_words_free(NULL);
}

/* Reads it behind what is there; the text, or the sentence, which never has
 * the secret in it. */
static char *
read_it(const struct secret *secret, bool *good)
{
	struct buf out = {0}, why = {0};
	char *text;

	looks = 0;
	buf_adds(&out, "<");
	*good = secret_read(secret, stop_fd, &out, &why);
	last_errno = errno;
	assert_int_equal(out.data[0], '<');
	assert_null(strstr(buf_text(&why), SECRET));
	if (*good) {
		assert_int_equal(why.len, 0);
		text = xstrdup(out.data + 1);
	} else {
		assert_int_equal(out.len, 1);
		assert_non_null(strstr(buf_text(&why), "password"));
		text = xstrdup(buf_text(&why));
	}
	buf_wipe(&out);
	buf_free(&why);
	return text;
}

static void
expect(const struct secret *secret, const char *what, const char *value,
    const char *why)
{
	bool good;
	char *text = read_it(secret, &good);

	if (value && (!good || strcmp(text, value) != 0))
		fail_msg("%s: \"%s\"", what, text);
	if (why && (good || !strstr(text, why)))
		fail_msg("%s: \"%s\"", what, text);
	free(text);
}

struct content_case {
	const char *content;
	size_t len;
	const char *value, *why;
};

#define CONTENT(s) s, sizeof(s) - 1

static const struct content_case content_cases[] = {
	{CONTENT(SECRET), SECRET, NULL},
	{CONTENT(SECRET "\n"), SECRET, NULL},
	{CONTENT(SECRET "\r\n"), SECRET, NULL},
	{CONTENT(SECRET "\n\n"), SECRET "\n", NULL},
	{CONTENT(" " SECRET " \n"), " " SECRET " ", NULL},
	{CONTENT("\"" SECRET "\" ;#=:"), "\"" SECRET "\" ;#=:", NULL},
	{CONTENT("p\xc3\xa4ss\n"), "p\xc3\xa4ss", NULL},
	{CONTENT(""), NULL, "is empty"},
	{CONTENT("\n"), NULL, "is empty"},
	{CONTENT("\r\n"), NULL, "is empty"},
	{CONTENT(SECRET "\0" SECRET), NULL, "NUL"},
};

static void
write_file(const char *path, const char *content, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, len), len);
	close(fd);
}

static char *
temporary_path(void)
{
	char *path = xstrdup("/tmp/test_secret.XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	return path;
}

static void
test_file(void **state)
{
	struct secret secret = {.kind = SECRET_FILE, .text = temporary_path()};

	(void)state;
	for (size_t i = 0; i < COUNT(content_cases); i++) {
		const struct content_case *t = &content_cases[i];

		write_file(secret.text, t->content, t->len);
		expect(&secret, t->content, t->value, t->why);
	}
	unlink(secret.text);
	expect(&secret, "no file", NULL, "No such file");
	expect(&secret, "no file", NULL, secret.text);
	secret_free(&secret);
}

static void
test_file_size(void **state)
{
	struct secret secret = {.kind = SECRET_FILE, .text = temporary_path()};
	char *long_text = xmalloc(20000);
	bool good;
	char *text;

	(void)state;
	memset(long_text, 'x', 20000);
	write_file(secret.text, long_text, 16 * 1024);
	text = read_it(&secret, &good);
	assert_true(good);
	assert_int_equal(strlen(text), 16 * 1024);
	free(text);
	write_file(secret.text, long_text, 16 * 1024 + 1);
	expect(&secret, "too long", NULL, "more than 16 KB");
	write_file(secret.text, long_text, 20000);
	expect(&secret, "too long", NULL, "more than 16 KB");
	unlink(secret.text);
	free(long_text);
	secret_free(&secret);
}

/* A named pipe must not hang the program, and a directory is no secret. */
static void
test_not_a_file(void **state)
{
	struct secret secret = {.kind = SECRET_FILE, .text = temporary_path()};

	(void)state;
	unlink(secret.text);
	assert_int_equal(mkfifo(secret.text, 0600), 0);
	expect(&secret, "fifo", NULL, "not a regular file");
	unlink(secret.text);
	assert_int_equal(mkdir(secret.text, 0700), 0);
	expect(&secret, "directory", NULL, "not a regular file");
	rmdir(secret.text);
	secret_free(&secret);
}

static void
test_literal(void **state)
{
	char text[] = " " SECRET " ;\n";
	struct secret secret = {.kind = SECRET_LITERAL, .text = text};
	struct secret none = {0};

	(void)state;
	expect(&secret, "literal", " " SECRET " ;", NULL);
	text[0] = '\0';
	expect(&secret, "empty literal", NULL, "is empty");
	expect(&none, "none", NULL, "is not set");
	secret_free(&none);
}

struct command_case {
	const char *command, *value, *why;
};

static const struct command_case command_cases[] = {
	{"printf " SECRET, SECRET, NULL},
	{"echo " SECRET, SECRET, NULL},
	{"echo 'a  b' c", "a  b c", NULL},
	{"printf '" SECRET "\\r\\n'", SECRET, NULL},
	{"echo $HOME;", "$HOME;", NULL},
	{"sh -c 'echo noise >&2; echo " SECRET "'", SECRET, NULL},
	{"sh -c 'printf hun; sleep 0.1; printf ter2'", SECRET, NULL},
	/* stdin is empty, not ours */
	{"sh -c 'cat; echo end'", "end", NULL},
	/* closed early, alive for a while: the status still counts */
	{"sh -c 'echo x; exec >&-; sleep 0.1; exit 4'", NULL, "exit status 4"},
	{"sh -c 'echo " SECRET "; exit 3'", NULL, "exit status 3"},
	{"sh -c 'echo " SECRET "; kill -9 $$'", NULL, "killed by signal 9"},
	{"true", NULL, "is empty"},
	{"echo", NULL, "is empty"},
	{"false", NULL, "false: exit status 1"},
	{"printf 'a\\0b'", NULL, "NUL"},
	{"head -c 20000 /dev/zero", NULL, "more than 16 KB"},
	{"yes", NULL, "more than 16 KB"},
	{"/nonexistent/program", NULL, "cannot be started"},
	{"sh -c 'exit 127'", NULL, "cannot be started (exit status 127)"},
	{"/dev/null", NULL, "cannot be started"},
	{"''", NULL, "cannot be started"},
	/* as from a shell: no signal is blocked or ignored */
	{"sh -c 'kill -TERM $$; echo alive'", NULL, "killed by signal 15"},
	{"sh -c 'kill -PIPE $$; echo alive'", NULL, "killed by signal 13"},
};

static struct secret
command(const char *text)
{
	struct secret secret = {.kind = SECRET_COMMAND,
		.text = xstrdup(text), .words = secret_split(text)};

	assert_non_null(secret.words);
	return secret;
}

static int
lowest_free_descriptor(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* With signals as the daemon's threads have them, and a stdin that somebody
 * else will read. */
static void
test_command(void **state)
{
	int saved = dup(0), pipes[2], lowest;
	sigset_t all, before;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], "noise\n", 6), 6);
	close(pipes[1]);
	dup2(pipes[0], 0);
	close(pipes[0]);
	lowest = lowest_free_descriptor();
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < COUNT(command_cases); i++) {
		const struct command_case *t = &command_cases[i];
		struct secret secret = command(t->command);

		expect(&secret, t->command, t->value, t->why);
		secret_free(&secret);
		assert_null(secret.words);
	}
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	assert_int_equal(lowest_free_descriptor(), lowest);
	dup2(saved, 0);
	close(saved);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static const char *const endless_commands[] = {
	"sleep 1000",
	"sh -c 'echo " SECRET "; sleep 1000'",
	"sh -c 'echo " SECRET "; exec >&-; sleep 1000'",
	"sh -c 'trap : TERM; sleep 1000; sleep 1000'",
	/* the command is gone, but what it started holds the output */
	"sh -c 'sleep 1000 & echo " SECRET "'",
};

/* Fails, and nothing of it is left: all would hold the pipe open. */
static void
expect_killed(const char *text, const char *why)
{
	struct secret secret = command(text);
	int pipes[2];
	char c;

	assert_int_equal(pipe(pipes), 0);
	alarm(60);
	expect(&secret, text, NULL, why);
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &c, 1), 0);
	alarm(0);
	close(pipes[0]);
	secret_free(&secret);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void
test_deadline(void **state)
{
	(void)state;
	jump_ms = 29800;
	for (size_t i = 0; i < COUNT(endless_commands); i++)
		expect_killed(endless_commands[i], "within 30 s");
	jump_ms = 0;
}

/* The command has descriptor 9 to say that the process is to stop. */
static void
test_stop(void **state)
{
	static const char *const commands[] = {
		"sh -c 'echo >&9; sleep 1000'",
		"sh -c 'exec >&-; sleep 0.1; echo >&9; sleep 1000'",
		"sh -c 'sleep 1000 & echo >&9; sleep 1000'",
	};
	int pipes[2];
	char c;

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(dup2(pipes[1], 9), 9);
	close(pipes[1]);
	stop_fd = pipes[0];
	for (size_t i = 0; i < COUNT(commands); i++) {
		expect_killed(commands[i], "smarthost is stopping");
		assert_int_equal(read(stop_fd, &c, 1), 1);
	}
	close(9);
	close(stop_fd);
	stop_fd = -1;
}

/* Without a descriptor left it is not the secret that is wrong. */
static void
test_shortage(void **state)
{
	struct secret file = {.kind = SECRET_FILE,
		.text = xstrdup("/dev/null")};
	struct secret secrets[] = {file, command("echo " SECRET)};
	struct rlimit before, none;

	(void)state;
	for (size_t i = 0; i < COUNT(secrets); i++) {
		expect(&secrets[i], "before", i ? SECRET : NULL,
		    i ? NULL : "not a regular file");
		assert_int_equal(last_errno, 0);
		assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
		none = before;
		none.rlim_cur = (rlim_t)lowest_free_descriptor();
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		expect(&secrets[i], "shortage", NULL, "Too many open files");
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		assert_int_equal(last_errno, EMFILE);
		secret_free(&secrets[i]);
	}
}

/* Whoever ignores SIGCHLD gets no status, and so no password either. */
static void
test_lost_status(void **state)
{
	struct secret secret = command("echo " SECRET);

	(void)state;
	signal(SIGCHLD, SIG_IGN);
	expect(&secret, "SIGCHLD ignored", NULL, "status was lost");
	signal(SIGCHLD, SIG_DFL);
	secret_free(&secret);
}

/* Our own 0 to 2 may be closed; the pipe is one of them then. */
static void
test_closed_descriptors(void **state)
{
	struct secret secret = command("sh -c 'cat; echo " SECRET "'");
	int saved[3];

	(void)state;
	for (int first = 0; first < 3; first++) {
		bool good;
		char *text;

		for (int fd = first; fd < 3; fd++) {
			saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
			close(fd);
		}
		text = read_it(&secret, &good);
		for (int fd = first; fd < 3; fd++) {
			dup2(saved[fd], fd);
			close(saved[fd]);
		}
		assert_string_equal(text, SECRET);
		free(text);
	}
	secret_free(&secret);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_file_size),
		cmocka_unit_test(test_not_a_file),
		cmocka_unit_test(test_literal),
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_shortage),
		cmocka_unit_test(test_lost_status),
		cmocka_unit_test(test_closed_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
