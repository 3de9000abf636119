/* SPDX-License-Identifier: ISC */
#ifndef THREAD_H
#define THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Starts a detached thread with a stack of 256 KiB. False when the system
 * gives none. */
bool thread_start(void *(*run)(void *), void *argument);

/* A condition variable that waits on CLOCK_MONOTONIC. */
void thread_cond_init(pthread_cond_t *);

/* Waits until deadline on clock_now() (0: for ever); false when it is over. */
bool thread_wait(pthread_cond_t *, pthread_mutex_t *, int64_t deadline);

#endif
