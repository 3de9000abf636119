/* SPDX-License-Identifier: ISC */
/*
 * Who may log in at the listener.
 */
#include "accounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shacrypt.h"

/* A line of the file; the strings are parts of it. */
struct entry {
	const char *user, *hash;
	const char *senders; /* or NULL */
};

/* In a Received field, a log and a list there is no need for more. */
static bool
is_user(const char *name)
{
	return *name && strlen(name) <= 128 &&
	    strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			 "0123456789.@_+=-") == strlen(name);
}

/* Cuts the line up; what is wrong with it, or NULL. No entry, and nothing
 * wrong: user is NULL. */
static const char *
read_entry(char *line, struct entry *e)
{
	*e = (struct entry){NULL, NULL, NULL};
	line[strcspn(line, "\r\n")] = '\0';
	if (!*line || *line == '#')
		return NULL;
	e->user = strsep(&line, ":");
	e->hash = strsep(&line, ":");
	e->senders = line;
	if (!e->hash)
		return "is not user:hash or user:hash:senders";
	if (!is_user(e->user))
		return "has a user name of other characters than letters, "
		       "digits and .@_+=-";
	if (!shacrypt_is_hash(e->hash))
		return "has no hash that begins with $6$ or $5$; make one "
		       "with openssl passwd -6";
	if (line && !line[strspn(line, ", \t")])
		return "has an empty list of senders; leave the second colon "
		       "out if he may send as anybody";
	return NULL;
}

/* The next line that is an entry; false at the end. */
static bool
next_entry(FILE *file, char **line, size_t *size, struct entry *e)
{
	while (getline(line, size, file) > 0)
		if (!read_entry(*line, e) && e->user)
			return true;
	return false;
}

static FILE *
open_file(const char *path)
{
	return fopen(path, "re");
}

enum login_result
accounts_login(const char *path, const char *user,
    const struct buf *password, struct account *account)
{
	/* For a file without an entry. */
	char *hash = xstrdup("$6$x$eeupX0fwKlxGnAAh5Ngs1PsY75JeLt/H195H2mZh2k"
	    "v21.MSqHcgHRidCPYQeGj8lJHrKeMucOp/ZzfNdRSIx/");
	char *line = NULL;
	FILE *file = open_file(path);
	int error = errno;
	bool first = true, good;
	size_t size = 0;
	struct entry e;

	while (file && next_entry(file, &line, &size, &e)) {
		bool found = !account->user && strcmp(e.user, user) == 0;

		if (first || found) {
			free(hash);
			hash = xstrdup(e.hash);
		}
		if (found) {
			account->user = xstrdup(e.user);
			account->senders =
			    e.senders ? xstrdup(e.senders) : NULL;
		}
		first = false;
	}
	good = shacrypt_fits(hash, buf_text(password), password->len) &&
	    account->user && password->len;
	if (!good)
		account_free(account);
	free(hash);
	free(line);
	if (file)
		fclose(file);
	errno = error;
	if (!file)
		return LOGIN_IMPOSSIBLE;
	return good ? LOGIN_GOOD : LOGIN_REFUSED;
}

bool
account_may_send(const struct account *account, const char *address)
{
	const char *at = strrchr(address, '@'), *s = account->senders;
	size_t len;

	if (!s || !*address)
		return true;
	for (; *(s += strspn(s, ", \t")); s += len) {
		const char *part = *s == '@' ? at : address;

		len = strcspn(s, ", \t");
		if (part && strlen(part) == len &&
		    strncasecmp(part, s, len) == 0)
			return true;
	}
	return false;
}

void
account_free(struct account *account)
{
	free(account->user);
	free(account->senders);
	*account = (struct account){NULL, NULL};
}

bool
accounts_judge(const char *path, struct buf *why)
{
	FILE *file = open_file(path);
	const char *fault = NULL;
	unsigned number = 0;
	char *line = NULL;
	size_t size = 0;
	struct entry e;

	if (!file) {
		buf_addf(why, "cannot be read: %s", strerror(errno));
		return false;
	}
	while (!fault && getline(&line, &size, file) > 0) {
		fault = read_entry(line, &e);
		number++;
	}
	if (fault)
		buf_addf(why, "line %u %s", number, fault);
	free(line);
	fclose(file);
	return !fault;
}
