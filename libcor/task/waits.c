/* See waits.h. */
#include "libcor/task/waits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"
#include "libcor/task/restart.h"

#define MAGIC "corwait1"
#define MOST  65536u    /* threads */

#define LOOK_NS 500000  /* again, if one does not wait yet */

struct head {
	char     magic[8];
	uint64_t n;
};

struct cor_wait cor_wait_of(pid_t tid, const struct user_regs_struct *regs, uint64_t until_ns)
{
	return (struct cor_wait){ .tid = tid, .call = (uint32_t)regs->orig_rax,
				  .until_ns = until_ns, .rip = regs->rip, .rsp = regs->rsp };
}

/* ---- behind the resume ------------------------------------------------------------- */

static int read_thread(pid_t pid, pid_t tid, const char *what, char **text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)tid, what);
	return cor_slurp(AT_FDCWD, path, text, NULL);
}

static bool switches_of(pid_t pid, pid_t tid, uint64_t *out)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_sched s;

	if (read_thread(pid, tid, "sched", &text) < 0 || cor_parse_sched(text, &s) < 0)
		return false;
	*out = s.switches;
	return true;
}

enum where { WAITING, ON_ITS_WAY, ELSEWHERE };

static enum where look(pid_t pid, const struct cor_wait *w)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_syscall s;
	int r = read_thread(pid, w->tid, "syscall", &text);

	if (r == 0)
		r = cor_parse_syscall(text, &s);
	if (r < 0)
		return r == -EAGAIN ? ON_ITS_WAY : ELSEWHERE;
	return s.nr == SYS_restart_syscall && s.sp == w->rsp && s.pc == w->rip ? WAITING : ELSEWHERE;
}

/* The same count before and after means that it has not run in between. */
static enum where confirm(pid_t pid, struct cor_wait *w)
{
	uint64_t before, after;
	enum where where;

	if (!switches_of(pid, w->tid, &before))
		return ELSEWHERE;
	where = look(pid, w);
	if (where != WAITING)
		return where;
	if (!switches_of(pid, w->tid, &after) || before != after)
		return ON_ITS_WAY;
	w->switches = after;
	return WAITING;
}

void cor_waits_confirm(struct cor_waits *waits, pid_t pid, uint64_t patience_ns)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	uint64_t until = cor_now_ns() + patience_ns;
	size_t n = 0;

	for (size_t i = 0; i < waits->n; i++) {
		enum where where;

		while ((where = confirm(pid, &waits->list[i])) == ON_ITS_WAY && cor_now_ns() < until)
			nanosleep(&pause, NULL);
		if (where == WAITING)
			waits->list[n++] = waits->list[i];
	}
	waits->n = n;
}

/* ---- at the next capture ----------------------------------------------------------- */

bool cor_waits_find(const struct cor_waits *waits, pid_t tid, uint64_t at_ns, uint64_t switches,
		    struct user_regs_struct *regs, uint64_t *left_ns)
{
	if (!waits || regs->orig_rax != SYS_restart_syscall || (int64_t)regs->rax != COR_RESTARTBLOCK)
		return false;
	for (size_t i = 0; i < waits->n; i++) {
		const struct cor_wait *w = &waits->list[i];

		if (w->tid != tid || w->switches != switches || w->rip != regs->rip ||
		    w->rsp != regs->rsp)
			continue;
		regs->orig_rax = w->call;
		*left_ns = w->until_ns > at_ns ? w->until_ns - at_ns : 0;
		return true;
	}
	return false;
}

int cor_waits_note(struct cor_waits *waits, const struct cor_tracee *t)
{
	struct cor_waits now = { .list = calloc(t->nthreads ?: 1, sizeof(*now.list)) };

	for (unsigned i = 0; now.list && i < t->nthreads; i++) {
		const struct cor_tracee_thread *th = &t->threads[i];
		struct user_regs_struct regs = th->regs;
		uint64_t left, at = t->stopping_ns;

		if (!th->is_stopped || th->asleep)
			continue;
		if (!cor_waits_find(waits, th->tid, at, th->before.switches, &regs, &left)) {
			/* it slept until it was stopped, at some time before that */
			at = t->stopped_ns;
			if (!cor_restart_left(t->pid, &regs, th->slept_ns, &left))
				continue;
		}
		now.list[now.n++] = cor_wait_of(th->tid, &regs, at + left);
	}
	cor_waits_done(waits);
	if (!now.list)
		return -ENOMEM;
	*waits = now;
	return 0;
}

/* ---- in a file --------------------------------------------------------------------- */

int cor_waits_write(const struct cor_waits *waits, int fd)
{
	struct head head = { .n = waits->n };
	int r;

	memcpy(head.magic, MAGIC, sizeof(head.magic));
	r = cor_write_full(fd, &head, sizeof(head));
	return r < 0 ? r : cor_write_full(fd, waits->list, waits->n * sizeof(*waits->list));
}

int cor_waits_read(struct cor_waits *out, int fd)
{
	struct cor_waits waits = { 0 };
	struct head head;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	r = cor_read_full(fd, &head, sizeof(head));
	if (r < 0)
		return r == -EPIPE || r == -ENODATA ? -EPROTO : r;
	if (memcmp(head.magic, MAGIC, sizeof(head.magic)) || head.n > MOST ||
	    (uint64_t)st.st_size != sizeof(head) + head.n * sizeof(*waits.list))
		return -EPROTO;
	waits.n = head.n;
	waits.list = calloc(head.n ?: 1, sizeof(*waits.list));
	if (!waits.list)
		return -ENOMEM;
	r = waits.n ? cor_read_full(fd, waits.list, waits.n * sizeof(*waits.list)) : 0;
	if (r < 0) {
		cor_waits_done(&waits);
		return r;
	}
	*out = waits;
	return 0;
}

void cor_waits_done(struct cor_waits *waits)
{
	free(waits->list);
	*waits = (struct cor_waits){ 0 };
}
