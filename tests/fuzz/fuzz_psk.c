/* A file of pre-shared keys, as psktool(1) writes them. The input: the length of the
 * identity that is looked for (1 byte), the identity, the file. */
#include <errno.h>

#include "libcor/transport/tls.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	size_t len = fuzz_u8(&in) % COR_TLS_NAME;
	char *identity, *text;
	unsigned line = 0, none = 0;
	uint8_t key[64], print[COR_TLS_FINGERPRINT];
	int all, n;

	len = len < in.size ? len : in.size;
	identity = fuzz_text(in.data, len);
	text = fuzz_text(in.data + len, in.size - len);
	all = cor_psk_find(text, NULL, NULL, 0, &line);
	FUZZ_CHECK(all == 0 || (all == -EINVAL && line > 0));
	n = cor_psk_find(text, identity, key, sizeof(key), &none);
	FUZZ_CHECK(n == -ENOENT || n == -EINVAL || (n >= 16 && n <= (int)sizeof(key)));
	FUZZ_CHECK((n == -EINVAL) == (all == -EINVAL));
	/* never more than there is room for */
	FUZZ_CHECK(cor_psk_find(text, identity, key, 8, &none) < 0);
	n = cor_tls_fingerprint_parse(text, print);
	FUZZ_CHECK(n == 0 || n == -EINVAL);
	free(identity);
	free(text);
	return 0;
}
