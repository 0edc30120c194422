/* libcor-preload: what its files share. */
#pragma once

#include "libcor/task/hooks.h"

#define EXPORT __attribute__((visibility("default")))

/* The words that cord reads and writes (hooks.c). */
extern struct cor_hook_block cor_preload_block;

/* Tells the local cord about this process, if one listens. Never blocks, never
 * fails, leaves errno and the descriptor table as they were (register.c). */
void cor_preload_register(void);
