/* A stopped thread's state as found, for tracee.c. */
#pragma once

#include "libcor/task/tracee.h"

/* As every thread is seized. */
#define COR_TRACEE_OPTIONS (PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD)

/* Frees t, and nothing of the process. */
void cor_tracee_free(struct cor_tracee *t);

/* Before the interrupt: notes since when the thread may have been blocked. */
void cor_thread_note_sleep(const struct cor_tracee *t, struct cor_tracee_thread *th);

/* After the stop, before any injection: registers, mask, rseq, time slept. */
int cor_thread_read_state(const struct cor_tracee *t, struct cor_tracee_thread *th,
			  struct cor_error *err);

/* Before it goes on: what the kernel would not put right by itself. */
void cor_thread_put_right(const struct cor_tracee_thread *th);
