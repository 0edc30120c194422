/* What a home's file server says: answers and notices, in any order and of any length. */
#include <errno.h>

#include "libcor/names/home/remote.h"
#include "tests/fuzz/fuzz.h"

/* The connection: its answer to ATTACH, then the input, then its end. */
static struct {
	struct { struct home_reply reply; struct home_attr attr; } __attribute__((packed)) hello;
	const uint8_t *data;
	size_t size, at;
	bool used;
} peer;
static unsigned answers;

static ssize_t receive(struct cor_stream *s, const struct iovec *iov, unsigned n, unsigned flags)
{
	size_t total = sizeof(peer.hello) + peer.size, len = iov->iov_len;

	if (len > total - peer.at)
		len = total - peer.at;
	for (size_t i = 0; i < len; i++, peer.at++)
		((uint8_t *)iov->iov_base)[i] = peer.at < sizeof(peer.hello) ?
			((uint8_t *)&peer.hello)[peer.at] : peer.data[peer.at - sizeof(peer.hello)];
	return (ssize_t)len;
}

static ssize_t drop(struct cor_stream *s, const struct iovec *iov, unsigned n, unsigned flags)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += iov[i].iov_len;
	return (ssize_t)len;
}

static void nothing(struct cor_stream *s)
{
}

static const struct cor_stream_ops ops = {
	.name = "fuzz", .receive = receive, .send = drop, .shutdown = nothing, .close = nothing,
};
static struct cor_stream stream = { .ops = &ops, .in_fd = -1, .out_fd = -1 };

static int connect_once(void *arg, struct cor_stream **out, struct cor_error *err)
{
	if (peer.used)
		return -ECONNREFUSED;
	peer.used = true;
	*out = &stream;
	return 0;
}

static void on_notice(void *arg, enum home_notice what, uint64_t node, const char *name)
{
	FUZZ_CHECK(!name || strlen(name) <= HOME_BODY_MAX);
}

static void on_answer(void *arg, const struct home_reply *reply, const char *body, size_t len,
		      int status)
{
	FUZZ_CHECK(reply ? len == reply->length - sizeof(*reply) && body[len] == 0 : status < 0);
	answers++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct home_remote_ops remote_ops = { .connect = connect_once,
							   .notice = on_notice };
	struct home_request q = { .op = HOME_LOOKUP };
	struct home_remote *r = NULL;
	struct home_attr root;

	memset(&peer, 0, sizeof(peer));
	peer.hello.reply.length = sizeof(peer.hello);
	peer.hello.reply.id = 1;
	peer.data = data;
	peer.size = size;
	answers = 0;
	FUZZ_CHECK(home_remote_new(&r, &remote_ops, NULL, 0, &root, NULL) == 0);
	for (unsigned i = 0; i < 4; i++)
		home_remote_send(r, &q, NULL, 0, on_answer, NULL);
	home_remote_free(r);
	FUZZ_CHECK(answers == 4);       /* each is answered once, come what may */
	return 0;
}
