/* cor-bench fault, over something else than TCP. */
#pragma once

#include <cor/cor.h>

#include "bench/remote.h"
#include "bench/report.h"

/* apart: the floors too are taken with the processors of two hosts. Returns the exit status. */
int fault_over(const struct cor_ctx *ctx, const struct bench_sized *sized, bool apart,
	       const struct remote *over);
