#include "libcor/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int fill(struct cor_error *err, int code, int sys, const char *fmt, va_list ap)
{
	size_t used;

	if (!err)
		return code;
	err->code = code;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	used = strlen(err->text);
	if (sys)
		snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerrordesc_np(sys));
	return code;
}

int cor_fail(struct cor_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(err, code, 0, fmt, ap);
	va_end(ap);
	return code;
}

int cor_fail_errno(struct cor_error *err, const char *fmt, ...)
{
	int code = errno > 0 ? -errno : -EIO;
	va_list ap;

	va_start(ap, fmt);
	fill(err, code, -code, fmt, ap);
	va_end(ap);
	return code;
}

int cor_fail_code(struct cor_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fill(err, code, -code, fmt, ap);
	va_end(ap);
	return code;
}

int cor_fail_prefix(struct cor_error *err, int code, const char *fmt, ...)
{
	char old[COR_ERROR_TEXT];
	size_t used;
	va_list ap;

	if (!err)
		return code;
	memcpy(old, err->text, sizeof(old));
	va_start(ap, fmt);
	fill(err, err->code ? err->code : code, 0, fmt, ap);
	va_end(ap);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", old);
	return err->code;
}
