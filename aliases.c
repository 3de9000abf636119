/* SPDX-License-Identifier: ISC */
/*
 * The aliases file. A line that begins with a blank goes on with the one
 * before it; comments and empty lines are nothing. Everything is looked at
 * before anything is used: a file with one line that makes no sense is not
 * used at all, so that half an edit sends nobody's mail astray.
 */
#include "aliases.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "address.h"
#include "buf.h"

enum {
	FILE_MAX = 4 * 1024 * 1024,
	SHOWN = 100,    /* bytes of a name or a target in a sentence */
	DEPTH_MAX = 50, /* of aliases of aliases */
};

struct parser {
	const char *file;
	const struct aliases_talk *talk;
	struct aliases *aliases;
	struct buf entry; /* name and targets, unfolded */
	unsigned line;    /* of the entry, */
	unsigned at;      /* and in hand */
};

static void
say(struct buf *out, const struct parser *p, unsigned line, const char *what,
    const char *text)
{
	buf_addf(out, "%s:%u: ", p->file, line);
	if (text) {
		buf_addc(out, '"');
		buf_add_printable(out, text, strlen(text), SHOWN);
		buf_adds(out, "\" ");
	}
	buf_addf(out, "%s\n", what);
}

static void
complain(const struct parser *p, const char *what, const char *text)
{
	say(p->talk->errors, p, p->line, what, text);
}

static void
warn(const struct parser *p, const char *what, const char *text)
{
	say(p->talk->warnings, p, p->line, what, text);
}

/* --- Targets ------------------------------------------------------------- */

static void
add_target(struct alias *a, char *target)
{
	size_t n = a->count++;

	if ((n & (n - 1)) == 0) /* grow at each power of two */
		a->targets = xrealloc(a->targets, n ? 2 * n : 1,
		    sizeof(*a->targets));
	a->targets[n] = target;
}

/* What sendmail would do with it, and we do not; or NULL. */
static const char *
refusal_of(const char *target)
{
	target += *target == '"';
	if (*target == '|')
		return "is left out: smarthost runs no command";
	if (*target == '/')
		return "is left out: smarthost writes to no file";
	if (!strncasecmp(target, ":include:", 9))
		return "is left out: smarthost reads no list from a file; "
		       "write the addresses here";
	return NULL;
}

struct found {
	struct buf text;
	size_t count;
};

static void
found_address(void *context, const char *mailbox, size_t len)
{
	struct found *found = context;

	found->count++;
	buf_add(&found->text, mailbox, len);
}

static void
take_target(struct parser *p, struct alias *a, const char *target)
{
	const char *refusal = refusal_of(target);
	bool last = *target == '\\';
	struct found found = {.count = 0};
	size_t broken;

	if (refusal) {
		warn(p, refusal, target);
		return;
	}
	buf_adds(&found.text, last ? "\\" : "");
	broken = address_list(target + last, strlen(target + last),
	    found_address, &found);
	if (found.count == 1 && !broken &&
	    !refusal_of(found.text.data + last))
		add_target(a, buf_take(&found.text));
	else
		complain(p, "is not an address", target);
	buf_free(&found.text);
}

/* Up to the next comma that is not in quotes or in a comment; NUL if it is the
 * last. */
static char *
target_end(char *s)
{
	bool quoted = false;
	unsigned depth = 0;

	for (; *s; s++) {
		if (*s == '\\' && (quoted || depth) && s[1])
			s++;
		else if (*s == '"' && !depth)
			quoted = !quoted;
		else if (*s == '(' && !quoted)
			depth++;
		else if (*s == ')' && !quoted && depth)
			depth--;
		else if (*s == ',' && !quoted && !depth)
			break;
	}
	return s;
}

static char *
trim(char *s)
{
	size_t len;

	s += strspn(s, " \t");
	len = strlen(s);
	while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
		s[--len] = '\0';
	return s;
}

static void
take_targets(struct parser *p, struct alias *a, char *list)
{
	bool more = true;
	bool any = false;

	while (more) {
		char *end = target_end(list);

		more = *end != '\0';
		*end = '\0';
		list = trim(list);
		if (*list)
			take_target(p, a, list);
		any |= *list != '\0';
		list = end + 1;
	}
	if (!any)
		complain(p, "says nothing about where its mail goes", a->name);
}

/* --- Entries ------------------------------------------------------------- */

/* Takes the name off the front, which has no quotes then. NULL: there is
 * none. */
static char *
take_name(char **rest)
{
	char *name = *rest, *to = name, *end;

	if (*name != '"') {
		end = strchr(name, ':');
		if (!end)
			return NULL;
		*end = '\0';
		*rest = end + 1;
		return trim(name);
	}
	for (end = name + 1; *end && *end != '"'; end++)
		end += *end == '\\' && end[1];
	if (!*end || end[1 + strspn(end + 1, " \t")] != ':')
		return NULL;
	*rest = strchr(end, ':') + 1;
	for (char *from = name + 1; from < end; from++) {
		from += *from == '\\';
		*to++ = *from;
	}
	*to = '\0';
	return name;
}

static struct alias *
add_alias(struct parser *p, const char *name)
{
	struct aliases *all = p->aliases;
	size_t n = all->count++;

	if ((n & (n - 1)) == 0)
		all->list = xrealloc(all->list, n ? 2 * n : 1,
		    sizeof(*all->list));
	all->list[n] = (struct alias){.name = xstrdup(name), .line = p->line};
	return &all->list[n];
}

static void
end_entry(struct parser *p)
{
	char *rest = p->entry.data, *name;

	if (!p->entry.len)
		return;
	name = take_name(&rest);
	if (!name || !*name)
		complain(p, "is not of the form name: address, address",
		    p->entry.data);
	else if (strchr(name, '@'))
		warn(p, "is left out: only names of this host have aliases",
		    name);
	else
		take_targets(p, add_alias(p, name), rest);
	buf_clear(&p->entry);
}

static void
take_line(struct parser *p, const char *s, size_t len)
{
	size_t blanks = 0;

	while (len && (s[len - 1] == '\r' || s[len - 1] == ' ' ||
			  s[len - 1] == '\t'))
		len--;
	while (blanks < len && (s[blanks] == ' ' || s[blanks] == '\t'))
		blanks++;
	if (blanks == len || s[blanks] == '#')
		return;
	if (!blanks) {
		end_entry(p);
		p->line = p->at;
	} else if (!p->entry.len) {
		say(p->talk->errors, p, p->at, "goes on with nothing: a name "
		    "begins at the left margin", NULL);
		return;
	}
	if (memchr(s, '\0', len))
		say(p->talk->errors, p, p->at, "holds a NUL byte", NULL);
	else
		buf_add(&p->entry, s, len);
}

/* --- The whole ----------------------------------------------------------- */

static int
compare(const void *a, const void *b)
{
	const struct alias *x = a, *y = b;
	int order = strcasecmp(x->name, y->name);

	return order ? order : (x->line > y->line) - (x->line < y->line);
}

static void
free_alias(struct alias *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->targets[i]);
	free(a->targets);
	free(a->name);
}

/* Sorts, and keeps the first of each name. */
static void
sort(struct parser *p)
{
	struct aliases *all = p->aliases;
	size_t kept = 0;

	if (!all->count)
		return;
	qsort(all->list, all->count, sizeof(*all->list), compare);
	for (size_t i = 0; i < all->count; i++) {
		struct alias *a = &all->list[i];

		if (kept && !strcasecmp(all->list[kept - 1].name, a->name)) {
			say(p->talk->warnings, p, a->line, "is left out: it "
			    "has an alias already", a->name);
			free_alias(a);
		} else {
			all->list[kept++] = *a;
		}
	}
	all->count = kept;
}

/* What has been seen of each alias: LEFT and so many more is how many others it
 * leads through. */
enum mark { UNSEEN, ENTERED, LEFT };

/* Whether following it leads back, or on for too long. One that is its own
 * target is no loop: the name is meant as it is. */
static bool
has_loop(const struct aliases *all, size_t i, unsigned char *marks,
    unsigned depth)
{
	const struct alias *a = &all->list[i];
	bool loop = depth > DEPTH_MAX;
	unsigned through = 0;

	marks[i] = ENTERED;
	for (size_t k = 0; k < a->count && !loop; k++) {
		const struct alias *next = aliases_find(all, a->targets[k]);
		size_t at = next ? (size_t)(next - all->list) : 0;

		if (!next || next == a)
			continue;
		loop = marks[at] == ENTERED || (marks[at] == UNSEEN &&
		    has_loop(all, at, marks, depth + 1));
		if (!loop && marks[at] - LEFT + 1U > through)
			through = marks[at] - LEFT + 1U;
	}
	loop = loop || through > DEPTH_MAX;
	marks[i] = (unsigned char)(LEFT + (loop ? 0 : through));
	return loop;
}

static void
find_loops(struct parser *p)
{
	const struct aliases *all = p->aliases;
	unsigned char *marks = xcalloc(all->count + 1, 1);

	for (size_t i = 0; i < all->count; i++)
		if (marks[i] == UNSEEN && has_loop(all, i, marks, 0))
			say(p->talk->errors, p, all->list[i].line, "is in a "
			    "loop, or leads through more than 50 aliases",
			    all->list[i].name);
	free(marks);
}

struct aliases *
aliases_parse(const char *file, const char *text, size_t len,
    const struct aliases_talk *talk)
{
	struct parser p = {.file = file, .talk = talk,
		.aliases = xcalloc(1, sizeof(struct aliases))};

	p.aliases->holders = 1;
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t line = end ? (size_t)(end - text) : len;

		p.at++;
		take_line(&p, text, line);
		text += line + (end != NULL);
		len -= line + (end != NULL);
	}
	end_entry(&p);
	buf_free(&p.entry);
	sort(&p);
	find_loops(&p);
	return p.aliases;
}

/* False with errno set. */
static bool
read_all(int fd, struct buf *text)
{
	char *piece = xmalloc(32 * 1024);
	struct stat st;
	ssize_t got = 1;

	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		errno = EINVAL;
		got = -1;
	}
	while (got > 0 && text->len <= FILE_MAX) {
		got = read(fd, piece, 32 * 1024);
		if (got > 0)
			buf_add(text, piece, (size_t)got);
	}
	if (got > 0)
		errno = EFBIG;
	free(piece);
	return got == 0;
}

struct aliases *
aliases_read(const char *file, const struct aliases_talk *talk)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct aliases *all = NULL;
	struct buf text = {0};
	int error;

	if (fd < 0)
		return NULL;
	if (read_all(fd, &text))
		all = aliases_parse(file, buf_text(&text), text.len, talk);
	error = errno;
	buf_free(&text);
	close(fd);
	errno = error;
	return all;
}

void
aliases_free(struct aliases *all)
{
	if (!all)
		return;
	for (size_t i = 0; i < all->count; i++)
		free_alias(&all->list[i]);
	free(all->list);
	free(all);
}

const struct alias *
aliases_find(const struct aliases *all, const char *name)
{
	size_t low = 0, high = all->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcasecmp(name, all->list[middle].name);

		if (order == 0)
			return &all->list[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
