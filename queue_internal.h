/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_INTERNAL_H
#define QUEUE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "body.h"
#include "health.h"
#include "reply.h"
#include "schedule.h"

struct config;
struct message;
struct relay;
struct spool;

/* What queue.c (sessions and couriers), line.c (the lines between them) and
 * backlog.c (the stored messages) share, and nobody else sees. All of it is
 * under the queue's lock. */

enum state { IN_LINE, TRIED, SENDING, SETTLED };

struct submission {
	struct message *message;
	enum state state;
	bool abandoned;      /* nobody waits for it; whoever ends it frees */
	bool stored;         /* it has a file; with abandoned: settle that */
	bool reported;       /* the log has its results */
	unsigned upstream;   /* where it stands in line */
	bool probe;          /* sent to see whether the upstream is back */
	uint64_t tried;      /* upstreams that could not be reached, as bits */
	int64_t deadline;    /* until which its session waits */
	struct verdict verdict;
	pthread_cond_t answered;
	struct submission *next;
	struct submission *newer, *older; /* whose sessions wait */
};

/* The submissions that wait for one upstream, and who serves them. */
struct line {
	struct health health;
	struct submission *first, **end;
	unsigned waiting;
	unsigned couriers;   /* that will take another */
	unsigned idle;       /* of them, waiting for one */
	pthread_cond_t work;
};

struct queue {
	const struct config *config;
	const struct relay *relays;
	struct spool *spool; /* NULL: none */
	bool alone;
	bool stopping;
	struct submission *newest; /* whose session waits */
	struct body_budget budget;
	pthread_mutex_t lock;
	struct line *lines;  /* one for each upstream */
	unsigned present;    /* threads that have not left */
	pthread_cond_t left;

	struct schedule schedule; /* what is stored and nobody has in hand */
	pthread_cond_t tick;      /* the clock has something to look at */
	int64_t started;
};

/* A submission of that message, which belongs to it from here on. */
struct submission *submission_new(struct message *);
void submission_free(struct submission *);

/* Puts it in line for the first upstream that it has not tried and that is
 * worth trying. False, with the reason of the most preferred one in its
 * verdict, if there is none. */
bool line_find(struct queue *, struct submission *);
void line_remove(struct line *, struct submission *);

/* Starts the couriers that the lines need, and gives up the lock while it
 * does. */
void line_staff(struct queue *);

/* Has the upstream's health learn from an attempt. */
enum health_change line_learn(struct queue *, struct submission *,
    const struct verdict *);

/* The submission leaves without an attempt: if it was to be the probe, another
 * one may be. */
void line_end_probe(struct queue *, struct submission *);

/* Reads what is stored, at start. False with errno set. */
bool backlog_read(struct queue *);

/* Starts the clock: a thread that puts stored messages in line when they are
 * due. False when the system gives no thread. */
bool backlog_start(struct queue *);

/* The functions below touch files, outside the lock, but for the last. */

/* Puts the message on stable storage. False with errno set, and then it is
 * not there at all. */
bool backlog_commit(struct queue *, struct message *);

/* What a session does with a message of its own that is done, and with one
 * that somebody has to try again, which is freed; the verdict then says that
 * it is kept. */
void backlog_drop(struct queue *, struct message *);
void backlog_put_off(struct queue *, struct submission *, struct verdict *);

/* The end of an attempt at a stored message that nobody waits for: marks, and
 * removes, puts off or sets aside. Frees it. */
void backlog_settle(struct queue *, struct submission *);

/* Under the lock: plans a stored message anew and frees the submission. */
void backlog_return(struct queue *, struct submission *);

#endif
