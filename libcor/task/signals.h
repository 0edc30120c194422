/* Which signals a traced process has: sets of them, a bit each. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define COR_SIGNAL(number) (UINT64_C(1) << ((number) - 1))

/* Those that wait for thread tid, which is in a ptrace-stop of the caller's: its own and its
 * process's. */
uint64_t cor_signals_pending(pid_t tid);
/* The first or the second of these only. */
uint64_t cor_signals_pending_own(pid_t tid);
uint64_t cor_signals_pending_shared(pid_t tid);

/* Those that the process has handlers for. 0, or -errno: it cannot be told. */
int cor_signals_caught(pid_t pid, uint64_t *set);
