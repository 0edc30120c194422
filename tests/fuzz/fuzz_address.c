/* ADDR:PORT as people and peers write it. */
#include <errno.h>

#include "daemon/address.h"
#include "libcor/transport/tcp.h"
#include "tests/fuzz/fuzz.h"

/* The parts, put together, give the same parts. */
static void again(const struct cor_addrport *a)
{
	char text[sizeof(a->host) + sizeof(a->port) + 4];
	bool colons = strchr(a->host, ':') != NULL;
	struct cor_addrport b;

	snprintf(text, sizeof(text), "%s%s%s:%s", colons ? "[" : "", a->host, colons ? "]" : "",
		 a->port);
	FUZZ_CHECK(cor_addrport_parse(text, &b, NULL) == 0);
	FUZZ_CHECK(strcmp(a->host, b.host) == 0 && strcmp(a->port, b.port) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct cor_error err;
	struct cor_addrport a;
	int r = cor_addrport_parse(text, &a, &err);

	FUZZ_CHECK(r == 0 || (r == -EINVAL && err.code == r));
	FUZZ_CHECK(cord_address_valid(text) == (r == 0));
	if (r == 0) {
		FUZZ_CHECK(strlen(a.host) < sizeof(a.host) && strlen(a.port) < sizeof(a.port));
		FUZZ_CHECK(atol(a.port) >= 0 && atol(a.port) <= 65535);
		again(&a);
	}
	free(text);
	return 0;
}
