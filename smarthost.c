/* SPDX-License-Identifier: ISC */
/*
 * Be a process: find the command, by name or by word, and return its exit
 * status (sysexits).
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "check.h"
#include "daemon.h"
#include "liveness.h"
#include "queue_command.h"
#include "sendmail.h"

/* The words of the command, itself first, and the -c option or NULL. */
struct call {
	int argc;
	char **argv;
	const char *config;
};

/* For the commands that take no further words. */
static bool
is_alone(const struct call *call)
{
	if (call->argc == 1)
		return true;
	fprintf(stderr, "smarthost: %s takes no %s\n", call->argv[0],
	    call->argv[1]);
	return false;
}

static int
command_run(const struct call *call)
{
	return is_alone(call) ? daemon_run(call->config) : EX_USAGE;
}

static int
command_sendmail(const struct call *call)
{
	return sendmail_main(call->argc, call->argv, call->config);
}

static int
command_queue(const struct call *call)
{
	return queue_command(call->argc, call->argv, call->config);
}

static int
command_health(const struct call *call)
{
	bool relay = call->argc == 2 && strcmp(call->argv[1], "--relay") == 0;

	if (!relay && !is_alone(call))
		return EX_USAGE;
	return liveness(call->config, relay);
}

static int
command_version(const struct call *call)
{
	if (!is_alone(call))
		return EX_USAGE;
	printf("smarthost %s\n", SMARTHOST_VERSION);
	return EX_OK;
}

static int
command_check(const struct call *call)
{
	return check_command(call->argc, call->argv, call->config);
}

static const struct command {
	const char *name;
	int (*run)(const struct call *);
	const char *help;
} commands[] = {
	{"run", command_run, "the daemon, in the foreground"},
	{"sendmail", command_sendmail, "send a message from stdin"},
	{"queue", command_queue, "list, show, retry or drop what waits"},
	{"check", command_check, "judge the configuration, try the relay"},
	{"health", command_health, "0 if the daemon answers, else 1"},
	{"version", command_version, "print the version"},
};

static int
usage(FILE *out)
{
	fprintf(out, "usage: smarthost [-c FILE] COMMAND\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-10s %s\n", commands[i].name,
		    commands[i].help);
	return EX_USAGE;
}

/* A caller may have closed any of the standard descriptors; the next file we
 * open must not become one of them, or a log line could end up in a message. */
static void
open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static bool
is_sendmail_name(const char *name)
{
	return strcmp(name, "sendmail") == 0 || strcmp(name, "mailq") == 0 ||
	    strcmp(name, "newaliases") == 0;
}

static int
run_command(struct call *call)
{
	const char *name = call->argc ? call->argv[0] : "";

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].run(call);
	if (strcmp(name, "-c") == 0)
		fprintf(stderr, "smarthost: -c needs a file and a command\n");
	else if (*name)
		fprintf(stderr, "smarthost: there is no command %s\n", name);
	return usage(stderr);
}

int
main(int argc, char **argv)
{
	struct call call = {.argc = argc, .argv = argv};
	const char *slash = argc ? strrchr(argv[0], '/') : NULL;
	const char *name = slash ? slash + 1 : argc ? argv[0] : "";

	open_standard_descriptors();
	umask(umask(077) & 077); /* we are not shut out by it */
	signal(SIGCHLD, SIG_DFL); /* a password_command is waited for */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* the write fails, and is answered for */
	if (is_sendmail_name(name))
		return command_sendmail(&call);
	call.argc--, call.argv++;
	if (call.argc >= 2 && strcmp(call.argv[0], "-c") == 0) {
		call.config = call.argv[1];
		call.argc -= 2, call.argv += 2;
	}
	if (call.argc && (strcmp(call.argv[0], "--help") == 0 ||
			     strcmp(call.argv[0], "-h") == 0)) {
		usage(stdout);
		return EX_OK;
	}
	return run_command(&call);
}
