/* SPDX-License-Identifier: ISC */
/*
 * Whether an upstream is worth trying.
 */
#include "health.h"

#include <stdio.h>
#include <string.h>

enum {
	MINUTE = 60 * 1000,
	PROBE_MAX = 10 * MINUTE,
	LOGIN_PAUSE = 15 * MINUTE,
	LOGIN_PAUSE_MAX = 6 * 60 * MINUTE,
};

void
health_init(struct health *h, bool keeps_mail)
{
	*h = (struct health){
		.login_pause_max = keeps_mail ? LOGIN_PAUSE_MAX : LOGIN_PAUSE,
	};
}

bool
health_may_try(struct health *h, int64_t now)
{
	if (!h->down)
		return true;
	if (h->probing || now < h->next_probe)
		return false;
	h->probing = true;
	return true;
}

bool
health_knows(const struct health *h, const char *id)
{
	return h->down && strcmp(h->failed_last, id) == 0;
}

int64_t
health_opens(const struct health *h, int64_t now)
{
	if (!h->down)
		return now;
	return h->probing ? INT64_MAX : h->next_probe;
}

void
health_probe_ended(struct health *h)
{
	h->probing = false;
}

void
health_hurry(struct health *h)
{
	h->next_probe = 0;
	h->failures = h->refused_logins = h->refused_hellos = 0;
	h->asked = 0;
	h->failed_last[0] = '\0';
}

void
health_nudge(struct health *h, int64_t now)
{
	if (h->down && !h->asked && h->outcome != HOLD && h->next_probe > now)
		h->next_probe = now;
}

/* first, doubled with each further failure, at most max. */
static int64_t
doubled(int64_t first, unsigned failures, int64_t max)
{
	int64_t pause = first;

	for (unsigned i = 1; i < failures && pause < max; i++)
		pause *= 2;
	return pause < max ? pause : max;
}

static int64_t
pause_after(const struct health *h)
{
	if (h->refused_logins >= 2)
		return doubled(LOGIN_PAUSE, h->refused_logins - 1,
		    h->login_pause_max);
	return doubled(MINUTE, h->failures, PROBE_MAX);
}

/* The pause that a reply asks for; it grows while the same is said again. */
static int64_t
pause_asked(struct health *h, const struct verdict *v)
{
	h->repeated = v->pause == h->asked ? h->repeated + 1 : 1;
	h->asked = v->pause;
	return doubled(v->pause, h->repeated,
	    v->pause_max > v->pause ? v->pause_max : v->pause);
}

static void
count_failure(struct health *h, const struct verdict *v, int64_t now)
{
	h->failures++;
	if (v->stage == STAGE_AUTH && v->outcome == HOLD && v->code >= 500)
		h->refused_logins++;
	if (v->stage == STAGE_HELLO && v->code == 421)
		h->refused_hellos++;
	h->down = true;
	if (v->pause) {
		h->next_probe = now + pause_asked(h, v);
	} else {
		h->next_probe = now + pause_after(h);
		h->asked = 0;
	}
	/* A 421 to our name may be a bad moment once, but not twice. */
	h->outcome = v->outcome == HOLD || h->refused_logins ||
	    h->refused_hellos >= 2 ? HOLD : LATER;
	h->hint = v->hint;
	snprintf(h->reason, sizeof(h->reason), "%s", v->text);
}

/* The connection was lost, or closed by a 421, behind MAIL: the message's
 * fault, unless a second, different one meets the same. */
static bool
was_lost(const struct verdict *v)
{
	return v->outcome == LATER && v->scope == SCOPE_MESSAGE &&
	    !v->cut_short && (v->code == 0 || v->code == 421);
}

static bool
blames_upstream(struct health *h, const struct verdict *v, const char *id)
{
	bool second;

	if (v->outcome != SENT && v->scope == SCOPE_UPSTREAM)
		return true;
	if (!was_lost(v))
		return false;
	second = h->suspect[0] && strcmp(h->suspect, id) != 0;
	snprintf(h->suspect, sizeof(h->suspect), "%s", id);
	return second;
}

enum health_change
health_saw(struct health *h, const struct verdict *v, const char *id,
    int64_t now)
{
	bool was_down = h->down;

	if (blames_upstream(h, v, id)) {
		/* Attempts that were under way when it went away are part of
		 * the same failure. */
		if (was_down && !h->probing)
			return HEALTH_AS_BEFORE;
		h->probing = false;
		count_failure(h, v, now);
		snprintf(h->failed_last, sizeof(h->failed_last), "%s", id);
		return was_down ? HEALTH_AS_BEFORE : HEALTH_WENT_DOWN;
	}
	h->probing = false;
	if (v->code == 0 || was_lost(v)) /* it has not said anything */
		return HEALTH_AS_BEFORE;
	h->down = false;
	h->failures = h->refused_logins = h->refused_hellos = 0;
	h->asked = 0;
	h->suspect[0] = '\0';
	return was_down ? HEALTH_CAME_UP : HEALTH_AS_BEFORE;
}
