/* What the processor offers to programs, and whether another's will do: glibc
 * and others choose code by these at start and never ask again. */
#include "libcor/task/capture.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/pb.h"

/* The words of Cpu.words, in order: (leaf, subleaf, register). */
enum { W_1C, W_1D, W_7B, W_7C, W_7D, W_71A, W_71D, W_D1A, W_X1C, W_X1D, W_COUNT };

static const struct {
	uint32_t leaf, sub;
	int reg;                /* 0 eax .. 3 edx */
} words[W_COUNT] = {
	[W_1C]  = { 1, 0, 2 },          [W_1D]  = { 1, 0, 3 },
	[W_7B]  = { 7, 0, 1 },          [W_7C]  = { 7, 0, 2 },
	[W_7D]  = { 7, 0, 3 },          [W_71A] = { 7, 1, 0 },
	[W_71D] = { 7, 1, 3 },          [W_D1A] = { 0xd, 1, 0 },
	[W_X1C] = { 0x80000001, 0, 2 }, [W_X1D] = { 0x80000001, 0, 3 },
};

/* Only what a program in user mode can use; names as in /proc/cpuinfo. */
static const struct { uint8_t word, bit; char name[20]; } features[] = {
	{ W_1C, 0, "sse3" }, { W_1C, 1, "pclmulqdq" }, { W_1C, 9, "ssse3" }, { W_1C, 12, "fma" },
	{ W_1C, 13, "cx16" }, { W_1C, 19, "sse4_1" }, { W_1C, 20, "sse4_2" }, { W_1C, 22, "movbe" },
	{ W_1C, 23, "popcnt" }, { W_1C, 25, "aes" }, { W_1C, 26, "xsave" }, { W_1C, 28, "avx" },
	{ W_1C, 29, "f16c" }, { W_1C, 30, "rdrand" },
	{ W_1D, 0, "fpu" }, { W_1D, 4, "tsc" }, { W_1D, 8, "cx8" }, { W_1D, 15, "cmov" },
	{ W_1D, 19, "clflush" }, { W_1D, 23, "mmx" }, { W_1D, 24, "fxsr" }, { W_1D, 25, "sse" },
	{ W_1D, 26, "sse2" },
	{ W_7B, 0, "fsgsbase" }, { W_7B, 3, "bmi1" }, { W_7B, 4, "hle" }, { W_7B, 5, "avx2" },
	{ W_7B, 8, "bmi2" }, { W_7B, 9, "erms" }, { W_7B, 11, "rtm" }, { W_7B, 16, "avx512f" },
	{ W_7B, 17, "avx512dq" }, { W_7B, 18, "rdseed" }, { W_7B, 19, "adx" },
	{ W_7B, 21, "avx512ifma" }, { W_7B, 23, "clflushopt" }, { W_7B, 24, "clwb" },
	{ W_7B, 28, "avx512cd" }, { W_7B, 29, "sha_ni" }, { W_7B, 30, "avx512bw" },
	{ W_7B, 31, "avx512vl" },
	{ W_7C, 1, "avx512vbmi" }, { W_7C, 4, "ospke" }, { W_7C, 5, "waitpkg" },
	{ W_7C, 6, "avx512_vbmi2" }, { W_7C, 8, "gfni" }, { W_7C, 9, "vaes" },
	{ W_7C, 10, "vpclmulqdq" }, { W_7C, 11, "avx512_vnni" }, { W_7C, 12, "avx512_bitalg" },
	{ W_7C, 14, "avx512_vpopcntdq" }, { W_7C, 22, "rdpid" }, { W_7C, 25, "cldemote" },
	{ W_7C, 27, "movdiri" }, { W_7C, 28, "movdir64b" },
	{ W_7D, 2, "avx512_4vnniw" }, { W_7D, 3, "avx512_4fmaps" }, { W_7D, 4, "fsrm" },
	{ W_7D, 8, "avx512_vp2intersect" }, { W_7D, 14, "serialize" }, { W_7D, 22, "amx_bf16" },
	{ W_7D, 23, "avx512_fp16" }, { W_7D, 24, "amx_tile" }, { W_7D, 25, "amx_int8" },
	{ W_71A, 4, "avx_vnni" }, { W_71A, 5, "avx512_bf16" }, { W_71A, 7, "cmpccxadd" },
	{ W_71A, 21, "amx_fp16" }, { W_71A, 23, "avx_ifma" },
	{ W_71D, 4, "avx_vnni_int8" }, { W_71D, 5, "avx_ne_convert" },
	{ W_D1A, 0, "xsaveopt" }, { W_D1A, 1, "xsavec" }, { W_D1A, 2, "xgetbv1" },
	{ W_X1C, 0, "lahf_lm" }, { W_X1C, 5, "abm" }, { W_X1C, 6, "sse4a" },
	{ W_X1C, 8, "3dnowprefetch" }, { W_X1C, 11, "xop" }, { W_X1C, 16, "fma4" },
	{ W_X1C, 21, "tbm" }, { W_X1C, 29, "mwaitx" },
	{ W_X1D, 11, "syscall" }, { W_X1D, 20, "nx" }, { W_X1D, 27, "rdtscp" }, { W_X1D, 29, "lm" },
};

static uint32_t read_word(unsigned i)
{
	uint32_t r[4];

	if (!__get_cpuid_count(words[i].leaf, words[i].sub, &r[0], &r[1], &r[2], &r[3]))
		return 0;
	return r[words[i].reg];
}

/* XCR0: which registers the kernel lets programs use and saves. */
static uint64_t read_xcr0(void)
{
	uint32_t a, d;

	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

int cor_cpu_describe(Cor__Task__Cpu *cpu, struct cor_error *err)
{
	uint32_t a, b, c, d, *w = malloc(W_COUNT * sizeof(*w));
	char vendor[13] = "";

	if (!w)
		return cor_fail(err, -ENOMEM, "no memory to describe the processor");
	for (unsigned i = 0; i < W_COUNT; i++)
		w[i] = read_word(i);
	if (__get_cpuid(0, &a, &b, &c, &d)) {
		memcpy(vendor, &b, 4);
		memcpy(vendor + 4, &d, 4);
		memcpy(vendor + 8, &c, 4);
	}
	if (pb_text(&cpu->vendor, vendor, strlen(vendor)) < 0) {
		free(w);
		return cor_fail(err, -ENOMEM, "no memory to describe the processor");
	}
	free(cpu->words);
	cpu->words = w;
	cpu->n_words = W_COUNT;
	if (w[W_1C] >> 27 & 1) {        /* OSXSAVE */
		cpu->xcr0 = read_xcr0();
		if (__get_cpuid_count(0xd, 0, &a, &b, &c, &d))
			cpu->xsave_size = b;
	}
	return 0;
}

static uint32_t word(const Cor__Task__Cpu *cpu, unsigned i)
{
	return i < cpu->n_words ? cpu->words[i] : 0;
}

int cor_cpu_check(const Cor__Task__Cpu *theirs, const Cor__Task__Cpu *ours, struct cor_error *err)
{
	char missing[300] = "";
	size_t used = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(features) && used < sizeof(missing) - 24; i++) {
		uint32_t bit = 1u << features[i].bit;

		if ((word(theirs, features[i].word) & bit) && !(word(ours, features[i].word) & bit))
			used += (size_t)snprintf(missing + used, sizeof(missing) - used, "%s%s",
						 used ? ", " : "", features[i].name);
	}
	if (used)
		return cor_fail(err, -ENOTSUP, "the destination's processor lacks %s", missing);
	if (theirs->xcr0 & ~ours->xcr0)
		return cor_fail(err, -ENOTSUP,
				"the destination does not have all of the source's registers (XCR0 %#lx, not %#lx)",
				(unsigned long)ours->xcr0, (unsigned long)theirs->xcr0);
	if (theirs->xsave_size > ours->xsave_size)
		return cor_fail(err, -ENOTSUP,
				"the destination's register area is smaller than the source's (%u bytes, not %u)",
				ours->xsave_size, theirs->xsave_size);
	return 0;
}
