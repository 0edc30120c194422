/* The context: kernel features, found out once. */
#include <cor/cor.h>

#include <errno.h>
#include <stdlib.h>

#include "config.h"
#include "libcor/base/error.h"
#include "libcor/base/probe.h"

struct cor_ctx {
	struct cor_features features;
};

int cor_open(struct cor_ctx **out, struct cor_error *err)
{
	struct cor_ctx *ctx = calloc(1, sizeof(*ctx));
	int r;

	if (!ctx)
		return cor_fail(err, -ENOMEM, "out of memory");
	r = cor_probe(&ctx->features, err);
	if (r < 0) {
		free(ctx);
		return r;
	}
	*out = ctx;
	return 0;
}

void cor_close(struct cor_ctx *ctx)
{
	free(ctx);
}

const struct cor_features *cor_features(const struct cor_ctx *ctx)
{
	return &ctx->features;
}

const char *cor_version(void)
{
	return PACKAGE_VERSION;
}
