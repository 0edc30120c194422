/* The stand-in's program; see standin.h. It runs in a process of any user, in any
 * namespaces, without files of its own: so it is a static executable without a C
 * library, a few KiB, which is part of libcor and reaches the process as a memfd. */
#include <linux/signal.h>
#include <linux/time_types.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#define COR_STANDIN_PROGRAM
#include "libcor/task/standin.h"

#define POLLIN 1
#define PR_SET_NAME 15
#define EAGAIN 11
#define EINTR 4
#define SIG_BLOCK_ 0
#define SIG_UNBLOCK_ 1
#define SIG_SETMASK_ 2
#define NSIGNALS 64
#define KNOWN_MAX 256
#define SI_QUEUE_ -1

struct pollfd_ { int fd; short events, revents; };
struct limit { uint64_t cur, max; };
struct iovec_ { void *base; size_t len; };

/* A siginfo_t, as far as it matters here. */
struct info {
	int32_t  signo, error, code, pad;
	int32_t  pid;
	uint32_t uid;
	uint64_t value;
	uint8_t  rest[96];
};
_Static_assert(sizeof(struct info) == 128, "as the kernel's");

/* All there is: the stack of a fresh program has room for it. */
struct standin {
	int signals;                    /* signalfd: only to be polled */
	struct info known[KNOWN_MAX];
	unsigned nknown;
};

static long call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

/* What gcc may call without a C library. */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}

void *memset(void *to, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile uint8_t *)to)[i] = (uint8_t)c;
	return to;
}

static void mask(int how, uint64_t set)
{
	call(SYS_rt_sigprocmask, how, (long)&set, 0, sizeof(set), 0);
}

/* By the signal itself where it kills or stops; comes back from a stop. */
static void raise_default(int sig)
{
	uint64_t action[4] = { 0 };     /* handler, flags, restorer, mask */

	call(SYS_rt_sigaction, sig, (long)action, 0, sizeof(uint64_t), 0);
	call(SYS_kill, call(SYS_getpid, 0, 0, 0, 0, 0), sig, 0, 0, 0);
	mask(SIG_UNBLOCK_, 1ull << (sig - 1));
	mask(SIG_BLOCK_, ~0ull);
}

__attribute__((noreturn)) static void finish(int status)
{
	struct limit none = { 0, 0 };
	int sig = status & 0x7f;

	if (sig) {
		/* the task may have left a core; its stand-in has none */
		call(SYS_prlimit64, 0, 4 /* RLIMIT_CORE */, (long)&none, 0, 0);
		raise_default(sig);
	}
	for (;;)
		call(SYS_exit_group, sig ? 128 + sig : status >> 8 & 0xff, 0, 0, 0, 0);
}

static int is_known(struct standin *s, const struct info *i)
{
	for (unsigned k = 0; k < s->nknown; k++) {
		const struct info *j = &s->known[k];

		if (i->signo != j->signo || i->code != j->code || i->pid != j->pid ||
		    i->uid != j->uid || i->value != j->value)
			continue;
		s->known[k] = s->known[--s->nknown];
		return 1;
	}
	return 0;
}

static void say(const struct info *info)
{
	struct cor_standin_message m = { .kind = COR_STANDIN_SIGNAL };

	memcpy(m.info, info, sizeof(*info));
	while (call(SYS_write, COR_STANDIN_FD, (long)&m, sizeof(m), 0, 0) == -EINTR)
		;
}

static void pass_signals(struct standin *s)
{
	struct __kernel_timespec now = { 0, 0 };
	uint64_t all = ~0ull;
	struct info i;

	for (;;) {
		long sig = call(SYS_rt_sigtimedwait, (long)&all, (long)&i, (long)&now, sizeof(all), 0);

		if (sig == -EINTR)
			continue;
		if (sig <= 0)
			return;
		if (is_known(s, &i))
			continue;
		/* the task went on, and so do we: nothing to tell it */
		if (i.signo == 18 /* SIGCONT */ && i.code == SI_QUEUE_ && i.value == COR_STANDIN_CONT)
			continue;
		say(&i);
	}
}

/* False: it is not for us to know. The pump's end is ours: who would know how the task
 * ends? */
static int obey(struct standin *s)
{
	struct cor_standin_message m;
	long n = call(SYS_read, COR_STANDIN_FD, (long)&m, sizeof(m), 0, 0);

	if (n == -EINTR || n == -EAGAIN)
		return 1;
	if (n != (long)sizeof(m))
		finish(9 /* SIGKILL */);
	switch (m.kind) {
	case COR_STANDIN_NAME:
		call(SYS_prctl, PR_SET_NAME, (long)m.info, 0, 0, 0);
		return 1;
	case COR_STANDIN_KNOWN:
		if (s->nknown < KNOWN_MAX)
			memcpy(&s->known[s->nknown++], m.info, sizeof(m.info));
		return 1;
	case COR_STANDIN_STOP:
		raise_default(m.value);
		return 1;
	case COR_STANDIN_END:
		finish(m.value);
	default:
		return 0;
	}
}

static void reset(void)
{
	uint64_t never[4] = { 0 };

	/* what was ignored would not come to us; timers were the task's */
	mask(SIG_SETMASK_, ~0ull);
	for (int which = 0; which < 3; which++)
		call(SYS_setitimer, which, (long)never, 0, 0, 0);
	call(SYS_close_range, COR_STANDIN_FD + 1, ~0u, 0, 0, 0);
	call(SYS_close, 0, 0, 0, 0, 0);
	call(SYS_chdir, (long)"/", 0, 0, 0, 0);
}

__attribute__((noreturn, used)) void standin_main(void);
void standin_main(void)
{
	struct standin s;
	uint64_t all = ~0ull;

	s.nknown = 0;
	reset();
	while (obey(&s))
		;               /* up to BEGIN */
	s.signals = (int)call(SYS_signalfd4, -1, (long)&all, sizeof(all), 0, 0);
	for (;;) {
		struct pollfd_ p[2] = { { COR_STANDIN_FD, POLLIN, 0 }, { s.signals, POLLIN, 0 } };

		pass_signals(&s);
		call(SYS_poll, (long)p, 2, -1, 0, 0);
		if (p[0].revents)
			obey(&s);
	}
}

__asm__(".globl _start\n"
	"_start:\n"
	"	xorl %ebp, %ebp\n"
	"	andq $-16, %rsp\n"
	"	call standin_main\n");
