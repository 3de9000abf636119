/* SPDX-License-Identifier: ISC */
/*
 * AUTH towards the relay: PLAIN, LOGIN and CRAM-MD5. A challenge's text is
 * not looked at unless the mechanism needs it, since real servers send all
 * kinds of things there.
 */
#include "login.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "chat.h"
#include "config.h"
#include "conn.h"
#include "dial.h"
#include "tls.h"

enum { INITIAL_MAX = 500 }; /* RFC 4954 section 4: a command is 512 octets */

struct mechanism {
	const char *name;
	enum auth_choice choice;
	unsigned responses; /* how many challenges there are to answer */
	bool has_initial;   /* the first one may go with the command */
	/* Appends the answer to challenge number step, before base64; false
	 * if the challenge makes no sense. */
	bool (*respond)(const struct upstream *, const struct buf *password,
	    const struct answer *, unsigned step, struct buf *out);
};

static bool
respond_plain(const struct upstream *u, const struct buf *password,
    const struct answer *challenge, unsigned step, struct buf *out)
{
	(void)challenge, (void)step;
	buf_addc(out, '\0');
	buf_adds(out, u->user);
	buf_addc(out, '\0');
	buf_add(out, password->data, password->len);
	return true;
}

static bool
respond_login(const struct upstream *u, const struct buf *password,
    const struct answer *challenge, unsigned step, struct buf *out)
{
	(void)challenge;
	if (step == 0)
		buf_adds(out, u->user);
	else
		buf_add(out, password->data, password->len);
	return true;
}

/* RFC 2195: the user, a blank, and the keyed digest of the challenge. */
static bool
respond_cram_md5(const struct upstream *u, const struct buf *password,
    const struct answer *challenge, unsigned step, struct buf *out)
{
	unsigned char digest[16];
	struct buf text = {0};
	bool ok;

	(void)step;
	ok = buf_add_unbase64(&text, buf_text(&challenge->text),
	    challenge->text.len);
	if (ok) {
		tls_hmac_md5(password->data, password->len, buf_text(&text),
		    text.len, digest);
		buf_addf(out, "%s ", u->user);
		for (size_t i = 0; i < sizeof(digest); i++)
			buf_addf(out, "%02x", digest[i]);
	}
	buf_free(&text);
	return ok;
}

static const struct mechanism mechanisms[] = {
	{"PLAIN", AUTH_PLAIN, 1, true, respond_plain},
	{"LOGIN", AUTH_LOGIN, 2, false, respond_login},
	{"CRAM-MD5", AUTH_CRAM_MD5, 1, false, respond_cram_md5},
};

static bool
has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	while (*words) {
		size_t n = strcspn(words, " ");

		if (n == len && strncasecmp(words, word, len) == 0)
			return true;
		words += n + strspn(words + n, " ");
	}
	return false;
}

static const struct mechanism *
choose(const struct upstream *u, const char *offered)
{
	size_t count = sizeof(mechanisms) / sizeof(mechanisms[0]);

	for (size_t i = 0; i < count; i++) {
		const struct mechanism *m = &mechanisms[i];

		if ((u->auth == AUTH_AUTO || u->auth == m->choice) &&
		    has_word(offered, m->name))
			return m;
	}
	return NULL;
}

/* Sends the answer to a challenge, or gives up on it with "*". */
static void
send_response(struct chat *chat, const struct mechanism *m,
    const struct upstream *u, const struct buf *password,
    const struct answer *challenge, unsigned step)
{
	struct buf plain = {0}, line = {0};

	if (step < m->responses &&
	    m->respond(u, password, challenge, step, &plain)) {
		buf_add_base64(&line, plain.data, plain.len);
		chat_secret(chat, buf_text(&line), "(secret)");
	} else {
		chat_command(chat, "*");
	}
	buf_wipe(&plain);
	buf_wipe(&line);
}

/* Says AUTH, with the first response if it may and fits. True if it went. */
static bool
send_auth(struct chat *chat, const struct mechanism *m,
    const struct upstream *u, const struct buf *password)
{
	struct buf plain = {0}, line = {0};
	bool initial = m->has_initial &&
	    m->respond(u, password, NULL, 0, &plain);

	buf_addf(&line, "AUTH %s ", m->name);
	buf_add_base64(&line, buf_text(&plain), plain.len);
	initial = initial && line.len <= INITIAL_MAX;
	if (initial)
		chat_secret(chat, line.data, "AUTH (secret)");
	else
		chat_command(chat, "AUTH %s", m->name);
	buf_wipe(&plain);
	buf_wipe(&line);
	return initial;
}

/* Whether the relay repeats what was secret; some do with a line that they did
 * not understand. */
static bool
repeats(const struct answer *a, const struct mechanism *m,
    const struct upstream *u, const struct buf *password)
{
	struct buf plain = {0}, line = {0};
	bool found = strstr(buf_text(&a->text), buf_text(password)) != NULL;

	for (unsigned step = 0; step < m->responses && !found; step++) {
		buf_clear(&plain);
		buf_clear(&line);
		if (!m->respond(u, password, a, step, &plain))
			continue;
		buf_add_base64(&line, buf_text(&plain), plain.len);
		found = line.len &&
		    strstr(buf_text(&a->text), line.data) != NULL;
	}
	buf_wipe(&plain);
	buf_wipe(&line);
	return found;
}

/* Judges the last answer; of one with a secret in it only the codes stay. */
static void
judge(struct answer *a, const struct mechanism *m, const struct upstream *u,
    const struct buf *password, struct verdict *v)
{
	if (repeats(a, m, u, password)) {
		a->text.len = reply_enhanced(buf_text(&a->text));
		a->text.data[a->text.len] = '\0';
		buf_adds(&a->text, " (the relay repeats our login)");
	}
	chat_judge(v, STAGE_AUTH, a);
}

/* The dialogue: each 334 gets the next response, one too many gets "*". A
 * server that has overlooked the initial response asks for it: it is sent
 * again. */
static bool
converse(struct chat *chat, const struct mechanism *m,
    const struct upstream *u, const struct buf *password, struct verdict *v)
{
	struct answer a = {0};
	unsigned step = 0;
	bool answered;

	if (!chat_in_step(chat)) {
		chat_lost(chat, STAGE_AUTH, v);
		return false;
	}
	chat->discreet = true;
	send_auth(chat, m, u, password);
	while ((answered = chat_answer(chat, &a)) && a.code == 334 &&
	    step <= m->responses && chat_in_step(chat))
		send_response(chat, m, u, password, &a, step++);
	chat->discreet = false;
	if (!answered || conn_error(chat->conn))
		chat_lost(chat, STAGE_AUTH, v);
	else
		judge(&a, m, u, password, v);
	buf_free(&a.text);
	return v->outcome == SENT;
}

bool
login(struct chat *chat, const struct upstream *u, const char *offered,
    struct verdict *v)
{
	const struct mechanism *m = choose(u, offered);
	struct buf password = {0}, why = {0};
	bool ok = false;

	if (!m && !*offered)
		verdict_set(v, HOLD, SCOPE_UPSTREAM, STAGE_AUTH,
		    "the relay offers no AUTH, and a user is configured; "
		    "check port and tls, or remove user");
	else if (!m)
		verdict_set(v, HOLD, SCOPE_UPSTREAM, STAGE_AUTH,
		    "the relay offers AUTH %.200s and none that is "
		    "configured and supported here", offered);
	else if (!secret_read(&u->password, conn_stop_fd(chat->conn),
		     &password, &why))
		dial_blame(v, STAGE_AUTH, errno, &why);
	else
		ok = converse(chat, m, u, &password, v);
	buf_wipe(&password);
	buf_free(&why);
	return ok;
}
