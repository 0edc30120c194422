#include "libcor/base/probe.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "libcor/base/compat.h"
#include "libcor/base/error.h"

int cor_probe(struct cor_features *out, struct cor_error *err)
{
	struct cor_features f = { 0 };
	struct utsname u;

	uname(&u);
	snprintf(f.kernel, sizeof(f.kernel), "%s", u.release);
	*out = f;
	return 0;
}

int cor_features_missing(const struct cor_features *f, char *buf, size_t size)
{
	if (size)
		buf[0] = 0;
	return 0;
}
