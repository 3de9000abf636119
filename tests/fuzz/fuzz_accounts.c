/* SPDX-License-Identifier: ISC */
/*
 * An auth_file of any kind, and whoever wants to log in. A file is good or
 * there is half a printable sentence about it; nobody gets in without a line
 * that begins with his name and has the hash of his password; and whoever does
 * has a name that is fit for a header.
 *
 * The input: the name up to the first NUL, the file behind it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accounts.h"

/* That of the password "b". */
static const char hash[] = 
    "$5$rounds=1000$s$yB8UNockmGIVTihfzF9xINSvZU7a7wV6cPleBUbWyD1";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

__attribute__((noinline)) static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* Whether a line of the file has the name and that hash. */
static bool
has_line(const char *text, size_t len, const char *user)
{
	struct buf line = {0};
	size_t size;
	bool found = false;

	buf_addf(&line, "%s:%s", user, hash);
	size = line.len;
	for (size_t i = 0; !found && i + size <= len; i++)
		found = (!i || text[i - 1] == '\n') &&
		    !memcmp(text + i, line.data, size) &&
		    (i + size == len || strchr(":\r\n", text[i + size]));
	buf_free(&line);
	return found;
}

/* The first of the senders, or somebody of that domain, is one. */
static void
check_senders(const struct account *account)
{
	const char *first = account->senders + strspn(account->senders, ", \t");
	struct buf address = {0};

	if (*first == '@')
		buf_adds(&address, "x");
	buf_add(&address, first, strcspn(first, ", \t"));
	require(address.len > 0);
	if (*first != '@' || strrchr(address.data, '@') == address.data + 1)
		require(account_may_send(account, address.data));
	require(!account_may_send(account, "nobody@else.example") ||
	    strcasestr(first, "@else.example"));
	buf_free(&address);
}

static void
check_account(const struct account *account, const char *user)
{
	require(!strcmp(account->user, user) && strlen(user) <= 128);
	for (const char *c = user; *c; c++)
		require(*c > ' ' && *c < 0x7f && !strchr("()<>:;,\\\"", *c));
	require(account_may_send(account, ""));
	if (account->senders)
		check_senders(account);
	else
		require(account_may_send(account, "nobody@else.example"));
}

static void
log_in(const char *path, const char *user, const char *word, bool may)
{
	struct account account = {0};
	struct buf password = {0};
	enum login_result result;

	buf_adds(&password, word);
	result = accounts_login(path, user, &password, &account);
	require(result == LOGIN_GOOD || result == LOGIN_REFUSED);
	require((result == LOGIN_GOOD) == (account.user != NULL));
	if (result == LOGIN_GOOD) {
		require(may);
		check_account(&account, user);
	}
	account_free(&account);
	buf_free(&password);
}

static void
judge(const char *path)
{
	struct buf why = {0};
	bool good = accounts_judge(path, &why);

	require(good == (why.len == 0));
	for (size_t i = 0; i < why.len; i++)
		require(why.data[i] >= ' ' && why.data[i] < 0x7f);
	buf_free(&why);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	size_t name = strnlen(text, size), start = name + (name < size);
	char *user = xstrndup(text, name);
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	require(write(fd, text + start, size - start) ==
	    (ssize_t)(size - start));
	/* Hashes with more rounds only take longer. */
	if (!memmem(text, size, "rounds=", 7) ||
	    memmem(text, size, "rounds=1000$", 12)) {
		judge(path);
		bool may = has_line(text + start, size - start, user);

		if (may || size % 16 == 0) /* which takes a while */
			log_in(path, user, "b", may);
		if (size % 64 == 0)
			log_in(path, user, "", false);
	}
	free(user);
	close(fd);
	return 0;
}
