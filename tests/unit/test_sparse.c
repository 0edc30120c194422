/* Pages without their zeros. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "libcor/task/sparse.h"

#define P 4096u

static uint8_t g_page[P] __attribute__((aligned(64)));
static uint8_t g_back[P] __attribute__((aligned(64)));
static uint8_t g_packed[COR_SPARSE_MAX];

static size_t there_and_back(void)
{
	size_t n = cor_sparse_pack(g_page, g_packed);

	memset(g_back, 0xa5, P);
	assert_true(cor_sparse_unpack(g_packed, n, g_back));
	assert_memory_equal(g_back, g_page, P);
	return n;
}

static int clear(void **state)
{
	memset(g_page, 0, P);
	return 0;
}

static void zeros_take_the_bitmap_only(void **state)
{
	assert_int_equal(there_and_back(), 64);
}

static void no_zero_takes_the_most(void **state)
{
	memset(g_page, 0xff, P);
	assert_int_equal(there_and_back(), COR_SPARSE_MAX);
}

static void each_word_comes_back_in_its_place(void **state)
{
	for (unsigned i = 0; i < P; i++) {
		g_page[i] = (uint8_t)(i | 1);
		assert_int_equal(there_and_back(), 64 + 8);
		g_page[i] = 0;
	}
}

static void words_between_zeros_come_back(void **state)
{
	for (unsigned i = 0; i < P; i += 24)
		g_page[i] = (uint8_t)(i / 24 + 1);
	there_and_back();
}

static void other_lengths_are_refused(void **state)
{
	size_t n;

	g_page[0] = g_page[4095] = 1;
	n = cor_sparse_pack(g_page, g_packed);
	assert_int_equal(n, 64 + 16);
	for (size_t len = 0; len <= COR_SPARSE_MAX; len++)
		assert_int_equal(cor_sparse_unpack(g_packed, len, g_back), len == n);
}

#define T(name) cmocka_unit_test_setup(name, clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(zeros_take_the_bitmap_only), T(no_zero_takes_the_most),
		T(each_word_comes_back_in_its_place), T(words_between_zeros_come_back),
		T(other_lengths_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
