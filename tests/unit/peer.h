/* SPDX-License-Identifier: ISC */
#ifndef PEER_H
#define PEER_H

/*
 * The other end of a connection, for tests: a thread that follows a script.
 * The socket keeps records apart, so the log shows what was written at once:
 * a '|' stands behind each write. What the peer says in one step arrives at
 * once too.
 */
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "buf.h"

struct peer_step {
	const char *await;       /* how the log ends before it speaks; NULL:
	                          * at once */
	const char *say;         /* or NULL */
	enum { GO_ON, HANG_UP, STARE, DEAF } then;
	int rest;                /* ms, before it speaks */
	int wake;                /* a descriptor to write a byte to, before
	                          * it speaks; 0: none */
};

/* HANG_UP closes behind its words; STARE reads no more until the other end
 * closes; DEAF refuses, before it speaks, to be written to. */

enum { PEER_STEPS = 8, PEER_PATIENCE = 60 };

struct peer {
	int fd;
	struct peer_step steps[PEER_STEPS + 1]; /* the last is empty */
	struct buf log;
	pthread_t thread;
};

/* Both ends of a connection that keeps records apart; nobody waits on it for
 * longer than a test may take. */
static inline void
peer_pair(int ends[2])
{
	static const struct timeval patience = {.tv_sec = PEER_PATIENCE};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		_exit(99);
	setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &patience,
	    sizeof(patience));
	setsockopt(ends[1], SOL_SOCKET, SO_SNDTIMEO, &patience,
	    sizeof(patience));
}

static inline bool
peer_hears(struct peer *p)
{
	enum { RECORD_MAX = 1024 * 1024 };
	char *record = xmalloc(RECORD_MAX);
	ssize_t got = recv(p->fd, record, RECORD_MAX, 0);

	if (got > 0) {
		buf_add(&p->log, record, (size_t)got);
		buf_addc(&p->log, '|');
	}
	free(record);
	return got > 0;
}

/* Whether the log ends like that, with or without marks in between. */
static inline bool
peer_ends_with(const struct peer *p, const char *tail)
{
	size_t at = p->log.len, left = strlen(tail);

	while (left && at) {
		char c = p->log.data[--at];

		if (c == tail[left - 1])
			left--;
		else if (c != '|')
			return false;
	}
	return left == 0;
}

static inline bool
peer_follow(struct peer *p, const struct peer_step *step)
{
	struct pollfd gone = {.fd = p->fd};

	while (step->await && !peer_ends_with(p, step->await))
		if (!peer_hears(p))
			return false;
	if (step->then == DEAF)
		shutdown(p->fd, SHUT_RD);
	poll(NULL, 0, step->rest);
	if (step->wake && write(step->wake, "", 1) != 1)
		return false;
	if (step->say &&
	    send(p->fd, step->say, strlen(step->say), MSG_NOSIGNAL) < 0)
		return false;
	if (step->then == HANG_UP)
		shutdown(p->fd, SHUT_RDWR);
	if (step->then == STARE)
		poll(&gone, 1, PEER_PATIENCE * 1000);
	return true;
}

static inline void *
peer_run(void *argument)
{
	struct peer *p = argument;
	const struct peer_step *step = p->steps;

	while ((step->await || step->say) &&
	    peer_follow(p, step))
		step++;
	while (peer_hears(p))
		;
	return NULL;
}

/* Starts a peer with steps set and the rest zeroed; the end to talk to. */
static inline int
peer_start(struct peer *p)
{
	int ends[2];

	peer_pair(ends);
	p->fd = ends[1];
	if (pthread_create(&p->thread, NULL, peer_run, p) != 0)
		_exit(99);
	return ends[0];
}

/* With the other end closed: waits for the peer, whose log is complete then
 * and remains the caller's. */
static inline void
peer_stop(struct peer *p)
{
	pthread_join(p->thread, NULL);
	close(p->fd);
}

#endif
