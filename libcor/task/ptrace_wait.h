/* Waiting for a traced thread to stop, with a time limit.
 *
 * A blocking waitpid(2) on a thread group leader never returns when the whole
 * process was killed and its other threads wait to be reaped by us; nor can it
 * be bounded. So: poll, at first eagerly (stops are mostly microseconds away).
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* No limit: wait until the thread stops or is gone. */
#define COR_WAIT_FOREVER UINT64_MAX

/* Stores waitpid's status of a stop of thread tid. 0; -ETIME after timeout_ns;
 * -ESRCH when the thread has ended (or is not traced by the caller). */
int cor_ptrace_wait(pid_t tid, uint64_t timeout_ns, int *status);

/* The same without waiting: 1 with *status, 0 when it still runs, -ESRCH. */
int cor_ptrace_poll(pid_t tid, int *status);

/* Waiting for several: start with cor_pace_begin(), call cor_pace() after each
 * look at all of them. -ETIME when the time is over. */
struct cor_pace {
	uint64_t start_ns, timeout_ns, nap_ns;
};
void cor_pace_begin(struct cor_pace *p, uint64_t timeout_ns);
int cor_pace(struct cor_pace *p);

/* True when the thread is dead and only waits to be reaped (or is gone). */
int cor_thread_is_dead(pid_t tid);
