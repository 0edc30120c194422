/* A stream that is encrypted, over another; see tls.h. */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/transport/tls_private.h"

/* What is received ahead: some records, so that each does not cost system calls. */
#define AHEAD  (64u << 10)
/* The most that one record carries. */
#define RECORD 16384u
/* A record's header: type, version, length (2 bytes each but the first). */
#define HEADER 5u

/* A secret's hash is SHA-256, which AES-256-GCM does not go with. */
#define CIPHERS "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:" \
		"+CHACHA20-POLY1305"
#define WITH_SECRET ":-KX-ALL:+ECDHE-PSK"
#define WITH_EITHER ":+ECDHE-PSK"

struct tls {
	struct cor_stream stream;
	struct cor_stream *inner;
	const struct cor_tls *keys;     /* until the handshake is done */
	gnutls_session_t session;
	gnutls_psk_client_credentials_t psk_client;
	gnutls_psk_server_credentials_t psk_server;
	gnutls_x509_crt_t cert;         /* the peer's */
	struct cor_tls_peer peer;
	bool server, by_psk, done;
	/* receiving */
	unsigned in_flags;
	int in_error;                   /* what the inner stream said last, if it was no byte */
	size_t ahead_at, ahead_len;     /* received and not yet handed to GnuTLS */
	size_t record_left;             /* of the record that it is being handed */
	uint8_t header[HEADER];
	unsigned header_got;
	/* sending */
	unsigned out_flags;
	int out_error;
	size_t unsent;                  /* bytes of a record that is on its way */
	uint8_t ahead[AHEAD];
	uint8_t gather[RECORD];
};

static struct tls *tls(const struct cor_stream *s)
{
	return (struct tls *)s;
}

/* ---- the inner stream, as GnuTLS sees it ------------------------------------------- */

static ssize_t receive_ahead(struct tls *t)
{
	struct iovec iov = { t->ahead, sizeof(t->ahead) };
	ssize_t n = cor_stream_receive(t->inner, &iov, 1, t->in_flags);

	t->in_error = n < 0 ? (int)n : n == 0 ? -ECONNRESET : 0;
	t->ahead_at = 0;
	t->ahead_len = n > 0 ? (size_t)n : 0;
	return n;
}

/* Follows the records as they go by, to know where the present one ends. */
static void follow(struct tls *t, const uint8_t *p, size_t n)
{
	while (n) {
		size_t part = COR_MIN(n, t->record_left);

		if (t->record_left == 0) {
			t->header[t->header_got++] = *p++;
			n--;
			if (t->header_got < HEADER)
				continue;
			t->record_left = (size_t)t->header[3] << 8 | t->header[4];
			t->header_got = 0;
			continue;
		}
		t->record_left -= part;
		p += part;
		n -= part;
	}
}

static ssize_t pull(gnutls_transport_ptr_t arg, void *data, size_t size)
{
	struct tls *t = arg;
	size_t n;

	if (!t->ahead_len && receive_ahead(t) < 0) {
		gnutls_transport_set_errno(t->session, t->in_error == -EAGAIN ? EAGAIN : EIO);
		return -1;
	}
	n = COR_MIN(size, t->ahead_len);
	memcpy(data, t->ahead + t->ahead_at, n);
	follow(t, data, n);
	t->ahead_at += n;
	t->ahead_len -= n;
	return (ssize_t)n;
}

static ssize_t push(gnutls_transport_ptr_t arg, const giovec_t *iov, int n)
{
	struct tls *t = arg;
	ssize_t sent = cor_stream_send(t->inner, iov, (unsigned)n, t->out_flags);

	t->out_error = sent < 0 ? (int)sent : 0;
	if (sent >= 0)
		return sent;
	gnutls_transport_set_errno(t->session, sent == -EAGAIN ? EAGAIN : EIO);
	return -1;
}

/* Waiting is our caller's business. */
static int pull_timeout(gnutls_transport_ptr_t arg, unsigned ms)
{
	struct tls *t = arg;
	struct pollfd p = { .fd = t->inner->in_fd, .events = POLLIN };

	return t->ahead_len || cor_stream_pending(t->inner) ? 1 : poll(&p, 1, (int)ms);
}

/* ---- the stream ---------------------------------------------------------------------- */

/* GnuTLS's error as one of ours; wire: what the inner stream said. */
static int our_error(int code, int wire)
{
	switch (code) {
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_PUSH_ERROR:
		return wire && wire != -EAGAIN ? wire : -EIO;
	case GNUTLS_E_PREMATURE_TERMINATION:
		return -ECONNRESET;
	case GNUTLS_E_DECRYPTION_FAILED:
		return -EBADMSG;
	case GNUTLS_E_MEMORY_ERROR:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

/* At least a byte of len, or as receive. */
static ssize_t receive_part(struct tls *t, void *buf, size_t len)
{
	for (;;) {
		ssize_t n;

		t->in_error = 0;
		n = gnutls_record_recv(t->session, buf, len);
		if (n >= 0)
			return n;
		if (n == GNUTLS_E_AGAIN && t->in_error == -EAGAIN)
			return -EAGAIN;
		/* else it was a message of TLS's own, and more may be there */
		if (gnutls_error_is_fatal((int)n))
			return our_error((int)n, t->in_error);
	}
}

static ssize_t tls_receive(struct cor_stream *s, const struct iovec *iov, unsigned n,
			   unsigned flags)
{
	struct tls *t = tls(s);
	ssize_t total = 0;

	t->in_flags = flags;
	for (unsigned i = 0; i < n; i++) {
		size_t at = 0;

		while (at < iov[i].iov_len) {
			ssize_t r;

			/* what is there already, and no more */
			if (total && !gnutls_record_check_pending(t->session))
				return total;
			r = receive_part(t, (char *)iov[i].iov_base + at, iov[i].iov_len - at);
			if (r <= 0)
				return total ? total : r;
			at += (size_t)r;
			total += r;
		}
	}
	return total;
}

/* One record's worth, in one piece. */
static const void *gather(struct tls *t, const struct iovec *iov, unsigned n, size_t *len)
{
	size_t got = 0;

	if (n == 1 || iov->iov_len >= RECORD) {
		*len = COR_MIN(iov->iov_len, RECORD);
		return iov->iov_base;
	}
	for (unsigned i = 0; i < n && got < RECORD; i++) {
		size_t part = COR_MIN(iov[i].iov_len, RECORD - got);

		memcpy(t->gather + got, iov[i].iov_base, part);
		got += part;
	}
	*len = got;
	return t->gather;
}

static ssize_t tls_send(struct cor_stream *s, const struct iovec *iov, unsigned n, unsigned flags)
{
	struct tls *t = tls(s);
	const void *data = NULL;
	size_t len = 0;
	ssize_t r;

	t->out_flags = flags;
	if (!t->unsent)
		data = gather(t, iov, n, &len);
	do
		r = gnutls_record_send(t->session, data, len);
	while (r == GNUTLS_E_INTERRUPTED);
	if (r == GNUTLS_E_AGAIN) {
		/* it has been encrypted: only its way is to be finished, with NULL */
		t->unsent = t->unsent ? t->unsent : len;
		return -EAGAIN;
	}
	t->unsent = 0;
	return r < 0 ? our_error((int)r, t->out_error) : r;
}

/* Would a receive find a whole record without the kernel? */
static bool tls_pending(const struct cor_stream *s)
{
	const struct tls *t = tls(s);
	const uint8_t *p = t->ahead + t->ahead_at;
	size_t left = t->record_left, have = t->ahead_len;

	if (gnutls_record_check_pending(t->session))
		return true;
	if (left)
		return have >= left;
	if (t->header_got || have < HEADER)
		return false;
	return have - HEADER >= ((size_t)p[3] << 8 | p[4]);
}

/* The records around them only add to it. */
static void tls_worth(struct cor_stream *s, size_t bytes)
{
	cor_stream_worth(tls(s)->inner, bytes);
}

static void tls_shutdown(struct cor_stream *s)
{
	cor_stream_shutdown(tls(s)->inner);
}

static void forget_handshake(struct tls *t)
{
	if (t->psk_client)
		gnutls_psk_free_client_credentials(t->psk_client);
	if (t->psk_server)
		gnutls_psk_free_server_credentials(t->psk_server);
	t->psk_client = NULL;
	t->psk_server = NULL;
	t->keys = NULL;
}

static void tls_close(struct cor_stream *s)
{
	struct tls *t = tls(s);

	if (t->done && !t->unsent) {
		/* so that the peer can tell it from a connection that was cut */
		t->out_flags = COR_STREAM_NOWAIT;
		gnutls_bye(t->session, GNUTLS_SHUT_WR);
	}
	if (t->session)
		gnutls_deinit(t->session);
	if (t->cert)
		gnutls_x509_crt_deinit(t->cert);
	forget_handshake(t);
	cor_stream_close(t->inner);
	explicit_bzero(t, sizeof(*t));
	free(t);
}

static const struct cor_stream_ops tls_ops = {
	.name = "tls",
	.receive = tls_receive,
	.send = tls_send,
	.pending = tls_pending,
	.worth = tls_worth,
	.shutdown = tls_shutdown,
	.close = tls_close,
};

/* ---- the handshake --------------------------------------------------------------------- */

static int find_key(gnutls_session_t session, const char *identity, gnutls_datum_t *out)
{
	struct tls *t = gnutls_session_get_ptr(session);
	uint8_t key[64];
	int n = t->keys ? cor_tls_key(t->keys, identity, key, sizeof(key)) : -ENOENT;

	if (n > 0) {
		out->data = gnutls_malloc((size_t)n);
		out->size = (unsigned)n;
		if (out->data)
			memcpy(out->data, key, (size_t)n);
	}
	explicit_bzero(key, sizeof(key));
	return n > 0 && out->data ? 0 : -1;
}

static int use_psk_as_client(struct tls *t, const char *identity, struct cor_error *err)
{
	uint8_t key[64];
	int n = cor_tls_key(t->keys, identity, key, sizeof(key)), r;
	gnutls_datum_t d = { key, (unsigned)n };

	if (n < 0)
		return cor_fail(err, -ENOKEY, "there is no pre-shared key for the identity \"%s\"",
				identity);
	r = gnutls_psk_allocate_client_credentials(&t->psk_client);
	if (r == 0)
		r = gnutls_psk_set_client_credentials(t->psk_client, identity, &d, GNUTLS_PSK_KEY_RAW);
	if (r == 0)
		r = gnutls_credentials_set(t->session, GNUTLS_CRD_PSK, t->psk_client);
	explicit_bzero(key, sizeof(key));
	t->by_psk = true;
	snprintf(t->peer.psk, sizeof(t->peer.psk), "%s", identity);
	return r < 0 ? cor_fail(err, -EIO, "a pre-shared key: %s", gnutls_strerror(r)) : 0;
}

static int use_psk_as_server(struct tls *t)
{
	int r = gnutls_psk_allocate_server_credentials(&t->psk_server);

	if (r < 0)
		return r;
	gnutls_psk_set_server_credentials_function(t->psk_server, find_key);
	return gnutls_credentials_set(t->session, GNUTLS_CRD_PSK, t->psk_server);
}

static int set_up(struct tls *t, const char *psk, struct cor_error *err)
{
	unsigned flags = (t->server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NO_TICKETS |
			 GNUTLS_NO_SIGNAL;
	const struct cor_tls *k = t->keys;
	bool only_psk = k->is_secret || psk || !k->cert;
	int r = gnutls_init(&t->session, flags);

	if (r == 0)
		r = gnutls_priority_set_direct(t->session, only_psk ? CIPHERS WITH_SECRET :
					       t->server ? CIPHERS WITH_EITHER : CIPHERS, NULL);
	if (r == 0 && !only_psk)
		r = gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, k->cert);
	if (r == 0 && t->server && (k->psk || k->is_secret))
		r = use_psk_as_server(t);
	if (r < 0)
		return cor_fail(err, r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EIO, "TLS: %s",
				gnutls_strerror(r));
	gnutls_session_set_ptr(t->session, t);
	gnutls_transport_set_ptr(t->session, t);
	gnutls_transport_set_pull_function(t->session, pull);
	gnutls_transport_set_vec_push_function(t->session, push);
	gnutls_transport_set_pull_timeout_function(t->session, pull_timeout);
	gnutls_handshake_set_timeout(t->session, GNUTLS_INDEFINITE_TIMEOUT);
	if (t->server) {
		gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_REQUIRE);
		/* no list of our authorities: who is known by a fingerprint is of none of them */
		gnutls_certificate_send_x509_rdn_sequence(t->session, 1);
	} else if (only_psk) {
		return use_psk_as_client(t, k->is_secret ? k->identity : psk ? psk : "", err);
	}
	return 0;
}

int cor_stream_tls(struct cor_stream **out, struct cor_stream *inner, const struct cor_tls *keys,
		   bool server, const char *psk, struct cor_error *err)
{
	struct tls *t = calloc(1, sizeof(*t));
	int r;

	if (!t) {
		cor_stream_close(inner);
		return cor_fail(err, -ENOMEM, "an encrypted connection: out of memory");
	}
	t->stream = (struct cor_stream){ &tls_ops, inner->in_fd, inner->out_fd, inner->rank };
	t->inner = inner;
	t->keys = keys;
	t->server = server;
	r = set_up(t, psk, err);
	if (r < 0) {
		tls_close(&t->stream);
		return r;
	}
	*out = &t->stream;
	return 0;
}

/* The peer's own certificate. */
static int take_certificate(struct tls *t)
{
	unsigned n = 0;
	const gnutls_datum_t *list = gnutls_certificate_get_peers(t->session, &n);
	size_t len = sizeof(t->peer.fingerprint);
	int r;

	if (!list || !n)
		return GNUTLS_E_NO_CERTIFICATE_FOUND;
	r = gnutls_x509_crt_init(&t->cert);
	if (r == 0)
		r = gnutls_x509_crt_import(t->cert, &list[0], GNUTLS_X509_FMT_DER);
	if (r == 0)
		r = gnutls_x509_crt_get_fingerprint(t->cert, GNUTLS_DIG_SHA256, t->peer.fingerprint,
						    &len);
	len = sizeof(t->peer.subject);
	if (r == 0 && gnutls_x509_crt_get_dn(t->cert, t->peer.subject, &len) < 0)
		snprintf(t->peer.subject, sizeof(t->peer.subject), "a certificate with a long name");
	return r;
}

static void judge_certificate(struct tls *t)
{
	const char *purpose = t->server ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER;
	gnutls_typed_vdata_st data = { GNUTLS_DT_KEY_PURPOSE_OID, (unsigned char *)purpose, 0 };
	gnutls_datum_t text = { NULL, 0 };
	unsigned status = 0;
	int r = gnutls_certificate_verify_peers(t->session, &data, 1, &status);

	t->peer.trusted = r == 0 && status == 0;
	if (t->peer.trusted)
		return;
	if (r == 0)
		r = gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	snprintf(t->peer.why, sizeof(t->peer.why), "%s",
		 text.data ? (const char *)text.data : gnutls_strerror(r));
	gnutls_free(text.data);
}

static int know_peer(struct tls *t, struct cor_error *err)
{
	const char *psk = t->server ? gnutls_psk_server_get_username(t->session) : NULL;
	int r;

	t->done = true;
	if (t->by_psk || psk) {
		if (psk)
			snprintf(t->peer.psk, sizeof(t->peer.psk), "%s", psk);
		t->peer.trusted = true;
		forget_handshake(t);
		return 0;
	}
	r = take_certificate(t);
	if (r < 0)
		return cor_fail(err, -EPROTO, "the peer's certificate cannot be read: %s",
				gnutls_strerror(r));
	judge_certificate(t);
	forget_handshake(t);
	return 0;
}

static int handshake_failed(struct tls *t, int code, struct cor_error *err)
{
	switch (code) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		return cor_fail(err, -EKEYREJECTED, "the peer does not take our key (TLS alert: %s)",
				gnutls_alert_get_name(gnutls_alert_get(t->session)) ?: "unknown");
	case GNUTLS_E_CERTIFICATE_REQUIRED:
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
		return cor_fail(err, -ENOKEY, "the peer shows no certificate");
	case GNUTLS_E_NO_CIPHER_SUITES:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
	case GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER:
	case GNUTLS_E_UNKNOWN_PK_ALGORITHM:
		return cor_fail(err, -EKEYREJECTED, "the peer has not the same kind of key, or not the "
				"same key (%s)", gnutls_strerror(code));
	default:
		return cor_fail(err, our_error(code, t->in_error ?: t->out_error), "TLS handshake: %s",
				gnutls_strerror(code));
	}
}

int cor_stream_tls_step(struct cor_stream *s, struct cor_error *err)
{
	struct tls *t = tls(s);
	int r;

	if (t->done)
		return 0;
	t->in_flags = COR_STREAM_NOWAIT;
	t->out_flags = 0;
	do {
		t->in_error = 0;
		r = gnutls_handshake(t->session);
	} while (r < 0 && !gnutls_error_is_fatal(r) && t->in_error != -EAGAIN);
	if (r == 0)
		return know_peer(t, err);
	if (r == GNUTLS_E_AGAIN)
		return -EAGAIN;
	if (gnutls_error_is_fatal(r))
		gnutls_alert_send_appropriate(t->session, r);
	return handshake_failed(t, r, err);
}

int cor_stream_tls_handshake(struct cor_stream *s, uint64_t deadline_ns, struct cor_error *err)
{
	for (;;) {
		int r = cor_stream_tls_step(s, err);

		if (r != -EAGAIN)
			return r;
		/* what GnuTLS has not taken is no whole record: only the kernel has more */
		r = cor_stream_await(tls(s)->inner, deadline_ns);
		if (r < 0)
			return cor_fail_code(err, r, "TLS handshake");
	}
}

int cor_stream_tls_peer(struct cor_stream *s, struct cor_tls_peer *out, struct cor_error *err)
{
	struct tls *t = tls(s);

	if (!t->done)
		return cor_fail(err, -ENOTCONN, "the peer has not shown its key yet");
	*out = t->peer;
	return 0;
}

bool cor_stream_tls_named(struct cor_stream *s, const char *name)
{
	struct tls *t = tls(s);

	return t->cert && gnutls_x509_crt_check_hostname2(t->cert, name,
							  GNUTLS_VERIFY_DO_NOT_ALLOW_WILDCARDS);
}
