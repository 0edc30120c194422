/* The stub's calls, looked at instead of made; see batch.h. */
#include "tests/fuzz/batch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "libcor/base/error.h"

#define OFFSET_MASK (COR_PAGE_SIZE - 1ull)

const struct cor_memory_job *fuzz_job;

static void check_mmap(const uint64_t args[6])
{
	int64_t fd = (int32_t)args[4];
	size_t files = fuzz_job->memory->n_files;

	FUZZ_CHECK(args[0] && args[1] && !((args[0] | args[1] | args[5]) & OFFSET_MASK));
	FUZZ_CHECK(args[0] + args[1] > args[0]);
	FUZZ_CHECK(fd == -1 || (fd >= FUZZ_FIRST_FILE && (uint64_t)fd < FUZZ_FIRST_FILE + files) ||
		   (fd >= FUZZ_FIRST_OBJECT && fd < FUZZ_FIRST_OBJECT + fuzz_job->nobjects));
}

int __wrap_cor_batch_add(struct cor_batch *b, enum cor_batch_expect expect, uint64_t nr,
			 const uint64_t args[6], struct cor_error *err, const char *what, ...)
	__attribute__((format(printf, 6, 7)));
int __wrap_cor_batch_add(struct cor_batch *b, enum cor_batch_expect expect, uint64_t nr,
			 const uint64_t args[6], struct cor_error *err, const char *what, ...)
{
	char text[4200];
	va_list ap;

	va_start(ap, what);
	vsnprintf(text, sizeof(text), what, ap);
	va_end(ap);
	if (nr == SYS_mmap)
		check_mmap(args);
	return 3;
}

int __wrap_cor_batch_data(struct cor_batch *b, const void *data, size_t len, uint64_t *remote,
			  struct cor_error *err);
int __wrap_cor_batch_data(struct cor_batch *b, const void *data, size_t len, uint64_t *remote,
			  struct cor_error *err)
{
	free(fuzz_copy(data, len));
	*remote = 0x10000;
	return 0;
}

int __wrap_cor_batch_reserve(struct cor_batch *b, unsigned ncalls, size_t len,
			     struct cor_error *err);
int __wrap_cor_batch_reserve(struct cor_batch *b, unsigned ncalls, size_t len,
			     struct cor_error *err)
{
	return len > 65536 ? cor_fail(err, -E2BIG, "too much") : 0;
}

int __wrap_cor_batch_flush(struct cor_batch *b, struct cor_error *err);
int __wrap_cor_batch_flush(struct cor_batch *b, struct cor_error *err)
{
	return 0;
}

int __wrap_cor_batch_call(struct cor_batch *b, uint64_t nr, const uint64_t args[6], int64_t *ret,
			  struct cor_error *err);
int __wrap_cor_batch_call(struct cor_batch *b, uint64_t nr, const uint64_t args[6], int64_t *ret,
			  struct cor_error *err)
{
	if (ret)
		*ret = 0;
	return 0;
}

void __wrap_cor_runner_range(const struct cor_runner *r, uint64_t *start, uint64_t *end);
void __wrap_cor_runner_range(const struct cor_runner *r, uint64_t *start, uint64_t *end)
{
	*start = 0x20000;
	*end = 0x60000;
}
