/* SPDX-License-Identifier: ISC */
/*
 * The log: one call, one line, one write. Text is logfmt, or JSON for
 * collectors. Whatever a client or a relay said appears only inside a quoted
 * value, with control characters made harmless.
 */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"

enum {
	VALUE_MAX = 600, /* bytes of one value */
	LINE_MAX_BYTES = 4000, /* below PIPE_BUF: a line is never torn */
	PATIENCE_MS = 1000,
};

static struct {
	enum log_target target;
	enum log_format format;
	enum log_level level;
	atomic_uint dropped;
	atomic_bool stuck;      /* the last line could not be written */
} log_state;

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const int level_priorities[] = {
	LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

void
log_open(enum log_target target, enum log_format format, enum log_level level)
{
	log_state.target = target;
	log_state.format = format;
	log_state.level = level;
	if (target == LOG_TO_SYSLOG)
		openlog("smarthost", LOG_PID | LOG_NDELAY, LOG_MAIL);
}

/* Between quotes: both formats take the JSON escapes. */
static void
add_quoted(struct buf *line, const char *value)
{
	size_t len = strlen(value);

	buf_addc(line, '"');
	for (size_t i = 0; i < len && i < VALUE_MAX; i++) {
		unsigned char c = (unsigned char)value[i];

		if (c == '"' || c == '\\')
			buf_addf(line, "\\%c", c);
		else if (c < ' ' || c > '~')
			buf_addf(line, "\\u%04x", c);
		else
			buf_addc(line, (char)c);
	}
	buf_adds(line, len > VALUE_MAX ? "...\"" : "\"");
}

static bool
is_bare_word(const char *value)
{
	if (!*value)
		return false;
	for (; *value; value++)
		if (*value <= ' ' || *value > '~' || strchr("\"\\=", *value))
			return false;
	return true;
}

static void
add_pair(struct buf *line, const char *key, const char *value)
{
	if (log_state.format == LOG_AS_JSON) {
		buf_addf(line, "%s\"%s\":", line->len > 1 ? "," : "", key);
		add_quoted(line, value);
		return;
	}
	buf_addf(line, "%s%s=", line->len ? " " : "", key);
	if (is_bare_word(value) && strlen(value) <= VALUE_MAX)
		buf_adds(line, value);
	else
		add_quoted(line, value);
}

static void
add_time(struct buf *line)
{
	struct timespec now;
	struct tm utc;
	char text[32];
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + len, sizeof(text) - len, ".%03ldZ",
	    now.tv_nsec / 1000000);
	add_pair(line, "time", text);
}

static void
start_line(struct buf *line, enum log_level level, const char *event)
{
	if (log_state.format == LOG_AS_JSON)
		buf_addc(line, '{');
	if (log_state.target == LOG_TO_STDERR)
		add_time(line);
	add_pair(line, "level", level_names[level]);
	add_pair(line, "event", event);
}

/* A reader that does not read must not stop the mail: it is waited for once,
 * and then not again until it has read something. */
static bool
stderr_takes_a_line(void)
{
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&fd, 1, atomic_load(&log_state.stuck) ? 0
							  : PATIENCE_MS) == 1;
}

static void
write_line(struct buf *line)
{
	bool written = stderr_takes_a_line() &&
	    write(STDERR_FILENO, line->data, line->len) >= 0;

	atomic_store(&log_state.stuck, !written);
	if (!written)
		atomic_fetch_add(&log_state.dropped, 1);
}

static void
end_line(struct buf *line, enum log_level level)
{
	unsigned lost = atomic_exchange(&log_state.dropped, 0);
	char count[16];

	if (lost) {
		snprintf(count, sizeof(count), "%u", lost);
		add_pair(line, "lost_lines", count);
	}
	if (log_state.format == LOG_AS_JSON)
		buf_addc(line, '}');
	if (log_state.target == LOG_TO_SYSLOG) {
		syslog(level_priorities[level], "%s", line->data);
	} else {
		buf_addc(line, '\n');
		write_line(line);
	}
	buf_free(line);
}

static bool
is_silent(enum log_level level)
{
	return log_state.target == LOG_TO_NOWHERE || level > log_state.level;
}

void
log_event(enum log_level level, const char *event, ...)
{
	struct buf line = {0};
	int saved = errno;
	va_list pairs;
	const char *key;

	if (is_silent(level))
		return;
	start_line(&line, level, event);
	va_start(pairs, event);
	while ((key = va_arg(pairs, const char *))) {
		const char *value = va_arg(pairs, const char *);

		if (value && line.len + VALUE_MAX < LINE_MAX_BYTES)
			add_pair(&line, key, value);
	}
	va_end(pairs);
	end_line(&line, level);
	errno = saved;
}

void
log_message(enum log_level level, const char *format, ...)
{
	char text[VALUE_MAX];
	int saved = errno;
	va_list args;

	if (is_silent(level))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_event(level, "message", "text", text, NULL);
	errno = saved;
}
