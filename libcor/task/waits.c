/* See waits.h. */
#include "libcor/task/waits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

#define MAGIC "corwait1"
#define MOST  65536u    /* threads */

/* A wait that should have been over for so long is another one. */
#define LATE_NS UINT64_C(100000000)

#define RESTARTBLOCK (-516)

struct head {
	char     magic[8];
	uint64_t n;
};

struct cor_wait cor_wait_of(int32_t tid, const struct user_regs_struct *regs, uint64_t until_ns)
{
	return (struct cor_wait){
		.tid = tid, .call = (uint32_t)regs->orig_rax, .until_ns = until_ns,
		.rip = regs->rip, .rsp = regs->rsp,
		.arg = { regs->rdi, regs->rsi, regs->rdx, regs->r10 },
	};
}

static bool is(const struct cor_wait *w, int32_t tid, const struct user_regs_struct *regs)
{
	return w->tid == tid && w->rip == regs->rip && w->rsp == regs->rsp &&
	       w->arg[0] == regs->rdi && w->arg[1] == regs->rsi && w->arg[2] == regs->rdx &&
	       w->arg[3] == regs->r10;
}

bool cor_waits_find(const struct cor_waits *waits, int32_t tid, uint64_t at_ns,
		    struct user_regs_struct *regs, uint64_t *left_ns)
{
	if (regs->orig_rax != SYS_restart_syscall || (int64_t)regs->rax != RESTARTBLOCK)
		return false;
	for (size_t i = 0; waits && i < waits->n; i++) {
		const struct cor_wait *w = &waits->list[i];

		if (!is(w, tid, regs))
			continue;
		if (at_ns > w->until_ns && at_ns - w->until_ns > LATE_NS)
			return false;
		regs->orig_rax = w->call;
		*left_ns = w->until_ns > at_ns ? w->until_ns - at_ns : 0;
		return true;
	}
	return false;
}

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
