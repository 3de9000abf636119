/* SPDX-License-Identifier: ISC */
/*
 * Loaded before libc (LD_PRELOAD), it stands between the program and the
 * system: counts calls over all threads, and kills the process before one of
 * them, has it fail, cuts it short, or makes the wall clock wrong. What it is
 * to do is in a file that the test has mapped as well, see faults.py, so that
 * it can change on the way.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The order is that of KINDS in faults.py. */
enum kind {
	OPEN, PREAD, PWRITE, FSYNC, FDATASYNC, RENAMEAT, UNLINKAT, FUTIMENS,
	FCHMOD, FLOCK, MKDIRAT, WRITE, SEND, RECV, CONNECT, ACCEPT, CLOSE,
	SYNCFS, SOCKET, STAT, OPEN_TO_WRITE,
};

enum { TRACE_SIZE = 8192 };

struct orders {
	uint64_t counted; /* a bit for each kind */
	_Atomic uint64_t count;
	uint64_t kill_at;
	uint64_t fail_from, fail_until, error; /* of those counted */
	uint64_t failing, failing_error;       /* kinds, until further notice */
	uint64_t at_most; /* bytes at once; 0: any */
	int64_t offset;   /* seconds that the wall clock is wrong */
	uint8_t trace[TRACE_SIZE];
};

static struct orders none, *orders = &none;

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*orders), PROT_READ | PROT_WRITE, MAP_SHARED,
	    fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		orders = map;
}

/* Whether the call is to fail, with errno set. */
static bool
fails(enum kind kind)
{
	struct orders *o = orders;
	uint64_t number;

	if (o->counted >> kind & 1) {
		number = atomic_fetch_add(&o->count, 1) + 1;
		if (number < TRACE_SIZE)
			o->trace[number] = (uint8_t)(kind + 1);
		if (number == o->kill_at)
			syscall(SYS_tgkill, getpid(), gettid(), SIGKILL);
		if (number >= o->fail_from && number < o->fail_until) {
			errno = (int)o->error;
			return true;
		}
	}
	if (o->failing >> kind & 1) {
		errno = (int)o->failing_error;
		return true;
	}
	return false;
}

static size_t
cut(size_t len)
{
	return orders->at_most && len > orders->at_most ? orders->at_most : len;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define STANDS_FOR(result, kind, name, parameters, arguments) \
	result name parameters                                \
	{                                                     \
		return fails(kind) ? -1 : REAL(name) arguments; \
	}

STANDS_FOR(ssize_t, PREAD, pread, (int fd, void *to, size_t len, off_t at),
    (fd, to, len, at))
STANDS_FOR(ssize_t, PWRITE, pwrite,
    (int fd, const void *from, size_t len, off_t at), (fd, from, cut(len), at))
STANDS_FOR(ssize_t, WRITE, write, (int fd, const void *from, size_t len),
    (fd, from, len))
STANDS_FOR(ssize_t, SEND, send,
    (int fd, const void *from, size_t len, int flags),
    (fd, from, cut(len), flags))
STANDS_FOR(ssize_t, RECV, recv, (int fd, void *to, size_t len, int flags),
    (fd, to, cut(len), flags))
STANDS_FOR(int, FSYNC, fsync, (int fd), (fd))
STANDS_FOR(int, FDATASYNC, fdatasync, (int fd), (fd))
STANDS_FOR(int, RENAMEAT, renameat,
    (int at, const char *from, int to_at, const char *to),
    (at, from, to_at, to))
STANDS_FOR(int, UNLINKAT, unlinkat, (int at, const char *path, int flags),
    (at, path, flags))
STANDS_FOR(int, FUTIMENS, futimens, (int fd, const struct timespec times[2]),
    (fd, times))
STANDS_FOR(int, FCHMOD, fchmod, (int fd, mode_t mode), (fd, mode))
STANDS_FOR(int, FLOCK, flock, (int fd, int operation), (fd, operation))
STANDS_FOR(int, MKDIRAT, mkdirat, (int at, const char *path, mode_t mode),
    (at, path, mode))
STANDS_FOR(int, SYNCFS, syncfs, (int fd), (fd))
STANDS_FOR(int, SOCKET, socket, (int domain, int type, int protocol),
    (domain, type, protocol))
STANDS_FOR(int, CONNECT, connect,
    (int fd, const struct sockaddr *address, socklen_t len),
    (fd, address, len))
STANDS_FOR(int, ACCEPT, accept4,
    (int fd, struct sockaddr *address, socklen_t *len, int flags),
    (fd, address, len, flags))
STANDS_FOR(int, STAT, fstat, (int fd, struct stat *to), (fd, to))
STANDS_FOR(int, STAT, fstatat,
    (int at, const char *path, struct stat *to, int flags),
    (at, path, to, flags))

/* Whatever it says, the descriptor is gone. */
int
close(int fd)
{
	bool failed = fails(CLOSE);
	int error = errno, result = REAL(close)(fd);

	if (!failed)
		return result;
	errno = error;
	return -1;
}

int
openat(int at, const char *path, int flags, ...)
{
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
	va_end(more);
	if (fails(flags & (O_WRONLY | O_RDWR) ? OPEN_TO_WRITE : OPEN))
		return -1;
	return REAL(openat)(at, path, flags, mode);
}

int
open(const char *path, int flags, ...)
{
	va_list more;
	mode_t mode;

	va_start(more, flags);
	mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
	va_end(more);
	return openat(AT_FDCWD, path, flags, mode);
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = REAL(clock_gettime)(clock, now);

	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		now->tv_sec += orders->offset;
	return result;
}

time_t
time(time_t *now)
{
	struct timespec found;

	clock_gettime(CLOCK_REALTIME, &found);
	if (now)
		*now = found.tv_sec;
	return found.tv_sec;
}
