/* Inside capture: one capture on its way, and its parts (capture_*.c). */
#pragma once

#include "libcor/task/build_id.h"
#include "libcor/task/capture.h"
#include "libcor/task/inject.h"
#include "libcor/task/procfs.h"

struct cor_capture_seen {       /* entries of the pagemap, of the task as it stands still */
	uint64_t first;         /* page number */
	unsigned n;
	uint64_t entry[8];
};

struct cor_capture {
	pid_t pid;
	struct cor_tracee *t;                   /* NULL: the skeleton of a running task */
	struct cor_capture_options o;
	const Cor__Task__Image *skeleton;       /* lends what cannot have changed; or NULL */
	Cor__Task__Image *image;                /* being built */
	struct cor_proc_status status;          /* of the leader */
	struct cor_proc_stat stat;
	int proc;                               /* /proc/PID */
	int mem, pagemap;                       /* opened when first needed; -1 */
	struct cor_capture_seen seen;           /* what was last read of that */
	uint64_t action_flags[64];              /* of each signal, once known */
	struct cor_capture_batch *calls;        /* that run; NULL: none */
	uint64_t calls_ns;                      /* since when they do, or did */
};

/* capture_image.c: what every capture begins with (c: zeros, but for t and skeleton), and its
 * end, whatever came of it. */
int cor_capture_begin(struct cor_capture *c, pid_t pid, const struct cor_capture_options *o,
		      struct cor_error *err);
void cor_capture_end(struct cor_capture *c);

/* capture_base.c: /proc/PID/NAME whole, the caller's to free. */
int cor_capture_slurp(struct cor_capture *c, const char *name, char **out, size_t *len,
		      struct cor_error *err);
int cor_capture_no_memory(struct cor_capture *c, struct cor_error *err);

/* capture_memory.c: Image.memory, without the contents of pages */
int cor_capture_memory(struct cor_capture *c, struct cor_error *err);

/* capture_objects.c: files and shared memory behind mappings */
struct cor_backing {                    /* what a mapping maps */
	int  file;                      /* index into Memory.files, or -1 */
	uint32_t object;                /* Object.id, or 0 */
	bool anonymous;                 /* private /dev/zero */
};
int cor_capture_backing(struct cor_capture *c, const struct cor_map_line *m,
			struct cor_backing *out, struct cor_error *err);
int cor_capture_exe(struct cor_capture *c, struct cor_error *err);
int cor_capture_lend_files(struct cor_capture *c, struct cor_error *err);
int cor_capture_object_descriptors(struct cor_capture *c, struct cor_error *err);

/* capture_written.c: pages of private file mappings that no longer are the file's */
int cor_capture_written(struct cor_capture *c, struct cor_error *err);

/* capture_eager.c: pages for the first instructions, and hints. After threads. */
int cor_capture_eager(struct cor_capture *c, struct cor_error *err);

/* capture_pages.c: reading the task's memory */
int cor_capture_read(struct cor_capture *c, uint64_t addr, void *buf, size_t len);
bool cor_capture_page_is_there(struct cor_capture *c, uint64_t addr);
Cor__Task__Vma *cor_capture_find_vma(const Cor__Task__Image *image, uint64_t addr);

/* capture_threads.c: Image.threads; tid, comm and credentials only in a skeleton. Those that still
 * sleep (sleepers.h) come from where they were read. */
int cor_capture_threads(struct cor_capture *c, struct cor_error *err);
/* Pending signals, and what becomes of interrupted calls. After the calls. */
int cor_capture_signals(struct cor_capture *c, struct cor_error *err);
/* capture_timers.c: those that have ended between their call and the look at pending signals end
 * once, not twice. After both. */
void cor_capture_timers_settle(struct cor_capture *c);
/* capture_scheduling.c: what others can change of a thread. */
int cor_capture_scheduling(Cor__Task__Thread *th, pid_t tid, struct cor_error *err);
/* capture_sleepers.c: what was read ahead of a thread that has not run since; NULL: nothing. */
struct cor_sleeper *cor_capture_sleeper_of(const struct cor_capture *c,
					   const struct cor_tracee_thread *t);
/* Its record becomes the image's next thread. False: it has changed, or there is none. */
bool cor_capture_sleeper(struct cor_capture *c, const struct cor_tracee_thread *t);
/* A thread's name, the caller's; NULL: it cannot be read. */
char *cor_sleeper_comm(pid_t pid, pid_t tid);

/* capture_calls.c: what only the task can say, by injection. Between start and take the
 * threads run the calls, so that nothing can be asked of them by ptrace, and what can be read
 * without is. Image.identity is there before take. drop, where that is not wanted any more;
 * does nothing without start. */
int cor_capture_calls_start(struct cor_capture *c, struct cor_error *err);
int cor_capture_calls_take(struct cor_capture *c, struct cor_error *err);
void cor_capture_calls_drop(struct cor_capture *c);
/* Of c->t's only thread, while others run, what it alone can say of itself, into the image's only
 * one. r: of at least so many bytes (cor_runner_map_running()). */
size_t cor_capture_calls_room(void);
int cor_capture_calls_alone(struct cor_capture *c, struct cor_runner *r, struct cor_error *err);

/* capture_identity.c */
int cor_capture_identity(struct cor_capture *c, struct cor_error *err);
int cor_capture_clock(struct cor_capture *c, struct cor_error *err);
void cor_capture_credentials(Cor__Task__Credentials *out, const struct cor_proc_status *st);

/* refuse.c: -EOPNOTSUPP, or -EAGAIN for children of a stopped task */
int cor_refuse_process(struct cor_capture *c, struct cor_error *err);
/* Of any thread; of a stopped task cor_refuse_process() looks at those of the first one only. */
int cor_refuse_children(struct cor_capture *c, struct cor_error *err);
/* Of it, what a captured task may be asked later: cor_capture_recheck(). */
int cor_refuse_place(struct cor_capture *c, struct cor_error *err);
int cor_refuse_mapping(struct cor_capture *c, const struct cor_map_line *m, struct cor_error *err);
int cor_refuse_smap(struct cor_capture *c, const struct cor_smap *s, struct cor_error *err);
/* Of a thread that runs, too. */
int cor_refuse_strict(struct cor_capture *c, const struct cor_proc_status *st,
		      struct cor_error *err);
int cor_refuse_thread(struct cor_capture *c, const struct cor_tracee_thread *th,
		      const struct cor_proc_status *st, struct cor_error *err);
