/* The vDSO parser and redirection, on this process's own vDSO. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/vdso.h"

typedef int clock_gettime_fn(clockid_t clock, struct timespec *ts);

struct own { uint64_t base; size_t len; };

static int find_own(void **state)
{
	static struct own own;
	_cleanup_free_ char *text = NULL;
	uint64_t start, end;
	char *at;

	if (cor_slurp(AT_FDCWD, "/proc/self/maps", &text, NULL) < 0)
		return -1;
	at = strstr(text, "[vdso]");
	if (!at)
		return -1;
	while (at > text && at[-1] != '\n')
		at--;
	if (sscanf(at, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
		return -1;
	own = (struct own){ start, end - start };
	*state = &own;
	return 0;
}

static void functions_are_found(void **state)
{
	struct own *own = *state;
	struct cor_vdso v;
	struct cor_vdso_function f;

	assert_int_equal(cor_vdso_parse(&v, (void *)own->base, own->len, NULL), 0);
	assert_true(cor_vdso_find(&v, "__vdso_clock_gettime", &f));
	assert_true(cor_vdso_find(&v, "clock_gettime", &f));
	assert_true(cor_vdso_find(&v, "__vdso_getcpu", &f));
	assert_true(f.offset + f.size <= own->len);
	assert_false(cor_vdso_find(&v, "__vdso_nothing", &f));
}

static void redirected_functions_work(void **state)
{
	struct own *own = *state;
	struct timespec here, there;
	struct cor_vdso_function f;
	struct cor_vdso v;
	clock_gettime_fn *get;
	char *copy = mmap(NULL, own->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(copy, MAP_FAILED);
	memcpy(copy, (void *)own->base, own->len);
	assert_true(cor_vdso_redirect(copy, own->len, (uintptr_t)copy, (void *)own->base, own->len,
				      own->base, NULL) >= 5);
	assert_int_equal(mprotect(copy, own->len, PROT_READ | PROT_EXEC), 0);
	assert_int_equal(cor_vdso_parse(&v, copy, own->len, NULL), 0);
	assert_true(cor_vdso_find(&v, "__vdso_clock_gettime", &f));
	get = (clock_gettime_fn *)(void *)(copy + f.offset);
	clock_gettime(CLOCK_MONOTONIC, &here);
	assert_int_equal(get(CLOCK_MONOTONIC, &there), 0);
	assert_true(there.tv_sec - here.tv_sec < 10);
	assert_true(there.tv_sec > here.tv_sec ||
		    (there.tv_sec == here.tv_sec && there.tv_nsec >= here.tv_nsec));
	munmap(copy, own->len);
}

static void inside_of_a_jump_is_known(void **state)
{
	struct own *own = *state;
	struct cor_vdso_function f;
	struct cor_vdso v;

	assert_int_equal(cor_vdso_parse(&v, (void *)own->base, own->len, NULL), 0);
	assert_true(cor_vdso_find(&v, "__vdso_clock_gettime", &f));
	assert_false(cor_vdso_in_jump(&v, &v, f.offset));
	assert_true(cor_vdso_in_jump(&v, &v, f.offset + 2));
	assert_false(cor_vdso_in_jump(&v, &v, f.offset + 13));
}

/* Whatever the bytes are: refused or parsed, never read outside. The copy ends
 * at an inaccessible page. */
static char *guarded(const void *from, size_t len, size_t full)
{
	size_t room = (full + 4095) & ~(size_t)4095;
	char *p = mmap(NULL, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	mprotect(p + room, 4096, PROT_NONE);
	memcpy(p + room - len, from, len);
	return p + room - len;
}

static void drop(char *at, size_t len, size_t full)
{
	size_t room = (full + 4095) & ~(size_t)4095;

	munmap(at + len - room, room + 4096);
}

static void try_all(const char *image, size_t len)
{
	struct cor_vdso_function f;
	struct cor_vdso v;

	if (cor_vdso_parse(&v, image, len, NULL) < 0)
		return;
	for (unsigned i = 0; i < v.nsymbols; i++)
		if (cor_vdso_function(&v, i, &f))
			assert_true(f.offset + f.size <= len && strlen(f.name) < len);
}

static void truncated_images_are_survived(void **state)
{
	struct own *own = *state;

	for (size_t len = 0; len < own->len; len += len < 1200 ? 1 : 61) {
		char *p = guarded((void *)own->base, len, own->len);

		try_all(p, len);
		drop(p, len, own->len);
	}
}

static void empty_image_is_refused(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_vdso v;

	assert_int_equal(cor_vdso_parse(&v, "", 0, &err), -ENOEXEC);
	assert_true(err.text[0]);
}

static void garbled_images_are_survived(void **state)
{
	struct own *own = *state;
	char *p = guarded((void *)own->base, own->len, own->len);
	unsigned seed = 1;

	for (int i = 0; i < 20000; i++) {
		size_t at = (size_t)rand_r(&seed) % 1600;
		char old = p[at];

		p[at] = (char)rand_r(&seed);
		try_all(p, own->len);
		/* keep some, so that faults add up */
		if (i % 50)
			p[at] = old;
		if (i % 1000 == 0)
			memcpy(p, (void *)own->base, own->len);
	}
	drop(p, own->len, own->len);
}

static void garbled_images_are_not_written_outside(void **state)
{
	struct own *own = *state;
	char *p = guarded((void *)own->base, own->len, own->len);
	unsigned seed = 2;

	for (int i = 0; i < 5000; i++) {
		memcpy(p, (void *)own->base, own->len);
		for (int k = 0; k < 3; k++)
			p[(size_t)rand_r(&seed) % 1600] = (char)rand_r(&seed);
		cor_vdso_redirect(p, own->len, 0x700000000000, (void *)own->base, own->len,
				  own->base, NULL);
	}
	drop(p, own->len, own->len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(functions_are_found),
		cmocka_unit_test(redirected_functions_work),
		cmocka_unit_test(inside_of_a_jump_is_known),
		cmocka_unit_test(truncated_images_are_survived),
		cmocka_unit_test(empty_image_is_refused),
		cmocka_unit_test(garbled_images_are_survived),
		cmocka_unit_test(garbled_images_are_not_written_outside),
	};

	return cmocka_run_group_tests(tests, find_own, NULL);
}
