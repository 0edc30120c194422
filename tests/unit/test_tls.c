/* Keys, and streams that are encrypted with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/transport/stream_fault.h"
#include "libcor/transport/tls.h"
#include "tests/stream.h"
#include "tests/unit/keys_fixture.h"

#define SECOND 1000000000ull

static const uint8_t session[COR_SESSION_ID] = { 1, 2, 3 };
static const uint8_t secret[COR_SECRET] = { 9, 8, 7 };

/* One side of a connection, and what became of its handshake. */
struct side {
	const struct cor_tls *keys;
	bool server;
	const char *psk;
	struct cor_stream *stream;
	int result;
	struct cor_error err;
	struct cor_tls_peer peer;
};

static void *shake(void *arg)
{
	struct side *s = arg;

	s->result = cor_stream_tls_handshake(s->stream, cor_now_ns() + 5 * SECOND, &s->err);
	if (s->result == 0)
		cor_stream_tls_peer(s->stream, &s->peer, NULL);
	return NULL;
}

/* Connects the two, and lets them shake hands; what fails is closed. */
static void connect_sides(struct side *client, struct side *server)
{
	pthread_t other;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	server->server = true;
	assert_int_equal(cor_stream_tls(&client->stream, stream_of(sv[0]), client->keys, false,
					client->psk, &client->err), 0);
	assert_int_equal(cor_stream_tls(&server->stream, stream_of(sv[1]), server->keys, true, NULL,
					&server->err), 0);
	assert_int_equal(pthread_create(&other, NULL, shake, server), 0);
	shake(client);
	if (client->result < 0)
		cor_stream_shutdown(client->stream);
	pthread_join(other, NULL);
}

static void close_sides(struct side *client, struct side *server)
{
	cor_stream_close(client->stream);
	cor_stream_close(server->stream);
}

static struct cor_tls *load(const char *name, const char *ca, const char *psk, const char *crl)
{
	char cert[64] = "", key[64] = "";
	struct cor_tls_files f = { .ca = ca ? keys_path(ca) : NULL, .psk = psk ? keys_path(psk) : NULL,
				   .crl = crl ? keys_path(crl) : NULL };
	struct cor_error err = COR_ERROR_INIT;
	struct cor_tls *t = NULL;

	if (name) {
		snprintf(cert, sizeof(cert), "%s.pem", name);
		snprintf(key, sizeof(key), "%s.key", name);
		f.certificate = keys_path(cert);
		f.key = keys_path(key);
	}
	if (cor_tls_load(&t, &f, &err) < 0)
		fail_msg("%s", err.text);
	return t;
}

static struct cor_tls *secret_keys(uint8_t last, enum cor_connection_kind kind)
{
	uint8_t s[COR_SECRET];
	struct cor_tls *t;

	memcpy(s, secret, sizeof(s));
	s[COR_SECRET - 1] = last;
	assert_int_equal(cor_tls_from_secret(&t, session, s, kind, 0, NULL), 0);
	return t;
}

/* ---- the stream -------------------------------------------------------------------- */

/* A pair that has shaken hands, by a secret. */
struct pair {
	struct cor_tls *a, *b;
	struct side client, server;
};

static int pair_up(void **state)
{
	static struct pair p;

	memset(&p, 0, sizeof(p));
	p.a = secret_keys(1, COR_CONN_BULK);
	p.b = secret_keys(1, COR_CONN_BULK);
	p.client.keys = p.a;
	p.server.keys = p.b;
	connect_sides(&p.client, &p.server);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(p.server.result, 0);
	*state = &p;
	return 0;
}

static int pair_down(void **state)
{
	struct pair *p = *state;

	close_sides(&p->client, &p->server);
	cor_tls_free(p->a);
	cor_tls_free(p->b);
	return 0;
}

static void bytes_come_through_both_ways(void **state)
{
	struct pair *p = *state;
	char buf[16] = "";

	assert_int_equal(cor_stream_write(p->client.stream, "question", 8), 0);
	assert_int_equal(cor_stream_read(p->server.stream, buf, 8), 0);
	assert_string_equal(buf, "question");
	assert_int_equal(cor_stream_write(p->server.stream, "answer", 6), 0);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(cor_stream_read(p->client.stream, buf, 6), 0);
	assert_string_equal(buf, "answer");
}

struct transfer {
	struct cor_stream *from;
	uint8_t *data;
	size_t len;
};

static void *write_all(void *arg)
{
	struct transfer *t = arg;
	/* buffers that are no multiple of a record */
	struct iovec iov[] = { { t->data, 32 }, { t->data + 32, 40000 },
			       { t->data + 40032, t->len - 40032 } };

	return (void *)(intptr_t)cor_stream_writev(t->from, iov, 3);
}

static void much_comes_through_whole(void **state)
{
	struct pair *p = *state;
	struct transfer t = { p->server.stream, NULL, 5u << 20 };
	uint8_t *got = test_malloc(t.len);
	pthread_t writer;
	size_t have = 0;
	void *result;

	t.data = test_malloc(t.len);
	for (size_t i = 0; i < t.len; i++)
		t.data[i] = (uint8_t)(i * 2654435761u >> 13);
	assert_int_equal(pthread_create(&writer, NULL, write_all, &t), 0);
	while (have < t.len) {
		struct iovec iov[] = { { got + have, COR_MIN((size_t)33, t.len - have) }, { NULL, 0 } };
		ssize_t n;

		iov[1] = (struct iovec){ got + have + iov[0].iov_len,
					 COR_MIN((size_t)70000, t.len - have - iov[0].iov_len) };
		n = cor_stream_receive(p->client.stream, iov, 2, COR_STREAM_NOWAIT);
		if (n == -EAGAIN) {
			assert_int_equal(cor_stream_await(p->client.stream,
							  cor_now_ns() + 5 * SECOND), 0);
			continue;
		}
		assert_true(n > 0);
		have += (size_t)n;
	}
	pthread_join(writer, &result);
	assert_int_equal((intptr_t)result, 0);
	assert_memory_equal(got, t.data, t.len);
	test_free(got);
	test_free(t.data);
}

/* Sends what does not fit, and goes on where it was. */
static void sending_without_waiting_loses_nothing(void **state)
{
	enum { LEN = 1 << 20 };
	struct pair *p = *state;
	uint8_t *data = test_malloc(LEN), *got = test_malloc(LEN);
	size_t sent = 0, have = 0;
	bool full = false;

	for (size_t i = 0; i < LEN; i++)
		data[i] = (uint8_t)(i % 251);
	while (have < LEN) {
		struct iovec out = { data + sent, LEN - sent }, in = { got + have, 10000 };
		ssize_t n = sent < LEN ?
			cor_stream_send(p->client.stream, &out, 1, COR_STREAM_NOWAIT) : -EAGAIN;

		full |= sent < LEN && n == -EAGAIN;
		sent += n > 0 ? (size_t)n : 0;
		if (n > 0)
			continue;
		in.iov_len = COR_MIN(in.iov_len, LEN - have);
		n = cor_stream_receive(p->server.stream, &in, 1, COR_STREAM_NOWAIT);
		assert_true(n > 0 || n == -EAGAIN);
		have += n > 0 ? (size_t)n : 0;
	}
	assert_true(full);
	assert_memory_equal(got, data, LEN);
	test_free(got);
	test_free(data);
}

static void what_is_decrypted_already_is_pending(void **state)
{
	struct pair *p = *state;
	char buf[8];

	assert_false(cor_stream_pending(p->server.stream));
	assert_int_equal(cor_stream_write(p->client.stream, "abcd", 4), 0);
	assert_int_equal(cor_stream_write(p->client.stream, "efgh", 4), 0);
	assert_int_equal(cor_stream_read(p->server.stream, buf, 2), 0);
	assert_true(cor_stream_pending(p->server.stream));      /* of the record */
	assert_int_equal(cor_stream_read(p->server.stream, buf, 2), 0);
	assert_true(cor_stream_pending(p->server.stream));      /* the next one, read ahead */
	assert_int_equal(cor_stream_read(p->server.stream, buf, 4), 0);
	assert_memory_equal(buf, "efgh", 4);
	assert_false(cor_stream_pending(p->server.stream));
}

static void end_differs_from_a_cut(void **state)
{
	struct pair *p = *state;
	char c;

	cor_stream_close(p->client.stream);
	p->client.stream = NULL;
	assert_int_equal(cor_stream_read(p->server.stream, &c, 1), -ENODATA);
}

static void cut_connection_is_an_error(void **state)
{
	struct pair *p = *state;
	char c;

	cor_stream_shutdown(p->client.stream);
	assert_int_equal(cor_stream_read(p->server.stream, &c, 1), -ECONNRESET);
}

static int spoiled_pair_up(void **state)
{
	static struct pair p;
	int sv[2];
	pthread_t other;
	struct cor_stream *wire;

	memset(&p, 0, sizeof(p));
	p.a = secret_keys(1, COR_CONN_BULK);
	p.b = secret_keys(1, COR_CONN_BULK);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	wire = stream_of(sv[0]);
	/* behind the handshake, which takes less than 500 bytes */
	assert_int_equal(cor_fault_apply(&wire, "bulk:corrupt@1500", COR_CONN_BULK, NULL), 0);
	assert_int_equal(cor_stream_tls(&p.client.stream, wire, p.a, false, NULL, NULL), 0);
	assert_int_equal(cor_stream_tls(&p.server.stream, stream_of(sv[1]), p.b, true, NULL, NULL), 0);
	assert_int_equal(pthread_create(&other, NULL, shake, &p.server), 0);
	shake(&p.client);
	pthread_join(other, NULL);
	assert_int_equal(p.client.result, 0);
	*state = &p;
	return 0;
}

static void spoiled_byte_is_noticed(void **state)
{
	struct pair *p = *state;
	char buf[4096] = "";

	assert_int_equal(cor_stream_write(p->server.stream, buf, sizeof(buf)), 0);
	assert_int_equal(cor_stream_read(p->client.stream, buf, sizeof(buf)), -EBADMSG);
}

/* ---- handshakes ---------------------------------------------------------------------- */

static void other_secret_is_refused(void **state)
{
	struct cor_tls *a = secret_keys(1, COR_CONN_BULK), *b = secret_keys(2, COR_CONN_BULK);
	struct side client = { .keys = a }, server = { .keys = b };

	connect_sides(&client, &server);
	assert_int_equal(client.result, -EKEYREJECTED);
	assert_true(server.result < 0);
	close_sides(&client, &server);
	cor_tls_free(a);
	cor_tls_free(b);
}

static void secret_is_for_one_kind_of_connection(void **state)
{
	struct cor_tls *a = secret_keys(1, COR_CONN_BULK), *b = secret_keys(1, COR_CONN_DEMAND);
	struct side client = { .keys = a }, server = { .keys = b };

	connect_sides(&client, &server);
	assert_int_equal(client.result, -EKEYREJECTED);
	assert_true(server.result < 0);
	close_sides(&client, &server);
	cor_tls_free(a);
	cor_tls_free(b);
}

static void certificates_prove_both_sides(void **state)
{
	struct cor_tls *a = load("alpha", "ca.pem", NULL, NULL), *b = load("beta", "ca.pem", NULL, NULL);
	struct side client = { .keys = a }, server = { .keys = b };

	connect_sides(&client, &server);
	assert_int_equal(client.result, 0);
	assert_int_equal(server.result, 0);
	assert_true(client.peer.trusted);
	assert_true(server.peer.trusted);
	assert_true(cor_stream_tls_named(client.stream, "beta"));
	assert_false(cor_stream_tls_named(client.stream, "alpha"));
	assert_true(cor_stream_tls_named(server.stream, "alpha"));
	assert_string_equal(server.peer.psk, "");
	assert_string_equal(server.peer.subject, "CN=alpha");
	close_sides(&client, &server);
	cor_tls_free(a);
	cor_tls_free(b);
}

/* The handshake passes: whether a stranger's fingerprint is known is for others to say. */
static void stranger_is_not_trusted(const char *who, const char *reason)
{
	struct cor_tls *a = load(who, "ca.pem", NULL, NULL), *b = load("beta", "ca.pem", NULL, "ca.crl");
	struct side client = { .keys = a }, server = { .keys = b };

	connect_sides(&client, &server);
	assert_int_equal(server.result, 0);
	assert_false(server.peer.trusted);
	if (!strstr(server.peer.why, reason))
		fail_msg("%s: %s", who, server.peer.why);
	assert_int_equal(client.result, 0);
	assert_true(client.peer.trusted);
	close_sides(&client, &server);
	cor_tls_free(a);
	cor_tls_free(b);
}

static void strangers_are_not_trusted(void **state)
{
	stranger_is_not_trusted("mallory", "issuer");
	stranger_is_not_trusted("self", "issuer");
	stranger_is_not_trusted("old", "expired");
	stranger_is_not_trusted("gone", "revoked");
	stranger_is_not_trusted("server-only", "purpose");
}

static void no_certificate_is_refused(void **state)
{
	struct cor_tls *a = load(NULL, "ca.pem", NULL, NULL), *b = load("beta", "ca.pem", NULL, NULL);
	struct side client = { .keys = a }, server = { .keys = b };

	connect_sides(&client, &server);
	assert_int_equal(server.result, -ENOKEY);
	close_sides(&client, &server);
	cor_tls_free(a);
	cor_tls_free(b);
}

static void pre_shared_key_tells_who_it_is(void **state)
{
	struct cor_tls *a = load(NULL, NULL, "psk", NULL), *b = load("beta", "ca.pem", "psk", NULL);
	struct side client = { .keys = a, .psk = "alpha" }, server = { .keys = b };

	connect_sides(&client, &server);
	assert_int_equal(client.result, 0);
	assert_int_equal(server.result, 0);
	assert_string_equal(server.peer.psk, "alpha");
	assert_true(server.peer.trusted);
	assert_false(cor_stream_tls_named(server.stream, "alpha"));
	close_sides(&client, &server);
	cor_tls_free(a);
	cor_tls_free(b);
}

static void other_pre_shared_key_is_refused(void **state)
{
	struct cor_tls *a = load(NULL, NULL, "psk2", NULL), *b = load(NULL, NULL, "psk", NULL);
	static const char *const who[] = { "alpha" /* another key */, "stranger" /* none */ };

	for (unsigned i = 0; i < ARRAY_SIZE(who); i++) {
		struct side client = { .keys = a, .psk = who[i] }, server = { .keys = b };

		connect_sides(&client, &server);
		assert_int_equal(client.result, -EKEYREJECTED);
		assert_true(server.result < 0);
		close_sides(&client, &server);
	}
	cor_tls_free(a);
	cor_tls_free(b);
}

static void identity_without_a_key_is_told(void **state)
{
	struct cor_tls *a = load(NULL, NULL, "psk", NULL);
	struct cor_error err = COR_ERROR_INIT;
	struct cor_stream *s;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(cor_stream_tls(&s, stream_of(sv[0]), a, false, "nobody", &err), -ENOKEY);
	assert_non_null(strstr(err.text, "nobody"));
	close(sv[1]);
	cor_tls_free(a);
}

static void silent_peer_times_out(void **state)
{
	struct cor_tls *a = secret_keys(1, COR_CONN_BULK);
	struct cor_stream *s;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(cor_stream_tls(&s, stream_of(sv[0]), a, true, NULL, NULL), 0);
	assert_int_equal(cor_stream_tls_step(s, NULL), -EAGAIN);
	assert_int_equal(cor_stream_tls_handshake(s, cor_now_ns() + SECOND / 50, NULL), -ETIMEDOUT);
	cor_stream_close(s);
	close(sv[1]);
	cor_tls_free(a);
}

static void garbage_ends_a_handshake(void **state)
{
	static const char *const garbage[] = {
		"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05xxxxx", "\x17\x03\x03\x00\x01x",
	};
	struct cor_tls *a = secret_keys(1, COR_CONN_BULK);

	for (unsigned i = 0; i < ARRAY_SIZE(garbage); i++) {
		struct cor_error err = COR_ERROR_INIT;
		struct cor_stream *s;
		int sv[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
		assert_int_equal(cor_stream_tls(&s, stream_of(sv[0]), a, true, NULL, NULL), 0);
		assert_true(write(sv[1], garbage[i], i ? garbage[i][4] + 5 : 18) > 0);
		shutdown(sv[1], SHUT_WR);
		assert_true(cor_stream_tls_handshake(s, cor_now_ns() + SECOND, &err) < 0);
		assert_true(err.text[0]);
		cor_stream_close(s);
		close(sv[1]);
	}
	cor_tls_free(a);
}

/* ---- files ------------------------------------------------------------------------------ */

static void assert_not_loaded(const struct cor_tls_files *f, int code, const char *word)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_tls *t;

	assert_int_equal(cor_tls_load(&t, f, &err), code);
	if (!strstr(err.text, word))
		fail_msg("\"%s\" is not in: %s", word, err.text);
}

static void secrets_that_others_can_read_are_refused(void **state)
{
	const struct cor_tls_files psk = { .psk = keys_path("readable") };
	struct cor_tls_files cert = { .certificate = keys_path("beta.pem"), .key = keys_path("open.key") };

	keys_file("readable", "alpha:00112233445566778899aabbccddeeff\n", 0640);
	assert_not_loaded(&psk, -EPERM, "chmod 600");
	assert_not_loaded(&psk, -EPERM, "readable");
	keys_file("open.key", "anything", 0604);
	assert_not_loaded(&cert, -EPERM, "open.key");
}

static void secrets_of_somebody_else_are_refused(void **state)
{
	const struct cor_tls_files psk = { .psk = keys_path("foreign") };

	keys_file("foreign", "alpha:00112233445566778899aabbccddeeff\n", 0600);
	if (chown(keys_path("foreign"), 12345, 0) < 0)
		skip();
	assert_not_loaded(&psk, -EPERM, "12345");
}

static void files_that_do_not_fit_are_refused(void **state)
{
	keys_file("bad", "alpha:00112233445566778899aabbccddeeff\nbeta\n", 0600);
	keys_file("empty", "", 0600);
	assert_not_loaded(&(struct cor_tls_files){ .psk = keys_path("bad") }, -EINVAL, "bad:2");
	assert_not_loaded(&(struct cor_tls_files){ .psk = keys_path("none") }, -ENOENT, "none");
	assert_not_loaded(&(struct cor_tls_files){ .certificate = keys_path("beta.pem"),
			  .key = keys_path("alpha.key") }, -EINVAL, "not the key of");
	assert_not_loaded(&(struct cor_tls_files){ .certificate = keys_path("beta.pem") }, -EINVAL,
			  "together");
	assert_not_loaded(&(struct cor_tls_files){ .crl = keys_path("ca.crl") }, -EINVAL, "ca.crl");
	assert_not_loaded(&(struct cor_tls_files){ .ca = keys_path("empty") }, -EINVAL, "empty");
	assert_not_loaded(&(struct cor_tls_files){ .ca = keys_path("beta.key") }, -EINVAL, "beta.key");
}

static void lines_of_psktool_are_understood(void **state)
{
	static const char text[] = "alpha:00112233445566778899aabbccddeeff\r\n\n"
				   "#6265:ffeeddccbbaa99887766554433221100\n"
				   "alpha:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	unsigned line = 0;
	uint8_t key[64];

	assert_int_equal(cor_psk_find(text, "alpha", key, sizeof(key), &line), 16);
	assert_int_equal(key[1], 0x11);         /* the first */
	assert_int_equal(cor_psk_find(text, "be", key, sizeof(key), &line), 16);
	assert_int_equal(key[0], 0xff);
	assert_int_equal(cor_psk_find(text, "#6265", key, sizeof(key), &line), -ENOENT);
	assert_int_equal(cor_psk_find(text, "alph", key, sizeof(key), &line), -ENOENT);
	assert_int_equal(cor_psk_find(text, NULL, NULL, 0, &line), 0);
}

static void lines_that_are_no_keys_are_found(void **state)
{
	static const char *const bad[] = {
		"alpha", ":00112233445566778899aabbccddeeff", "alpha:0011", "alpha:",
		"alpha:00112233445566778899aabbccddeefg", "alpha:00112233445566778899aabbccddeef",
		"#00:00112233445566778899aabbccddeeff", "#6:00112233445566778899aabbccddeeff",
		"#:00112233445566778899aabbccddeeff",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		unsigned line = 0;
		char text[128];

		snprintf(text, sizeof(text), "\n%s\n", bad[i]);
		assert_int_equal(cor_psk_find(text, NULL, NULL, 0, &line), -EINVAL);
		assert_int_equal(line, 2);
	}
}

static void fingerprints_are_taken_as_certtool_prints_them(void **state)
{
	static const char plain[] = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
	static const char *const bad[] = {
		"", "00", "0011223344556677889 aabbccddeeff00112233445566778899aabbccddeeff",
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff00",
		":0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "0x1122",
	};
	char colons[96] = "";
	uint8_t a[COR_TLS_FINGERPRINT], b[COR_TLS_FINGERPRINT];

	for (unsigned i = 0; i < 32; i++)
		sprintf(colons + 3 * i, i == 31 ? "%.2s" : "%.2s:", plain + 2 * i);
	assert_int_equal(cor_tls_fingerprint_parse(plain, a), 0);
	assert_int_equal(cor_tls_fingerprint_parse(colons, b), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(a[31], 0xff);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(cor_tls_fingerprint_parse(bad[i], a), -EINVAL);
}

static int make_keys(void **state)
{
	keys_begin();
	keys_authority("ca");
	keys_authority("other-ca");
	keys_certificate("alpha", "alpha", "ca", 0);
	keys_certificate("beta", "beta", "ca", 0);
	keys_certificate("mallory", "alpha", "other-ca", 0);
	keys_certificate("self", "alpha", NULL, 0);
	keys_certificate("old", "alpha", "ca", KEYS_EXPIRED);
	keys_certificate("gone", "alpha", "ca", 0);
	keys_certificate("server-only", "alpha", "ca", KEYS_ONLY_SERVER);
	keys_revoke("gone", "ca");
	keys_file("psk", "alpha:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
			 "gamma:11112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n", 0600);
	keys_file("psk2", "alpha:99112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
			  "stranger:99112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n",
		  0600);
	return 0;
}

static int forget_keys(void **state)
{
	keys_end();
	return 0;
}

#define pair_test(f) cmocka_unit_test_setup_teardown(f, pair_up, pair_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		pair_test(bytes_come_through_both_ways),
		pair_test(much_comes_through_whole),
		pair_test(sending_without_waiting_loses_nothing),
		pair_test(what_is_decrypted_already_is_pending),
		pair_test(end_differs_from_a_cut),
		pair_test(cut_connection_is_an_error),
		cmocka_unit_test_setup_teardown(spoiled_byte_is_noticed, spoiled_pair_up, pair_down),
		cmocka_unit_test(other_secret_is_refused),
		cmocka_unit_test(secret_is_for_one_kind_of_connection),
		cmocka_unit_test(certificates_prove_both_sides),
		cmocka_unit_test(strangers_are_not_trusted),
		cmocka_unit_test(no_certificate_is_refused),
		cmocka_unit_test(pre_shared_key_tells_who_it_is),
		cmocka_unit_test(other_pre_shared_key_is_refused),
		cmocka_unit_test(identity_without_a_key_is_told),
		cmocka_unit_test(silent_peer_times_out),
		cmocka_unit_test(garbage_ends_a_handshake),
		cmocka_unit_test(secrets_that_others_can_read_are_refused),
		cmocka_unit_test(secrets_of_somebody_else_are_refused),
		cmocka_unit_test(files_that_do_not_fit_are_refused),
		cmocka_unit_test(lines_of_psktool_are_understood),
		cmocka_unit_test(lines_that_are_no_keys_are_found),
		cmocka_unit_test(fingerprints_are_taken_as_certtool_prints_them),
	};

	return cmocka_run_group_tests(tests, make_keys, forget_keys);
}
