/* Filters of system calls: each answers with an error number of its own for a call that
 * nobody needs, and would end the program for what only a tracer may have it call. */
#include "check.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define NTHREADS 2

static bool g_end, g_own;

/* For the call nr: action; all others are allowed. */
static int install(unsigned nr, uint32_t action, unsigned flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

static bool answers(long nr, int error)
{
	return syscall(nr, -1, 0, 0) == -1 && errno == error;
}

static void filter_setup(void)
{
	need(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	need(!install(SYS_swapoff, SECCOMP_RET_ERRNO | EXDEV, 0));
	/* what a capture and a rebuild call */
	need(!install(SYS_personality, SECCOMP_RET_KILL_PROCESS, 0));
	need(!install(SYS_sigaltstack, SECCOMP_RET_KILL_PROCESS, 0));
	need(!install(SYS_prctl, SECCOMP_RET_ERRNO | EPERM, SECCOMP_FILTER_FLAG_LOG));
}

static void filter_verify(void)
{
	check(answers(SYS_swapoff, EXDEV), "filter: swapoff: %s", strerror(errno));
	check(answers(SYS_prctl, EPERM), "filter: prctl: %s", strerror(errno));
}

/* As the service manager's MemoryDenyWriteExecute= does. */
static void no_code_setup(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, PROT_EXEC | PROT_WRITE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_EXEC | PROT_WRITE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };

	need(!syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || errno == EPERM);
	need(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}

static void no_code_verify(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);

	check(at == MAP_FAILED && errno == EACCES, "no-code: memory for code was given");
}

/* ---- threads: what they have in common, and one each of its own ---------------------------- */

static struct worker {
	pthread_t thread;
	int index;
	_Atomic uint64_t rounds;
} g_workers[NTHREADS];

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	bool own = !install(SYS_acct, SECCOMP_RET_ERRNO | (uint32_t)(ENOMSG + w->index), 0);

	check(own, "threads: a filter of its own: %s", strerror(errno));
	while (!g_end) {
		check(answers(SYS_acct, ENOMSG + w->index), "thread %d: acct: %s", w->index,
		      strerror(errno));
		check(answers(SYS_swapon, EILSEQ), "thread %d: swapon: %s", w->index, strerror(errno));
		atomic_fetch_add(&w->rounds, 1);
		check_sleep_ms(2);
	}
	return NULL;
}

static void threads_setup(void)
{
	need(!syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || errno == EPERM);
	need(!install(SYS_swapon, SECCOMP_RET_ERRNO | EILSEQ, 0));
	g_own = true;
	for (int i = 0; i < NTHREADS; i++) {
		g_workers[i].index = i;
		need(!pthread_create(&g_workers[i].thread, NULL, worker_main, &g_workers[i]));
	}
}

static void threads_verify(void)
{
	/* which of two that are not there */
	check(answers(SYS_swapon, EILSEQ), "threads: swapon: %s", strerror(errno));
	check(!answers(SYS_acct, ENOMSG) && !answers(SYS_acct, ENOMSG + 1),
	      "threads: the leader has a thread's filter");
}

static void threads_finish(void)
{
	g_end = true;
	for (int i = 0; i < NTHREADS; i++) {
		pthread_join(g_workers[i].thread, NULL);
		check(g_workers[i].rounds > 0, "thread %d did nothing", i);
	}
}

/* ---- one more for all threads at once, which takes that they have the same ones so far ------ */

static void *sleeper_main(void *arg)
{
	while (!g_end)
		check_sleep_ms(2);
	return NULL;
}

static void sync_setup(void)
{
	need(!syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || errno == EPERM);
	need(!install(SYS_swapon, SECCOMP_RET_ERRNO | EILSEQ, 0));
	for (int i = 0; i < NTHREADS; i++)
		need(!pthread_create(&g_workers[i].thread, NULL, sleeper_main, NULL));
}

static void sync_verify(void)
{
	static unsigned rounds;

	/* they add up; and threads that have some of their own cannot have one in common */
	if (++rounds > 30 || g_own)
		return;
	check(install(SYS_acct, SECCOMP_RET_ERRNO | ENOMSG, SECCOMP_FILTER_FLAG_TSYNC) == 0,
	      "sync: a filter for all threads is refused");
	check(answers(SYS_acct, ENOMSG), "sync: acct: %s", strerror(errno));
}

static void sync_finish(void)
{
	g_end = true;
	for (int i = 0; i < NTHREADS; i++)
		pthread_join(g_workers[i].thread, NULL);
}

static const struct check_kind KINDS[] = {
	{ "filter", filter_setup, filter_verify, NULL },
	{ "no-code", no_code_setup, no_code_verify, NULL },
	{ "sync", sync_setup, sync_verify, sync_finish },
	{ "threads", threads_setup, threads_verify, threads_finish },
};

int main(int argc, char **argv)
{
	check_kinds(argc, argv, "filters", KINDS, sizeof(KINDS) / sizeof(*KINDS));
}
