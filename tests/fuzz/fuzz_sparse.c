/* Pages without their zeros, of an arriving task. */
#include "libcor/task/sparse.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t page[4096] __attribute__((aligned(64))), again[COR_SPARSE_MAX];
	unsigned char *packed = fuzz_copy(data, size);

	if (cor_sparse_unpack(packed, size, page)) {
		size_t n = cor_sparse_pack(page, again);

		/* a word that is said to be none may be zero all the same */
		FUZZ_CHECK(n <= size);
	}
	free(packed);
	return 0;
}
