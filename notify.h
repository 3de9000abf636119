/* SPDX-License-Identifier: ISC */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdint.h>

/*
 * What a service manager wants to hear, as sd_notify(3) has it: "READY=1",
 * "STOPPING=1". Where nobody asks (no NOTIFY_SOCKET) all of it does nothing.
 */
struct notify {
	int fd;           /* -1: nobody asks */
	int64_t interval; /* ms between two signs of life; 0: none are wanted */
};

/* Opens the way while the file system is still open to us, and takes the
 * variables out of the environment. */
void notify_open(struct notify *);
void notify_close(struct notify *);

/* Waits a few seconds for a manager that is busy with others, as it would wait
 * in vain for a READY=1 that was lost; one that does not listen loses it. */
void notify_send(const struct notify *, const char *state);

/* A sign of life. Never waits: the next one comes soon. */
void notify_alive(const struct notify *);

#endif
