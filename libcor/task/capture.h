/* capture: the state of a task as a cor.task.Image (task.proto).
 *
 * Two passes. The skeleton is read while the task runs and says what the
 * destination must provide; whatever cannot be carried is refused there, by
 * name, before anything is stopped. The image is read from the stopped task.
 */
#pragma once

#include <cor/error.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/task/sleepers.h"
#include "libcor/task/task.pb-c.h"
#include "libcor/task/tracee.h"
#include "libcor/task/waits.h"

#define COR_TASK_VERSION 1

struct cor_capture_options {
	unsigned inline_written_max;   /* pages of one file mapping that travel in the image; more are lazy */
	uint32_t without_files;        /* reserved */
	const struct cor_waits *waits; /* of a task that was rebuilt here; NULL: none */
	struct cor_sleepers *sleepers; /* threads that were read ahead; the image takes them;
					  NULL: none */
	bool sparse;                   /* eager pages without their zeros (sparse.h): the
					  destination understands that */
};

/* Reads pid (running). Refuses with -EOPNOTSUPP and one sentence that names the
 * thing: children, a tracer, an io_uring or aio mapping, a device mapping, SysV
 * memory, a protection key, shared hugetlb, CET, vfork, other namespaces than cord's
 * own (user, mount root), what a security module confines, seccomp's strict mode,
 * 32-bit code, kernel threads, zombies. Whether files that are mapped shared can be
 * had elsewhere is not asked here (mapped.h), nor are seccomp filters read
 * (seccomp.h). Free with cor__task__image__free_unpacked(image, NULL). -EAGAIN:
 * children, which may soon be gone, or mappings that changed while they were read:
 * try again. */
int cor_capture_skeleton(pid_t pid, const struct cor_capture_options *o,
			 Cor__Task__Image **out, struct cor_error *err);

/* After the skeleton: no other process maps the shared memory that it lists, nor a file that
 * is mapped shared and writable. Walks
 * the mappings of every process, so it is nothing for a freeze. -EOPNOTSUPP naming
 * memory and process. */
int cor_capture_owns_memory(pid_t pid, const Cor__Task__Image *skeleton, struct cor_error *err);

/* On the destination, which has the skeleton: gives the image what it left out since
 * the skeleton has it already: written pages that are the same, and the vDSO. */
int cor_capture_complete(Cor__Task__Image *image, const Cor__Task__Image *skeleton,
			 struct cor_error *err);

/* Reads the stopped task t completely. With a skeleton, Image.pages holds only what
 * differs from the skeleton's, and the vDSO is left out. skeleton (may be NULL) lends what cannot
 * have changed. The task can be thawed or made a ghost afterwards. The refusals
 * are checked again, but for those of cor_capture_recheck(). -EAGAIN: children were there which may soon be gone: thaw
 * and try again. */
int cor_capture_image(struct cor_tracee *t, const struct cor_capture_options *o,
		      const Cor__Task__Image *skeleton, Cor__Task__Image **out,
		      struct cor_error *err);

/* Goes through cor_capture_image() as far as that can be done from outside while pid
 * runs, and forgets all of it: what is then read in the freeze is warm, in this
 * process and in the kernel. Failures are of no interest: the image will have them. */
void cor_capture_rehearse(pid_t pid, const struct cor_capture_options *o,
			  const Cor__Task__Image *skeleton);

/* After cor_capture_image() with a skeleton: the refusals that can wait until the image is
 * on its way, but not for the commit: another root directory or namespace since the
 * skeleton. -EOPNOTSUPP. */
int cor_capture_recheck(struct cor_tracee *t, struct cor_error *err);

/* Opens the shared memory object on the source, for the page server: a
 * descriptor (O_RDONLY) by /proc/PID/map_files or /proc/PID/fd. */
int cor_capture_open_object(pid_t pid, const Cor__Task__Image *image, uint32_t object,
			    struct cor_error *err);

/* On the destination: can this task live here? CPU features, kernel features,
 * page size, limits, free memory. -ENOTSUP with the names of what is missing. */
int cor_capture_admissible(const Cor__Task__Image *skeleton, struct cor_error *err);

/* Fills *cpu of this host (cpu.c). */
int cor_cpu_describe(Cor__Task__Cpu *cpu, struct cor_error *err);
/* -ENOTSUP naming the features that theirs has and ours lacks. */
int cor_cpu_check(const Cor__Task__Cpu *theirs, const Cor__Task__Cpu *ours, struct cor_error *err);
