/* Frames of the control channel between two daemons, and the messages in them.
 * The input is what the peer sends, without the checks and with a byte of its own in
 * place of each frame's version: bit 0, it is ours; bit 1, something was spoiled. */
#include <endian.h>
#include <errno.h>

#include "daemon/control.h"
#include "tests/fuzz/socket.h"

static const ProtobufCMessageDescriptor *const kinds[] = {
	[CONTROL_HELLO] = &cor__control__hello__descriptor,
	[CONTROL_HELLO_REPLY] = &cor__control__hello__descriptor,
	[CONTROL_PREPARE] = &cor__control__prepare__descriptor,
	[CONTROL_PREPARED] = &cor__control__prepared__descriptor,
	[CONTROL_CLOCK] = &cor__control__clock__descriptor,
	[CONTROL_IMAGE] = &cor__control__image__descriptor,
	[CONTROL_READY] = &cor__control__ready__descriptor,
	[CONTROL_COMMIT] = &cor__control__commit__descriptor,
	[CONTROL_RESUMED] = &cor__control__resumed__descriptor,
	[CONTROL_PROGRESS] = &cor__control__progress__descriptor,
	[CONTROL_DRAINED] = &cor__control__drained__descriptor,
	[CONTROL_RESUME] = &cor__control__resume__descriptor,
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

static void look(struct control_message *m)
{
	struct cor_error err = COR_ERROR_INIT;
	ProtobufCMessage *p;

	FUZZ_CHECK(control_type_name(m->type)[0]);
	if (m->type == CONTROL_ABORT) {
		FUZZ_CHECK(control_aborted(m, &err) < 0 && err.code < 0);
		FUZZ_CHECK(memchr(err.text, 0, sizeof(err.text)));
	} else if (m->type < NKINDS && kinds[m->type]) {
		p = control_unpack(m, kinds[m->type], &err);
		FUZZ_CHECK(p || (err.code == -EPROTO && err.text[0]));
		if (p)
			protobuf_c_message_free_unpacked(p, NULL);
	}
	control_message_done(m);
}

struct plain_frame {
	uint32_t length;
	uint16_t type;
	uint16_t how;
} __attribute__((packed));

/* One frame off the input. */
static void send_frame(struct fuzz_peer *peer, struct fuzz_input *in)
{
	struct plain_frame p;
	struct control_frame f;
	size_t len;

	fuzz_take(in, &p, sizeof(p));
	f = (struct control_frame){ .length = p.length, .type = p.type,
				    .version = p.how & 1 ? htole16(CONTROL_VERSION) : p.how };
	len = le32toh(p.length);
	len = len < in->size ? len : in->size;
	control_frame_seal(&f, in->data, len);
	if (p.how & 2)
		f.body_check ^= 1;
	fuzz_peer_send(peer, &f, sizeof(f));
	fuzz_peer_send(peer, in->data, len);
	in->data += len;
	in->size -= len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_peer peer = fuzz_peer_open();
	struct cor_error err = COR_ERROR_INIT;
	struct control_message m;
	struct fuzz_input in = { data, size < FUZZ_SOCKET_MAX / 4 ? size : FUZZ_SOCKET_MAX / 4 };
	int r = 0;

	while (in.size)
		send_frame(&peer, &in);
	fuzz_peer_end(&peer);
	for (unsigned i = 0; i < 3 && r == 0; i++) {
		r = control_receive(peer.ours, 10000, &m, &err);
		if (r == 0)
			look(&m);
	}
	if (r == 0) {
		r = control_expect(peer.ours, CONTROL_READY, 10000, &m, &err);
		if (r == 0)
			look(&m);
	}
	FUZZ_CHECK(r == 0 || (r < 0 && err.code == r && err.text[0]));
	fuzz_peer_close(&peer);
	return 0;
}
