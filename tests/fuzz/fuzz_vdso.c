/* The vDSO image of an arriving task: an ELF from a peer, redirected to this
 * process's own. */
#include <sys/auxv.h>

#include "libcor/task/vdso.h"
#include "tests/fuzz/fuzz.h"

#define OWN_MAX 8192u   /* of this kernel's image: its code is at its beginning */

static void look(const struct cor_vdso *v)
{
	const char *end = (const char *)v->image + v->len;

	for (unsigned i = 0; i < v->nsymbols; i++) {
		struct cor_vdso_function f;

		if (!cor_vdso_function(v, i, &f))
			continue;
		FUZZ_CHECK(f.offset <= v->len && f.size <= v->len - f.offset);
		FUZZ_CHECK(f.name >= (const char *)v->image && f.name + strlen(f.name) < end);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const void *own = (const void *)getauxval(AT_SYSINFO_EHDR);
	unsigned char *old = fuzz_copy(data, size);
	struct cor_error err = COR_ERROR_INIT;
	struct cor_vdso v, now;
	int r = cor_vdso_parse(&v, old, size, &err);

	FUZZ_CHECK(r == 0 || (r < 0 && err.code == r));
	if (r == 0) {
		look(&v);
		if (own && cor_vdso_parse(&now, own, OWN_MAX, NULL) == 0)
			for (size_t at = 1; at < size; at *= 7)
				(void)cor_vdso_in_jump(&v, &now, at);
	}
	if (own)
		(void)cor_vdso_redirect(old, size, 0x7fff00000000, own, OWN_MAX, (uintptr_t)own, &err);
	free(old);
	return 0;
}
