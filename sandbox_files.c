/* SPDX-License-Identifier: ISC */
/*
 * Landlock: which files there are for the daemon.
 */
#include "sandbox_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "buf.h"
#include "setup.h"

enum {
	ABI_REFER = 2, /* before it no file could be renamed into another
	                * directory, as a commit does */
};

#define LOOK (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RUN (LOOK | LANDLOCK_ACCESS_FS_EXECUTE)
#define CHANGE (LOOK | LANDLOCK_ACCESS_FS_WRITE_FILE | \
	LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | \
	LANDLOCK_ACCESS_FS_REFER)
#define EVERYTHING (CHANGE | RUN | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
	LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | \
	LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

/* Where the C library and the resolver look: their configuration, modules for
 * names, time zones, trusted certificates. */
static const char *const system_directories[] = {
	"/etc", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share",
	"/usr/local/share/ca-certificates", "/run/systemd/resolve",
	"/run/resolvconf", "/run/NetworkManager", "/run/nscd",
#ifdef SMARTHOST_SANITIZED
	"/proc", /* where leaks are looked for from, at the end */
#endif
};

/* What is not there needs no rule. */
static void
allow(int rules, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = rights,
		.parent_fd = open(path, O_PATH | O_CLOEXEC),
	};

	if (rule.parent_fd < 0)
		return;
	(void)syscall(SYS_landlock_add_rule, rules,
	    LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
}

static void
allow_parent(int rules, const char *file, uint64_t rights)
{
	char *copy = xstrdup(file), *slash = strrchr(copy, '/');

	if (slash == copy)
		slash++;
	if (slash)
		*slash = '\0';
	allow(rules, slash ? copy : ".", rights);
	free(copy);
}

/* The directory of a file, and that of what it is a link to. */
static void
allow_beside(int rules, const char *file, uint64_t rights)
{
	char *real = file ? realpath(file, NULL) : NULL;

	if (file)
		allow_parent(rules, file, rights);
	if (real)
		allow_parent(rules, real, rights);
	free(real);
}

static void
allow_upstream(int rules, const struct upstream *u)
{
	if (u->password.kind == SECRET_FILE)
		allow_beside(rules, u->password.text, LOOK);
	allow_beside(rules, u->tls_ca_file, LOOK);
	allow_beside(rules, u->tls_cert, LOOK);
	allow_beside(rules, u->tls_key, LOOK);
	if (u->directory)
		allow(rules, u->directory, CHANGE);
}

static void
allow_all(int rules, const struct setup *s, const char *path)
{
	const struct config *c = &s->config;
	size_t count = sizeof(system_directories) /
	    sizeof(system_directories[0]);
	const char *temporary = getenv("TMPDIR");

	for (size_t i = 0; i < count; i++)
		allow(rules, system_directories[i], RUN);
	allow_beside(rules, "/etc/resolv.conf", LOOK);
	allow_beside(rules, getenv("SSL_CERT_FILE"), LOOK);
	allow(rules, "/dev/null", LOOK | LANDLOCK_ACCESS_FS_WRITE_FILE);
	allow(rules, temporary && *temporary ? temporary : "/tmp", CHANGE);
	allow_beside(rules, path, LOOK);
	allow_beside(rules, c->identity.aliases, LOOK);
	allow_beside(rules, c->listen.auth_file, LOOK);
	allow_beside(rules, c->listen.tls_cert, LOOK);
	allow_beside(rules, c->listen.tls_key, LOOK);
	allow_beside(rules, c->listen.socket, CHANGE);
	allow_beside(rules, c->listen.control, CHANGE);
	if (c->queue.directory)
		allow(rules, c->queue.directory, CHANGE);
	for (size_t i = 0; i < c->upstream_count; i++)
		allow_upstream(rules, &c->upstreams[i]);
}

bool
sandbox_files(const struct setup *s, const char *path)
{
	const struct landlock_ruleset_attr attributes = {
		.handled_access_fs = EVERYTHING};
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	int rules;
	bool ok;

	if (abi >= 0 && abi < ABI_REFER)
		errno = EOPNOTSUPP;
	if (abi < ABI_REFER)
		return false;
	rules = (int)syscall(SYS_landlock_create_ruleset, &attributes,
	    sizeof(attributes), 0);
	if (rules < 0)
		return false;
	allow_all(rules, s, path);
	ok = syscall(SYS_landlock_restrict_self, rules, 0) == 0;
	close(rules);
	return ok;
}
