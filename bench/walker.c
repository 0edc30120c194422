/* The master of the tasks that cor-bench after moves. */
#include "bench/walker.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lab.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

#define TURN_NS (60 * UINT64_C(1000000000))
#define POLL_US 2000

void walker_start(struct walker *w, const char *dir, size_t size, bool huge)
{
	static unsigned number;
	char bytes[24];

	snprintf(bytes, sizeof(bytes), "%zu", size);
	snprintf(w->path, sizeof(w->path), "%s/walker-%u", dir, number++);
	w->turn = 0;
	w->fd = open(w->path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	if (w->fd < 0)
		err(1, "%s", w->path);
	w->pid = victim_start_program("cor-bench-walker", bytes, huge ? "1" : "0", w->path, NULL);
}

int walker_order(struct walker *w, struct walked *out)
{
	uint64_t end = cor_now_ns() + TURN_NS;

	if (kill(w->pid, SIGUSR1)) {
		warn("the walker, process %d", (int)w->pid);
		return -errno;
	}
	w->turn++;
	do {
		usleep(POLL_US);
		if (pread(w->fd, out, sizeof(*out), 0) == sizeof(*out) && out->turn == w->turn)
			return 0;
	} while (cor_now_ns() < end);
	warnx("the walker, process %d, does not walk", (int)w->pid);
	return -ETIMEDOUT;
}

void walker_memory(const struct walker *w, uint64_t *huge_kib, unsigned *mappings)
{
	_cleanup_free_ char *text = NULL;
	unsigned long kib;
	char path[32];

	*huge_kib = 0;
	*mappings = victim_mappings(w->pid);
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)w->pid);
	if (cor_slurp(AT_FDCWD, path, &text, NULL))
		return;
	for (const char *line = text; line; line = (line = strchr(line, '\n')) ? line + 1 : NULL)
		if (sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			*huge_kib = kib;
}

void walker_end(struct walker *w)
{
	victim_end(w->pid);
	close(w->fd);
	unlink(w->path);
}
