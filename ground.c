/* SPDX-License-Identifier: ISC */
/*
 * What the spool stands on.
 */
#include "ground.h"

#include <linux/magic.h>
#include <stddef.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

static const struct {
	uint32_t magic;
	const char *name;
} volatile_kinds[] = {
	{TMPFS_MAGIC, "tmpfs"},
	{RAMFS_MAGIC, "ramfs"},
	{OVERLAYFS_SUPER_MAGIC, "overlayfs"},
};

const char *
ground_volatile_kind(const char *directory)
{
	struct statfs found;

	if (statfs(directory, &found) != 0)
		return NULL;
	for (size_t i = 0;
	     i < sizeof(volatile_kinds) / sizeof(volatile_kinds[0]); i++)
		if ((uint32_t)found.f_type == volatile_kinds[i].magic)
			return volatile_kinds[i].name;
	return NULL;
}

uint64_t
ground_room(int directory)
{
	struct statvfs room;

	if (fstatvfs(directory, &room) != 0 ||
	    (room.f_files != 0 && room.f_favail == 0))
		return 0;
	return (uint64_t)room.f_bavail * room.f_frsize;
}

bool
ground_has_room(int directory, uint64_t need)
{
	uint64_t room = ground_room(directory);

	return room && room >= need;
}
