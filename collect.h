/* SPDX-License-Identifier: ISC */
#ifndef COLLECT_H
#define COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;

/*
 * The daemon's side of the maildrop, and that of a run through the queue: takes
 * in what was left there. Everything in it is a stranger's: a message is read
 * into a new one of our own, checked there, and committed; what is no message
 * is left alone. One thread at a time; any number of processes.
 */
struct collector {
	struct queue *queue;
	int directory;       /* descriptor; -1: there is no maildrop */
	int stop_fd;         /* readable when it is time to stop; or -1 */
	bool crash_only;     /* take in nothing */
	size_t junk;         /* files that are left alone */
	const char *reason;  /* for the first of them */
	char example[64];    /* its name */
	size_t junk_told;
	int64_t quiet_until; /* on clock_now(): about junk */
	bool failing;        /* the last one could not be stored */
};

/* Opens the maildrop of the queue's spool. The caller closes in any case. */
void collect_open(struct collector *, struct queue *, int stop_fd);
void collect_close(struct collector *);

/* Ends what a crash interrupted, where a message is in the maildrop and in
 * queue/. To be called before anything in queue/ is sent. */
void collect_after_crash(struct collector *);

/* Takes in everything that is there. */
void collect_all(struct collector *);

/* Takes in what has that name, if it is there. */
void collect_one(struct collector *, const char *name);

#endif
