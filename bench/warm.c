/* Free memory that the host need not be waited for. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/warm.h"

#define CHUNK     (UINT64_C(32) << 20)
#define AHEAD     (UINT64_C(256) << 20)  /* let go, and not used yet */
#define LOOK_US   3000u                  /* a drain takes some 10 MB meanwhile */

unsigned long available_kib(void)
{
	unsigned long available = 0;
	char line[80];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f) &&
	       sscanf(line, "MemAvailable: %lu kB", &available) != 1)
		;
	if (f)
		fclose(f);
	return available;
}

static uint64_t free_bytes(void)
{
	struct sysinfo i;

	return sysinfo(&i) == 0 ? (uint64_t)i.freeram * i.mem_unit : 0;
}

/* In the feeder: until it is ended. */
static void feed(char *p, uint64_t len)
{
	uint64_t before = free_bytes(), gone = 0;

	for (;;) {
		/* what is free beyond what was: let go by us, and used by nobody yet */
		while (gone < len && (int64_t)(free_bytes() - before) < (int64_t)AHEAD) {
			munmap(p + gone, len - gone < CHUNK ? len - gone : CHUNK);
			gone += CHUNK;
		}
		usleep(LOOK_US);
	}
}

void feeder_start(struct feeder *f, size_t size)
{
	uint64_t kib = available_kib(), most = kib > SPARE_KIB ? (kib - SPARE_KIB) * 1024 : 0;
	/* page tables, buffers, and what the host is quicker to take */
	uint64_t wanted = size + size / 8 + AHEAD, len = wanted < most ? wanted : most;
	int ready[2];
	char c;

	if (pipe(ready) < 0)
		err(1, "pipe");
	f->pid = fork_child();
	if (f->pid == 0) {
		char *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		close(ready[0]);
		close(ready[1]);
		if (p != MAP_FAILED)
			feed(p, len);
		_exit(0);
	}
	close(ready[1]);
	while (read(ready[0], &c, 1) > 0)
		;
	close(ready[0]);
}

void feeder_end(struct feeder *f)
{
	end_child(f->pid);
	f->pid = 0;
}
