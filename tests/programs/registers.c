/* General, x87, SSE, AVX and AVX-512 registers, each thread with values of its
 * own, held in a tight loop that touches no memory and makes no system call. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define NTHREADS 4

enum width { SSE, AVX, AVX512 };

struct state {
	unsigned char vec[32][64];
	uint64_t mask[8];
	uint64_t gpr[8];
	uint16_t x87_control, pad;
	uint32_t mxcsr;
	double x87[4];
} __attribute__((aligned(64)));

static atomic_bool g_end;
static enum width g_width;
static struct worker {
	pthread_t thread;
	_Atomic uint64_t rounds;
	int index;
} g_workers[NTHREADS];

#define VEC(op, reg, n, dir) dir(op, reg, n)
#define LOAD(op, reg, n)  #op " " #n "*64(%[in]), %%" #reg #n "\n\t"
#define STORE(op, reg, n) #op " %%" #reg #n ", " #n "*64(%[out])\n\t"
#define SIXTEEN(op, reg, dir) \
	VEC(op, reg, 0, dir) VEC(op, reg, 1, dir) VEC(op, reg, 2, dir) VEC(op, reg, 3, dir) \
	VEC(op, reg, 4, dir) VEC(op, reg, 5, dir) VEC(op, reg, 6, dir) VEC(op, reg, 7, dir) \
	VEC(op, reg, 8, dir) VEC(op, reg, 9, dir) VEC(op, reg, 10, dir) VEC(op, reg, 11, dir) \
	VEC(op, reg, 12, dir) VEC(op, reg, 13, dir) VEC(op, reg, 14, dir) VEC(op, reg, 15, dir)
#define UPPER(op, reg, dir) \
	VEC(op, reg, 16, dir) VEC(op, reg, 17, dir) VEC(op, reg, 18, dir) VEC(op, reg, 19, dir) \
	VEC(op, reg, 20, dir) VEC(op, reg, 21, dir) VEC(op, reg, 22, dir) VEC(op, reg, 23, dir) \
	VEC(op, reg, 24, dir) VEC(op, reg, 25, dir) VEC(op, reg, 26, dir) VEC(op, reg, 27, dir) \
	VEC(op, reg, 28, dir) VEC(op, reg, 29, dir) VEC(op, reg, 30, dir) VEC(op, reg, 31, dir)
#define MASKS(dir) \
	VEC(kmovq, k, 1, dir) VEC(kmovq, k, 2, dir) VEC(kmovq, k, 3, dir) VEC(kmovq, k, 4, dir) \
	VEC(kmovq, k, 5, dir) VEC(kmovq, k, 6, dir) VEC(kmovq, k, 7, dir)
#define LOADK(op, reg, n)  #op " " #n "*8+%c[mask](%[in]), %%" #reg #n "\n\t"
#define STOREK(op, reg, n) #op " %%" #reg #n ", " #n "*8+%c[mask](%[out])\n\t"

#define X87_IN \
	"fnstcw %c[cw](%[old])\n\tstmxcsr %c[csr](%[old])\n\t" \
	"fninit\n\tfldcw %c[cw](%[in])\n\tldmxcsr %c[csr](%[in])\n\t" \
	"fldl %c[x87]+24(%[in])\n\tfldl %c[x87]+16(%[in])\n\t" \
	"fldl %c[x87]+8(%[in])\n\tfldl %c[x87](%[in])\n\t"
#define X87_OUT \
	"fnstcw %c[cw](%[out])\n\tstmxcsr %c[csr](%[out])\n\t" \
	"fstpl %c[x87](%[out])\n\tfstpl %c[x87]+8(%[out])\n\t" \
	"fstpl %c[x87]+16(%[out])\n\tfstpl %c[x87]+24(%[out])\n\t" \
	"fninit\n\tfldcw %c[cw](%[old])\n\tldmxcsr %c[csr](%[old])\n\t"
#define GPR_IN \
	"movq %c[gpr](%[in]), %%r8\n\tmovq %c[gpr]+8(%[in]), %%r9\n\t" \
	"movq %c[gpr]+16(%[in]), %%r10\n\tmovq %c[gpr]+24(%[in]), %%r11\n\t" \
	"movq %c[gpr]+32(%[in]), %%r12\n\tmovq %c[gpr]+40(%[in]), %%r13\n\t" \
	"movq %c[gpr]+48(%[in]), %%r14\n\tmovq %c[gpr]+56(%[in]), %%r15\n\t"
#define GPR_OUT \
	"movq %%r8, %c[gpr](%[out])\n\tmovq %%r9, %c[gpr]+8(%[out])\n\t" \
	"movq %%r10, %c[gpr]+16(%[out])\n\tmovq %%r11, %c[gpr]+24(%[out])\n\t" \
	"movq %%r12, %c[gpr]+32(%[out])\n\tmovq %%r13, %c[gpr]+40(%[out])\n\t" \
	"movq %%r14, %c[gpr]+48(%[out])\n\tmovq %%r15, %c[gpr]+56(%[out])\n\t"
#define SPIN "movq %[n], %%rax\n1:\tdecq %%rax\n\tjnz 1b\n\t"

/* About 50 ms with every register full. */
#define HOLD(in_vec, out_vec) do { \
	__asm__ volatile(X87_IN in_vec GPR_IN SPIN GPR_OUT out_vec X87_OUT \
		: : [in] "D"(in), [out] "S"(out), [old] "d"(&old), [n] "b"(100000000L), \
		    [gpr] "i"(offsetof(struct state, gpr)), \
		    [mask] "i"(offsetof(struct state, mask)), \
		    [cw] "i"(offsetof(struct state, x87_control)), \
		    [csr] "i"(offsetof(struct state, mxcsr)), \
		    [x87] "i"(offsetof(struct state, x87)) \
		: "rax", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc", \
		  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
		  "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"); \
	} while (0)

static void hold(const struct state *in, struct state *out)
{
	static _Thread_local struct state old;

	switch (g_width) {
	case SSE:
		HOLD(SIXTEEN(movdqu, xmm, LOAD), SIXTEEN(movdqu, xmm, STORE));
		break;
	case AVX:
		HOLD(SIXTEEN(vmovdqu, ymm, LOAD), SIXTEEN(vmovdqu, ymm, STORE) "vzeroupper\n\t");
		break;
	case AVX512:
		HOLD(SIXTEEN(vmovdqu64, zmm, LOAD) UPPER(vmovdqu64, zmm, LOAD) MASKS(LOADK),
		     SIXTEEN(vmovdqu64, zmm, STORE) UPPER(vmovdqu64, zmm, STORE) MASKS(STOREK)
		     "vzeroupper\n\t");
		break;
	}
}

static void make_state(struct state *s, uint64_t seed)
{
	static const unsigned width[] = { [SSE] = 16, [AVX] = 32, [AVX512] = 64 };
	unsigned regs = g_width == AVX512 ? 32 : 16;

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < regs; i++)
		check_fill(s->vec[i], width[g_width], seed + i * 1000);
	check_fill(s->gpr, sizeof(s->gpr), seed + 77);
	if (g_width == AVX512)
		check_fill(s->mask + 1, 7 * 8, seed + 99);
	/* Rounding and precision other than the default, exceptions masked. */
	s->x87_control = (uint16_t)(0x007f | (seed & 3) << 10 | 0x200);
	s->mxcsr = 0x1f80u | (uint32_t)(seed & 3) << 13;
	for (int i = 0; i < 4; i++)
		s->x87[i] = (double)((seed + (uint64_t)i) & 0xffff);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	static _Thread_local struct state in, out;

	for (uint64_t n = 0; !g_end; n++) {
		make_state(&in, check_mix((uint64_t)w->index * 1000003 + n));
		memset(&out, 0, sizeof(out));
		hold(&in, &out);
		for (int i = 0; i < 32; i++)
			check(!memcmp(in.vec[i], out.vec[i], 64), "thread %d: vector register %d",
			      w->index, i);
		check(!memcmp(in.gpr, out.gpr, sizeof(in.gpr)), "thread %d: r8..r15", w->index);
		check(!memcmp(in.mask, out.mask, sizeof(in.mask)), "thread %d: k1..k7", w->index);
		check(!memcmp(in.x87, out.x87, sizeof(in.x87)), "thread %d: x87 stack", w->index);
		check(in.x87_control == out.x87_control, "thread %d: x87 control word %#x is %#x",
		      w->index, in.x87_control, out.x87_control);
		check((in.mxcsr & 0xffc0) == (out.mxcsr & 0xffc0), "thread %d: mxcsr %#x is %#x",
		      w->index, in.mxcsr, out.mxcsr);
		atomic_fetch_add(&w->rounds, 1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "SSE", "AVX", "AVX-512" };

	check_init(argc, argv, "registers");
	g_width = __builtin_cpu_supports("avx512bw") ? AVX512 :
		  __builtin_cpu_supports("avx") ? AVX : SSE;
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
		check(g_workers[i].rounds > 0, "thread %d did nothing", i);
	}
	check_done("%s, %d threads", names[g_width], NTHREADS);
}
