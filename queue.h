/* SPDX-License-Identifier: ISC */
#ifndef QUEUE_H
#define QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "body.h"

struct attempt;
struct config;
struct message;
struct relay;
struct smtp_terms;
struct spool;
struct verdict;

/*
 * Where sessions and couriers meet, under one mutex. A session brings a
 * message and waits for the verdict; a courier takes it, offers it to its
 * relay and settles it. States of a submission:
 *
 *     IN_LINE   nobody has it; its session may take it back
 *     TRIED     a courier has it and makes its connection; the session may
 *               leave, and then the courier drops it
 *     SENDING   the envelope has begun: the session waits for the verdict
 *     SETTLED   the verdict is there
 *
 * Without a spool yes means that the relay took it, and a message goes to all
 * of its recipients or to none. With one, what cannot be sent in time is
 * committed to it, and backlog.c tries again: then every recipient has a
 * result of its own.
 */
struct queue;
struct submission;

/* relays: one for each upstream of the configuration, in its order. With
 * alone, queue_submit() makes the attempt itself and there are no couriers.
 * Both arguments must outlive the queue. */
struct queue *queue_new(const struct config *, const struct relay *relays,
    struct spool *, bool alone);

/* Reads what is stored and starts the clock. False with a sentence in why. */
struct buf;
bool queue_start(struct queue *, struct buf *why);

/* Gives it the recipients that its own stand for (see forwards.h). Whoever
 * makes a file for it calls this before; queue_submit() does otherwise. */
void queue_route(struct queue *, struct message *);

/* Takes the message over and says what became of it, at the latest after
 * direct_wait, or, once its envelope has begun, when the relay has spoken. */
void queue_submit(struct queue *, struct message *, struct verdict *);

/* What is promised to a message of that size (0: not said) if it is accepted
 * now: to send it or keep it; with no room in the spool, or no spool, to send
 * it to all its recipients at once or refuse it (its direct_only is to be
 * set); or nothing. */
enum queue_room { ROOM_KEEP, ROOM_DIRECT, ROOM_NONE };
enum queue_room queue_room(struct queue *, uint64_t size);

/* Makes the message's own file in the spool, for a body that is too large for
 * the memory; the header must be complete. Returns a descriptor that stands at
 * *base, where the body belongs, or -1 with errno set. */
int queue_make_file(struct queue *, struct message *, uint64_t *base);

/* How many recipients a program of this host may give to a message that can be
 * kept, whatever max_recipients says to others. */
enum { QUEUE_LOCAL_RECIPIENTS = 10000 };

/* How many recipients the message may have: if it is direct_only, what one
 * transaction carries. */
unsigned queue_recipient_limit(const struct queue *, const struct message *,
    bool local);

/* The memory that waiting messages share. */
struct body_budget *queue_budget(struct queue *);

/* Comes back, with true, unless something is stuck that must never be. */
bool queue_is_alive(struct queue *);

/* Has a queue with a new configuration, made but not started, take over from an
 * old one over the same spool. Sessions and couriers may go on with the old one
 * until they are done; it is freed before its heir. False if the system gives
 * no thread; then nothing has happened. */
bool queue_succeed(struct queue *old, struct queue *heir);

/* The last heir, or the queue itself. */
struct queue *queue_newest(struct queue *);

/* Waiting submissions are answered, and no courier takes another. */
void queue_stop(struct queue *);

/* Waits until the last courier has left; false when the time is over. */
bool queue_wait_for_couriers(struct queue *, int64_t deadline);
void queue_free(struct queue *);

/* For couriers. The next message for that upstream; NULL when there was none
 * for its idle time, or when the process stops: the courier is then no longer
 * counted on for messages, and says when it has left. */
struct submission *queue_take(struct queue *, unsigned upstream);
void queue_courier_left(struct queue *);
const struct relay *queue_relay(const struct queue *, unsigned upstream);
struct message *queue_message(struct submission *);

/* The relay closes a new connection with a 421: if other couriers are at work
 * there, it only wants no more of them for now. Then they get the message, and
 * this courier is to leave; it is counted on no longer. False if not. */
bool queue_give_back(struct queue *, struct submission *,
    const struct verdict *);

/* Claims it for the envelope and says under which terms. False when the
 * submitter has left: the submission is gone. */
bool queue_begin(struct queue *, struct submission *, struct smtp_terms *);

/* Has the results so far on the disk, where the message is, before another
 * transaction sends it to the rest. False if that failed. */
bool queue_mark(struct queue *, struct submission *);

/* Hands the verdict to the submitter, or the message to the next upstream;
 * the courier must not touch the submission again. */
void queue_settle(struct queue *, struct submission *, const struct verdict *,
    const struct attempt *);

/* For people who ask: whether an upstream is left alone for now, or messages
 * of that sender are. */
struct pause_state {
	bool paused;
	bool hold;        /* until a person changes something */
	int64_t wait;     /* ms to the next try; 0: it is being tried now */
	const char *hint; /* for a person; constant text or NULL */
	char reason[512]; /* one printable line */
};
void queue_upstream_state(struct queue *, unsigned upstream,
    struct pause_state *);
void queue_sender_state(struct queue *, const char *sender,
    struct pause_state *);

/* Has everything stored tried now: ends the pauses too, of upstreams and of
 * senders. How many messages that are. */
size_t queue_wake(struct queue *);

/* The same for a client that asks, at most once a minute, and but for pauses
 * that the relay asks for or that wait for a person: providers ban hosts that
 * hammer. False if it was too soon. */
bool queue_nudge(struct queue *);

/* Has these stored messages tried as soon as that may be: with pauses ended,
 * now. The IDs are sorted. How many of them were waiting. */
struct queue_id;
size_t queue_retry(struct queue *, const struct queue_id *, size_t count,
    bool end_pauses);

/* The spool, which locks by itself; NULL: none. */
struct spool *queue_spool(const struct queue *);

/* Instead of queue_start(), for a process that does not stay: has these stored
 * messages tried, each once. False with a sentence in why. */
bool queue_start_once(struct queue *, const struct queue_id *, size_t count,
    struct buf *why);

/* How many of them are still to be tried, or being tried; 0 too when no
 * upstream may be. */
size_t queue_left(struct queue *);

#endif
