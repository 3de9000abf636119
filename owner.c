/* SPDX-License-Identifier: ISC */
/*
 * Root at work in a spool that belongs to somebody else.
 */
#include "owner.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

bool
owner_become(const char *directory, struct buf *why)
{
	struct stat there;

	if (geteuid() != 0 || stat(directory, &there) != 0 ||
	    there.st_uid == 0)
		return true;
	if (setgroups(0, NULL) == 0 &&
	    setresgid(there.st_gid, there.st_gid, there.st_gid) == 0 &&
	    setresuid(there.st_uid, there.st_uid, there.st_uid) == 0)
		return true;
	buf_addf(why, "cannot become uid %u, the owner of %s: %s",
	    (unsigned)there.st_uid, directory, strerror(errno));
	return false;
}
