/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_INTERNAL_H
#define QUEUE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "body.h"
#include "health.h"
#include "pace.h"
#include "pauses.h"
#include "reply.h"
#include "roster.h"
#include "schedule.h"

struct config;
struct message;
struct parking;
struct queue_id;
struct relay;
struct forwards;
struct spool;

/*
 * What these share, and nobody else sees; all of it under the queue's lock:
 *
 *     queue.c     the sessions' side: submit, wait, keep
 *     alone.c     the same in a process that has no couriers
 *     line.c      the lines between sessions, clock and couriers
 *     settle.c    the couriers' side: take, begin, settle
 *     stored.c    what becomes of a stored message after an attempt
 *     owed.c      the notices about what was refused
 *     backlog.c   the clock: what is stored, and when it is due
 *     found.c     how it is found
 *     parking.c   who of it can be put in line
 *     succession.c  the queue that a reload puts in the place of this one
 */

enum state { IN_LINE, TRIED, SENDING, SETTLED };

/* Who stands in a line: submissions whose sessions wait, and stored messages
 * that are due. A courier takes one of each in turn. */
enum lane { LANE_SESSIONS, LANE_STORED, LANES };

enum { ANSWERS = 64 };

struct submission {
	struct message *message;
	enum state state;
	bool keeps;          /* what cannot be sent goes to the spool */
	bool abandoned;      /* nobody waits for it; whoever ends it frees */
	bool stored;         /* it has a file; with abandoned: settle that */
	bool committing;     /* its session writes the file right now */
	bool reported;       /* the log has its results */
	bool unmarked;       /* the log says that the disk has not */
	unsigned upstream;   /* where it stands in line */
	enum lane lane;
	bool probe;          /* sent to see whether the upstream is back */
	uint64_t tried;      /* upstreams that could not be reached, as bits */
	int64_t deadline;    /* until which its session waits */
	unsigned hurries;    /* the queue's, when the last attempt ended, and
	                      * the log did not yet say so; 0: there was none */
	struct verdict verdict;
	pthread_cond_t *answered; /* one of the queue's */
	struct submission *next;
	struct submission *newer, *older; /* whose sessions wait */
};

/* The submissions that wait for one upstream, and who serves them. */
struct line {
	struct health health;
	struct pace pace;
	struct {
		struct submission *first, **end;
		unsigned waiting;
	} lanes[LANES];
	enum lane turn;      /* whose turn it is */
	unsigned couriers;   /* that will take another */
	unsigned idle;       /* of them, waiting for one */
	bool met;            /* an attempt has ended: health knows something */
	int64_t crowded_until; /* the relay takes no more connections */
	pthread_cond_t work;
	unsigned finished;   /* attempts, in this direct_wait */
	unsigned finished_before; /* in the one before it */
	int64_t counted_since;
};

struct queue {
	const struct config *config;
	const struct relay *relays;
	struct spool *spool; /* NULL: none */
	bool alone;
	bool stopping;
	struct queue *heir;  /* has what is stored since a reload; or NULL */
	bool unborn;         /* it waits for what it is to inherit */
	struct submission *newest; /* whose session waits */
	struct body_budget budget;
	pthread_mutex_t lock;
	struct line *lines;  /* one for each upstream */
	pthread_cond_t answers[ANSWERS]; /* shared by submissions: they outlive
	                      * them, so that nobody need be woken under the
	                      * lock that he wants */
	unsigned answers_used;
	unsigned present;    /* threads that have not left */
	pthread_cond_t left;

	struct roster roster;     /* everything that is stored */
	struct schedule schedule; /* of it, what nobody has in hand... */
	struct parking *parked;   /* ...and what is due, see parking.c */
	size_t parked_count;
	struct pauses senders;    /* whom the relay does not let send */
	struct forwards *forwards;    /* who gets what is for this host */
	struct owed *owed;        /* notices that wait to be one */
	struct submission *unmarked; /* sent, but the disk does not know yet */
	int64_t disk_opens;       /* until then no file can be opened */
	int64_t kept_house;       /* by the clock, last */
	pthread_cond_t tick;      /* the clock has something to look at */
	int64_t nudged;           /* by queue_nudge(), last */
	unsigned hurries;         /* how often by queue_retry(), and one */
	int64_t calm_since;       /* the start, or the wall clock's last step */
	int64_t clock_offset;     /* of the wall clock, then; seconds */
	atomic_llong plenty_until; /* the spool's disk has room until then */
	bool once;                /* what has been tried is not planned again,
	                           * and nothing is looked for */
	bool serving;             /* the clock has a message in hand */
};

/* --- queue.c, outside the lock -------------------------------------------- */

/* What could not be sent in time is kept; shared: a courier is at work on it
 * right now. */
void queue_keep(struct queue *, struct submission *, bool shared,
    struct verdict *);

/* Gives a message the recipients that its own stand for. Whether there are
 * others now, or results. */
bool queue_readdress(struct queue *, struct message *);

/* --- alone.c -------------------------------------------------------------- */

/* queue_submit() for the process that has no couriers: the attempt is made in
 * this thread, up to direct_wait. */
void alone_submit(struct queue *, struct submission *, struct verdict *);

/* --- succession.c --------------------------------------------------------- */

/* Locks the queue that has what is stored: this one or, after reloads, the last
 * of its heirs. To be unlocked by who called; it lives as long as this one. */
struct queue *queue_lock_newest(struct queue *);

/* --- line.c, under the lock ---------------------------------------------- */

/* A submission of that message, which belongs to it from here on. */
struct submission *submission_new(struct message *);
void submission_free(struct submission *);

void line_init(struct line *);

/* Puts it in line for the first upstream that it has not tried and that is
 * worth trying. False, with the reason in its verdict, if there is none, or
 * if its session would wait in vain. */
bool line_find(struct queue *, struct submission *);
void line_remove(struct line *, struct submission *);

/* Puts it back to where it was taken from, as the next one. */
void line_put_back(struct line *, struct submission *);

/* The next one in turn, out of the line; NULL if nobody stands there. */
struct submission *line_take(struct line *);

/* The same for a courier of that upstream, if its rate has room for it. */
struct submission *line_serve(struct queue *, unsigned upstream);

/* When the upstream's rate has room again; now, if that is before a connection
 * would have been given up: then it is waited for in the line. */
int64_t line_rate_opens(const struct queue *, unsigned upstream, int64_t now);

/* From when on a message could be handed to that upstream: now, or later;
 * INT64_MAX: when a probe has ended. */
int64_t line_opens(const struct queue *, unsigned upstream, int64_t now);
unsigned line_waiting(const struct line *);

/* Whether an upstream is down, and another message should be the next to see
 * whether it is back: this one may be what it chokes on. */
bool line_should_yield(const struct queue *, const struct submission *);

/* Starts the couriers that the lines need, and gives up the lock while it
 * does. */
void line_staff(struct queue *);

/* Has the upstream's health learn from an attempt. */
enum health_change line_learn(struct queue *, struct submission *,
    const struct verdict *);

/* The submission leaves without an attempt: if it was to be the probe, another
 * one may be. */
void line_end_probe(struct queue *, struct submission *);

/* --- backlog.c and found.c ------------------------------------------------ */

/* Starts the clock: a thread that finds what is stored and puts it in line
 * when it is due. False when the system gives no thread. */
bool backlog_start(struct queue *);

/* Puts a message in line that has just been stored, as if it had been read from
 * the disk; true if it belongs to a courier now. False if it has to wait, for
 * others or for its upstream. */
bool backlog_hand_over(struct queue *, struct submission *);

/* Plans the next try of a stored message. */
void backlog_plan(struct queue *, const char *id, int64_t when);

/* The same after an attempt: at once, if somebody has asked for it since, when
 * there were so many hurries. */
void backlog_plan_next(struct queue *, const char *id, unsigned hurries,
    int64_t when);

/* The same for all that were found, unless they are known: their files say
 * when. False when the process stops. */
struct found {
	char id[33];
	time_t next_try;
};
bool backlog_add_found(struct queue *, const struct found *, size_t count);

/* Looks for everything that is stored; what else is there is reported the
 * first time. False if that is not possible now. */
bool backlog_search(struct queue *, bool first);

/* The same for one that somebody else has put into queue/. */
void backlog_notice(struct queue *, const char *id);

/* For the process without a clock: if there is a daemon by now, tells it what
 * has been stored here. */
void backlog_announce(struct queue *);

/* Once a minute: looks for files that somebody has put into the queue by hand,
 * or that nobody has told us of. *seen is how it remembers whether anything has
 * changed; 0 at first. */
void backlog_look_again(struct queue *, int64_t *seen);

/* It is no longer stored. */
void backlog_forget(struct queue *, const char *id);

/* Under the lock: plans a stored message anew, for the heir if there is one,
 * and frees the submission. */
void backlog_return(struct queue *, struct submission *);

/* --- parking.c, under the lock -------------------------------------------- */

/* When the clock has to look again; INT64_MAX: when it is told to. *now is set
 * when a stored message can be put in line at once. */
int64_t parking_look(const struct queue *, bool *now);

/* Takes one that is due and can be put in line, as far as that is known. */
bool parking_take(struct queue *, char *id);

/* Whether one that is not parked, nor planned, can be put in line before
 * anybody who is. */
bool parking_is_passed(struct queue *, const struct submission *);

/* Keeps it for when an upstream of its route has room. False if one has. */
bool parking_keeps(struct queue *, const struct submission *);

/* The schedule and each part of the parking: from 0 on, NULL at the end. */
struct schedule *parking_each(struct queue *, size_t);

/* As schedule_hurry(), with the present, and its count, for all of them. */
size_t parking_hurry(struct queue *, const struct queue_id *, size_t);
size_t parking_count(struct queue *);
void parking_free(struct queue *);

/* Plans all who are parked anew, for the heir. */
void parking_clear(struct queue *old, struct queue *heir);

/* --- stored.c, outside the lock, since it touches files ------------------- */

/* Puts the message on stable storage. False with errno set, and then it is
 * not there at all. */
bool stored_commit(struct queue *, struct message *);

/* Gives a stored one the recipients that names of this host stand for by now.
 * False if the disk does not take that: it is not to be sent then. */
bool stored_route(struct queue *, struct message *);

/* What a session does with a message of its own that is done, and of which its
 * client hears all there is to say; and with one that somebody has to try
 * again, whose verdict then says that it is kept. Both free it. */
void stored_drop(struct queue *, struct submission *);
void stored_keep(struct queue *, struct submission *, struct verdict *);

/* The end of an attempt at a stored message that nobody waits for: marks, and
 * removes, puts off or sets aside. Frees it. */
void stored_settle(struct queue *, struct submission *);

/* Tries again to mark what could not be marked. */
void stored_mark_again(struct queue *);

/* Whether neither the start nor a step of the wall clock is less than an hour
 * ago: until then the time may be wrong by years, and nothing expires. */
bool stored_is_calm(struct queue *);

/* Whether it has waited too long. */
bool stored_is_expired(struct queue *, const struct message *);

/* --- owed.c, outside the lock --------------------------------------------- */

struct owed *owed_new(void);
void owed_free(struct owed *);

/* What became of a notice. */
struct told {
	char name[64]; /* what the message is called in failed/ if it is over,
	                * which begins with the notice's ID; "": none */
	bool fresh;    /* nobody has planned the notice yet */
	int64_t pause; /* ms after which what is still owed has to come again */
};

/* Sees to it that somebody is told of the refused recipients, whose marks are
 * on the disk. True with a notice on stable storage and the recipients
 * REPORTED; or, when nobody is to be told, with only those REPORTED of whom the
 * sender does not want to hear. False if it is still owed, in a storm of
 * notices or because it could not be stored; the pause is as it was then. */
bool owed_notify(struct queue *, struct message *, struct told *);

/* Plans the notice: when the message is where it belongs, since the notice's
 * delivery removes it from there. */
void owed_release(struct queue *, const struct told *);

/* Tells the sender of those that are relayed (see struct recipient); after
 * their marks are on the disk, or where there is no file. Should there be a
 * crash before, or no room for it, he is not told: better than to send the
 * message again for it. */
void owed_confirm(struct queue *, struct message *);

/* Finds a notice about that message that is still in the queue. */
bool owed_find_notice(struct queue *, const char *original, char id[33]);

#endif
