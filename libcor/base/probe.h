/* Finds out once what the kernel can do. Struct cor_features is public
 * (include/cor/cor.h); cor_open() calls this, cor check prints it. */
#pragma once

#include <cor/cor.h>
#include <stdbool.h>

/* Fills *out; 0 or -errno (only when nothing at all could be found out). Starts
 * and ends one child process, to trace it. */
int cor_probe(struct cor_features *out, struct cor_error *err);

/* One thing that a host can or cannot do, and what cor wants it for. */
struct cor_feature {
	const char *name;
	const char *purpose;
	bool        needed;      /* nothing migrates without it */
	bool      (*present)(const struct cor_features *f);
};

/* All of them; *n is their number. */
const struct cor_feature *cor_feature_list(unsigned *n);
