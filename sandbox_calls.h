/* SPDX-License-Identifier: ISC */
#ifndef SANDBOX_CALLS_H
#define SANDBOX_CALLS_H

#include <stdbool.h>

/* Has this thread, and all that it starts, do with the system calls that
 * serving mail takes. Any other is answered ENOSYS, with one line on stderr for
 * each. False with errno set if the kernel does not know how. */
bool sandbox_calls(bool as_json);

#endif
