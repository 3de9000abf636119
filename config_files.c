/* SPDX-License-Identifier: ISC */
/*
 * Files that are named in the configuration and may hold secrets: where the
 * service manager has put them, and who can read them.
 */
#include "config_draft.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "buf.h"

/* The value of a variable, or NULL. */
static const char *
variable(char **environment, const char *name)
{
	size_t len = strlen(name);

	for (; environment && *environment; environment++)
		if (!strncmp(*environment, name, len) &&
		    (*environment)[len] == '=')
			return *environment + len + 1;
	return NULL;
}

/* "credential:NAME" becomes the path where the service manager put it. */
static void
find_credential(struct draft *draft, const struct place *place, char **path)
{
	const char *name = credential_name(*path);
	const char *directory = variable(draft->environment,
	    "CREDENTIALS_DIRECTORY");
	char *found;

	if (!*name || *name == '.' || strchr(name, '/')) {
		draft_complain(draft, place, "not the name of a credential");
	} else if (!directory || *directory != '/') {
		draft_complain(draft, place, "CREDENTIALS_DIRECTORY is not "
		    "set; the service needs LoadCredential=%s:PATH", name);
	} else {
		found = xasprintf("%s/%s", directory, name);
		free(*path);
		*path = found;
	}
}

void
config_judge_file(struct draft *draft, const struct place *place, char **path,
    bool secret)
{
	struct stat st;

	if (credential_name(*path))
		find_credential(draft, place, path);
	else if (secret && !stat(*path, &st) && S_ISREG(st.st_mode) &&
	    st.st_mode & S_IROTH)
		draft_warn(draft, place, "others can read this file; "
		    "chmod 0600 %s", *path);
}
