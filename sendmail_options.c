/* SPDX-License-Identifier: ISC */
/*
 * The sendmail command line. Callers pass what they have always passed, so a
 * flag that means nothing here is accepted and ignored; its value is never
 * taken for a recipient.
 */
#include "sendmail_options.h"

#include <string.h>

/* How an option takes its value. */
enum value {
	FLAG,      /* none: the next letter may be another option */
	JOINED,    /* what is behind it in the same word, if anything */
	DEMANDED,  /* the rest of the word, or else the next word */
};

static enum value
value_of(char option)
{
	if (strchr("fFrCBNRVhLXOopAbeMDaSHw", option))
		return DEMANDED;
	return strchr("dqQ", option) ? JOINED : FLAG;
}

static enum sendmail_mode
mode_of(char letter)
{
	switch (letter) {
	case 'm':
	case '\0':
		return MODE_DELIVER;
	case 'p':
		return MODE_QUEUE_LIST;
	case 'i':
		return MODE_ALIASES;
	case 's':
		return MODE_SESSION;
	case 'v':
		return MODE_VERIFY;
	case 'd':
	case 'D':
		return MODE_DAEMON;
	default:
		return MODE_UNSUPPORTED;
	}
}

static void
set_flag(struct sendmail_options *o, char option)
{
	if (option == 't')
		o->extract = true;
	else if (option == 'i')
		o->dot_is_content = true;
	else if (option == 'v')
		o->verbose = true;
	else if (option == 'I')
		o->mode = MODE_ALIASES;
}

/* -o is followed by a letter and that one's value. */
static void
set_setting(struct sendmail_options *o, const char *value)
{
	if (strcmp(value, "i") == 0)
		o->dot_is_content = true;
	else if (value[0] == 'd')
		o->queue_only = value[1] == 'q' || value[1] == 'd';
	else if (value[0] == 'e')
		o->quiet = value[1] == 'q';
}

static void
set_value(struct sendmail_options *o, char option, const char *value)
{
	switch (option) {
	case 'f':
	case 'r':
		o->sender = value;
		break;
	case 'F':
		o->full_name = value;
		break;
	case 'C':
		o->config = value;
		break;
	case 'N':
		o->notify = value;
		break;
	case 'R':
		o->returns = value;
		break;
	case 'V':
		o->envelope_id = value;
		break;
	case 'b':
		o->mode = mode_of(*value);
		o->unsupported = *value;
		break;
	case 'q':
		o->queue_run = true;
		o->queue_id = *value == 'I' ? value + 1 : NULL;
		break;
	case 'o':
		set_setting(o, value);
		break;
	case 'e':
		o->quiet = *value == 'q';
		break;
	default:
		break;
	}
}

/* One word of options; how many further words it used, or -1. */
static int
read_word(struct sendmail_options *o, char *word, char *next)
{
	if (word[1] == '-') /* no sendmail has words, such as --help */
		return -1;
	for (char *option = word + 1; *option; option++) {
		enum value kind = value_of(*option);

		if (kind == FLAG) {
			set_flag(o, *option);
			continue;
		}
		if (kind == JOINED || option[1]) {
			set_value(o, *option, option + 1);
			return 0;
		}
		if (!next)
			return -1;
		set_value(o, *option, next);
		return 1;
	}
	return 0;
}

static void
set_name(struct sendmail_options *o, const char *called_as)
{
	const char *slash = strrchr(called_as, '/');
	const char *name = slash ? slash + 1 : called_as;

	if (strcmp(name, "mailq") == 0)
		o->mode = MODE_QUEUE_LIST;
	else if (strcmp(name, "newaliases") == 0)
		o->mode = MODE_ALIASES;
}

/* Such as the 15m of "-q 15m". */
static bool
is_interval(const char *word)
{
	size_t digits = strspn(word, "0123456789");
	const char *unit = word + digits;

	return digits && !unit[strspn(unit, "smhdw")];
}

/* -q beside a message to send must not have it lost. */
static bool
wants_run(const struct sendmail_options *o)
{
	if (!o->queue_run || o->mode != MODE_DELIVER || o->extract)
		return false;
	return !o->recipient_count || (o->recipient_count == 1 &&
		is_interval(o->recipients[0]));
}

bool
sendmail_options(struct sendmail_options *o, int argc, char **argv,
    const char **bad)
{
	int i;

	*o = (struct sendmail_options){.mode = MODE_DELIVER};
	set_name(o, argv[0]);
	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		int used;

		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		used = read_word(o, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
		if (used < 0) {
			*bad = argv[i];
			return false;
		}
		i += used;
	}
	o->recipients = argv + i;
	o->recipient_count = (size_t)(argc - i);
	if (wants_run(o))
		o->mode = MODE_QUEUE_RUN;
	return true;
}
