/* SPDX-License-Identifier: ISC */
/*
 * Threads with our own stack size, and waiting on the monotonic clock.
 */
#include "thread.h"

#include <errno.h>
#include <time.h>

enum { STACK_SIZE = 256 * 1024 };

bool
thread_start(void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t id;
	int error;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	error = pthread_create(&id, &attributes, run, argument);
	pthread_attr_destroy(&attributes);
	return error == 0;
}

void
thread_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attributes);
	pthread_condattr_destroy(&attributes);
}

bool
thread_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline)
{
	struct timespec when = {
		.tv_sec = (time_t)(deadline / 1000),
		.tv_nsec = (long)(deadline % 1000) * 1000000,
	};

	if (!deadline)
		return pthread_cond_wait(cond, mutex) == 0;
	return pthread_cond_timedwait(cond, mutex, &when) != ETIMEDOUT;
}
