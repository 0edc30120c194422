/* What goes through the pump for a UDP socket: packets of the away side's device, what the
 * peer tells of a datagram, and the kernel's list of multicast groups. */
#include <errno.h>

#include "libcor/names/net/multicast.h"
#include "libcor/names/pump/datagram.h"
#include "libcor/names/net/udp_packet.h"
#include "tests/fuzz/fuzz.h"

/* What was accepted is within its bounds, and reads the same when it is written again. */
static void packet(const uint8_t *data, size_t size)
{
	uint8_t *copy = fuzz_copy(data, size), *again = malloc(COR_UDP_PACKET_MAX);
	struct cor_udp_packet p = { .len = 77 }, q;
	int r = cor_udp_packet_parse(copy, size, &p);
	ssize_t n;

	FUZZ_CHECK(again && (r == 0 || r == -EPROTO));
	if (r == 0) {
		FUZZ_CHECK(p.data >= copy && p.data + p.len <= copy + size);
		n = cor_udp_packet_build(&p, again);
		FUZZ_CHECK(n > 0 && (size_t)n <= size);
		FUZZ_CHECK(cor_udp_packet_parse(again, (size_t)n, &q) == 0 && q.len == p.len);
		FUZZ_CHECK(memcmp(q.data, p.data, p.len) == 0);
		FUZZ_CHECK(memcmp(&q.from, &p.from, sizeof(p.from)) == 0 &&
			   memcmp(&q.to, &p.to, sizeof(p.to)) == 0);
		FUZZ_CHECK(cor_udp_packet_refusal(&p, again) > 0);
	} else {
		FUZZ_CHECK(p.len == 77);
	}
	free(again);
	free(copy);
}

static void payload(const uint8_t *data, size_t size)
{
	uint8_t *copy = fuzz_copy(data, size);
	struct cor_datagram d = { .len = 77 }, again;
	struct cor_pump_datagram raw;
	int r = cor_datagram_unpack(copy, size, &d);

	FUZZ_CHECK(r == 0 || r == -EPROTO);
	if (r == 0) {
		cor_datagram_pack(&d, &raw);
		FUZZ_CHECK(cor_datagram_unpack(&raw, sizeof(raw), &again) == 0);
		FUZZ_CHECK(memcmp(&d.theirs, &again.theirs, sizeof(d.theirs)) == 0);
		FUZZ_CHECK(memcmp(&d.ours, &again.ours, sizeof(d.ours)) == 0);
		FUZZ_CHECK(d.refused == again.refused && d.peer == again.peer);
	} else {
		FUZZ_CHECK(d.len == 77);
	}
	free(copy);
}

static void groups(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), name[INET6_ADDRSTRLEN];
	const char *end = text + strlen(text), *at = text, *before = at;
	struct cor_multicast_group g = { 0 };

	while (cor_parse_multicast(&at, &g) == 1) {
		FUZZ_CHECK(at > before && at <= end);
		FUZZ_CHECK(g.family == AF_INET || g.family == AF_INET6);
		cor_multicast_print(&g, name);
		FUZZ_CHECK(name[0]);
		before = at;
	}
	FUZZ_CHECK(at == end);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	switch (data[0] % 3) {
	case 0: packet(data + 1, size - 1); break;
	case 1: payload(data + 1, size - 1); break;
	case 2: groups(data + 1, size - 1); break;
	}
	return 0;
}
