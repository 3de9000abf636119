/* SPDX-License-Identifier: ISC */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>

enum log_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG };
enum log_target { LOG_TO_NOWHERE, LOG_TO_STDERR, LOG_TO_SYSLOG };
enum log_format { LOG_AS_TEXT, LOG_AS_JSON };

/*
 * Says where lines go; call it before the first thread starts. Until then
 * there is no log. A log that blocks or has gone never stops the mail: a line
 * that cannot be written within a second is dropped, and the next one that
 * can says how many were lost.
 */
void log_open(enum log_target, enum log_format, enum log_level);

/* What is worth a line from now on; in any thread. */
void log_set_level(enum log_level);

/*
 * One line for one event: its name, then pairs of key and value, ended by a
 * NULL key. A pair with a NULL value is left out. Values are made printable
 * and cut. Safe in any thread; errno is kept.
 */
void log_event(enum log_level, const char *event, ...)
    __attribute__((sentinel));

/* One line with a sentence for a person, as event=message. */
void log_message(enum log_level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Sentences, one a line, each as a line of its own behind the prefix. */
void log_sentences(enum log_level, const char *prefix, const char *sentences);

#endif
