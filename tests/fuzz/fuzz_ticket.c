/* Tickets: what parses is the one text of that ticket. */
#include <errno.h>

#include "libcor/paging/ticket.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), again[COR_TICKET_TEXT];
	struct cor_error err;
	struct cor_ticket t;
	int r = cor_ticket_parse(text, &t, &err);

	FUZZ_CHECK(r == 0 || ((r == -EINVAL || r == -ENOTSUP) && err.code == r));
	if (r == 0) {
		FUZZ_CHECK(cor_ticket_format(&t, again, NULL) == 0);
		FUZZ_CHECK(strcmp(text, again) == 0);
	}
	free(text);
	return 0;
}
