/* SPDX-License-Identifier: ISC */
/*
 * Root at work in a spool that belongs to somebody else.
 */
#include "owner.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

/* Of the queue itself where it is there: a volume is often root's, and only
 * what is in it belongs to its user. False if we are not root, or it is
 * root's. */
static bool
find_owner(const char *directory, struct stat *found)
{
	char *queue = xasprintf("%s/queue", directory);
	bool there = stat(queue, found) == 0 || stat(directory, found) == 0;

	free(queue);
	return geteuid() == 0 && there && found->st_uid != 0;
}

bool
owner_is_another(const char *directory, uid_t *uid)
{
	struct stat found;
	bool another = find_owner(directory, &found);

	if (another)
		*uid = found.st_uid;
	return another;
}

bool
owner_become(const char *directory, struct buf *why)
{
	struct stat found;

	if (!find_owner(directory, &found))
		return true;
	if (setgroups(0, NULL) == 0 &&
	    setresgid(found.st_gid, found.st_gid, found.st_gid) == 0 &&
	    setresuid(found.st_uid, found.st_uid, found.st_uid) == 0)
		return true;
	buf_addf(why, "cannot become uid %u, whose spool %s is: %s; run "
	    "smarthost as that user", (unsigned)found.st_uid, directory,
	    strerror(errno));
	return false;
}
