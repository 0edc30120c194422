/* rebuild: a task made from its image, on the destination.
 *
 * begin      forks the supervisor (the init of a new PID namespace where a PID
 *            that the task needs is taken here; of a new time namespace where
 *            the clocks differ, and a UTS namespace where the host's name does; in a
 *            user namespace where we may not choose PIDs), which clones the stub: a
 *            process with the
 *            task's PID, session and process group that still runs our code. The
 *            stub makes a userfaultfd of its own mm; the supervisor keeps a copy.
 * call       runs plan->call inside the stub, any number of times (descriptors).
 * memory     by injection: unmaps our code from the stub, maps the task's VMAs,
 *            moves the vDSO, PR_SET_MM_MAP. The regions to be paged are known now;
 *            the caller starts a pager on them with the userfaultfd.
 * threads    by injection and ptrace: threads with their TIDs, signal actions,
 *            timers, credentials, rseq, pending signals, registers. Touches lazy
 *            memory, so the pager must run.
 * resume     detaches: the task runs here.
 * release    after the drain: the supervisor gives its userfaultfd copy up; it
 *            stays as the task's parent, reaps it and reports its exit status.
 *
 * One thread of ours makes all the calls (ptrace's rule). The supervisor is no
 * child of the caller: init reaps it. Before resume it and the stub end when the
 * caller does.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/base/as_user.h"
#include "libcor/paging/pager.h"
#include "libcor/task/sleepers.h"
#include "libcor/task/task.pb-c.h"
#include "libcor/task/waits.h"

struct cor_rebuild;

struct cor_rebuild_plan {
	const Cor__Task__Image *skeleton;    /* borrowed until begin returns */
	bool    keep_host_name;              /* the task's own, though it is not ours */
	bool    time_ns;                     /* make a time namespace with these offsets */
	int64_t monotonic_offset_ns;
	int64_t boottime_offset_ns;
	bool    force_pid_ns;                /* for tests: a new PID namespace in any case */
	bool    force_foreign_vdso;          /* for tests: as if the kernels' vDSOs differed */
	bool    force_timers_in_turn;        /* for tests: as on a kernel before 6.15 */

	/* Runs in the stub (one thread, our code, the task's descriptor table
	 * growing): acts on a request of the daemon. fds came along with the
	 * request and are the callee's. 0 or -errno with *err, which is
	 * carried back to the caller of cor_rebuild_call(). keep_fd: the stub's own
	 * channel; the callee must leave it alone (it is above every descriptor
	 * the task has: see max_fd). */
	int (*call)(void *arg, uint32_t op, const void *buf, size_t len,
		    const int *fds, unsigned nfds, struct cor_error *err);
	void   *arg;
	/* Makes what the task is to see of the file system, in the supervisor, whose mount
	 * namespace is then one of its own. NULL: what we see. Its descriptors are the
	 * caller's still. */
	int   (*view)(void *view_arg, struct cor_error *err);
	void   *view_arg;
	const struct cor_as_user *as;        /* whose file rights the names in the image are opened
						with; NULL: ours */
	int     max_fd;                      /* the stub's own descriptors lie above this */
	int     report;                      /* socket the supervisor keeps to report the exit status
						(struct cor_rebuild_exit); -1: none */
	int     tty;                         /* the task's controlling terminal; -1: it has none */
	bool    foreground;                  /* its process group has it */
	int     watch;                       /* SEQPACKET socket on which a struct cor_rebuild_exit tells
						how the task stops, goes on and ends; -1: none */
	int     listen;                      /* non-blocking listening socket (SEQPACKET): who
						connects takes the report socket's place; -1: none */
	int     record;                      /* file in which the exit status is noted as well,
						at record_at; -1: none */
	int64_t record_at;
};

/* What the supervisor writes on plan->report, and in plan->record, when the task has
 * ended. Who holds the other end of plan->report can have the task killed by the same
 * struct, with pid 0, its way: it is the last resort where its pages cannot be had. */
struct cor_rebuild_exit {
	int32_t pid;            /* as cord's own PID namespace sees it */
	int32_t status;         /* as wait(2) gives it */
};

int cor_rebuild_begin(struct cor_rebuild **out, const struct cor_rebuild_plan *plan,
		      struct cor_error *err);

pid_t cor_rebuild_pid(const struct cor_rebuild *rb);          /* as the caller sees it */
pid_t cor_rebuild_supervisor(const struct cor_rebuild *rb);
bool  cor_rebuild_in_pid_ns(const struct cor_rebuild *rb);
/* Does the pager hear of the task's children? If not, they would see zeros where pages are
 * missing: then none may be missing any more when the task is let go. */
bool  cor_rebuild_follows_forks(const struct cor_rebuild *rb);
int   cor_rebuild_pidfd(const struct cor_rebuild *rb);        /* borrowed, until release */
/* What its threads wait for, once it is resumed: those of the calls that were begun anew which
 * they have gone back to by now, or in a moment. Borrowed. */
const struct cor_waits *cor_rebuild_confirm_waits(struct cor_rebuild *rb);

/* The stub's userfaultfd, handshaken (cor_pager_uffd_handshake) and O_NONBLOCK;
 * the caller's. */
int cor_rebuild_take_uffd(struct cor_rebuild *rb);

int cor_rebuild_call(struct cor_rebuild *rb, uint32_t op, const void *buf, size_t len,
		     const int *fds, unsigned nfds, struct cor_error *err);

/* file_ok[i]: Memory.files[i] is the very same here (see cor_rebuild_check_files);
 * mappings of the others become anonymous and lazy. object_fds[i]: object i+1.
 * On success *regions (malloc, the caller's) lists what is lazy, for the pager. */
int cor_rebuild_memory(struct cor_rebuild *rb, const Cor__Task__Image *image,
		       const bool *file_ok, const int *object_fds, unsigned nobjects,
		       struct cor_region **regions, unsigned *nregions, struct cor_error *err);

/* Where cor_rebuild_memory() was given the skeleton ahead of the freeze (built), this
 * brings it up to the image and writes the image's pages; *regions, from there, are
 * corrected. -ESTALE: too much has changed, or there is shared memory; abort and begin
 * again. */
int cor_rebuild_memory_update(struct cor_rebuild *rb, const Cor__Task__Image *built,
			      const Cor__Task__Image *image, const bool *file_ok,
			      struct cor_region **regions, unsigned *nregions,
			      struct cor_error *err);

/* Ahead of the freeze, after cor_rebuild_memory() with the skeleton: makes its threads,
 * and what else of cor_rebuild_threads() need not wait for the image. Whether it was
 * called or not, and which threads have come or gone since, makes no difference to the
 * outcome. */
int cor_rebuild_threads_ahead(struct cor_rebuild *rb, const Cor__Task__Image *skeleton,
			      struct cor_error *err);

/* After that, still ahead of the freeze: threads of the task that sleep (sleepers.h), which were
 * sent from_ns (cor_now_ns()), become what they are; those for which that cannot be done yet stay as
 * they are. s must stay until cor_rebuild_threads(). On failure rb is good for nothing but
 * cor_rebuild_abort(). */
int cor_rebuild_threads_asleep(struct cor_rebuild *rb, const Cor__Task__Image *skeleton,
			       const Cor__Task__Sleepers *s, uint64_t from_ns, struct cor_error *err);

/* In the freeze, before anything else: can threads that were born since the rebuild began have
 * their numbers? -ESTALE: one is somebody else's on this host; abort and begin again, with the
 * image, which leads to a PID namespace of the task's own. */
int cor_rebuild_numbers_fit(const struct cor_rebuild *rb, const Cor__Task__Image *image,
			    struct cor_error *err);

/* In the freeze, before cor_rebuild_memory_update(): can what was made of sleepers become the
 * image's threads? -ESTALE: one has ended, or cannot be set to what it is now; abort and begin
 * again. */
int cor_rebuild_threads_fit(const struct cor_rebuild *rb, const Cor__Task__Image *image,
			    struct cor_error *err);

/* From cor_rebuild_turns_begin() to cor_rebuild_turns_end() the calling thread and the stub's
 * leader are on the processor that the caller is on, and go before all that is not in real time
 * (sched(7)): for a rebuild that is short, since whoever else wants that processor waits. What it
 * takes to begin is done ahead; without that, and where the caller may not do so, is in real time
 * itself, or one of them is limited there (RLIMIT_RTTIME), nothing changes. The stub's threads get
 * what is theirs in cor_rebuild_threads(). */
void cor_rebuild_turns_ahead(struct cor_rebuild *rb, const Cor__Task__Image *skeleton);
void cor_rebuild_turns_begin(struct cor_rebuild *rb);
/* As often as one likes, NULL allowed; cor_rebuild_abort() does it too. Begun again for
 * cor_rebuild_resume(), it is the caller alone that goes first, wherever it is: else the threads
 * that it has let go take its processor, one after the other, while others still stand. */
void cor_rebuild_turns_end(struct cor_rebuild *rb);

int cor_rebuild_threads(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err);

/* *let_go becomes 1 before the first thread is let go, and only then: as long as it is
 * 0 none has run, even if the caller is killed, which kills them all. On failure none
 * was let go. */
int cor_rebuild_resume(struct cor_rebuild *rb, _Atomic uint32_t *let_go, struct cor_error *err);

/* What another process needs that goes on for a caller which was killed: it shares or has
 * got its descriptors. */
struct cor_rebuild_kept {
	int   ctl, pidfd;       /* descriptors: to the supervisor, of the stub or task */
	pid_t pid, supervisor;
};

/* The descriptors stay rb's. */
void cor_rebuild_keep(const struct cor_rebuild *rb, struct cor_rebuild_kept *out);

/* After resume: *kept's descriptors are *out's from here, also on failure. The task may
 * have ended. */
int cor_rebuild_take(struct cor_rebuild **out, const struct cor_rebuild_kept *kept,
		     struct cor_error *err);

/* Before resume: kills stub and supervisor, waits for them, frees rb. NULL allowed. */
void cor_rebuild_abort(struct cor_rebuild *rb);

/* After resume: kills the resumed task (its pages cannot be had any more). The
 * supervisor reports that; cor_rebuild_release() still frees rb. */
void cor_rebuild_kill_task(struct cor_rebuild *rb);

/* After the drain; frees rb. The supervisor lives on with the task. */
int cor_rebuild_release(struct cor_rebuild *rb, struct cor_error *err);

/* Which of memory's files are the very same on this host (path, size, mtime;
 * build-id where both have one). */
int cor_rebuild_check_files(const Cor__Task__Memory *memory, bool *file_ok, struct cor_error *err);

/* Makes the object here, empty, with its size: a descriptor. A tmpfs file whose
 * name is in use here, or not in /dev/shm, is made without a name; no file is
 * made set-user-ID. */
int cor_rebuild_make_object(const Cor__Task__Object *object, struct cor_error *err);

/* Sets a memfd's seals: once its content is there (sealed it cannot be filled),
 * but before it is mapped (a mapping would count as a writer). */
int cor_rebuild_seal_object(const Cor__Task__Object *object, int fd, struct cor_error *err);
