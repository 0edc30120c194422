/* For targets that rebuild a task up to the calls that would be injected into its
 * stub: these are looked at (mappings whole, descriptors among those given) and
 * never made. Links with --wrap for the functions in batch.c. */
#pragma once

#include "libcor/task/rebuild_private.h"
#include "tests/fuzz/fuzz.h"

/* What descriptors of files and objects are in the stub. */
#define FUZZ_FIRST_FILE 1000
#define FUZZ_FIRST_OBJECT 2000000

/* The job under way. NULL: no descriptors may be mapped. */
extern const struct cor_memory_job *fuzz_job;
