/* SPDX-License-Identifier: ISC */
/*
 * AUTH towards the relay: PLAIN, LOGIN, CRAM-MD5, and with a token for a
 * password XOAUTH2 and OAUTHBEARER. A challenge's text is not looked at
 * unless the mechanism needs it, since real servers send all kinds of things
 * there.
 */
#include "login.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "chat.h"
#include "config.h"
#include "conn.h"
#include "dial.h"
#include "tls.h"

enum {
	INITIAL_MAX = 500, /* RFC 4954 section 4: a command is 512 octets */
	REPEATED_MIN = 8,  /* bytes of a secret's base64: six of its own */
};

static const char hint_token[] =
    "the relay refuses the token: see that password_command gives a fresh one, "
    "for SMTP and for this user, who must be allowed to send there";
static const char hint_secure[] =
    "a login never goes over a connection without TLS unless tls = none";

struct mechanism {
	const char *name;
	enum auth_choice choice;
	unsigned responses; /* how many challenges there are to answer */
	bool has_initial;   /* the first one may go with the command */
	const char *resign; /* for those with a token: what a challenge that
	                     * says why it was refused is answered with */
	/* Appends the answer to challenge number step, before base64; false
	 * if the challenge makes no sense. */
	bool (*respond)(const struct upstream *, const struct buf *password,
	    const struct answer *, unsigned step, struct buf *out);
};

/* One try with one mechanism. */
struct attempt {
	struct chat *chat;
	const struct mechanism *mechanism;
	const struct upstream *upstream;
	const struct buf *password;
	char status[8]; /* with a refused token: what that was called */
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

/* Google's and Microsoft's way to hand over a token. */
static bool
respond_xoauth2(const struct upstream *u, const struct buf *password,
    const struct answer *challenge, unsigned step, struct buf *out)
{
	(void)challenge, (void)step;
	buf_addf(out, "user=%s\1auth=Bearer ", u->user);
	buf_add(out, password->data, password->len);
	buf_adds(out, "\1\1");
	return true;
}

/* A comma and an equals sign in the user's name are written =2C and =3D (RFC
 * 5801 section 4). */
static void
add_gs2_name(struct buf *out, const char *name)
{
	for (; *name; name++) {
		if (*name == ',' || *name == '=')
			buf_adds(out, *name == ',' ? "=2C" : "=3D");
		else
			buf_addc(out, *name);
	}
}

/* RFC 7628 section 3.1. */
static bool
respond_oauthbearer(const struct upstream *u, const struct buf *password,
    const struct answer *challenge, unsigned step, struct buf *out)
{
	(void)challenge, (void)step;
	buf_adds(out, "n,a=");
	add_gs2_name(out, u->user);
	buf_addf(out, ",\1host=%s\1port=%u\1auth=Bearer ", u->host, u->port);
	buf_add(out, password->data, password->len);
	buf_adds(out, "\1\1");
	return true;
}

/* In the order in which auto tries them; it never takes a password for a
 * token. XOAUTH2 has no initial response: tokens are long, and Microsoft
 * documents the other way only. */
static const struct mechanism mechanisms[] = {
	{"PLAIN", AUTH_PLAIN, 1, true, NULL, respond_plain},
	{"LOGIN", AUTH_LOGIN, 2, false, NULL, respond_login},
	{"CRAM-MD5", AUTH_CRAM_MD5, 1, false, NULL, respond_cram_md5},
	{"XOAUTH2", AUTH_XOAUTH2, 1, false, "", respond_xoauth2},
	{"OAUTHBEARER", AUTH_OAUTHBEARER, 1, true, "AQ==",
	    respond_oauthbearer},
};

enum { MECHANISMS = sizeof(mechanisms) / sizeof(mechanisms[0]) };

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

/* Whether this upstream may log in by it where these are offered. */
static bool
is_fit(const struct upstream *u, const struct mechanism *m, const char *offered)
{
	if (u->auth == AUTH_AUTO ? m->resign != NULL : u->auth != m->choice)
		return false;
	return has_word(offered, m->name);
}

/* A challenge that tells in JSON why a token was refused; "status" of it is
 * kept (RFC 7628 section 3.2.2). */
static bool
read_refusal(struct attempt *t, const struct answer *challenge)
{
	static const char key[] = "\"status\"";
	struct buf text = {0};
	const char *at = NULL;
	bool is_json;

	is_json = buf_add_unbase64(&text, buf_text(&challenge->text),
	    challenge->text.len) && *buf_text(&text) == '{';
	if (is_json)
		at = strstr(text.data, key);
	if (at) {
		size_t len;

		at += strlen(key);
		at += strspn(at, ": \"");
		len = strspn(at, "0123456789");
		snprintf(t->status, sizeof(t->status), "%.*s", (int)len, at);
	}
	buf_free(&text);
	return is_json;
}

/* Sends the answer to a challenge, or gives up on it with "*". */
static void
send_response(struct attempt *t, const struct answer *challenge, unsigned step)
{
	const struct mechanism *m = t->mechanism;
	struct buf plain = {0}, line = {0};

	if (m->resign && read_refusal(t, challenge)) {
		chat_command(t->chat, "%s", m->resign);
	} else if (step < m->responses &&
	    m->respond(t->upstream, t->password, challenge, step, &plain)) {
		buf_add_base64(&line, plain.data, plain.len);
		chat_secret(t->chat, buf_text(&line), "(secret)");
	} else {
		chat_command(t->chat, "*");
	}
	buf_wipe(&plain);
	buf_wipe(&line);
}

/* Says AUTH, with the first response if it may and fits. */
static void
send_auth(struct attempt *t)
{
	const struct mechanism *m = t->mechanism;
	struct buf plain = {0}, line = {0};
	bool initial = m->has_initial &&
	    m->respond(t->upstream, t->password, NULL, 0, &plain);

	buf_addf(&line, "AUTH %s ", m->name);
	buf_add_base64(&line, buf_text(&plain), plain.len);
	if (initial && line.len <= INITIAL_MAX)
		chat_secret(t->chat, line.data, "AUTH (secret)");
	else
		chat_command(t->chat, "AUTH %s", m->name);
	buf_wipe(&plain);
	buf_wipe(&line);
}

/* Whether the relay repeats what was secret; some do with the beginning of a
 * line that they did not understand. */
static bool
repeats(const struct attempt *t, const struct answer *a)
{
	const struct mechanism *m = t->mechanism;
	struct buf plain = {0}, line = {0};
	bool found =
	    strstr(buf_text(&a->text), buf_text(t->password)) != NULL;

	for (unsigned step = 0; step < m->responses && !found; step++) {
		buf_clear(&plain);
		buf_clear(&line);
		if (!m->respond(t->upstream, t->password, a, step, &plain))
			continue;
		buf_add_base64(&line, buf_text(&plain), plain.len);
		if (line.len > REPEATED_MIN)
			line.data[REPEATED_MIN] = '\0';
		found = line.len &&
		    strcasestr(buf_text(&a->text), line.data) != NULL;
	}
	buf_wipe(&plain);
	buf_wipe(&line);
	return found;
}

/* Judges the last answer; of one with a secret in it only the codes stay. */
static void
judge(const struct attempt *t, struct answer *a, struct verdict *v)
{
	if (repeats(t, a)) {
		a->text.len = reply_enhanced(buf_text(&a->text));
		a->text.data[a->text.len] = '\0';
		buf_addf(&a->text, "%s(the relay repeats our login)",
		    a->text.len ? " " : "");
	}
	if (t->status[0])
		buf_addf(&a->text, " (status %s)", t->status);
	chat_judge(v, STAGE_AUTH, a);
	if (t->status[0] && v->outcome == HOLD)
		v->hint = hint_token;
}

/* The dialogue: each 334 gets the next response, one too many gets "*". A
 * server that has overlooked the initial response asks for it: it is sent
 * again. */
static bool
converse(struct attempt *t, struct verdict *v)
{
	struct chat *chat = t->chat;
	struct answer a = {0};
	unsigned step = 0;
	bool answered;

	if (!chat_in_step(chat)) {
		chat_lost(chat, STAGE_AUTH, v);
		return false;
	}
	chat->discreet = true;
	send_auth(t);
	while ((answered = chat_answer(chat, &a)) && a.code == 334 &&
	    step <= t->mechanism->responses && chat_in_step(chat))
		send_response(t, &a, step++);
	chat->discreet = false;
	if (!answered || conn_error(chat->conn))
		chat_lost(chat, STAGE_AUTH, v);
	else
		judge(t, &a, v);
	if (v->outcome == SENT)
		chat_passed(chat, STAGE_AUTH, t->mechanism->name);
	buf_free(&a.text);
	return v->outcome == SENT;
}

/* The one that a preset puts first, and all others behind it. */
static const struct mechanism *
mechanism_at(const struct upstream *u, size_t index)
{
	bool login_first = u->provider && u->provider->login_first;

	if (login_first && index < 2)
		index = !index;
	return &mechanisms[index];
}

/* One after the other, but only as long as the relay says that it cannot do
 * that one: a refused password is not said twice. False, and the verdict is
 * untouched, if none of those offered will do. */
static bool
try_offered(struct chat *chat, const struct upstream *u,
    const struct buf *password, const char *offered, struct verdict *v)
{
	bool tried = false;

	for (size_t i = 0; i < MECHANISMS; i++) {
		struct attempt t = {.chat = chat, .upstream = u,
			.password = password, .mechanism = mechanism_at(u, i)};

		if (!is_fit(u, t.mechanism, offered))
			continue;
		tried = true;
		if (converse(&t, v) || v->advice != ADVICE_OTHER_MECHANISM)
			break;
	}
	return tried;
}

/* The password as the relay wants it. */
static bool
read_password(const struct upstream *u, struct chat *chat,
    struct buf *password, struct verdict *v)
{
	struct buf why = {0};
	bool good = secret_read(&u->password, conn_stop_fd(chat->conn),
	    password, &why);

	if (!good)
		dial_blame(v, STAGE_AUTH, errno, &why);
	else if (u->provider && u->provider->derives_password)
		provider_derive_password(u->region, password);
	buf_free(&why);
	return good;
}

bool
login(struct chat *chat, const struct upstream *u, const char *offered,
    struct verdict *v)
{
	struct buf password = {0};

	verdict_set(v, HOLD, SCOPE_UPSTREAM, STAGE_AUTH, "%s", hint_secure);
	if (!conn_tls(chat->conn) && u->tls != TLS_MODE_NONE)
		return false;
	if (!*offered)
		verdict_set(v, HOLD, SCOPE_UPSTREAM, STAGE_AUTH,
		    "the relay offers no AUTH, and a user is configured; "
		    "check port and tls, or remove user");
	else
		verdict_set(v, HOLD, SCOPE_UPSTREAM, STAGE_AUTH,
		    "the relay offers AUTH %.200s and none that is "
		    "configured and supported here", offered);
	if (read_password(u, chat, &password, v))
		try_offered(chat, u, &password, offered, v);
	buf_wipe(&password);
	return v->outcome == SENT;
}
