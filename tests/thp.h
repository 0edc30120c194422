/* Transparent huge pages for tests: memory in them, and how much of some memory is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "libcor/base/compat.h"

#define THP (2ul << 20)

/* n huge pages' worth of memory at an address where they can be; MAP_FAILED. */
static inline char *thp_room(unsigned n)
{
	char *at = mmap(NULL, (n + 1) * THP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *room;

	if (at == MAP_FAILED)
		return at;
	room = (char *)(((uintptr_t)at + THP - 1) & ~(THP - 1));
	if (room > at)
		munmap(at, (size_t)(room - at));
	if (room + n * THP < at + (n + 1) * THP)
		munmap(room + n * THP, (size_t)(at + (n + 1) * THP - (room + n * THP)));
	return room;
}

/* KiB of huge pages in the mappings of pid (0: ours) that begin in [at, at+len). */
static inline unsigned thp_kib(pid_t pid, const void *at, size_t len)
{
	unsigned long from, to, kib, sum = 0;
	char line[600], path[32] = "/proc/self/smaps";
	bool inside = false;
	FILE *f;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from >= (uintptr_t)at && from < (uintptr_t)at + len;
		else if (inside && sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			sum += kib;
	}
	if (f)
		fclose(f);
	return (unsigned)sum;
}
