/* SPDX-License-Identifier: ISC */
/*
 * What a relay's reply means: which class it has at that stage, whom it
 * concerns, and what a person can do about it. The rules are here; what single
 * providers are known to say is in catalogue.c.
 */
#include "reply.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "buf.h"
#include "catalogue.h"
#include "clock.h"

enum {
	CLIENT_TEXT_MAX = 400,
	NAMED_PAUSE_MAX = 25 * 60 * 60, /* in seconds */
};

static const char hint_login[] =
    "check user and password of this upstream, and what the provider asks of "
    "clients; the relay is not tried often until then";
static const char hint_mechanism[] =
    "the relay does not take this kind of login; set auth to one that it "
    "offers";
static const char hint_order[] =
    "the relay wants a login or TLS before mail: check user, password, tls "
    "and port of this upstream";
static const char hint_ehlo[] =
    "if this repeats, set ehlo to a full host name of yours";

size_t
reply_enhanced(const char *text)
{
	size_t len = 1;

	if (!strchr("245", text[0]) || !text[0])
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t digits = 0;

		if (text[len] != '.')
			return 0;
		while (digits < 4 && isdigit((unsigned char)text[len + 1]))
			digits++, len++;
		len++;
		if (digits < 1 || digits > 3)
			return 0;
	}
	return text[len] == ' ' || text[len] == '\0' ? len : 0;
}

/* Codes that say that we, or our configuration, are wrong (rule 5). */
static bool
speaks_of_login(int code, const char *text)
{
	if (code == 530 || code == 534 || code == 535 || code == 538)
		return true;
	return code >= 500 && reply_enhanced(text) == 5 &&
	    strncmp(text, "5.7.8", 5) == 0;
}

/* Behind MAIL, by code and stage alone. */
static void
judge_refusal(struct verdict *v, const char *text)
{
	v->scope = v->stage == STAGE_RCPT ? SCOPE_RECIPIENT : SCOPE_MESSAGE;
	if (speaks_of_login(v->code, text)) {
		v->outcome = HOLD;
		v->scope = SCOPE_UPSTREAM;
		v->hint = hint_order;
	} else if (v->code < 500) {
		v->outcome = LATER;
		v->scope = v->code == 421 ? SCOPE_MESSAGE : v->scope;
	} else {
		v->outcome = v->code == 503 ? LATER : NEVER;
	}
}

/* Refusals that speak of the mechanism, not of who logs in (RFC 4954 section
 * 6, RFC 5248). */
static bool
speaks_of_mechanism(int code, const char *text)
{
	return code == 504 || code == 538 ||
	    (code == 534 && strcasestr(text, "mechanism"));
}

/* Before MAIL, where nothing is final and all is the upstream's. */
static void
judge_start(struct verdict *v, const char *text)
{
	if (v->stage == STAGE_AUTH && speaks_of_mechanism(v->code, text)) {
		v->outcome = HOLD;
		v->advice = ADVICE_OTHER_MECHANISM;
		v->hint = hint_mechanism;
	} else if (v->stage == STAGE_AUTH && v->code >= 500) {
		v->outcome = HOLD;
		v->hint = v->code == 530 ? hint_order : hint_login;
	} else {
		v->outcome = LATER;
		v->hint = v->stage == STAGE_HELLO ? hint_ehlo : NULL;
	}
}

/* "...try again after Sun, 05 Oct 2025 19:22:44 UTC": how long that is from
 * now, in ms and at most 25 hours; otherwise if there is no such date, or it
 * has passed. */
static int64_t
named_pause(const char *text, int64_t otherwise)
{
	static const char words[] = "try again after ";
	const char *at = strcasestr(text, words);
	time_t date;
	int64_t wait;

	if (!at || !clock_read_date(at + strlen(words), &date))
		return otherwise;
	wait = (int64_t)date - time(NULL);
	if (wait <= 0)
		return otherwise;
	return 1000 * (wait < NAMED_PAUSE_MAX ? wait : NAMED_PAUSE_MAX);
}

/* What is known of a reply may soften what its code says, never the other way
 * round. */
static void
apply(struct verdict *v, const struct known_reply *known, const char *text)
{
	if (known->outcome == NEVER && v->outcome != NEVER)
		return;
	v->outcome = known->outcome;
	if (known->scope >= SCOPE_SENDER)
		v->scope = known->scope;
	v->advice = known->advice;
	v->pause = known->pause ? named_pause(text, known->pause) : 0;
	v->pause_max = known->pause_max;
	if (known->hint)
		v->hint = known->hint;
}

void
reply_judge(struct verdict *v, enum stage stage, int code, const char *text)
{
	int good = stage == STAGE_DATA ? 300 : 200;
	const struct known_reply *known;

	v->stage = stage;
	v->code = code;
	v->scope = SCOPE_UPSTREAM;
	v->advice = ADVICE_NONE;
	v->pause = v->pause_max = 0;
	v->hint = NULL;
	v->maybe_delivered = v->cut_short = v->kept = false;
	if (code >= good && code < good + 100) {
		v->outcome = SENT;
		return;
	}
	if (stage >= STAGE_MAIL)
		judge_refusal(v, text);
	else
		judge_start(v, text);
	known = catalogue_find(AT(stage), code, text);
	if (known)
		apply(v, known, text);
}

const char *
reply_hint(int code, const char *text)
{
	const struct known_reply *known = catalogue_find(AT_ANY, code, text);

	if (known && known->hint)
		return known->hint;
	if (speaks_of_mechanism(code, text) && strcasestr(text, "authent"))
		return hint_mechanism;
	if (!speaks_of_login(code, text))
		return NULL;
	return code == 530 ? hint_order : hint_login;
}

void
verdict_set(struct verdict *v, enum outcome outcome, enum scope scope,
    enum stage stage, const char *format, ...)
{
	va_list args;

	*v = (struct verdict){
		.outcome = outcome, .scope = scope, .stage = stage};
	va_start(args, format);
	vsnprintf(v->text, sizeof(v->text), format, args);
	va_end(args);
	for (char *c = v->text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

int
verdict_status(const struct verdict *v)
{
	if (v->outcome == SENT || v->kept)
		return EX_OK;
	if (v->outcome != NEVER)
		return EX_TEMPFAIL;
	if (reply_enhanced(v->text) && strncmp(v->text, "5.7.", 4) == 0)
		return EX_NOPERM;
	if (v->stage == STAGE_RCPT ||
	    (reply_enhanced(v->text) && strncmp(v->text, "5.1.", 4) == 0))
		return EX_NOUSER;
	return EX_UNAVAILABLE;
}

const char *
outcome_name(enum outcome outcome)
{
	static const char *const names[] = {
		"waiting", "sent", "later", "hold", "never", "reported"};

	return names[outcome];
}

const char *
stage_name(enum stage stage)
{
	static const char *const names[] = {"connect", "greeting", "EHLO",
		"TLS", "AUTH", "MAIL FROM", "RCPT TO", "DATA", "message body",
		"end of data"};

	return names[stage];
}

static int
code_for_client(const struct verdict *v)
{
	if (v->outcome == NEVER)
		return v->code >= 550 && v->code <= 554 ? v->code : 554;
	return v->code >= 450 && v->code <= 452 ? v->code : 451;
}

/* The enhanced code for a verdict that brings none of the right class. */
static const char *
default_enhanced(const struct verdict *v)
{
	if (v->outcome == NEVER)
		return "5.0.0";
	if (v->outcome == HOLD)
		return "4.7.0";
	return v->scope == SCOPE_UPSTREAM ? "4.4.1" : "4.4.2";
}

void
reply_to_client(struct buf *out, const struct verdict *v, const char *id)
{
	int code = v->outcome == SENT ? 250 : code_for_client(v);
	size_t enhanced = reply_enhanced(v->text);

	buf_clear(out);
	if (v->outcome == SENT)
		buf_addf(out, "250 2.0.0 %s sent: ", id);
	else if (v->kept)
		buf_addf(out, "250 2.0.0 %s %s: ", id,
		    v->outcome == HOLD ? "held" : "queued");
	else if (!enhanced || v->text[0] - '0' != code / 100 ||
	    v->outcome == HOLD)
		buf_addf(out, "%d %s ", code, default_enhanced(v));
	else
		buf_addf(out, "%d %.*s ", code, (int)enhanced, v->text);
	if (v->maybe_delivered)
		buf_adds(out, REPLY_MAY_BE_DELIVERED);
	if (enhanced && v->text[enhanced] == ' ')
		enhanced++;
	buf_add_printable(out, v->text + enhanced,
	    strlen(v->text + enhanced), CLIENT_TEXT_MAX);
}
