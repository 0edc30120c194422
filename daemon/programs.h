/* The programs that libcor-preload.so has registered: where the words of their
 * hooks lie (include/cor/migrate.h). A registration is a hint: the words
 * themselves say whether they are there, so an entry of a process that has
 * ended does no harm. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct programs;

int  programs_new(struct programs **out);
void programs_free(struct programs *p);

/* Replaces what pid has registered. -ENOMEM; -ENOSPC: too many that still run. */
int programs_add(struct programs *p, pid_t pid, uint64_t hooks);

/* The address that pid has registered, or 0. */
uint64_t programs_hooks(const struct programs *p, pid_t pid);
