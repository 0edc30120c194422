/* The preamble of a connection: parsed at once, parsed as it trickles in, and the
 * answer of the accepting side. Byte 0 says into what pieces the rest is cut. */
#include <errno.h>

#include "libcor/transport/preamble.h"
#include "tests/fuzz/socket.h"

/* What is accepted is what would be made of its fields. */
static int parse(const uint8_t *data, size_t size)
{
	struct cor_preamble p, again;
	void *bytes;
	int r;

	if (size < sizeof(p))
		return 0;
	bytes = fuzz_copy(data, sizeof(p));
	r = cor_preamble_parse(bytes, &p);
	FUZZ_CHECK(r == 0 || r == -EPROTO);
	if (r == 0) {
		cor_preamble_make(&again, p.kind, p.index, p.session, p.secret);
		again.security = p.security;
		FUZZ_CHECK(memcmp(bytes, &again, sizeof(again)) == 0);
		FUZZ_CHECK(cor_preamble_check(&p, again.session, again.secret) == 0);
	}
	free(bytes);
	return r == 0 ? 1 : r;
}

static int trickle(const uint8_t *data, size_t size, size_t piece)
{
	struct cor_preamble_reader reader = COR_PREAMBLE_READER_INIT;
	struct fuzz_peer peer = fuzz_peer_open();
	struct cor_preamble p;
	size_t sent = 0;
	int r = 0;

	while (r == 0 && sent < size) {
		size_t n = size - sent < piece ? size - sent : piece;

		fuzz_peer_send(&peer, data + sent, n);
		sent += n;
		r = cor_preamble_reader_feed(&reader, peer.ours->in_fd, &p);
		FUZZ_CHECK(reader.have <= sizeof(reader.bytes));
	}
	if (r == 0) {
		fuzz_peer_end(&peer);
		FUZZ_CHECK(cor_preamble_reader_feed(&reader, peer.ours->in_fd, &p) == -ECONNRESET);
	} else if (sent > sizeof(p)) {
		/* nothing behind the preamble has been read */
		uint8_t next;

		FUZZ_CHECK(recv(peer.ours->in_fd, &next, 1, MSG_DONTWAIT) == 1);
		FUZZ_CHECK(next == data[sizeof(p)]);
	}
	fuzz_peer_close(&peer);
	return r;
}

static void answer(const uint8_t *data, size_t size)
{
	struct fuzz_peer peer = fuzz_peer_open();
	struct cor_error err;
	struct cor_preamble p;
	int r;

	cor_preamble_make(&p, COR_CONN_CONTROL, 0, NULL, NULL);
	fuzz_peer_send(&peer, data, size);
	fuzz_peer_end(&peer);
	r = cor_preamble_exchange(peer.ours->in_fd, &p, 1000, &err);
	FUZZ_CHECK(r <= 0);
	FUZZ_CHECK(r == 0 || err.code == r);
	fuzz_peer_close(&peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 256)
		return 0;
	FUZZ_CHECK(parse(data + 1, size - 1) == trickle(data + 1, size - 1, data[0] % 80u + 1));
	answer(data + 1, size - 1);
	return 0;
}
