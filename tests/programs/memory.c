/* Every kind of mapping, one kind per table row: its contents, protection and
 * flags are the same in every round, and it can still be written. */
#include "check.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define KIB 1024ul
#define MIB (1024 * KIB)
#define PAGE 4096ul

static void *map(size_t len, int prot, int flags, int fd)
{
	void *at = mmap(NULL, len, prot, flags, fd, 0);

	need(at != MAP_FAILED);
	return at;
}

static void *map_anon(size_t len)
{
	return map(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

/* A block of memory whose pattern changes a little in every round. */
struct block {
	const char *name;
	char *at;
	size_t len;
	uint64_t seed, generation;
};

/* One page per round is filled anew with the next generation. */
static uint64_t page_seed(const struct block *b, size_t page)
{
	size_t pages = b->len / PAGE;
	uint64_t changes = b->generation / pages + (page < b->generation % pages);

	return check_mix(b->seed + page * 7919 + changes * 104729);
}

static void block_fill(struct block *b, const char *name, void *at, size_t len)
{
	*b = (struct block){ name, at, len, check_mix((uintptr_t)name), 0 };
	for (size_t i = 0; i < len / PAGE; i++)
		check_fill(b->at + i * PAGE, PAGE, page_seed(b, i));
}

static void block_verify(const struct block *b)
{
	for (size_t i = 0; i < b->len / PAGE; i++) {
		ssize_t off = check_differs(b->at + i * PAGE, PAGE, page_seed(b, i));

		if (off >= 0) {
			check_fail("%s: wrong byte at offset %zu of %zu", b->name,
				   i * PAGE + (size_t)off, b->len);
			return;
		}
	}
}

static void block_change(struct block *b)
{
	size_t page = b->generation++ % (b->len / PAGE);

	check_fill(b->at + page * PAGE, PAGE, page_seed(b, page));
}

static void block_round(struct block *b)
{
	block_verify(b);
	block_change(b);
}

/* ---- anonymous ------------------------------------------------------------------- */

static struct block g_anon;

static void anon_setup(void)
{
	block_fill(&g_anon, "anonymous", map_anon(4 * MIB), 4 * MIB);
}

static void anon_verify(void)
{
	block_round(&g_anon);
}

/* A mapping far larger than memory, touched here and there; never touched pages are zero. */
#define SPARSE (1ul << 40)
static uint64_t *g_sparse;

static void sparse_setup(void)
{
	g_sparse = map(SPARSE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	for (size_t i = 0; i + PAGE < SPARSE / 8; i += SPARSE / 8 / 50)
		g_sparse[i] = check_mix(i);
}

static void sparse_verify(void)
{
	for (size_t i = 0; i + PAGE < SPARSE / 8; i += SPARSE / 8 / 50) {
		check(g_sparse[i] == check_mix(i), "sparse: word %zu", i);
		check(!g_sparse[i + PAGE], "sparse: a hole at word %zu is not zero", i + PAGE);
	}
}

/* At the lowest address that there is, as a collector's table or Windows programs have it. */
static struct block g_low;

static void low_setup(void)
{
	unsigned long lowest = 0;
	FILE *f = fopen("/proc/sys/vm/mmap_min_addr", "r");
	void *at;

	need(f && fscanf(f, "%lu", &lowest) == 1);
	fclose(f);
	at = mmap((void *)(lowest > PAGE ? lowest : PAGE), 4 * PAGE, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	need(at != MAP_FAILED);
	block_fill(&g_low, "low", at, 4 * PAGE);
}

static void low_verify(void)
{
	block_round(&g_low);
}

/* In transparent huge pages, as far as the kernel has any to give. */
#define THP (2 * MIB)
static struct block g_thp;

static void thp_setup(void)
{
	char *room = map_anon(4 * THP);
	char *at = (char *)(((uintptr_t)room + THP - 1) & ~(THP - 1));

	need(!madvise(at, 3 * THP, MADV_HUGEPAGE));
	block_fill(&g_thp, "transparent huge pages", at, 3 * THP);
}

static void thp_verify(void)
{
	block_round(&g_thp);
}

/* Pages that were only ever read, and pages given back with MADV_DONTNEED. */
static char *g_zero;

static void zero_setup(void)
{
	g_zero = map_anon(MIB);
	check_fill(g_zero, MIB / 2, 1);
	need(!madvise(g_zero, MIB / 2, MADV_DONTNEED));
	for (size_t i = 0; i < MIB; i += 2 * PAGE)
		need(!((volatile char *)g_zero)[i]);
}

static void zero_verify(void)
{
	for (size_t i = 0; i < MIB; i++) {
		if (g_zero[i]) {
			check_fail("zero: byte %zu is %d", i, g_zero[i]);
			return;
		}
	}
}

/* ---- heap and stack ----------------------------------------------------------------- */

#define CHUNKS 64
static struct { void *at; size_t len; } g_chunks[CHUNKS];
static void *g_brk;
static size_t g_turn;

static void heap_setup(void)
{
	for (size_t i = 0; i < CHUNKS; i++) {
		g_chunks[i].len = 1 + check_mix(i) % (64 * KIB);
		need((g_chunks[i].at = malloc(g_chunks[i].len)));
		check_fill(g_chunks[i].at, g_chunks[i].len, i);
	}
	g_brk = sbrk(0);
}

static void heap_verify(void)
{
	size_t turn = g_turn++ % CHUNKS;

	check(sbrk(0) == g_brk, "heap: its end moved from %p to %p", g_brk, sbrk(0));
	for (size_t i = 0; i < CHUNKS; i++)
		check(check_differs(g_chunks[i].at, g_chunks[i].len, i) < 0, "heap: chunk %zu", i);
	free(g_chunks[turn].at);
	g_chunks[turn].at = malloc(g_chunks[turn].len);
	check_fill(g_chunks[turn].at, g_chunks[turn].len, turn);
	check(sbrk((intptr_t)PAGE) == g_brk, "heap: it does not grow: %s", strerror(errno));
	*(volatile char *)g_brk = 1;
	g_brk = sbrk(0);
}

static size_t g_depth;

__attribute__((noinline)) static uint64_t descend(size_t depth)
{
	volatile uint64_t frame[500];

	for (size_t i = 0; i < 500; i++)
		frame[i] = check_mix(depth + i);
	if (depth)
		check(descend(depth - 1) == check_mix(depth - 1), "stack: frame %zu", depth - 1);
	for (size_t i = 0; i < 500; i++)
		check(frame[i] == check_mix(depth + i), "stack: frame %zu word %zu", depth, i);
	return frame[0];
}

static void stack_setup(void)
{
	g_depth = 10;
	descend(g_depth);
}

/* Grows deeper than ever in every round, up to 6 MiB of 8. */
static void stack_verify(void)
{
	descend(g_depth);
	if (g_depth < 1500)
		g_depth += 15;
}

/* A mapping of our own that grows down. */
static char *g_down;
static size_t g_down_pages = 1;

static void growsdown_setup(void)
{
	/* Far from where mmap puts things by itself: nothing comes to lie below. */
	g_down = mmap((void *)0x100000000000, PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
	need(g_down != MAP_FAILED);
	*(uint64_t *)g_down = check_mix(0);
}

static void growsdown_verify(void)
{
	for (size_t i = 0; i < g_down_pages; i++)
		check(*(uint64_t *)(g_down - i * PAGE) == check_mix(i), "growsdown: page %zu", i);
	if (g_down_pages >= 200)
		return;
	*(uint64_t *)(g_down - g_down_pages * PAGE) = check_mix(g_down_pages);
	g_down_pages++;
}

/* ---- files ------------------------------------------------------------------------------- */

static int make_file(char *path, size_t len)
{
	char *data = map_anon(len);
	int fd = mkstemp(path);

	need(fd >= 0);
	check_fill(data, len, 42);
	need(write(fd, data, len) == (ssize_t)len);
	munmap(data, len);
	return fd;
}

static struct { char path[64]; char *at; } g_clean, g_shared_ro;
static struct { char path[64]; char *at; struct block block; } g_written;

static void file_clean_setup(void)
{
	int fd;

	strcpy(g_clean.path, "./file-clean.XXXXXX");
	fd = make_file(g_clean.path, MIB);
	g_clean.at = map(MIB, PROT_READ, MAP_PRIVATE, fd);
	close(fd);
}

static void file_clean_verify(void)
{
	check(check_differs(g_clean.at, MIB, 42) < 0, "private file mapping, clean");
}

static void file_clean_finish(void)
{
	unlink(g_clean.path);
}

/* Written in its middle; the rest is the file's. */
static void file_written_setup(void)
{
	int fd;

	strcpy(g_written.path, "./file-written.XXXXXX");
	fd = make_file(g_written.path, MIB);
	g_written.at = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	close(fd);
	block_fill(&g_written.block, "private file mapping, written", g_written.at + 256 * KIB,
		   64 * KIB);
}

static void file_written_verify(void)
{
	check(check_differs(g_written.at, 256 * KIB, 42) < 0, "private file mapping, before");
	check(check_differs(g_written.at + 320 * KIB, 704 * KIB, 42 + 320 * KIB) < 0,
	      "private file mapping, behind");
	block_round(&g_written.block);
}

static void file_written_finish(void)
{
	unlink(g_written.path);
}

static void file_shared_setup(void)
{
	int fd, ro;

	strcpy(g_shared_ro.path, "./file-shared.XXXXXX");
	fd = make_file(g_shared_ro.path, MIB);
	need((ro = open(g_shared_ro.path, O_RDONLY)) >= 0);
	g_shared_ro.at = map(MIB, PROT_READ, MAP_SHARED, ro);
	close(fd);
	close(ro);
}

static void file_shared_verify(void)
{
	check(check_differs(g_shared_ro.at, MIB, 42) < 0, "shared read-only file mapping");
}

static void file_shared_finish(void)
{
	unlink(g_shared_ro.path);
}

/* ---- shared memory --------------------------------------------------------------------- */

static struct block g_shared;

static void shared_setup(void)
{
	block_fill(&g_shared, "shared anonymous",
		   map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1), MIB);
}

static void shared_verify(void)
{
	block_round(&g_shared);
}

/* Two mappings and an open descriptor of one memfd show the same bytes. */
static struct { int fd; char *second; struct block block; } g_memfd, g_memfd_closed;

static void memfd_setup(void)
{
	g_memfd.fd = memfd_create("check: a memfd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	need(g_memfd.fd >= 0 && !ftruncate(g_memfd.fd, (off_t)MIB));
	need(!fcntl(g_memfd.fd, F_ADD_SEALS, F_SEAL_SHRINK));
	block_fill(&g_memfd.block, "memfd",
		   map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED, g_memfd.fd), MIB);
	g_memfd.second = map(MIB, PROT_READ, MAP_SHARED, g_memfd.fd);
}

static void memfd_verify(void)
{
	char page[PAGE];
	size_t at = g_memfd.block.generation * 13 % (MIB / PAGE) * PAGE;

	check(pread(g_memfd.fd, page, PAGE, (off_t)at) == (ssize_t)PAGE, "memfd: read: %s",
	      strerror(errno));
	check(!memcmp(page, g_memfd.block.at + at, PAGE), "memfd: descriptor and mapping differ");
	block_round(&g_memfd.block);
	check(!memcmp(g_memfd.second, g_memfd.block.at, MIB), "memfd: two mappings differ");
	check(fcntl(g_memfd.fd, F_GET_SEALS) == F_SEAL_SHRINK, "memfd: seals are %#x",
	      fcntl(g_memfd.fd, F_GET_SEALS));
}

static void memfd_closed_setup(void)
{
	int fd = memfd_create("closed", MFD_CLOEXEC);

	need(fd >= 0 && !ftruncate(fd, (off_t)MIB));
	block_fill(&g_memfd_closed.block, "memfd without a descriptor",
		   map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd), MIB);
	g_memfd_closed.second = map(MIB, PROT_READ, MAP_SHARED, fd);
	close(fd);
}

static void memfd_closed_verify(void)
{
	block_round(&g_memfd_closed.block);
	check(!memcmp(g_memfd_closed.second, g_memfd_closed.block.at, MIB),
	      "memfd without a descriptor: two mappings differ");
}

/* Read-only by its protection, never written through this mapping. */
static struct { char *at; } g_memfd_private;

static void memfd_private_setup(void)
{
	char *data = map_anon(MIB);
	int fd = memfd_create("private", MFD_CLOEXEC);

	check_fill(data, MIB, 5);
	need(fd >= 0 && write(fd, data, MIB) == (ssize_t)MIB);
	munmap(data, MIB);
	g_memfd_private.at = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	check_fill(g_memfd_private.at, 64 * KIB, 6);
	close(fd);
}

static void memfd_private_verify(void)
{
	check(check_differs(g_memfd_private.at, 64 * KIB, 6) < 0, "private memfd, written");
	check(check_differs(g_memfd_private.at + 64 * KIB, MIB - 64 * KIB, 5 + 64 * KIB) < 0,
	      "private memfd, clean");
}

static struct { char path[64]; struct block block; } g_shm;

static void shm_setup(void)
{
	int fd;

	snprintf(g_shm.path, sizeof(g_shm.path), "/dev/shm/check-%d", getpid());
	fd = open(g_shm.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	need(fd >= 0 && !ftruncate(fd, (off_t)MIB));
	block_fill(&g_shm.block, "/dev/shm", map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd), MIB);
	close(fd);
}

static void shm_verify(void)
{
	block_round(&g_shm.block);
}

static void shm_finish(void)
{
	check(!unlink(g_shm.path), "/dev/shm: %s: %s", g_shm.path, strerror(errno));
}

/* ---- protections and advice --------------------------------------------------------------- */

/* The line of /proc/self/maps that holds addr. */
static bool maps_line(const void *addr, char *perms, char *name, size_t size)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[600];
	unsigned long from, to;
	bool found = false;
	int at;

	need(f);
	while (!found && fgets(line, sizeof(line), f)) {
		at = 0;
		if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %n", &from, &to, perms, &at) < 3)
			continue;
		if ((unsigned long)addr < from || (unsigned long)addr >= to)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(name, size, "%s", line + at);
		found = true;
	}
	fclose(f);
	return found;
}

static char *g_guarded;

static void guard_setup(void)
{
	g_guarded = map_anon(4 * PAGE);
	check_fill(g_guarded, 4 * PAGE, 8);
	need(!mprotect(g_guarded, 4 * PAGE, PROT_NONE));
}

/* Data behind PROT_NONE is kept: looked at every other round only. */
static void guard_verify(void)
{
	static unsigned round;
	char perms[8] = "", name[100];

	check(maps_line(g_guarded, perms, name, sizeof(name)) && !strcmp(perms, "---p"),
	      "guard pages: protection is %s", perms);
	if (round++ % 16)
		return;
	check(!mprotect(g_guarded, 4 * PAGE, PROT_READ), "guard pages: %s", strerror(errno));
	check(check_differs(g_guarded, 4 * PAGE, 8) < 0, "guard pages: data behind PROT_NONE");
	check(!mprotect(g_guarded, 4 * PAGE, PROT_NONE), "guard pages: %s", strerror(errno));
}

static const struct { int prot; const char *perms; } PROTS[] = {
	{ PROT_READ, "r--p" }, { PROT_READ | PROT_EXEC, "r-xp" },
	{ PROT_READ | PROT_WRITE | PROT_EXEC, "rwxp" }, { PROT_NONE, "---p" },
};
#define NPROTS (sizeof(PROTS) / sizeof(*PROTS))
static char *g_prots;

static void prot_setup(void)
{
	g_prots = map_anon(NPROTS * PAGE);
	check_fill(g_prots, NPROTS * PAGE, 3);
	for (size_t i = 0; i < NPROTS; i++)
		need(!mprotect(g_prots + i * PAGE, PAGE, PROTS[i].prot));
}

static void prot_verify(void)
{
	char perms[8], name[100];

	for (size_t i = 0; i < NPROTS; i++) {
		check(maps_line(g_prots + i * PAGE, perms, name, sizeof(name)) &&
		      !strcmp(perms, PROTS[i].perms), "protection %s became %s", PROTS[i].perms,
		      perms);
		check(!(PROTS[i].prot & PROT_READ) ||
		      check_differs(g_prots + i * PAGE, PAGE, 3 + i * PAGE) < 0,
		      "protection %s: contents", PROTS[i].perms);
	}
}

static const struct { int advice; const char *flag; } ADVICE[] = {
	{ MADV_DONTFORK, "dc" }, { MADV_DONTDUMP, "dd" }, { MADV_WIPEONFORK, "wf" },
	{ MADV_SEQUENTIAL, "sr" }, { MADV_RANDOM, "rr" }, { MADV_NOHUGEPAGE, "nh" },
	{ MADV_HUGEPAGE, "hg" }, { MADV_MERGEABLE, "mg" },
};
#define NADVICE (sizeof(ADVICE) / sizeof(*ADVICE))
static char *g_advised[NADVICE + 1];

static bool vm_flag(const void *addr, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[600], want[8];
	unsigned long from, to;
	bool inside = false, found = false;

	need(f);
	snprintf(want, sizeof(want), " %s", flag);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (unsigned long)addr >= from && (unsigned long)addr < to;
		else if (inside && !strncmp(line, "VmFlags:", 8) && strstr(line, want))
			found = true;
	}
	fclose(f);
	return found;
}

static void advice_setup(void)
{
	for (size_t i = 0; i < NADVICE; i++) {
		g_advised[i] = map_anon(2 * PAGE);
		check_fill(g_advised[i], 2 * PAGE, i);
		if (madvise(g_advised[i], 2 * PAGE, ADVICE[i].advice))
			g_advised[i] = NULL;   /* not in this kernel */
	}
	g_advised[NADVICE] = map_anon(2 * PAGE);
	check_fill(g_advised[NADVICE], 2 * PAGE, NADVICE);
	need(!mlock(g_advised[NADVICE], 2 * PAGE));
}

static void advice_verify(void)
{
	static unsigned round;

	for (size_t i = 0; i <= NADVICE; i++) {
		if (!g_advised[i])
			continue;
		check(check_differs(g_advised[i], 2 * PAGE, i) < 0, "advised memory %zu", i);
		if (round % 8 == 0)
			check(vm_flag(g_advised[i], i < NADVICE ? ADVICE[i].flag : "lo"),
			      "VmFlags lost %s", i < NADVICE ? ADVICE[i].flag : "lo");
	}
	round++;
}

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static char *g_named;

static void named_setup(void)
{
	g_named = map_anon(2 * PAGE);
	check_fill(g_named, 2 * PAGE, 4);
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, g_named, 2 * PAGE, "check-name"))
		g_named = NULL;
}

static void named_verify(void)
{
	char perms[8], name[100] = "";

	if (!g_named)
		return;
	check(maps_line(g_named, perms, name, sizeof(name)) && strstr(name, "check-name"),
	      "the name of a mapping became '%s'", name);
	check(check_differs(g_named, 2 * PAGE, 4) < 0, "named mapping: contents");
}

/* ---- code ------------------------------------------------------------------------------------ */

static unsigned char *g_code;
static uint32_t g_answer;

/* mov $value, %eax; ret */
static void jit_write(uint32_t value)
{
	unsigned char code[6] = { 0xb8, 0, 0, 0, 0, 0xc3 };

	memcpy(code + 1, &value, 4);
	check(!mprotect(g_code, PAGE, PROT_READ | PROT_WRITE), "jit: %s", strerror(errno));
	memcpy(g_code + 128, code, sizeof(code));
	check(!mprotect(g_code, PAGE, PROT_READ | PROT_EXEC), "jit: %s", strerror(errno));
}

static void jit_setup(void)
{
	g_code = map_anon(PAGE);
	jit_write(g_answer = 12345);
}

static void jit_verify(void)
{
	union { void *at; uint32_t (*call)(void); } f = { .at = g_code + 128 };
	uint32_t got = f.call();

	check(got == g_answer, "jit: code returned %u instead of %u", got, g_answer);
	jit_write(++g_answer);
}

/* ---- the whole map --------------------------------------------------------------------------- */

struct span { unsigned long from, to; char perms[5]; char name[80]; };
#define MAX_SPANS 256
static struct span g_before[MAX_SPANS], g_now[MAX_SPANS];
static unsigned g_nbefore;

/* Neighbours that look the same count as one: the kernel may have merged or split them. */
static unsigned read_spans(struct span *s)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[600];
	unsigned n = 0;
	int at;

	need(f);
	while (fgets(line, sizeof(line), f) && n < MAX_SPANS) {
		at = 0;
		sscanf(line, "%lx-%lx %4s %*s %*s %*s %n", &s[n].from, &s[n].to, s[n].perms, &at);
		line[strcspn(line, "\n")] = '\0';
		snprintf(s[n].name, sizeof(s[n].name), "%.79s", line + at);
		if (n && s[n - 1].to == s[n].from && !strcmp(s[n - 1].perms, s[n].perms) &&
		    !strcmp(s[n - 1].name, s[n].name))
			s[n - 1].to = s[n].to;
		else
			n++;
	}
	fclose(f);
	return n;
}

static void layout_setup(void)
{
	void *room = malloc(4096);

	free(room);
	g_nbefore = read_spans(g_before);
}

static bool moves_by_itself(const struct span *s)
{
	return s->name[0] == '[' || (g_down && s->to == (unsigned long)g_down + PAGE);
}

static void layout_verify(void)
{
	unsigned n = read_spans(g_now), j = 0;

	for (unsigned i = 0; i < g_nbefore; i++) {
		const struct span *b = &g_before[i];

		/* What is private and written may come to be anonymous memory. */
		if (moves_by_itself(b) || !strncmp(b->name, "/memfd:private", 14))
			continue;
		while (j < n && g_now[j].from < b->from)
			j++;
		check(j < n && g_now[j].from == b->from && g_now[j].to == b->to &&
		      !strcmp(g_now[j].perms, b->perms) && !strcmp(g_now[j].name, b->name),
		      "layout: %lx-%lx %s %s became %lx-%lx %s %s", b->from, b->to, b->perms,
		      b->name, j < n ? g_now[j].from : 0, j < n ? g_now[j].to : 0,
		      j < n ? g_now[j].perms : "", j < n ? g_now[j].name : "nothing");
	}
}

/* The vDSO where the auxiliary vector says, and callable. */
static void vdso_setup(void)
{
	need(getauxval(AT_SYSINFO_EHDR));
}

static void vdso_verify(void)
{
	const unsigned char *ehdr = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
	uint64_t a, b;

	check(!memcmp(ehdr, ELFMAG, SELFMAG), "vDSO: no ELF header at %p", (const void *)ehdr);
	a = check_now_ns(CLOCK_MONOTONIC);
	b = check_now_ns(CLOCK_MONOTONIC);
	check(b >= a && b - a < 10000000000u, "vDSO: the clock went from %llu to %llu",
	      (unsigned long long)a, (unsigned long long)b);
}

static const struct check_kind KINDS[] = {
	{ "anonymous", anon_setup, anon_verify, NULL },
	{ "sparse", sparse_setup, sparse_verify, NULL },
	{ "low", low_setup, low_verify, NULL },
	{ "thp", thp_setup, thp_verify, NULL },
	{ "zero", zero_setup, zero_verify, NULL },
	{ "heap", heap_setup, heap_verify, NULL },
	{ "stack", stack_setup, stack_verify, NULL },
	{ "growsdown", growsdown_setup, growsdown_verify, NULL },
	{ "file-clean", file_clean_setup, file_clean_verify, file_clean_finish },
	{ "file-written", file_written_setup, file_written_verify, file_written_finish },
	{ "file-shared", file_shared_setup, file_shared_verify, file_shared_finish },
	{ "shared-anonymous", shared_setup, shared_verify, NULL },
	{ "memfd", memfd_setup, memfd_verify, NULL },
	{ "memfd-closed", memfd_closed_setup, memfd_closed_verify, NULL },
	{ "memfd-private", memfd_private_setup, memfd_private_verify, NULL },
	{ "dev-shm", shm_setup, shm_verify, shm_finish },
	{ "guard", guard_setup, guard_verify, NULL },
	{ "protections", prot_setup, prot_verify, NULL },
	{ "advice", advice_setup, advice_verify, NULL },
	{ "named", named_setup, named_verify, NULL },
	{ "jit", jit_setup, jit_verify, NULL },
	{ "vdso", vdso_setup, vdso_verify, NULL },
	/* Last: it compares with the map as it was after all other set-up. */
	{ "layout", layout_setup, layout_verify, NULL },
};

int main(int argc, char **argv)
{
	check_kinds(argc, argv, "memory", KINDS, sizeof(KINDS) / sizeof(*KINDS));
}
