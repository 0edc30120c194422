/* Thread-local storage and restartable sequences: the TLS base of each thread,
 * glibc's rseq registration, and a per-CPU counter that is only right when the
 * kernel aborts critical sections as it must. */
#include "check.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/rseq.h>

#define NTHREADS 4
#define MAX_CPUS 1024

static atomic_bool g_end;
static struct { uint64_t count; char pad[56]; } g_per_cpu[MAX_CPUS];

static struct worker {
	pthread_t thread;
	int index;
	uint64_t added;
} g_workers[NTHREADS];

static _Thread_local uint64_t t_value;
static _Thread_local char t_block[3000];

static struct rseq *own_rseq(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* Adds 1 to this CPU's counter without a locked instruction. False when the
 * sequence was aborted, which a preemption or a migration in its middle does.
 * RSEQ_SIG must stand before the abort address (include/linux/rseq.h). */
static bool add_one(void)
{
	struct rseq *rs = own_rseq();
	uint32_t cpu = __atomic_load_n(&rs->cpu_id_start, __ATOMIC_RELAXED);

	if (cpu >= MAX_CPUS)
		return false;
	__asm__ goto volatile(
		".pushsection __rseq_cs, \"aw\"\n\t"
		".balign 32\n\t"
		"3: .long 0, 0\n\t"
		".quad 1f, 2f - 1f, 4f\n\t"
		".popsection\n\t"
		"leaq 3b(%%rip), %%rax\n\t"
		"movq %%rax, %c[cs](%[rs])\n\t"
		"1:\n\t"
		"cmpl %[cpu], %c[id](%[rs])\n\t"
		"jnz 4f\n\t"
		"movq (%[count]), %%rax\n\t"
		"movl $200, %%ecx\n\t"         /* long enough to be hit */
		"5: decl %%ecx\n\t"
		"jnz 5b\n\t"
		"addq $1, %%rax\n\t"
		"movq %%rax, (%[count])\n\t"
		"2:\n\t"
		".pushsection .text.abort, \"ax\"\n\t"
		".byte 0x0f, 0xb9, 0x3d\n\t"
		".long %c[sig]\n\t"
		"4: jmp %l[aborted]\n\t"
		".popsection\n\t"
		:
		: [rs] "r"(rs), [cpu] "r"(cpu), [count] "r"(&g_per_cpu[cpu].count),
		  [cs] "i"(offsetof(struct rseq, rseq_cs)), [id] "i"(offsetof(struct rseq, cpu_id)),
		  [sig] "i"(RSEQ_SIG)
		: "memory", "cc", "rax", "rcx"
		: aborted);
	return true;
aborted:
	return false;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	const uint64_t seed = check_mix((uint64_t)w->index);
	const void *const value_at = &t_value;
	unsigned long base = (unsigned long)__builtin_thread_pointer(), now;

	t_value = seed;
	check_fill(t_block, sizeof(t_block), seed);
	while (!g_end) {
		for (int i = 0; i < 100000; i++)
			w->added += add_one();
		check(t_value == seed && (const void *)&t_value == value_at,
		      "thread %d: a thread-local variable changed", w->index);
		check(check_differs(t_block, sizeof(t_block), seed) < 0,
		      "thread %d: thread-local block", w->index);
		check(!syscall(SYS_arch_prctl, ARCH_GET_FS, &now) && now == base,
		      "thread %d: FS base %#lx is %#lx", w->index, base, now);
		check((int)own_rseq()->cpu_id >= 0, "thread %d: rseq is not registered", w->index);
	}
	/* A second registration is refused only while the first is in force. */
	errno = 0;
	syscall(SYS_rseq, own_rseq(), __rseq_size < 32 ? 32 : __rseq_size, 0, RSEQ_SIG);
	check(errno == EBUSY, "thread %d: rseq again: %s", w->index, strerror(errno));
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t added = 0, counted = 0;

	check_init(argc, argv, "tls");
	if (!__rseq_size)
		check_skip("glibc has not registered rseq");
	for (int i = 0; i < NTHREADS; i++) {
		g_workers[i].index = i;
		need(!pthread_create(&g_workers[i].thread, NULL, worker_main, &g_workers[i]));
	}
	while (!check_stopping()) {
		check_sleep_ms(20);
		check_beat();
	}
	g_end = true;
	for (int i = 0; i < NTHREADS; i++) {
		pthread_join(g_workers[i].thread, NULL);
		added += g_workers[i].added;
	}
	for (int i = 0; i < MAX_CPUS; i++)
		counted += g_per_cpu[i].count;
	check(added == counted, "per-CPU counters hold %llu, %llu were added",
	      (unsigned long long)counted, (unsigned long long)added);
	check_done("%llu additions", (unsigned long long)added);
}
