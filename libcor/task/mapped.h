/* Files that a task maps shared (File.use in task.proto). What is stored through such a mapping
 * is the file's, and what is written to the file shows in the mapping. So neither travels: where
 * the task arrives, the same file is mapped by its name, from a file system that both hosts see
 * or from home. Only one that is read and that nobody is known to write may be a copy, where it
 * cannot be had. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/task/task.pb-c.h"

/* The file is mapped shared, with that protection (PROT_*). */
void cor_mapped_note(Cor__Task__File *f, uint32_t prot);

/* Must any of the files be the file itself? */
bool cor_mapped_any(const Cor__Task__Memory *m);

/* Is file number file mapped shared and writable now? */
bool cor_mapped_writable(const Cor__Task__Memory *m, size_t file);

/* What the stopped task pid has stored in them is written back to where others see it: by
 * the end of a descriptor, as network file systems and FUSE do it (close-to-open). What is
 * only in this kernel's cache stays there. */
int cor_mapped_flush(pid_t pid, const Cor__Task__Image *image, struct cor_error *err);
