/* SPDX-License-Identifier: ISC */
/*
 * Who a message is for. A recipient is a name of this host if it has no
 * domain, or the domain localhost, or one of the host's own names. Where its
 * mail goes, the first of these says that says anything:
 *
 *     an alias of that name             (of root, for postmaster)
 *     the alias default
 *     [identity] local_to
 *     [identity] domain                 to that name at the relay
 *
 * and if none does, it is held: there is no mailbox on this host, and a relay
 * would send back what it does not know. All of it is done when a message
 * comes in, and again at each attempt for whoever is still held.
 */
#include "forwards.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "address.h"
#include "aliases.h"
#include "config.h"
#include "log.h"
#include "message.h"
#include "same_file.h"

enum { DEPTH_MAX = 100 }; /* of names that lead to names */

struct forwards {
	const struct config *config;
	char machine[256];        /* the name of the machine; or "" */
	pthread_mutex_t lock;
	struct aliases *aliases;  /* NULL: none */
	struct stat seen;         /* of the file, when it was last read */
};

static void
release(struct forwards *r, struct aliases *all)
{
	bool last;

	if (!all)
		return;
	pthread_mutex_lock(&r->lock);
	last = --all->holders == 0;
	pthread_mutex_unlock(&r->lock);
	if (last)
		aliases_free(all);
}

void
forwards_free(struct forwards *r)
{
	release(r, r->aliases);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* --- The aliases --------------------------------------------------------- */

/* Whether the file is another than the last time; then it is this thread that
 * reads it. */
static bool
has_changed(struct forwards *r)
{
	struct stat now;
	bool changed;

	if (stat(r->config->identity.aliases, &now) != 0)
		now = (struct stat){.st_size = -1};
	pthread_mutex_lock(&r->lock);
	changed = !same_file(&now, &r->seen);
	r->seen = now;
	pthread_mutex_unlock(&r->lock);
	return changed;
}

/* One that is gone is no reason to forget what it said, either: it may be in
 * an editor's hands. */
static void
read_again(struct forwards *r)
{
	const char *file = r->config->identity.aliases;
	struct buf errors = {0}, warnings = {0};
	const struct aliases_talk talk = {&errors, &warnings};
	struct aliases *fresh = aliases_read(file, &talk), *old = fresh;
	bool missing = !fresh && errno == ENOENT, have;

	if (!fresh && !missing)
		buf_addf(&errors, "%s: cannot be read: %s\n", file,
		    strerror(errno));
	log_sentences(LEVEL_ERROR, "", buf_text(&errors));
	log_sentences(LEVEL_WARNING, "", buf_text(&warnings));
	pthread_mutex_lock(&r->lock);
	if (fresh && !errors.len) {
		old = r->aliases;
		r->aliases = fresh;
	}
	have = r->aliases;
	pthread_mutex_unlock(&r->lock);
	if (errors.len)
		log_message(LEVEL_ERROR, "%s is not used as it is now: %s",
		    file, have ? "what it said before holds"
				     : "there are no aliases");
	release(r, old);
	buf_free(&errors);
	buf_free(&warnings);
}

struct forwards *
forwards_new(const struct config *config)
{
	struct forwards *r = xcalloc(1, sizeof(*r));

	r->config = config;
	pthread_mutex_init(&r->lock, NULL);
	if (gethostname(r->machine, sizeof(r->machine) - 1) != 0)
		r->machine[0] = '\0';
	if (config->identity.aliases && has_changed(r))
		read_again(r); /* before anybody asks */
	return r;
}

/* The aliases that hold now, or NULL; the caller releases them. */
static struct aliases *
take_aliases(struct forwards *r)
{
	struct aliases *all;

	if (r->config->identity.aliases && has_changed(r))
		read_again(r);
	pthread_mutex_lock(&r->lock);
	all = r->aliases;
	if (all)
		all->holders++;
	pthread_mutex_unlock(&r->lock);
	return all;
}

/* --- One name ------------------------------------------------------------ */

static bool
is_own_domain(const struct forwards *r, const char *domain)
{
	const char *hostname = r->config->hostname;
	size_t first = hostname ? strcspn(hostname, ".") : 0;

	return !strcasecmp(domain, "localhost") ||
	    !strcasecmp(domain, "localhost.localdomain") ||
	    !strcasecmp(domain, r->machine) ||
	    (hostname && (!strcasecmp(domain, hostname) ||
			     (!strncasecmp(domain, hostname, first) &&
				 first && !domain[first])));
}

/* The name, without quotes, if the address is one of this host; the caller
 * frees. NULL: it is somebody else's. */
static char *
local_name(const struct forwards *r, const char *address)
{
	const char *at = address_is_qualified(address) ? strrchr(address, '@')
						       : NULL;
	size_t len = at ? (size_t)(at - address) : strlen(address), to = 0;
	char *name;

	if (at && !is_own_domain(r, at + 1))
		return NULL;
	name = xstrndup(address, len);
	if (*name != '"')
		return name;
	for (size_t i = 1; i + 1 < len; i++) {
		i += name[i] == '\\' && i + 2 < len;
		name[to++] = name[i];
	}
	name[to] = '\0';
	return name;
}

/* One recipient on its way to those who get its mail. */
struct expansion {
	const struct forwards *forwards;
	const struct aliases *aliases; /* or NULL */
	unsigned char *used;           /* of them */
	const struct recipient *from;
	struct message *to;            /* gets them */
	bool reached;                  /* somebody gets it */
};

static const char unrouted[] = "4.1.1 a name of this host, and nothing says "
    "where its mail goes: set [identity] local_to or domain, or give it an "
    "alias";

static bool
has_recipient(const struct message *m, const char *address)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		if (strcmp(m->recipients[i].address, address) == 0)
			return true;
	return false;
}

static struct recipient *
add(struct expansion *x, const char *address)
{
	const struct recipient *from = x->from;
	struct recipient *r;

	x->reached = true;
	if (has_recipient(x->to, address))
		return NULL;
	message_add_recipient(x->to, address);
	r = &x->to->recipients[x->to->recipient_count - 1];
	r->notify = from->notify;
	r->original = from->original ? xstrdup(from->original) : NULL;
	return r;
}

/* There is no alias for it; local is the name as an address has it. */
static void
add_without_alias(struct expansion *x, const char *local)
{
	const struct identity_config *identity =
	    &x->forwards->config->identity;
	struct recipient *r;

	if (identity->local_to) {
		add(x, identity->local_to);
	} else if (identity->domain) {
		add(x, local); /* completed on the way out */
	} else if ((r = add(x, local))) {
		recipient_set(r, HOLD, 0, unrouted);
		r->unrouted = true;
	}
}

static char *
local_part(const char *address)
{
	const char *at = address_is_qualified(address) ? strrchr(address, '@')
						       : NULL;

	return xstrndup(address,
	    at ? (size_t)(at - address) : strlen(address));
}

static void expand(struct expansion *, const char *address, unsigned depth);

/* The alias that says where the mail of that name goes, or NULL. */
static const struct alias *
alias_of(const struct expansion *x, const char *name)
{
	const struct alias *a = NULL;

	if (x->aliases)
		a = aliases_find(x->aliases, name);
	if (x->aliases && !a && !strcasecmp(name, "postmaster"))
		a = aliases_find(x->aliases, "root");
	if (x->aliases && !a) {
		a = aliases_find(x->aliases, "default");
		if (a && x->used[a - x->aliases->list])
			a = NULL;
	}
	return a && a->count ? a : NULL; /* none: all it says is refused */
}

/* At domain there are people whom the relay knows, even where that is the
 * name of this host as well: local_to is not for them. */
static void
add_local(struct expansion *x, const char *address)
{
	const char *domain = x->forwards->config->identity.domain;
	char *local = local_part(address);

	if (domain && address_is_qualified(address) &&
	    !strcasecmp(strrchr(address, '@') + 1, domain))
		add(x, address);
	else
		add_without_alias(x, local);
	free(local);
}

/* A name that is its own alias is meant as it is; beside others it says
 * nothing, since there is no mailbox here. */
static void
expand_target(struct expansion *x, const struct alias *a, const char *target,
    unsigned depth)
{
	char *name = local_name(x->forwards, target);

	if (*target == '\\')
		add_local(x, target + 1);
	else if (!name)
		add(x, target);
	else if (strcasecmp(name, a->name))
		expand(x, target, depth);
	else if (a->count == 1)
		add_local(x, target);
	free(name);
}

/* Who has been looked up already has got his own. */
static void
expand(struct expansion *x, const char *address, unsigned depth)
{
	char *name = local_name(x->forwards, address);
	const struct alias *a = name && depth < DEPTH_MAX ? alias_of(x, name)
							  : NULL;
	unsigned char *used = a ? &x->used[a - x->aliases->list] : NULL;

	if (!a)
		add_local(x, address);
	for (size_t i = 0; a && i < a->count && !(i == 0 && *used); i++) {
		*used = true;
		expand_target(x, a, a->targets[i], depth + 1);
	}
	free(name);
}

/* --- A message ----------------------------------------------------------- */

static bool
is_local(const struct forwards *r, const struct recipient *each)
{
	char *name = each->outcome == WAITING || each->unrouted
	    ? local_name(r, each->address) : NULL;

	free(name);
	return name != NULL;
}

static void
move(struct message *to, const struct recipient *r)
{
	message_add_recipient(to, "");
	free(to->recipients[to->recipient_count - 1].address);
	to->recipients[to->recipient_count - 1] = *r;
}

/* Whether these are as many, and have everybody that was there: then they are
 * the same. */
static bool
is_same(const struct message *m, const struct message *fresh)
{
	if (m->recipient_count != fresh->recipient_count)
		return false;
	for (size_t i = 0; i < m->recipient_count; i++)
		if (!has_recipient(fresh, m->recipients[i].address))
			return false;
	return true;
}

/* The names of this host come behind all others, so that nobody is added who
 * is there already, or has got the message. */
static bool
expand_all(struct forwards *r, struct message *m, struct aliases *all)
{
	struct message fresh = {.recipients = NULL};
	struct expansion x = {.forwards = r, .aliases = all, .to = &fresh};
	size_t count = all ? all->count : 0;
	bool same;

	x.used = xcalloc(count + 1, 1);
	for (size_t i = 0; i < m->recipient_count; i++)
		if (!is_local(r, &m->recipients[i]))
			move(&fresh, &m->recipients[i]);
	for (size_t i = 0; i < m->recipient_count; i++) {
		x.from = &m->recipients[i];
		if (!is_local(r, x.from))
			continue;
		memset(x.used, 0, count);
		x.reached = false;
		expand(&x, x.from->address, 0);
		if (!x.reached) /* aliases that lead nowhere but in a circle */
			add_local(&x, x.from->address);
	}
	same = is_same(m, &fresh);
	for (size_t i = 0; i < m->recipient_count; i++)
		if (is_local(r, &m->recipients[i]))
			recipient_free(&m->recipients[i]);
	free(m->recipients);
	m->recipients = fresh.recipients;
	m->recipient_count = fresh.recipient_count;
	free(x.used);
	return !same;
}

bool
forwards_apply(struct forwards *r, struct message *m)
{
	struct aliases *all;
	bool any = false, changed;

	for (size_t i = 0; i < m->recipient_count && !any; i++)
		any = is_local(r, &m->recipients[i]);
	if (!any)
		return false;
	all = take_aliases(r);
	changed = expand_all(r, m, all);
	release(r, all);
	return changed;
}

bool
forwards_has_unrouted(const struct message *m)
{
	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].unrouted)
			return true;
	return false;
}

void
forwards_explain(const struct message *m, struct verdict *v)
{
	const struct recipient *r = NULL;

	for (size_t i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].unrouted && !r)
			r = &m->recipients[i];
		else if (m->recipients[i].outcome == NEVER)
			r = &m->recipients[i];
	if (!r)
		return;
	if (r->unrouted)
		verdict_set(v, HOLD, SCOPE_RECIPIENT, STAGE_RCPT,
		    "4.1.1 <%s> is %s", r->address,
		    unrouted + sizeof("4.1.1"));
	else
		verdict_set(v, NEVER, SCOPE_RECIPIENT, STAGE_RCPT,
		    "5.7.1 <%s> is %s", r->address,
		    r->reply + sizeof("5.7.1"));
	v->code = r->code;
}
