/* How a thread is scheduled, which others can change at any time. */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/error.h"
#include "libcor/task/capture_base.h"
#include "libcor/task/pb.h"

#define AFFINITY_MAX 1024       /* bytes: 8192 CPUs */

/* sched_setattr(2), first version */
struct sched_attr_v0 {
	uint32_t size, policy;
	uint64_t flags;
	int32_t  nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

int cor_capture_scheduling(Cor__Task__Thread *th, pid_t tid, struct cor_error *err)
{
	struct sched_attr_v0 a = { .size = sizeof(a) };
	uint8_t cpus[AFFINITY_MAX];
	long n;

	if (syscall(SYS_sched_getattr, tid, &a, sizeof(a), 0) < 0)
		return cor_fail_errno(err, "cannot read the scheduling policy of thread %d", tid);
	th->sched_policy = a.policy;
	th->sched_priority = (int32_t)a.priority;
	th->nice = a.nice;
	th->sched_flags = (uint32_t)a.flags;
	n = syscall(SYS_sched_getaffinity, tid, sizeof(cpus), cpus);
	if (n < 0)
		return cor_fail_errno(err, "cannot read the affinity of thread %d", tid);
	if (pb_bytes(&th->affinity, cpus, (size_t)n) < 0)
		return cor_fail(err, -ENOMEM, "no memory for the affinity of thread %d", tid);
	n = syscall(SYS_ioprio_get, 1 /* IOPRIO_WHO_PROCESS */, tid);
	th->ioprio = n > 0 ? (uint32_t)n : 0;
	return 0;
}
