/* SPDX-License-Identifier: ISC */
/*
 * From a configuration to upstreams that can be tried. Everything that can be
 * judged without a network is judged here, before anything starts.
 */
#include "setup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "aliases.h"
#include "favourite.h"
#include "tls.h"

enum { USER_BYTES = 16 * 1024 }; /* of a line of passwd */

static const char default_path[] = "/etc/smarthost/smarthost.conf";

static bool
environment_has_upstream(void)
{
	static const char prefix[] = "SMARTHOST_UPSTREAM_";

	for (char **e = environ; e && *e; e++) {
		const char *value = strchr(*e, '=');

		if (strncmp(*e, prefix, sizeof(prefix) - 1) == 0 && value &&
		    value[1]) /* an empty one counts as not set */
			return true;
	}
	return false;
}

const char *
setup_config_path(const char *option)
{
	const char *path = option ? option : getenv("SMARTHOST_CONFIG");

	if (path && *path)
		return path;
	if (access(default_path, F_OK) != 0 && errno == ENOENT &&
	    environment_has_upstream())
		return NULL;
	return default_path;
}

bool
setup_read(struct setup *s, const char *path, struct buf *why)
{
	*s = (struct setup){0};
	return config_load(&s->config, path, environ, why);
}

bool
setup_read_option(struct setup *s, const char *path, struct buf *why)
{
	*s = (struct setup){0};
	return config_load_from(&s->config, path, environ, why, true);
}

bool
setup_find_user(const char *name, uid_t *uid, gid_t *gid, struct buf *why)
{
	struct passwd user, *found = NULL;
	char *text = xmalloc(USER_BYTES);
	int error = getpwnam_r(name, &user, text, USER_BYTES, &found);

	if (found) {
		*uid = found->pw_uid;
		*gid = found->pw_gid;
	} else if (error) {
		buf_addf(why, "run_as: cannot look up %s: %s", name,
		    strerror(error));
	} else {
		buf_addf(why, "run_as: there is no user %s", name);
	}
	free(text);
	return found != NULL;
}

/* The anchors, or the certificate to accept without any. */
static struct tls_trust *
load_anchors(struct setup *s, const struct upstream *u, struct buf *why)
{
	struct tls_trust *trust;

	if (u->tls_fingerprint)
		return tls_trust_pin((unsigned char *)u->tls_fingerprint);
	trust = s->hasty ? tls_trust_load_late(u->tls_ca_file, why)
			 : tls_trust_load(u->tls_ca_file, why);
	if (trust && u->tls_ca_file && tls_trust_skipped(trust))
		buf_addf(&s->config.warnings, "tls_ca_file %s: %zu "
		    "certificates in it or in the system's bundle are broken "
		    "or have keys that cannot be used, and are left out\n",
		    u->tls_ca_file, tls_trust_skipped(trust));
	return trust;
}

bool
setup_become(const char *name, uid_t uid, gid_t gid, struct buf *why)
{
	if (setgroups(0, NULL) == 0 && setgid(gid) == 0 && setuid(uid) == 0)
		return true;
	buf_addf(why, "run_as: cannot become %s: %s", name, strerror(errno));
	return false;
}

static bool
load_trust(struct setup *s, size_t i, struct buf *why)
{
	const struct upstream *u = &s->config.upstreams[i];
	struct tls_keypair *pair;

	if (u->tls == TLS_MODE_NONE || provider_is_capture(u->provider))
		return true;
	s->trusts[i] = load_anchors(s, u, why);
	if (!s->trusts[i] || !u->tls_cert)
		return s->trusts[i] != NULL;
	pair = tls_keypair_load(u->tls_cert, u->tls_key, why);
	if (pair)
		tls_trust_show(s->trusts[i], pair);
	return pair != NULL;
}

/* A file is read now as it will be at each login; a command is not run before
 * it is needed. */
static bool
check_secret(const struct upstream *u, struct buf *why)
{
	struct buf password = {0};
	bool ok = u->password.kind != SECRET_FILE ||
	    secret_read(&u->password, -1, &password, why);

	if (!ok)
		buf_addf(why, "; put the password there, in a file that the "
		    "user who runs smarthost can read (this is uid %u)",
		    (unsigned)geteuid());
	buf_wipe(&password);
	return ok;
}

/* False with errno. It is opened, too: a daemon that has confined itself is
 * told by nothing else that this is not one of its directories. */
static bool
may_write(const char *directory)
{
	int fd;

	if (access(directory, W_OK | X_OK) != 0)
		return false;
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno != EACCES;
}

static bool
check_capture(const struct upstream *u, struct buf *why)
{
	if (!provider_is_capture(u->provider) || may_write(u->directory))
		return true;
	buf_addf(why, "cannot write to the capture directory %s: %s; make it, "
	    "writable for the user that runs smarthost", u->directory,
	    strerror(errno));
	return false;
}

void
setup_read_aliases(const struct setup *s, struct buf *errors,
    struct buf *warnings)
{
	const struct identity_config *identity = &s->config.identity;
	const struct aliases_talk talk = {errors, warnings};
	struct aliases *all = identity->aliases
	    ? aliases_read(identity->aliases, &talk) : NULL;

	if (identity->aliases && !all &&
	    !(errno == ENOENT && identity->aliases_is_default))
		buf_addf(warnings, "[identity] aliases: %s cannot be read: "
		    "%s\n", identity->aliases, strerror(errno));
	aliases_free(all);
}

/* There must be one if somebody has named it. What is in it is no reason to
 * stop: names of this host are held then, and who uses it says what is wrong
 * there. */
static bool
has_aliases(const struct setup *s, struct buf *why)
{
	const struct identity_config *identity = &s->config.identity;
	struct buf ignored = {0};
	const struct aliases_talk talk = {&ignored, &ignored};
	struct aliases *all;
	bool found;

	if (!identity->aliases || identity->aliases_is_default)
		return true;
	all = aliases_read(identity->aliases, &talk);
	found = all != NULL;
	if (!found)
		buf_addf(why, "[identity] aliases: %s cannot be read: %s\n",
		    identity->aliases, strerror(errno));
	buf_free(&ignored);
	aliases_free(all);
	return found;
}

bool
setup_prepare(struct setup *s, struct buf *why)
{
	size_t count = s->config.upstream_count;

	s->trusts = xcalloc(count, sizeof(struct tls_trust *));
	for (size_t i = 0; i < count; i++) {
		const struct upstream *u = &s->config.upstreams[i];

		if (!load_trust(s, i, why) || !check_secret(u, why) ||
		    !check_capture(u, why))
			return false;
	}
	return has_aliases(s, why);
}

bool
setup_prepare_listener(struct setup *s, struct buf *why)
{
	const struct listen_config *listen = &s->config.listen;

	if (listen->tls_cert)
		s->tls = tls_server_load(listen->tls_cert, listen->tls_key,
		    why);
	return s->tls || !listen->tls_cert;
}

void
setup_use_helper(struct setup *s, const struct helper *helper)
{
	for (size_t i = 0; i < s->config.upstream_count; i++)
		s->config.upstreams[i].password.helper = helper;
}

void
setup_relays(struct setup *s, int stop_fd, bool trace)
{
	size_t count = s->config.upstream_count;

	s->relays = xcalloc(count, sizeof(*s->relays));
	for (size_t i = 0; i < count; i++)
		s->relays[i] = (struct relay){
			.upstream = &s->config.upstreams[i],
			.trust = s->trusts[i],
			.favourite = favourite_new(),
			.another = i + 1 < count,
			.stop_fd = stop_fd,
			.trace = trace,
			.identity = identity_of(&s->config,
			    &s->config.upstreams[i]),
		};
}

void
setup_forbid_core_files(void)
{
	struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
}

void
setup_print(FILE *out, const char *prefix, const struct buf *sentences)
{
	const char *line = buf_text(sentences);

	while (*line) {
		size_t len = strcspn(line, "\n");

		fprintf(out, "%s%.*s\n", prefix, (int)len, line);
		line += len + (line[len] != '\0');
	}
}

void
setup_free(struct setup *s)
{
	for (size_t i = 0; s->trusts && i < s->config.upstream_count; i++)
		tls_trust_free(s->trusts[i]);
	for (size_t i = 0; s->relays && i < s->config.upstream_count; i++)
		favourite_free(s->relays[i].favourite);
	tls_server_free(s->tls);
	free(s->trusts);
	free(s->relays);
	config_free(&s->config);
	*s = (struct setup){0};
}
