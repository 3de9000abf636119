/* SPDX-License-Identifier: ISC */
#ifndef RELOAD_H
#define RELOAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct generations;
struct helper;
struct listener;
struct notify;
struct spool;

/* What a reload needs to know of the daemon. */
struct reloader {
	const char *path;    /* of the configuration; NULL: none */
	char **environment;  /* as it was at the start, secrets and all */
	struct generations *generations;
	struct listener *listener;
	struct spool *spool; /* or NULL */
	struct helper *helper; /* or NULL */
	const struct notify *manager;
	int stop_fd;
	int ask_fd;          /* a byte in it asks for a reload */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool running;
};

/* Starts the thread that waits for somebody to ask. False if the system gives
 * none: there are no reloads then. */
bool reload_start(struct reloader *);

/* Waits until it has ended, which it does when stop_fd is readable; false when
 * the time is over. */
bool reload_wait(struct reloader *, int64_t deadline);

/* A copy of the environment, for later; and its end. */
char **reload_copy_environment(char **);
void reload_free_environment(char **);

#endif
