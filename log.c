/* SPDX-License-Identifier: ISC */
/*
 * The log: one call, one line, one write. Text is logfmt, or JSON for
 * collectors. Whatever a client or a relay said appears only inside a quoted
 * value, with control characters made harmless.
 */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "json.h"
#include "thread.h"
#include "utf8.h"

enum {
	VALUE_MAX = 600, /* bytes of one value, as written */
	PAIRS_MAX = 3900, /* of all; with what else goes on a line still below
	                   * PIPE_BUF: a line is never torn */
	PATIENCE = 1000, /* ms */
};

static struct {
	enum log_target target;
	enum log_format format;
	_Atomic(enum log_level) level;
	int syslog;             /* a socket, once it is the target */
	bool to_file;           /* stderr is one, which never blocks */
	pthread_mutex_t lock;
	bool taken;             /* under it: somebody writes to stderr... */
	pthread_cond_t turn;    /* ...and who is next */
	atomic_uint dropped;
	atomic_bool stuck;      /* the last line could not be written */
} log_state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const int level_priorities[] = {
	LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

static void
open_syslog(void)
{
	static const struct timeval patience = {.tv_sec = PATIENCE / 1000};

	log_state.syslog = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(log_state.syslog, SOL_SOCKET, SO_SNDTIMEO, &patience,
	    sizeof(patience));
}

void
log_open(enum log_target target, enum log_format format, enum log_level level)
{
	struct stat err;

	log_state.target = target;
	log_state.format = format;
	log_state.level = level;
	log_state.to_file = fstat(STDERR_FILENO, &err) == 0 &&
	    S_ISREG(err.st_mode);
	thread_cond_init(&log_state.turn);
	if (target == LOG_TO_SYSLOG)
		open_syslog();
}

void
log_set_level(enum log_level level)
{
	atomic_store(&log_state.level, level);
}

/* Between quotes: both formats take the JSON escapes. */
static void
add_quoted(struct buf *line, const char *value)
{
	size_t end = line->len + VALUE_MAX;

	buf_addc(line, '"');
	for (size_t bytes; *value && line->len <= end; value += bytes) {
		uint32_t c;

		bytes = utf8_read(value, strnlen(value, 4), &c);
		if (!bytes) { /* shown as if it were Latin-1 */
			c = (unsigned char)*value;
			bytes = 1;
		}
		json_add_character(line, c);
	}
	buf_adds(line, *value ? "...\"" : "\"");
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
	buf_adds(line, line->len ? " " : "");
	buf_adds(line, key);
	buf_addc(line, '=');
	if (is_bare_word(value) && strlen(value) <= VALUE_MAX)
		buf_adds(line, value);
	else
		add_quoted(line, value);
}

static void
add_time(struct buf *line)
{
	struct buf text = {0};
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	clock_add_utc(&text, now.tv_sec, 'T');
	buf_addf(&text, ".%03ldZ", now.tv_nsec / 1000000);
	add_pair(line, "time", text.data);
	buf_free(&text);
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

/* RFC 3164. Not by syslog(3), which waits for a syslogd that does not read for
 * as long as it does not; and each line goes to the name, not to a socket that
 * we are connected to, so that a syslogd that was started anew is found. */
static bool
write_to_syslog(enum log_level level, const struct buf *line)
{
	const struct sockaddr_un there = {
		.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	int flags = atomic_load(&log_state.stuck) ? MSG_DONTWAIT : 0;
	struct buf packet = {0};
	bool written;

	buf_addf(&packet, "<%d>", LOG_MAIL | level_priorities[level]);
	clock_add_stamp(&packet, time(NULL), false);
	buf_addf(&packet, " smarthost[%d]: %s", (int)getpid(), line->data);
	written = sendto(log_state.syslog, packet.data, packet.len,
	    flags | MSG_NOSIGNAL, (const struct sockaddr *)&there,
	    sizeof(there)) >= 0;
	atomic_store(&log_state.stuck, !written);
	buf_free(&packet);
	return written;
}

/* pthread_mutex_timedlock() would be on the wall clock, and lose a line when
 * that is set. */
static bool
take_turn(void)
{
	int64_t deadline = clock_now() + PATIENCE;
	bool mine;

	pthread_mutex_lock(&log_state.lock);
	while (log_state.taken && !atomic_load(&log_state.stuck) &&
	    thread_wait(&log_state.turn, &log_state.lock, deadline))
		;
	mine = !log_state.taken;
	log_state.taken = true;
	pthread_mutex_unlock(&log_state.lock);
	return mine;
}

static void
give_turn(void)
{
	pthread_mutex_lock(&log_state.lock);
	log_state.taken = false;
	pthread_cond_signal(&log_state.turn);
	pthread_mutex_unlock(&log_state.lock);
}

/* A pipe that poll() calls writable takes one write of up to PIPE_BUF without
 * waiting, and of two threads that were told so the second could wait for
 * ever: so they take turns. Should another process fill the pipe behind our
 * poll(), one thread waits in write() and all others give up their turns.
 * (O_NONBLOCK would hold for everybody who has the same stderr, and a thread
 * of its own would lose the last lines of a crash.) */
static bool
write_to_stderr(const struct buf *line)
{
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
	bool written = false;

	if (log_state.to_file)
		return write(STDERR_FILENO, line->data, line->len) >= 0;
	if (take_turn()) {
		int patience = atomic_load(&log_state.stuck) ? 0 : PATIENCE;

		written = poll(&fd, 1, patience) == 1 &&
		    write(STDERR_FILENO, line->data, line->len) >= 0;
		atomic_store(&log_state.stuck, !written);
		give_turn();
	} else {
		atomic_store(&log_state.stuck, true);
	}
	return written;
}

static void
end_line(struct buf *line, enum log_level level)
{
	unsigned lost = atomic_exchange(&log_state.dropped, 0);
	char count[16];
	bool written;

	if (lost) {
		snprintf(count, sizeof(count), "%u", lost);
		add_pair(line, "lost_lines", count);
	}
	if (log_state.format == LOG_AS_JSON)
		buf_addc(line, '}');
	if (log_state.target == LOG_TO_SYSLOG) {
		written = write_to_syslog(level, line);
	} else {
		buf_addc(line, '\n');
		written = write_to_stderr(line);
	}
	if (!written)
		atomic_fetch_add(&log_state.dropped, lost + 1);
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

		if (value && line.len + VALUE_MAX < PAIRS_MAX)
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

void
log_sentences(enum log_level level, const char *prefix, const char *sentences)
{
	while (*sentences) {
		size_t len = strcspn(sentences, "\n");

		log_message(level, "%s%.*s", prefix, (int)len, sentences);
		sentences += len + (sentences[len] != '\0');
	}
}
