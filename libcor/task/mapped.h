/* Files that a task maps shared and writable (File.shared in task.proto): what it stores is
 * the file's. So neither the file nor its pages travel: where the task arrives, the same file
 * is mapped by its name, from a file system that both hosts see or from home. */
#pragma once

#include <cor/error.h>
#include <sys/types.h>

#include "libcor/task/task.pb-c.h"

/* What the stopped task pid has stored in them is written back to where others see it: by
 * the end of a descriptor, as network file systems and FUSE do it (close-to-open). What is
 * only in this kernel's cache stays there. */
int cor_mapped_flush(pid_t pid, const Cor__Task__Image *image, struct cor_error *err);
