/* SPDX-License-Identifier: ISC */
/*
 * The configuration, from a file and the environment to a judged struct
 * config, in the order of build(): the reader, the environment, the judge.
 * Either all of it is right or there is none.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_draft.h"

enum { FILE_MAX = 1024 * 1024 };

static bool
build(struct draft *draft, struct config *config, const char *text,
    size_t len)
{
	draft_start(draft, config);
	config_read_text(draft, text, len);
	config_read_environment(draft);
	if (!draft->complaints)
		config_judge(draft);
	if (!draft_finish(draft)) {
		config_free(config);
		return false;
	}
	if (draft->file)
		config->path = xstrdup(draft->file);
	return true;
}

bool
config_parse(struct config *config, const char *name, const char *text,
    size_t len, char **environment, struct buf *error)
{
	struct draft draft = {
		.file = name, .environment = environment, .error = error};

	return build(&draft, config, text, len);
}

/* Up to FILE_MAX + 1 bytes; an errno, or 0. */
static int
read_all(int fd, char *data, size_t *len)
{
	ssize_t got;

	do {
		got = read(fd, data + *len, FILE_MAX + 1 - *len);
		if (got > 0)
			*len += (size_t)got;
	} while ((got > 0 && *len <= FILE_MAX) || (got < 0 && errno == EINTR));
	return got < 0 ? errno : 0;
}

/* What is wrong with the file, or NULL. */
static const char *
read_file(int fd, char *data, size_t *len, struct draft *draft)
{
	struct stat st;
	int error;

	if (fd < 0 || fstat(fd, &st))
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "not a regular file";
	if (draft->from_root &&
	    (st.st_uid != 0 || st.st_mode & (S_IWGRP | S_IWOTH)))
		return "-C takes a file that is root's and that nobody else "
		       "may write; for another: smarthost -c FILE sendmail";
	error = read_all(fd, data, len);
	if (error)
		return strerror(error);
	if (*len > FILE_MAX)
		return "larger than 1 MB";
	/* Whoever is in a container with process 1 may see it all anyway. */
	draft->is_public = (st.st_mode & S_IROTH) && getpid() != 1;
	return NULL;
}

static bool
load_file(struct draft *draft, struct config *config)
{
	char *data = xmalloc(FILE_MAX + 1);
	size_t len = 0;
	int fd = open(draft->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK |
	    O_NOCTTY);
	const char *fault = read_file(fd, data, &len, draft);
	bool good = !fault && build(draft, config, data, len);

	if (fault)
		buf_addf(draft->error, "%s: cannot be read: %s\n",
		    draft->file, fault);
	explicit_bzero(data, len);
	free(data);
	if (fd >= 0)
		close(fd);
	return good;
}

bool
config_load(struct config *config, const char *path, char **environment,
    struct buf *error)
{
	return config_load_from(config, path, environment, error, false);
}

bool
config_load_from(struct config *config, const char *path, char **environment,
    struct buf *error, bool from_root)
{
	struct draft draft = {.file = path, .environment = environment,
		.error = error, .from_root = from_root};

	*config = (struct config){0};
	if (path)
		return load_file(&draft, config);
	return build(&draft, config, NULL, 0);
}

static void
upstream_free(struct upstream *upstream)
{
	free(upstream->name);
	free(upstream->region);
	free(upstream->host);
	free(upstream->tls_ca_file);
	free(upstream->tls_name);
	free(upstream->tls_fingerprint);
	free(upstream->tls_cert);
	free(upstream->tls_key);
	free(upstream->user);
	secret_free(&upstream->password);
	free(upstream->ehlo);
	free(upstream->source_address);
	free(upstream->senders);
	free(upstream->directory);
	free(upstream->from);
}

void
config_free(struct config *config)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		upstream_free(&config->upstreams[i]);
	free(config->upstreams);
	free(config->path);
	free(config->hostname);
	free(config->run_as);
	free(config->listen.socket);
	free(config->listen.control);
	endpoints_free(&config->listen.addresses);
	endpoints_free(&config->listen.tls_addresses);
	free(config->listen.tls_cert);
	free(config->listen.tls_key);
	free(config->listen.auth_file);
	access_free(&config->listen.allow);
	free(config->queue.directory);
	free(config->queue.bounce_to);
	free(config->queue.bounce_from);
	free(config->identity.domain);
	free(config->identity.from);
	free(config->identity.aliases);
	free(config->identity.local_to);
	free(config->identity.archive_to);
	free(config->identity.add_header);
	free(config->identity.remove_header);
	free(config->staging.redirect);
	free(config->staging.allow);
	buf_free(&config->warnings);
	*config = (struct config){0};
}
