/* Sending and receiving the frames of the control channel. */
#include "daemon/control.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define BODY_FIRST ((size_t)1 << 20)
#define SPIN_NS (3 * 1000000ull)

const char *control_type_name(unsigned type)
{
	static const char *const names[] = {
		[CONTROL_HELLO] = "hello", [CONTROL_HELLO_REPLY] = "hello-reply",
		[CONTROL_PREPARE] = "prepare", [CONTROL_PREPARED] = "prepared",
		[CONTROL_CLOCK] = "clock", [CONTROL_IMAGE] = "image",
		[CONTROL_READY] = "ready", [CONTROL_COMMIT] = "commit",
		[CONTROL_RESUMED] = "resumed", [CONTROL_PROGRESS] = "progress",
		[CONTROL_DRAINED] = "drained", [CONTROL_RELEASED] = "released",
		[CONTROL_ABORT] = "abort", [CONTROL_RESUME] = "resume",
		[CONTROL_TREES] = "trees", [CONTROL_PLAN] = "plan",
		[CONTROL_TRANSPORT] = "transport",
		[CONTROL_HUGE] = "huge",
		[CONTROL_SLEEPERS] = "sleepers", [CONTROL_SLEEPERS_MADE] = "sleepers-made",
	};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "unknown";
}

static uint64_t head_check(const struct control_frame *f)
{
	return htole64(XXH3_64bits(f, offsetof(struct control_frame, head_check)));
}

static uint64_t body_check(const struct control_frame *f, const void *body, size_t len)
{
	return htole64(XXH3_64bits_withSeed(body, len, le64toh(f->head_check)));
}

void control_frame_seal(struct control_frame *f, const void *body, size_t len)
{
	f->head_check = head_check(f);
	f->body_check = body_check(f, body, len);
}

int control_send(struct cor_stream *c, enum control_type type, const ProtobufCMessage *message,
		 struct cor_error *err)
{
	size_t len = message ? protobuf_c_message_get_packed_size(message) : 0;
	_cleanup_free_ char *buf = NULL;
	struct control_frame f;
	int r;

	if (len > CONTROL_BODY_MAX)
		return cor_fail(err, -EMSGSIZE, "a %s message of %zu bytes is too large",
				control_type_name(type), len);
	buf = malloc(sizeof(f) + len);
	if (!buf)
		return cor_fail(err, -ENOMEM, "out of memory");
	f.length = htole32((uint32_t)len);
	f.type = htole16(type);
	f.version = htole16(CONTROL_VERSION);
	if (message)
		protobuf_c_message_pack(message, (uint8_t *)buf + sizeof(f));
	control_frame_seal(&f, buf + sizeof(f), len);
	memcpy(buf, &f, sizeof(f));
	r = cor_stream_write(c, buf, sizeof(f) + len);
	if (r < 0)
		return cor_fail_code(err, r, "cannot send %s to the peer", control_type_name(type));
	return 0;
}

void control_send_abort(struct cor_stream *c, const struct cor_error *why)
{
	Cor__Control__Failed f = COR__CONTROL__FAILED__INIT;

	f.code = why->code;
	f.text = (char *)why->text;
	control_send(c, CONTROL_ABORT, &f.base, NULL);
}

/* All of it, by the deadline (0: none). */
static int read_until(struct cor_stream *c, void *buf, size_t len, uint64_t deadline_ns)
{
	size_t got = 0;
	int r = cor_stream_read_by(c, buf, len, &got, deadline_ns);

	return r == -ENODATA || r == -EPIPE || r == -ECONNRESET ? -ENOTCONN : r;
}

/* Looks again and again for a message, for a short while: waking a sleeping
 * processor takes longer than what the peer has to do. */
void control_spin(struct cor_stream *c)
{
	uint64_t until = cor_now_ns() + SPIN_NS;
	struct pollfd p = { .fd = c->in_fd, .events = POLLIN };

	while (!cor_stream_pending(c) && poll(&p, 1, 0) == 0 && cor_now_ns() < until)
		sched_yield();
}

int control_expect_soon(struct cor_stream *c, enum control_type type, int timeout_ms,
			struct control_message *out, struct cor_error *err)
{
	control_spin(c);
	return control_expect(c, type, timeout_ms, out, err);
}

/* Only what describes a task can be large. */
static uint32_t body_max(uint16_t type)
{
	switch (type) {
	case CONTROL_PREPARE:
	case CONTROL_IMAGE:
	case CONTROL_SLEEPERS:
	case CONTROL_TREES:
	case CONTROL_PLAN:
		return CONTROL_BODY_MAX;
	default:
		return CONTROL_SMALL_MAX;
	}
}

/* Memory is taken as the bytes come, not as a header announces them. */
static int read_body(struct cor_stream *c, uint32_t len, uint64_t deadline, void **out)
{
	_cleanup_free_ char *body = NULL;
	size_t have = 0, room = 0;

	do {
		char *more;
		int r;

		room = room ? room * 2 : BODY_FIRST;
		room = COR_MIN(room, (size_t)len);
		more = realloc(body, room ? room : 1);
		if (!more)
			return -ENOMEM;
		body = more;
		r = read_until(c, body + have, room - have, deadline);
		if (r < 0)
			return r;
		have = room;
	} while (have < len);
	*out = take_ptr(body);
	return 0;
}

int control_receive(struct cor_stream *c, int timeout_ms, struct control_message *out,
		    struct cor_error *err)
{
	uint64_t deadline = timeout_ms < 0 ? 0 : cor_now_ns() + (uint64_t)timeout_ms * 1000000;
	_cleanup_free_ void *body = NULL;
	struct control_frame f;
	uint32_t len;
	int r;

	r = read_until(c, &f, sizeof(f), deadline);
	if (r == -ENOTCONN)
		return cor_fail(err, r, "the peer closed the control connection");
	if (r == -ETIMEDOUT)
		return cor_fail(err, r, "the peer did not answer in time");
	if (r < 0)
		return cor_fail_code(err, r, "the control connection failed");
	len = le32toh(f.length);
	if (le16toh(f.version) != CONTROL_VERSION)
		return cor_fail(err, -EPROTO, "the peer speaks control protocol version %u, we %u",
				le16toh(f.version), CONTROL_VERSION);
	if (f.head_check != head_check(&f))
		return cor_fail(err, -EBADMSG, "a message of the peer was spoiled on its way");
	if (len > body_max(le16toh(f.type)))
		return cor_fail(err, -EPROTO, "the peer sent a %s message of %u bytes",
				control_type_name(le16toh(f.type)), len);
	r = read_body(c, len, deadline, &body);
	if (r == -ENOMEM)
		return cor_fail(err, r, "out of memory");
	if (r < 0)
		return cor_fail_code(err, r, "the control connection failed in a message");
	if (f.body_check != body_check(&f, body, len))
		return cor_fail(err, -EBADMSG, "the peer's %s message was spoiled on its way",
				control_type_name(le16toh(f.type)));
	out->type = le16toh(f.type);
	out->len = len;
	out->body = take_ptr(body);
	return 0;
}

int control_aborted(const struct control_message *m, struct cor_error *err)
{
	Cor__Control__Failed *f = control_unpack(m, &cor__control__failed__descriptor, err);
	int r;

	if (!f)
		return -EPROTO;
	r = cor_fail(err, f->code < 0 && f->code > -4096 ? f->code : -EIO, "%s",
		     f->text[0] ? f->text : "the peer gave up without a word");
	protobuf_c_message_free_unpacked(&f->base, NULL);
	return r;
}

int control_unexpected(struct control_message *m, enum control_type due, struct cor_error *err)
{
	int r = m->type == CONTROL_ABORT ? control_aborted(m, err) :
		cor_fail(err, -EPROTO, "the peer sent %s where %s was due", control_type_name(m->type),
			 control_type_name(due));

	control_message_done(m);
	return r;
}

int control_expect(struct cor_stream *c, enum control_type type, int timeout_ms,
		   struct control_message *out, struct cor_error *err)
{
	struct control_message m;
	int r = control_receive(c, timeout_ms, &m, err);

	if (r < 0)
		return cor_fail_prefix(err, r, "waiting for %s", control_type_name(type));
	if (m.type == type) {
		*out = m;
		return 0;
	}
	return control_unexpected(&m, type, err);
}

void *control_unpack(const struct control_message *m, const ProtobufCMessageDescriptor *kind,
		     struct cor_error *err)
{
	void *p = protobuf_c_message_unpack(kind, NULL, m->len, m->body);

	if (!p)
		cor_fail(err, -EPROTO, "the peer's %s message cannot be read",
			 control_type_name(m->type));
	return p;
}

int control_expect_message(struct cor_stream *c, enum control_type type, int timeout_ms,
			   const ProtobufCMessageDescriptor *kind, void *out, struct cor_error *err)
{
	struct control_message m;
	int r = control_expect(c, type, timeout_ms, &m, err);
	void *unpacked;

	if (r < 0)
		return r;
	unpacked = control_unpack(&m, kind, err);
	control_message_done(&m);
	if (!unpacked)
		return -EPROTO;
	memcpy(out, &unpacked, sizeof(unpacked));
	return 0;
}

void control_message_done(struct control_message *m)
{
	free(m->body);
	m->body = NULL;
	m->len = 0;
}
