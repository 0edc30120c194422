/* Finds out once what the kernel can do. Struct cor_features is public
 * (include/cor/cor.h); cor_open() calls this, cor check prints it. */
#pragma once

#include <cor/cor.h>

/* Fills *out; 0 or -errno (only when nothing at all could be found out). */
int cor_probe(struct cor_features *out, struct cor_error *err);
