/* SPDX-License-Identifier: ISC */
/*
 * The queue, asked about over a unix socket: LIST, SHOW, RETRY, DROP, STATUS
 * and CHECK. Who came by the control socket is told everything; everybody else
 * about his own messages, and the last two.
 */
#include "xqueue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "catalog.h"
#include "clock.h"
#include "config.h"
#include "conn.h"
#include "drop.h"
#include "listing.h"
#include "log.h"
#include "message.h"
#include "queue.h"
#include "route.h"
#include "session.h"
#include "staging.h"

enum { OUTPUT_MAX = 64 * 1024 };

/* Turns text into lines of a reply, sent as the client reads them. */
struct pen {
	struct conn *conn;
	int64_t patience;
	size_t unsent;
	bool in_line;
};

static void
put(struct pen *p, const char *data, size_t len)
{
	conn_write(p->conn, data, len);
	p->unsent += len;
}

static bool
send_lines(struct pen *p)
{
	conn_set_deadline(p->conn, clock_now() + p->patience);
	p->unsent = 0;
	return conn_flush(p->conn);
}

static bool
write_lines(void *context, const char *text, size_t len)
{
	struct pen *p = context;

	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t part = end ? (size_t)(end - text) : len;

		if (!p->in_line)
			put(p, "250-", 4);
		put(p, text, part);
		if (end)
			put(p, "\r\n", 2);
		p->in_line = !end;
		text += part + (end != NULL);
		len -= part + (end != NULL);
	}
	return p->unsent < OUTPUT_MAX || send_lines(p);
}

/* One command on its way. */
struct request {
	const struct xqueue *x;
	struct listing listing;
	struct pen pen;
	struct buf notes;
	struct buf *reply;
	char *words;      /* what strtok_r() has not yet come to */
};

/* The next word, or NULL. */
static const char *
next_word(struct request *r)
{
	return strtok_r(NULL, " \t", &r->words);
}

static void
say(struct request *r, const char *text)
{
	buf_adds(r->reply, text);
}

static void
say_unreadable(struct request *r)
{
	buf_addf(r->reply, "451 4.3.0 Cannot read the spool: %s",
	    strerror(errno));
}

/* --- How the upstreams stand --------------------------------------------- */

static void
add_state(struct buf *out, const char *name, const struct pause_state *s)
{
	buf_addf(out, "upstream %s: ", name);
	if (!s->paused)
		buf_adds(out, "up");
	else if (s->wait)
		buf_addf(out, "away, next try in %lld s: %s",
		    (long long)(s->wait + 999) / 1000, s->reason);
	else
		buf_addf(out, "away, and being tried now: %s", s->reason);
	buf_addc(out, '\n');
}

/* A message waits when all upstreams of its route are away, and then for the
 * first one that is tried again; what is said of it is the most preferred one's
 * trouble. */
static void
find_standing(struct request *r, uint64_t route, struct standing *standing)
{
	const struct config *config = r->x->config;
	struct pause_state s = {0};
	int64_t wait = INT64_MAX;

	standing->upstream = config->upstreams[route_first(route)].name;
	standing->paused = true;
	for (unsigned i = (unsigned)config->upstream_count; i-- > 0;) {
		if (!(route >> i & 1))
			continue;
		queue_upstream_state(r->x->queue, i, &s);
		standing->paused = standing->paused && s.paused;
		wait = s.wait < wait ? s.wait : wait;
	}
	standing->hold = s.hold;
	standing->hint = s.hint;
	memcpy(standing->reason, s.reason, sizeof(standing->reason));
	standing->until = time(NULL) + (time_t)((wait + 999) / 1000);
}

/* He may have relays of his own; and a sender whom the relay does not let send
 * waits as well. */
static void
add_sender(void *context, const char *sender, struct standing *standing)
{
	struct request *r = context;
	struct pause_state s;
	time_t until;

	if (route_is_split(r->x->config))
		find_standing(r, route_of(r->x->config, sender), standing);
	queue_sender_state(r->x->queue, sender, &s);
	until = time(NULL) + (time_t)((s.wait + 999) / 1000);
	if (!s.paused || (standing->paused && standing->until >= until))
		return;
	standing->paused = standing->hold = true;
	standing->until = until;
	standing->hint = s.hint;
	memcpy(standing->reason, s.reason, sizeof(standing->reason));
}

/* Those that are away, or all. */
static void
add_states(const struct request *r, struct buf *out, bool all)
{
	const struct config *config = r->x->config;

	for (unsigned i = 0; i < config->upstream_count; i++) {
		struct pause_state s;

		queue_upstream_state(r->x->queue, i, &s);
		if (all || s.paused)
			add_state(out, config->upstreams[i].name, &s);
	}
}

/* --- The verbs ----------------------------------------------------------- */

static void
list(struct request *r)
{
	enum listing_form form = LISTING_TEXT;
	const char *word;
	bool failed = false;
	size_t count;

	while ((word = next_word(r))) {
		if (strcasecmp(word, "JSON") == 0)
			form = LISTING_JSON;
		else if (strcasecmp(word, "BRIEF") == 0)
			form = LISTING_BRIEF;
		else if (strcasecmp(word, "FAILED") == 0)
			failed = true;
		else
			break;
	}
	if (word) {
		say(r, "501 5.5.4 LIST takes JSON or BRIEF, and FAILED");
		return;
	}
	if (form != LISTING_JSON)
		add_states(r, &r->notes, form == LISTING_BRIEF);
	if (form == LISTING_TEXT)
		staging_add_text(&r->notes, r->x->config);
	r->listing.notes = buf_text(&r->notes);
	if (listing_list(&r->listing, form, failed, &count))
		buf_addf(r->reply, "250 2.0.0 %zu messages", count);
	else
		say_unreadable(r);
}

static void
say_unknown(struct request *r)
{
	say(r, r->listing.asker.everything
		? "550 5.5.0 There is no such message"
		: "550 5.5.0 There is no such message of yours");
}

static void
show(struct request *r)
{
	const char *id = next_word(r);

	if (!id || next_word(r))
		say(r, "501 5.5.4 SHOW takes the ID of one message");
	else if (listing_show(&r->listing, id))
		say(r, "250 2.0.0 That was all");
	else
		say_unknown(r);
}

static void
drop(struct request *r)
{
	const char *id = next_word(r);
	enum load_result result;

	if (!id || next_word(r)) {
		say(r, "501 5.5.4 DROP takes the ID of one message");
		return;
	}
	if (!listing_has(&r->listing, id)) {
		say_unknown(r);
		return;
	}
	result = drop_message(queue_spool(r->x->queue), id,
	    &r->listing.asker);
	if (result == LOADED)
		say(r, "250 2.0.0 ");
	else
		say(r, result == LOAD_BUSY || result == LOAD_TROUBLE
			? "450 4.2.0 "
			: "550 5.5.0 ");
	drop_explain(r->reply, id, result);
}

struct id_list {
	struct queue_id *ids;
	size_t count, room;
};

static void
collect(void *context, const struct entry *e)
{
	struct id_list *list = context;

	if (list->count == list->room) {
		list->room = list->room ? list->room + list->room / 2 : 64;
		list->ids = xrealloc(list->ids, list->room,
		    sizeof(*list->ids));
	}
	if (queue_id_read(&list->ids[list->count], e->name))
		list->count++;
}

/* Nobody but the administrator ends a pause: a provider bans hosts that
 * hammer. */
static void
retry_own(struct request *r)
{
	struct id_list own = {0};

	if (!listing_each(&r->listing, false, collect, &own)) {
		say_unreadable(r);
	} else {
		if (own.count)
			queue_retry(r->x->queue, own.ids, own.count, false);
		say(r, "250 2.0.0 All of yours are due now");
	}
	free(own.ids);
}

static void
retry_one(struct request *r, const char *id)
{
	struct queue_id one;

	if (!listing_has(&r->listing, id) || !queue_id_read(&one, id)) {
		say_unknown(r);
		return;
	}
	queue_retry(r->x->queue, &one, 1, r->listing.asker.everything);
	buf_addf(r->reply, "250 2.0.0 %s is due now", id);
}

static void
retry(struct request *r)
{
	const char *id = next_word(r);

	if (id && next_word(r)) {
		say(r, "501 5.5.4 RETRY takes the ID of one message, or none");
	} else if (id) {
		retry_one(r, id);
	} else if (r->listing.asker.everything) {
		queue_wake(r->x->queue);
		say(r, "250 2.0.0 Everything is due now");
	} else {
		retry_own(r);
	}
	if (r->reply->data[0] == '2')
		log_event(LEVEL_INFO, "retry", "id", id, "client",
		    r->listing.asker.name, NULL);
}

struct tally {
	size_t messages, held;
};

static void
count_one(void *context, const struct entry *e)
{
	static const struct standing unknown;
	struct tally *tally = context;

	tally->messages++;
	tally->held += strcmp(view_outcome(e, &unknown), "hold") == 0;
}

/* -1 with errno set. */
static long
count_failed(const struct request *r)
{
	struct catalog c = {.directory = -1};
	long count = -1;

	if (!r->listing.spool)
		return 0;
	if (catalog_read(&c, r->listing.spool, true))
		count = (long)(c.count + c.foreign);
	catalog_free(&c);
	return count;
}

/* What anybody may know: numbers, and how the upstreams stand. */
static void
status(struct request *r)
{
	struct tally tally = {0};
	struct buf text = {0};
	long failed;

	r->listing.asker.everything = true;
	failed = count_failed(r);
	if (failed < 0 ||
	    !listing_each(&r->listing, false, count_one, &tally)) {
		say_unreadable(r);
		return;
	}
	buf_addf(&text, "messages %zu\nheld %zu\nfailed %ld\n",
	    tally.messages, tally.held, failed);
	add_states(r, &text, true);
	write_lines(&r->pen, text.data, text.len);
	buf_free(&text);
	say(r, "250 2.0.0 Ok");
}

/* For health, which comes often: nothing is counted. */
static void
check(struct request *r)
{
	struct spool *spool = queue_spool(r->x->queue);
	struct buf why = {0};

	if (!spool || spool_check(spool, &why))
		say(r, "250 2.0.0 Ok");
	else
		buf_addf(r->reply, "451 4.3.0 %s", why.data);
	buf_free(&why);
}

static const struct {
	const char *name;
	void (*run)(struct request *);
} verbs[] = {
	{"LIST", list},
	{"SHOW", show},
	{"RETRY", retry},
	{"DROP", drop},
	{"STATUS", status},
	{"CHECK", check},
};

static void
run(struct request *r, const char *verb)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcasecmp(verb, verbs[i].name) == 0) {
			verbs[i].run(r);
			return;
		}
	say(r, "501 5.5.4 XQUEUE LIST, SHOW, RETRY, DROP, STATUS or CHECK");
}

static void
begin(struct request *r, const struct xqueue *x, struct buf *reply)
{
	*r = (struct request){.x = x, .reply = reply};
	r->pen.conn = x->conn;
	r->pen.patience = x->config->listen.session_timeout;
	r->listing.spool = x->config->queue.directory;
	r->listing.asker.everything = x->client->controls;
	r->listing.asker.uid = x->client->uid;
	r->listing.asker.name = x->client->name;
	r->listing.add_sender = add_sender;
	r->listing.sender_context = r;
	r->listing.write = write_lines;
	r->listing.context = &r->pen;
	find_standing(r, UINT64_MAX, &r->listing.standing);
	buf_clear(reply);
}

static void
end(struct request *r)
{
	if (r->pen.in_line)
		write_lines(&r->pen, "\n", 1);
	buf_free(&r->notes);
}

void
xqueue_run(const struct xqueue *x, const char *arguments, struct buf *reply)
{
	char *text = xstrdup(arguments);
	const char *verb;
	struct request r;

	begin(&r, x, reply);
	verb = strtok_r(text, " \t", &r.words);
	if (x->client->local)
		run(&r, verb ? verb : "");
	else
		say(&r, "502 5.5.2 That command is not known here");
	end(&r);
	free(text);
}
