/* SPDX-License-Identifier: ISC */
/*
 * Confinement, in this order: no privileges are to be had, and none are left;
 * then the files; then the system calls.
 */
#include "sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "sandbox_calls.h"
#include "sandbox_files.h"
#include "setup.h"

/* A sanitizer's run time has calls of its own, and looks at the process from
 * outside. */
#ifdef SMARTHOST_SANITIZED
enum { IS_SANITIZED = true };
#else
enum { IS_SANITIZED = false };
#endif

static bool
drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[2] = {{0}};

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, none) == 0;
}

static void
report(bool done, const char *what)
{
	if (!done)
		log_message(LEVEL_INFO, "%s: %s; going on without", what,
		    strerror(errno));
}

void
sandbox_enter(const struct setup *s, const char *path)
{
	report(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0,
	    "cannot rule out new privileges");
	if (!IS_SANITIZED)
		report(drop_capabilities(), "cannot give up capabilities");
	report(sandbox_files(s, path), "no Landlock, the confinement to "
	    "some directories");
	if (!IS_SANITIZED)
		report(sandbox_calls(s->config.log_format == LOG_AS_JSON),
		    "no seccomp, the confinement to some system calls");
}
