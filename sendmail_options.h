/* SPDX-License-Identifier: ISC */
#ifndef SENDMAIL_OPTIONS_H
#define SENDMAIL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum sendmail_mode {
	MODE_DELIVER,     /* -bm, and the default */
	MODE_QUEUE_LIST,  /* -bp, mailq */
	MODE_ALIASES,     /* -bi, -I, newaliases */
	MODE_QUEUE_RUN,   /* -q */
	MODE_SESSION,     /* -bs */
	MODE_VERIFY,      /* -bv */
	MODE_DAEMON,      /* -bd, -bD */
	MODE_UNSUPPORTED, /* -bt and other letters */
};

/* What the command line asks for. The strings are those of argv. */
struct sendmail_options {
	enum sendmail_mode mode;
	char unsupported;        /* the letter behind -b, for
	                          * MODE_UNSUPPORTED */
	const char *queue_id;    /* -qI; NULL: everything */
	const char *sender;      /* -f, -r; NULL: the calling user */
	const char *full_name;   /* -F */
	const char *config;      /* -C */
	const char *notify;      /* -N */
	const char *returns;     /* -R */
	const char *envelope_id; /* -V */
	bool extract;            /* -t */
	bool dot_is_content;     /* -i, -oi */
	bool verbose;            /* -v */
	bool queue_run;          /* -q, which a message to send overrides */
	bool queue_only;         /* -odq, -odd: no attempt now */
	bool quiet;              /* -oeq: only the exit status */
	char **recipients;       /* the rest of argv */
	size_t recipient_count;
};

/* Reads the command line as sendmail has done for forty years: values joined
 * or apart, letters bundled, unknown -o and -O settings ignored. False with
 * the option at fault: it lacks its value, or begins with two dashes. Nothing
 * here opens a file or runs a command. */
bool sendmail_options(struct sendmail_options *, int argc, char **argv,
    const char **bad);

#endif
