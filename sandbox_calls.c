/* SPDX-License-Identifier: ISC */
/*
 * seccomp: which system calls there are for the daemon once it serves. The
 * others are not refused silently: their signal handler tells, so that a call
 * which a new version of the C library makes is found by a test, and answers
 * ENOSYS, which libraries expect of old kernels.
 */
#include "sandbox_calls.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* What is different from machine to machine. */
#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#define RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
#elif defined(__aarch64__)
#define MACHINE AUDIT_ARCH_AARCH64
#define RESULT(context) ((context)->uc_mcontext.regs[0])
#else
#define MACHINE 0 /* no filter */
#define RESULT(context) ((context)->uc_flags)
#endif

enum { CALLS_MAX = 512 };

static struct {
	bool as_json;
	atomic_bool told[CALLS_MAX];
} calls_state;

static const unsigned short allowed[] = {
	/* memory, threads, signals */
	SYS_brk, SYS_mmap, SYS_mprotect, SYS_munmap, SYS_mremap, SYS_madvise,
	SYS_futex, SYS_set_robust_list, SYS_rseq, SYS_sched_yield,
	SYS_sched_getaffinity, SYS_exit, SYS_exit_group, SYS_gettid,
	SYS_getpid, SYS_tgkill, SYS_rt_sigaction, SYS_rt_sigprocmask,
	SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_sigaltstack,
	SYS_restart_syscall, SYS_membarrier, SYS_set_tid_address,
	/* time, chance, who we are */
	SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday,
	SYS_clock_getres, SYS_getrandom, SYS_uname, SYS_getuid, SYS_geteuid,
	SYS_getgid, SYS_getegid, SYS_getrusage, SYS_prlimit64, SYS_getrlimit,
	SYS_setrlimit, SYS_sysinfo, SYS_times, SYS_umask, SYS_wait4,
	/* files */
	SYS_openat, SYS_close, SYS_read, SYS_write, SYS_readv, SYS_writev,
	SYS_pread64, SYS_pwrite64, SYS_lseek, SYS_fstat, SYS_newfstatat,
	SYS_statx, SYS_statfs, SYS_fstatfs, SYS_getdents64, SYS_fcntl,
	SYS_flock, SYS_fsync, SYS_fdatasync, SYS_syncfs, SYS_ftruncate,
	SYS_fallocate, SYS_fchmod, SYS_fchown, SYS_fchmodat, SYS_renameat,
	SYS_unlinkat, SYS_mkdirat, SYS_faccessat, SYS_faccessat2,
	SYS_readlinkat, SYS_utimensat, SYS_dup, SYS_dup3, SYS_pipe2,
	SYS_inotify_init1, SYS_inotify_add_watch, SYS_ppoll, SYS_ioctl,
	SYS_getcwd, SYS_memfd_create,
	/* the network */
	SYS_bind, SYS_connect, SYS_accept4, SYS_listen, SYS_getsockname,
	SYS_getpeername, SYS_setsockopt, SYS_getsockopt, SYS_sendto,
	SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg,
	SYS_shutdown, SYS_socketpair,
#ifdef SYS_open
	/* as older C libraries spell them */
	SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_poll, SYS_rename,
	SYS_unlink, SYS_mkdir, SYS_readlink, SYS_dup2, SYS_pipe, SYS_accept,
	SYS_utimes, SYS_chmod, SYS_getdents, SYS_arch_prctl, SYS_time,
	SYS_pause,
#endif
};

enum { COUNT = sizeof(allowed) / sizeof(allowed[0]) };

/* Everything in it is allowed in a signal handler. */
static void
tell(unsigned call)
{
	static const char *const before[] = {
		"level=error event=message text=\"system call ",
		"{\"level\":\"error\",\"event\":\"message\",\"text\":"
		"\"system call "};
	static const char *const behind[] = {
		" is not among those that are allowed\"\n",
		" is not among those that are allowed\"}\n"};
	char line[160] = "", digits[12], *digit = digits + sizeof(digits) - 1;

	*digit = '\0';
	do
		*--digit = (char)('0' + call % 10);
	while (call /= 10);
	stpcpy(stpcpy(stpcpy(line, before[calls_state.as_json]), digit),
	    behind[calls_state.as_json]);
	(void)!write(2, line, strlen(line));
}

static void
answer(int signal, siginfo_t *info, void *context)
{
	unsigned call = (unsigned)info->si_syscall % CALLS_MAX;
	int error = errno;

	(void)signal;
	if (!atomic_exchange(&calls_state.told[call], true))
		tell(call);
	RESULT((ucontext_t *)context) = -ENOSYS;
	errno = error;
}

static void
put(struct sock_filter **at, struct sock_filter one)
{
	*(*at)++ = one;
}

#define LOAD(member) (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, \
	offsetof(struct seccomp_data, member))
#define RETURN(what) (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, what)
#define SKIP_UNLESS(value) (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | \
	BPF_K, value, 0, 1)
#define SKIP_IF(value) (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | \
	BPF_K, value, 1, 0)
#define SKIP_IF_SET(bits) (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | \
	BPF_K, bits, 1, 0)

/* One family of sockets, whose number is loaded. */
static void
put_family(struct sock_filter **at, uint32_t family)
{
	put(at, SKIP_UNLESS(family));
	put(at, RETURN(SECCOMP_RET_ALLOW));
}

/* Threads may be started and no processes; of clone3(), whose flags cannot be
 * looked at, libraries know that kernels may lack it. Sockets are of the kinds
 * that we and the resolver use. Whatever asks to be let off is let off. */
static void
put_judged(struct sock_filter **at)
{
	put(at, SKIP_UNLESS((uint32_t)-1)); /* a debugger has taken it out */
	put(at, RETURN(SECCOMP_RET_ALLOW));
	put(at, SKIP_UNLESS(SYS_clone3));
	put(at, RETURN(SECCOMP_RET_ERRNO | ENOSYS));
	put(at, SKIP_UNLESS(SYS_prctl));
	put(at, RETURN(SECCOMP_RET_ERRNO | EPERM));
	put(at, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
	    SYS_clone, 0, 4));
	put(at, LOAD(args[0]));
	put(at, SKIP_IF_SET(CLONE_THREAD));
	put(at, RETURN(SECCOMP_RET_ERRNO | EPERM));
	put(at, RETURN(SECCOMP_RET_ALLOW));
	put(at, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
	    SYS_socket, 0, 10));
	put(at, LOAD(args[0]));
	put_family(at, AF_UNIX);
	put_family(at, AF_INET);
	put_family(at, AF_INET6);
	put_family(at, AF_NETLINK);
	put(at, RETURN(SECCOMP_RET_ERRNO | EAFNOSUPPORT));
}

static bool
install(struct sock_filter *filter)
{
	struct sock_filter *at = filter;
	struct sock_fprog program = {.filter = filter};

	put(&at, LOAD(arch));
	put(&at, SKIP_IF(MACHINE));
	put(&at, RETURN(SECCOMP_RET_KILL_PROCESS));
	put(&at, LOAD(nr));
	for (size_t i = 0; i < COUNT; i++) {
		put(&at, SKIP_UNLESS(allowed[i]));
		put(&at, RETURN(SECCOMP_RET_ALLOW));
	}
	put_judged(&at);
	put(&at, RETURN(SECCOMP_RET_TRAP));
	program.len = (unsigned short)(at - filter);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

bool
sandbox_calls(bool as_json)
{
	struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};
	struct sock_filter filter[2 * COUNT + 32];

	if (!MACHINE) {
		errno = EOPNOTSUPP;
		return false;
	}
	calls_state.as_json = as_json;
	action.sa_sigaction = answer;
	sigemptyset(&action.sa_mask);
	sigaction(SIGSYS, &action, NULL);
	return install(filter);
}
