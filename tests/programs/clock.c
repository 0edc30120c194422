/* Clocks, by the vDSO and by system call: none ever goes back, both agree, and
 * they go on at the pace of real time. By how much CLOCK_MONOTONIC and CLOCK_BOOTTIME
 * ever left that of CLOCK_REALTIME, which the lab's hosts have in common, is told. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

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

/* How far a clock is ahead of real time; the two are read so close that it is known to
 * PRECISION_NS. False: they were not. */
#define PRECISION_NS 20000

static bool ahead(clockid_t id, int64_t *out)
{
	uint64_t before = check_now_ns(CLOCK_REALTIME), now = check_now_ns(id);
	uint64_t after = check_now_ns(CLOCK_REALTIME);

	*out = (int64_t)(now - before / 2 - after / 2);
	return after - before <= PRECISION_NS;
}

/* The largest step from one look to the next. */
static int64_t g_jump;

static void pace(void)
{
	static const clockid_t ids[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	static int64_t last[2];
	int64_t now;

	for (unsigned i = 0; i < 2; i++) {
		if (!ahead(ids[i], &now))
			continue;
		if (last[i] && llabs(now - last[i]) > g_jump)
			g_jump = llabs(now - last[i]);
		last[i] = now;
	}
}

int main(int argc, char **argv)
{
	uint64_t reads = 0;

	check_init(argc, argv, "clock");
	while (!check_stopping()) {
		for (int n = 0; n < 20000 && !check_stopping(); n++) {
			for (size_t i = 0; i < NCLOCKS; i++)
				step(i, check_now_ns(CLOCKS[i].id), "vDSO");
			pace();
			reads++;
		}
		for (size_t i = 0; i < NCLOCKS; i++)
			step(i, by_call(CLOCKS[i].id), "system call");
		check_beat();
	}
	check_done("%llu reads of %zu clocks, largest jump %lld us", (unsigned long long)reads,
		   NCLOCKS, (long long)g_jump / 1000);
}
