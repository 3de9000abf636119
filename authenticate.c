/* SPDX-License-Identifier: ISC */
/*
 * The verb AUTH of the listener. Each challenge is the reply to a command like
 * any other; what is special is that the next line is not a command.
 */
#include "authenticate.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "accounts.h"
#include "clients.h"
#include "config.h"
#include "conn.h"
#include "log.h"
#include "session.h"
#include "session_internal.h"

enum {
	REFUSED_MAX = 3,    /* logins in one session */
	REFUSED_MS = 1000,  /* the pause before each refusal */
};

/* A dialogue. */
struct login {
	bool plain;  /* PLAIN, else LOGIN: */
	char *user;  /* NULL until it is said */
};

bool
authenticate_is_offered(const struct session *s)
{
	return s->config->listen.auth_file &&
	    (conn_tls(s->conn) || s->client->loopback);
}

void
authenticate_cancel(struct session *s)
{
	if (s->login)
		free(s->login->user);
	free(s->login);
	s->login = NULL;
}

/* Guessing is slow, and ends soon. */
static void
refuse(struct session *s, const char *user)
{
	struct pollfd stop = {.fd = conn_stop_fd(s->conn), .events = POLLIN};

	if (s->client->clients && !s->client->local)
		clients_guessed(s->client->clients, s->client->key);
	log_message(LEVEL_WARNING, "%s may not log in as \"%.64s\": no such "
	    "user, or a wrong password", s->client->name, user);
	(void)poll(&stop, 1, REFUSED_MS);
	session_say(s, "535 5.7.8 User name or password is wrong");
	if (++s->refused_logins >= REFUSED_MAX) {
		session_say(s, "421 4.7.0 Too many refused logins");
		s->over = true;
	}
}

static bool
may_try(const struct session *s)
{
	return !s->client->clients || s->client->local ||
	    clients_may_log_in(s->client->clients, s->client->key);
}

static void
try_login(struct session *s, const char *user, const struct buf *password)
{
	const char *path = s->config->listen.auth_file;

	if (!may_try(s)) {
		session_say(s, "454 4.7.0 Too many wrong passwords from this "
			       "address, try again later");
		authenticate_cancel(s);
		return;
	}
	switch (accounts_login(path, user, password, &s->account)) {
	case LOGIN_GOOD:
		session_say(s, "235 2.7.0 Welcome");
		break;
	case LOGIN_REFUSED:
		refuse(s, user);
		break;
	case LOGIN_IMPOSSIBLE:
		log_message(LEVEL_ERROR, "cannot read auth_file %s: %s", path,
		    strerror(errno));
		session_say(s, "454 4.7.0 Nobody can log in just now");
		break;
	}
	authenticate_cancel(s);
}

static void
end_badly(struct session *s, const char *reply)
{
	session_say(s, reply);
	authenticate_cancel(s);
}

/* RFC 4616: whom to act as, who it is, and his password, with NULs between. */
static void
take_plain(struct session *s, const struct buf *message)
{
	struct buf password = {0};
	const char *role = buf_text(message), *end = role + message->len;
	const char *user = memchr(role, '\0', message->len);
	const char *secret = NULL;

	if (user)
		secret = memchr(user + 1, '\0', (size_t)(end - user - 1));
	if (!secret) {
		end_badly(s, "501 5.5.2 That is not PLAIN");
		return;
	}
	user++;
	secret++;
	buf_add(&password, secret, (size_t)(end - secret));
	if (*role && strcmp(role, user) != 0)
		end_badly(s, "535 5.7.8 A user acts for himself alone");
	else
		try_login(s, user, &password);
	buf_wipe(&password);
}

static void
take_login(struct session *s, const struct buf *message)
{
	if (memchr(buf_text(message), '\0', message->len)) {
		end_badly(s, "501 5.5.2 A NUL has no place there");
	} else if (!s->login->user) {
		s->login->user = xstrdup(buf_text(message));
		session_say(s, "334 UGFzc3dvcmQ6"); /* Password: */
	} else {
		try_login(s, s->login->user, message);
	}
}

static void
take_response(struct session *s, const char *text)
{
	struct buf message = {0};

	if (!buf_add_unbase64(&message, text, strlen(text)))
		end_badly(s, "501 5.5.2 That is not base64");
	else if (s->login->plain)
		take_plain(s, &message);
	else
		take_login(s, &message);
	buf_wipe(&message);
}

void
authenticate_answer(struct session *s, const struct buf *line)
{
	if (!line)
		end_badly(s, "500 5.5.6 The line is too long");
	else if (strcmp(line->data, "*") == 0)
		end_badly(s, "501 5.7.0 Cancelled");
	else
		take_response(s, strlen(line->data) == line->len ? line->data
		                                                 : "?");
}

/* Why there can be no login now, or NULL. */
static const char *
obstacle(const struct session *s, const char *arguments)
{
	if (!s->config->listen.auth_file)
		return "502 5.5.1 Nobody can log in here";
	if (!s->helo)
		return "503 5.5.1 Say EHLO first";
	if (!authenticate_is_offered(s))
		return "538 5.7.11 Not without TLS: say STARTTLS first";
	if (s->account.user)
		return "503 5.5.1 You have logged in already";
	if (s->message)
		return "503 5.5.1 A transaction is open";
	return *arguments ? NULL : "501 5.5.4 Syntax: AUTH mechanism";
}

void
authenticate_verb(struct session *s, const char *arguments)
{
	size_t len = strcspn(arguments, " ");
	const char *initial = arguments + len + strspn(arguments + len, " ");
	const char *refusal = obstacle(s, arguments);
	bool plain = len == 5 && strncasecmp(arguments, "PLAIN", len) == 0;

	if (!refusal && !plain &&
	    (len != 5 || strncasecmp(arguments, "LOGIN", len) != 0))
		refusal = "504 5.5.4 PLAIN and LOGIN are known here";
	if (refusal) {
		session_say(s, refusal);
		return;
	}
	s->login = xcalloc(1, sizeof(*s->login));
	s->login->plain = plain;
	if (*initial)
		take_response(s, strcmp(initial, "=") ? initial : "");
	else /* Username: */
		session_say(s, plain ? "334 " : "334 VXNlcm5hbWU6");
}
