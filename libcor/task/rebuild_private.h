/* What the parts of rebuild share: rebuild.c (life cycle), rebuild_memory.c,
 * rebuild_threads.c and the files behind them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/user.h>

#include "libcor/task/batch.h"
#include "libcor/task/channel.h"
#include "libcor/task/inject.h"
#include "libcor/task/layout.h"
#include "libcor/task/rebuild.h"
#include "libcor/task/rebuild_creds.h"

enum cor_rebuild_stage {
	COR_REBUILD_STUB,       /* our code runs in the stub */
	COR_REBUILD_SEIZED,     /* the stub is ours by ptrace: its code is no more */
	COR_REBUILD_MEMORY,     /* the task's memory is in place */
	COR_REBUILD_READY,      /* so are its threads */
	COR_REBUILD_RESUMED,
};

/* A thread made here. */
struct cor_rebuild_thread {
	pid_t inner;            /* its TID as the task sees it */
	pid_t outer;            /* as we see it */
	bool  born;
	int64_t waited;         /* what the call that it began again returned */
	uint64_t until_ns;      /* it waits in it until then (cor_now_ns()); 0: in none */
	/* what it was made by ahead of the image; borrowed; NULL: by nothing */
	const Cor__Task__Thread *ahead;
	bool  ready;            /* ahead, with nothing left to do if it has not run since */
	bool  first;            /* goes before others by cor_rebuild_turns_ahead() */
};

/* Processors, as sched_getaffinity(2) tells them. */
struct cor_cpu_mask {
	long len;
	unsigned char bits[1024];
};

/* rebuild_turns.c: false: they cannot be read. */
bool cor_cpu_mask_read(pid_t tid, struct cor_cpu_mask *m);
void cor_cpu_mask_set(pid_t tid, const struct cor_cpu_mask *m);

struct cor_turns {
	bool stub;              /* goes before others, until its threads get what is theirs; */
	bool caller;            /* and so does the caller, on the same processor */
	struct cor_cpu_mask caller_mask, stub_mask;     /* where they might run before */
	uint64_t slack_ns;      /* the timer slack that the stub's threads come back to */
};

/* The thread's timer slack, behind its policy: in real time it has none, and can be given none. */
void cor_turns_put_slack(const struct cor_turns *turns, const struct cor_rebuild_thread *thread,
			 uint64_t ns);

/* A thread that was stopped at from goes on at to. */
struct cor_detour { uint64_t from, to; };

struct cor_rebuild {
	enum cor_rebuild_stage stage;
	int   ctl;              /* to the supervisor */
	int   channel;          /* to the stub */
	int   uffd;             /* until taken */
	int   pidfd;            /* of the stub */
	int   supervisor_pidfd;
	pid_t pid, supervisor;
	pid_t inner_pid;
	int   max_fd;
	uint64_t lowest;        /* where something may be mapped */
	bool  pid_ns;
	bool  forks_unseen;     /* the userfaultfd tells of no children */
	bool  foreign_vdso;     /* forced, for tests */
	bool  timers_in_turn;   /* likewise */
	bool  own_view;         /* paths mean other files to the stub than to us */
	bool  stopped;          /* the task arrives in a group-stop */
	struct cor_runner *runner;
	struct cor_batch *batch;
	struct cor_detour *detours;
	unsigned ndetours;
	char *status;           /* the stub's /proc/PID/status as it was before; NULL: not read */
	size_t xstate_len;      /* of this kernel's extended state; 0: not known yet */
	int32_t oom_score_adj;  /* what the stub has, if outside_set */
	uint32_t coredump_filter;
	struct rlimit limits[RLIM_NLIMITS];
	bool outside_set;
	unsigned nthreads;      /* the leader included, which is the first */
	struct cor_rebuild_thread *threads;
	uint64_t begun_ns;      /* calls that wait have been begun anew by then; cor_now_ns() */
	struct cor_waits waits; /* the threads that are in one */
	struct cor_turns turns;
};

/* A request to the stub and its answer (cor_message_clear it). The stub's
 * failure comes back as the error. */
int cor_rebuild_request(struct cor_rebuild *rb, const struct cor_message *request,
			struct cor_message *answer, struct cor_error *err);

/* What rebuild_memory.c works on. */
struct cor_memory_job {
	struct cor_rebuild *rb;
	const Cor__Task__Image *image;
	const Cor__Task__Memory *memory;
	const bool *file_ok;
	unsigned nobjects;
	int32_t *file_fds;      /* in the stub, by file; -1: not open */
	int32_t *object_fds;    /* in the stub, object i + 1 */
	struct cor_layout all;  /* what the stub has and what the task has */
	struct cor_layout stub;
	struct cor_region *regions;
	unsigned nregions, room;
	unsigned char *old_vdso;/* the task's vDSO, redirected; NULL when it is this kernel's */
	uint64_t old_vdso_at;
	uint64_t spare_vdso_at; /* a copy without jumps; 0: not needed */
};

/* rebuild_stub.c: opens in the stub what is to be mapped; then takes it over
 * by ptrace, with a runner; the batch begins with calls that unmap our code. */
int cor_rebuild_open_files(struct cor_memory_job *job, const int *object_fds,
			   struct cor_error *err);
int cor_rebuild_take_over(struct cor_memory_job *job, struct cor_error *err);

/* rebuild_vdso.c: the vDSO to its place (or out of the way, and the old one prepared). */
int cor_rebuild_place_vdso(struct cor_memory_job *job, struct cor_error *err);

/* rebuild_map.c: every mapping, and the list of lazy regions. */
int cor_rebuild_map(struct cor_memory_job *job, struct cor_error *err);
int cor_rebuild_map_vma(struct cor_memory_job *job, const Cor__Task__Vma *v,
			struct cor_error *err);

/* rebuild_memory.c: the mapping that at lies in; NULL: none. */
const Cor__Task__Vma *cor_rebuild_vma_at(const Cor__Task__Memory *m, uint64_t at);

/* rebuild_memory.c, for rebuild_update.c too: bounds, brk, auxv (the executable as
 * well where job->file_fds has it); and the image's pages. */
int cor_rebuild_set_mm(struct cor_memory_job *job, struct cor_error *err);
/* Arguments and environment, once the pager runs: a call of the leader's for the batch. */
int cor_rebuild_set_strings(struct cor_rebuild *rb, const Cor__Task__Image *image,
			    struct cor_error *err);
int cor_rebuild_write_pages(struct cor_memory_job *job, struct cor_error *err);

/* rebuild_clone.c: rb->threads becomes the image's, in its order: what is there
 * already is kept, what is missing is made, what is there for nothing ends. */
int cor_rebuild_clone(struct cor_rebuild *rb, const Cor__Task__Image *image,
		      struct cor_error *err);

/* rebuild_process.c: what all threads share. Calls are added to the batch, whose
 * thread is the leader. */
int cor_rebuild_actions(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err);
int cor_rebuild_process(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err);
/* Before the task's credentials are set: prlimit(2) of another user's process needs
 * CAP_SYS_RESOURCE. */
void cor_rebuild_limits(struct cor_rebuild *rb, const Cor__Task__Image *image);
/* From outside: OOM score, scheduling; ahead, what the skeleton knows of it. */
void cor_rebuild_outside_ahead(struct cor_rebuild *rb, const Cor__Task__Image *skeleton);
int cor_rebuild_outside(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err);

/* rebuild_seccomp.c: filters of system calls, while the threads may install some: before their
 * credentials are set. */
int cor_rebuild_filters(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err);

/* rebuild_timers.c: interval timers and POSIX timers with their ids. */
int cor_rebuild_timers(struct cor_rebuild *rb, const Cor__Task__Image *image,
		       struct cor_error *err);

/* rebuild_threads.c: reads rb->status unless it is there. */
int cor_rebuild_look(struct cor_rebuild *rb, struct cor_error *err);

/* rebuild_threads.c, rebuild_process.c: the parts of what a thread does for itself, and of what is
 * done to it, for what is done of it ahead. */
int cor_rebuild_add_thread(struct cor_rebuild *rb, const Cor__Task__Thread *t,
			   const struct cor_creds_now *now, struct cor_error *err);
int cor_rebuild_thread_outside(const struct cor_rebuild *rb,
			       const struct cor_rebuild_thread *thread, const Cor__Task__Thread *t,
			       struct cor_error *err);

/* Is the image's thread i, which is asleep, ready by what was done ahead? */
static inline bool cor_rebuild_is_ready(const struct cor_rebuild *rb, unsigned i,
					const Cor__Task__Thread *t)
{
	return t->asleep && rb->threads[i].ready;
}

/* rebuild_restart.c: a thread that is to go on with a call which knows how much of its time is
 * left begins it anew: the last call of its list. Then its registers, the last thing for each. */
int cor_rebuild_begin_call(struct cor_rebuild *rb, unsigned i, const Cor__Task__Thread *t,
			   struct cor_error *err);
int cor_rebuild_registers(struct cor_rebuild *rb, unsigned i, const Cor__Task__Thread *t,
			  struct cor_error *err);
/* Of one that waits in it, for the list of waits. */
struct cor_wait cor_rebuild_wait(const struct cor_rebuild *rb, unsigned i,
				 const Cor__Task__Thread *t);
