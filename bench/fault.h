/* cor-bench fault, over something else than TCP. */
#pragma once

#include <cor/cor.h>

#include "bench/remote.h"
#include "bench/report.h"

/* Returns the exit status. */
int fault_over(const struct cor_ctx *ctx, const struct bench_common *common, size_t size,
	       unsigned count, const struct remote *over);
