/* Replies of a page server to a synchronous reader. The input: object, number of
 * pages (2 bytes; bit 15: with checks) and first page (4, signed: the end of the address space is near)
 * of what is asked for, then the server's bytes. */
#include "libcor/paging/fetch.h"
#include "libcor/paging/wire.h"
#include "tests/fuzz/socket.h"

#define PAGE ((uint64_t)1 << COR_PAGE_SHIFT)

struct taken {
	uint64_t due, end;
	unsigned calls;
};

/* Pages come in order, none twice, none that was not asked for, all of them readable. */
static int sink(void *arg, uint64_t offset, const void *data, uint32_t npages)
{
	struct taken *t = arg;

	FUZZ_CHECK(offset == t->due && npages > 0 && npages <= (t->end - t->due) / PAGE);
	t->due += npages * PAGE;
	if (data)
		free(fuzz_copy(data, npages * PAGE));
	return t->calls++ == 40 ? -1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint16_t object = fuzz_u8(&in), npages = 0;
	bool check;
	struct fuzz_peer peer = fuzz_peer_open();
	struct cor_error err;
	struct taken t;
	uint64_t offset;
	int32_t page;
	int r;

	fuzz_take(&in, &npages, sizeof(npages));
	check = npages & 0x8000;
	npages %= 600;
	fuzz_take(&in, &page, sizeof(page));
	offset = (uint64_t)page * PAGE;
	t = (struct taken){ .due = offset, .end = offset + npages * PAGE };
	fuzz_peer_send(&peer, in.data, in.size < FUZZ_SOCKET_MAX ? in.size : FUZZ_SOCKET_MAX);
	fuzz_peer_end(&peer);
	r = cor_fetch(peer.ours, object, offset, npages, check, sink, &t, &err);
	FUZZ_CHECK(r <= 0 && (r == 0 || err.code == r));
	FUZZ_CHECK(r < 0 || t.due == t.end);
	fuzz_peer_close(&peer);
	return 0;
}
