/* The exchange at the beginning of every connection; see preamble.h. */
#include "libcor/transport/preamble.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define REPLY_MAGIC "corp"

int cor_secret_make(void *buf, size_t len, struct cor_error *err)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = getrandom((char *)buf + got, len - got, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cor_fail_errno(err, "getting random bytes for a secret");
		got += (size_t)n;
	}
	return 0;
}

int cor_secret_equal(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t differ = 0;

	for (size_t i = 0; i < len; i++)
		differ |= x[i] ^ y[i];
	return differ == 0;
}

void cor_preamble_make(struct cor_preamble *out, enum cor_connection_kind kind, uint8_t index,
		       const uint8_t session[COR_SESSION_ID], const uint8_t secret[COR_SECRET])
{
	*out = (struct cor_preamble){
		.magic = COR_PREAMBLE_MAGIC,
		.version = COR_PREAMBLE_VERSION,
		.kind = (uint8_t)kind,
		.index = index,
	};
	if (session)
		memcpy(out->session, session, COR_SESSION_ID);
	if (secret)
		memcpy(out->secret, secret, COR_SECRET);
}

static const uint8_t no_secret[COR_SECRET];

int cor_preamble_parse(const void *bytes, struct cor_preamble *out)
{
	struct cor_preamble p;

	memcpy(&p, bytes, sizeof(p));
	if (memcmp(p.magic, COR_PREAMBLE_MAGIC, sizeof(p.magic)) != 0 ||
	    p.version != COR_PREAMBLE_VERSION || p.security > COR_SECURITY_TLS ||
	    p.reserved[0] || p.reserved[1] || p.reserved[2] ||
	    p.kind < COR_CONN_CONTROL || p.kind > COR_CONN_PUMP)
		return -EPROTO;
	/* told in the clear it would be one no more */
	if (p.security == COR_SECURITY_TLS && !cor_secret_equal(p.secret, no_secret, COR_SECRET))
		return -EPROTO;
	*out = p;
	return 0;
}

int cor_preamble_check(const struct cor_preamble *p, const uint8_t session[COR_SESSION_ID],
		       const uint8_t secret[COR_SECRET])
{
	if (!cor_secret_equal(p->session, session, COR_SESSION_ID))
		return -ENOENT;
	if (p->security == COR_SECURITY_CLEAR && !cor_secret_equal(p->secret, secret, COR_SECRET))
		return -EPERM;
	return 0;
}

bool cor_preamble_status_ends(int status)
{
	return status == -ECANCELED || status == -EALREADY || status == -ENOTRECOVERABLE ||
	       status == -EOWNERDEAD;
}

/* Waits until fd is readable; 0, -ETIMEDOUT or -errno. */
static int await_readable(int fd, uint64_t deadline)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = cor_now_ns();
		uint64_t left_ms = now < deadline ? (deadline - now + 999999) / 1000000 : 0;
		int r = poll(&p, 1, (int)COR_MIN(left_ms, (uint64_t)INT32_MAX));

		if (r > 0)
			return 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* Takes what has come of len bytes, without waiting. 1: all is there. */
static int take_some(int fd, uint8_t *bytes, unsigned *have, size_t len)
{
	while (*have < len) {
		ssize_t n = recv(fd, bytes + *have, len - *have, MSG_DONTWAIT);

		if (n > 0)
			*have += (unsigned)n;
		else if (n == 0)
			return -ECONNRESET;
		else if (errno == EAGAIN)
			return 0;
		else if (errno != EINTR)
			return -errno;
	}
	return 1;
}

static int read_by(int fd, void *buf, size_t len, uint64_t deadline)
{
	unsigned have = 0;

	for (;;) {
		int r = take_some(fd, buf, &have, len);

		if (r != 0)
			return r < 0 ? r : 0;
		r = await_readable(fd, deadline);
		if (r < 0)
			return r;
	}
}

int cor_preamble_reader_feed(struct cor_preamble_reader *r, int fd, struct cor_preamble *out)
{
	int done = take_some(fd, r->bytes, &r->have, sizeof(r->bytes));

	if (done <= 0)
		return done;
	done = cor_preamble_parse(r->bytes, out);
	return done < 0 ? done : 1;
}

int cor_preamble_read(int fd, unsigned timeout_ms, struct cor_preamble *out,
		      struct cor_error *err)
{
	uint8_t bytes[sizeof(struct cor_preamble)];
	int r = read_by(fd, bytes, sizeof(bytes), cor_now_ns() + timeout_ms * UINT64_C(1000000));

	if (r < 0)
		return cor_fail_code(err, r, "reading the preamble on descriptor %d", fd);
	r = cor_preamble_parse(bytes, out);
	if (r < 0)
		return cor_fail(err, r, "the peer on descriptor %d does not speak cor's protocol "
				"(version %d)", fd, COR_PREAMBLE_VERSION);
	return 0;
}

void cor_preamble_reply_make(struct cor_preamble_reply *out, int status)
{
	*out = (struct cor_preamble_reply){
		.version = COR_PREAMBLE_VERSION,
		.status = (int16_t)status,
	};
	memcpy(out->magic, REPLY_MAGIC, sizeof(out->magic));
}

int cor_preamble_answer(int fd, int status)
{
	struct cor_preamble_reply reply;

	cor_preamble_reply_make(&reply, status);
	return cor_write_full(fd, &reply, sizeof(reply));
}

int cor_preamble_reply_check(const struct cor_preamble_reply *reply, struct cor_error *err)
{
	if (memcmp(reply->magic, REPLY_MAGIC, sizeof(reply->magic)) != 0 || reply->status > 0)
		return cor_fail(err, -EPROTO, "the peer is not cor");
	switch (reply->status) {
	case 0:
		return 0;
	case -ENOKEY:
		return cor_fail(err, -ENOKEY, "the peer demands keys, and none are set here");
	case -EOPNOTSUPP:
		return cor_fail(err, -EOPNOTSUPP, "the peer has no keys, which are demanded here");
	case -EKEYREJECTED:
		return cor_fail(err, -EKEYREJECTED, "the peer does not take our key");
	default:
		return cor_fail_code(err, reply->status, "the peer, which speaks version %u, refused",
				     reply->version);
	}
}

int cor_preamble_exchange(int fd, const struct cor_preamble *p, unsigned timeout_ms,
			  struct cor_error *err)
{
	uint64_t deadline = cor_now_ns() + timeout_ms * UINT64_C(1000000);
	struct cor_preamble_reply reply;
	int r = cor_write_full(fd, p, sizeof(*p));

	if (r < 0)
		return cor_fail_code(err, r, "sending the preamble on descriptor %d", fd);
	r = read_by(fd, &reply, sizeof(reply), deadline);
	if (r < 0)
		return cor_fail_code(err, r, "waiting for the peer's answer on descriptor %d", fd);
	return cor_preamble_reply_check(&reply, err);
}
