/* Clocks, by the vDSO and by system call: none ever goes back, both agree, and
 * they go on at the pace of real time. */
#include "check.h"

#include <stdio.h>

static const struct { clockid_t id; const char *name; } CLOCKS[] = {
	{ CLOCK_MONOTONIC, "CLOCK_MONOTONIC" }, { CLOCK_MONOTONIC_RAW, "CLOCK_MONOTONIC_RAW" },
	{ CLOCK_MONOTONIC_COARSE, "CLOCK_MONOTONIC_COARSE" }, { CLOCK_BOOTTIME, "CLOCK_BOOTTIME" },
	{ CLOCK_REALTIME, "CLOCK_REALTIME" },
};
#define NCLOCKS (sizeof(CLOCKS) / sizeof(*CLOCKS))

static uint64_t g_last[NCLOCKS];

static uint64_t by_call(clockid_t id)
{
	struct timespec ts = { 0, 0 };

	syscall(SYS_clock_gettime, id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Ten seconds allow for any freeze, but for no other host's clock. */
static void step(size_t i, uint64_t now, const char *how)
{
	check(now >= g_last[i], "%s by %s went back by %llu ns", CLOCKS[i].name, how,
	      (unsigned long long)(g_last[i] - now));
	check(!g_last[i] || now < g_last[i] + 10000000000u, "%s by %s jumped by %llu ms",
	      CLOCKS[i].name, how, (unsigned long long)(now - g_last[i]) / 1000000);
	g_last[i] = now;
}

int main(int argc, char **argv)
{
	uint64_t reads = 0;

	check_init(argc, argv, "clock");
	while (!check_stopping()) {
		for (int n = 0; n < 20000 && !check_stopping(); n++) {
			for (size_t i = 0; i < NCLOCKS; i++)
				step(i, check_now_ns(CLOCKS[i].id), "vDSO");
			reads++;
		}
		for (size_t i = 0; i < NCLOCKS; i++)
			step(i, by_call(CLOCKS[i].id), "system call");
		check_beat();
	}
	check_done("%llu reads of %zu clocks", (unsigned long long)reads, NCLOCKS);
}
