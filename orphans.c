/* SPDX-License-Identifier: ISC */
/*
 * What process 1 owes its container. Whoever loses his parent becomes its
 * child, such as what a password_command has left running or somebody has
 * started from outside, and when he ends nobody else takes him away.
 *
 * A wait for any child must not take the exit status that another thread of
 * ours waits for. So only the main thread does it, which is the one that the
 * kernel gives orphans to, and only for children of its own: a
 * password_command is the child of the courier's thread that started it.
 */
#include "orphans.h"

#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 60 * 1000 };

int
orphans_patience(void)
{
	return getpid() == 1 ? PATIENCE_MS : -1;
}

void
orphans_reap(void)
{
	if (getpid() == 1)
		while (waitpid(-1, NULL, WNOHANG | __WNOTHREAD) > 0)
			;
}
