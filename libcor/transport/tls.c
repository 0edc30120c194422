/* Keys; see tls.h. */
#include "libcor/transport/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/transport/tls_private.h"

#define FILE_MAX (1u << 20)

static bool given(const char *path)
{
	return path && path[0];
}

static int check_secret_file(int fd, const char *path, struct cor_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return cor_fail_errno(err, "%s", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return cor_fail(err, -EPERM, "%s holds a secret and belongs to user %u, not to root "
				"or to us", path, (unsigned)st.st_uid);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return cor_fail(err, -EPERM, "%s holds a secret, and others than its owner may use it "
				"(mode %03o; chmod 600 it)", path, (unsigned)(st.st_mode & 0777));
	return 0;
}

/* The file, NUL-terminated, in a buffer that is never moved, so that nothing of it is
 * left behind. To be given to forget(). */
static int read_file(const char *path, bool secret, char **out, size_t *len, struct cor_error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *buf;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return cor_fail_errno(err, "%s cannot be read", path);
	r = secret ? check_secret_file(fd, path, err) : 0;
	if (r < 0)
		return r;
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		return cor_fail(err, -EINVAL, "%s is no file of keys", path);
	buf = calloc(1, (size_t)st.st_size + 1);
	if (!buf)
		return cor_fail(err, -ENOMEM, "%s: out of memory", path);
	r = cor_read_full(fd, buf, (size_t)st.st_size);
	if (r < 0 || strlen(buf) != (size_t)st.st_size) {
		explicit_bzero(buf, (size_t)st.st_size);
		free(buf);
		return r < 0 ? cor_fail_code(err, r, "%s cannot be read", path) :
		       cor_fail(err, -EINVAL, "%s is no text", path);
	}
	*out = buf;
	*len = (size_t)st.st_size;
	return 0;
}

static void forget(char **text, size_t len)
{
	if (!*text)
		return;
	explicit_bzero(*text, len);
	free(*text);
	*text = NULL;
}

/* What GnuTLS said of one of our files. */
static int refuse(struct cor_error *err, const char *path, int code)
{
	return cor_fail(err, code == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL, "%s: %s", path,
			gnutls_strerror(code));
}

static int load_certificate(struct cor_tls *t, const struct cor_tls_files *f, struct cor_error *err)
{
	char *cert = NULL, *key = NULL;
	size_t cert_len = 0, key_len = 0;
	int r = read_file(f->certificate, false, &cert, &cert_len, err);

	if (r == 0)
		r = read_file(f->key, true, &key, &key_len, err);
	if (r == 0) {
		gnutls_datum_t c = { (unsigned char *)cert, (unsigned)cert_len };
		gnutls_datum_t k = { (unsigned char *)key, (unsigned)key_len };

		r = gnutls_certificate_set_x509_key_mem2(t->cert, &c, &k, GNUTLS_X509_FMT_PEM, NULL, 0);
		if (r == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
			r = cor_fail(err, -EINVAL, "%s is not the key of %s", f->key, f->certificate);
		else if (r < 0)
			r = refuse(err, f->certificate, r);
	}
	forget(&cert, cert_len);
	forget(&key, key_len);
	t->has_certificate = r >= 0;
	return r < 0 ? r : 0;
}

/* set: gnutls_certificate_set_x509_trust_mem() or _crl_mem(). */
static int load_public(struct cor_tls *t, const char *path,
		       int (*set)(gnutls_certificate_credentials_t, const gnutls_datum_t *,
				  gnutls_x509_crt_fmt_t),
		       struct cor_error *err)
{
	char *text = NULL;
	size_t len = 0;
	int r = read_file(path, false, &text, &len, err);

	if (r == 0) {
		gnutls_datum_t d = { (unsigned char *)text, (unsigned)len };

		r = set(t->cert, &d, GNUTLS_X509_FMT_PEM);
		if (r == 0)
			r = cor_fail(err, -EINVAL, "%s has nothing of the kind in it", path);
		else if (r < 0)
			r = refuse(err, path, r);
	}
	forget(&text, len);
	return r < 0 ? r : 0;
}

static int load_psk(struct cor_tls *t, const char *path, struct cor_error *err)
{
	unsigned line = 0;
	int r = read_file(path, true, &t->psk, &t->psk_len, err);

	if (r == 0 && cor_psk_find(t->psk, NULL, NULL, 0, &line) < 0)
		return cor_fail(err, -EINVAL, "%s:%u: this is no IDENTITY:KEY as psktool(1) makes "
				"them, of 128 bits and more", path, line);
	return r;
}

static int load(struct cor_tls *t, const struct cor_tls_files *f, struct cor_error *err)
{
	int r = 0;

	if (given(f->certificate) != given(f->key))
		return cor_fail(err, -EINVAL, "a certificate and its key are only of use together");
	if (given(f->crl) && !given(f->ca))
		return cor_fail(err, -EINVAL, "what is revoked (%s) is only of use with the authority "
				"that signs", f->crl);
	if ((given(f->certificate) || given(f->ca)) &&
	    gnutls_certificate_allocate_credentials(&t->cert) < 0)
		return cor_fail(err, -ENOMEM, "keys: out of memory");
	if (given(f->certificate))
		r = load_certificate(t, f, err);
	if (r == 0 && given(f->ca))
		r = load_public(t, f->ca, gnutls_certificate_set_x509_trust_mem, err);
	if (r == 0 && given(f->crl))
		r = load_public(t, f->crl, gnutls_certificate_set_x509_crl_mem, err);
	if (r == 0 && given(f->psk))
		r = load_psk(t, f->psk, err);
	return r;
}

int cor_tls_load(struct cor_tls **out, const struct cor_tls_files *files, struct cor_error *err)
{
	struct cor_tls *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return cor_fail(err, -ENOMEM, "keys: out of memory");
	r = load(t, files, err);
	if (r < 0) {
		cor_tls_free(t);
		return r;
	}
	*out = t;
	return 0;
}

int cor_tls_from_secret(struct cor_tls **out, const uint8_t session[COR_SESSION_ID],
			const uint8_t secret[COR_SECRET], enum cor_connection_kind kind,
			uint8_t index, struct cor_error *err)
{
	struct cor_tls *t = calloc(1, sizeof(*t));
	char *at;

	if (!t)
		return cor_fail(err, -ENOMEM, "a connection's key: out of memory");
	t->is_secret = true;
	memcpy(t->secret, secret, sizeof(t->secret));
	at = t->identity + sprintf(t->identity, "cor:%u:%u:", (unsigned)kind, (unsigned)index);
	for (unsigned i = 0; i < COR_SESSION_ID; i++)
		at += sprintf(at, "%02x", session[i]);
	*out = t;
	return 0;
}

void cor_tls_free(struct cor_tls *t)
{
	if (!t)
		return;
	if (t->cert)
		gnutls_certificate_free_credentials(t->cert);
	forget(&t->psk, t->psk_len);
	explicit_bzero(t, sizeof(*t));
	free(t);
}

int cor_tls_key(const struct cor_tls *t, const char *identity, uint8_t *key, unsigned size)
{
	unsigned line;

	if (!t->is_secret)
		return t->psk ? cor_psk_find(t->psk, identity, key, size, &line) : -ENOENT;
	if (size < sizeof(t->secret) || strcmp(identity, t->identity) != 0)
		return -ENOENT;
	memcpy(key, t->secret, sizeof(t->secret));
	return sizeof(t->secret);
}

bool cor_tls_has_psk(const struct cor_tls *t, const char *identity)
{
	uint8_t key[64];
	int n = cor_tls_key(t, identity, key, sizeof(key));

	explicit_bzero(key, sizeof(key));
	return n > 0;
}

bool cor_tls_has_certificate(const struct cor_tls *t)
{
	return t->has_certificate;
}

int cor_tls_fingerprint_parse(const char *text, uint8_t out[COR_TLS_FINGERPRINT])
{
	uint8_t made[COR_TLS_FINGERPRINT];

	for (unsigned i = 0; i < COR_TLS_FINGERPRINT; i++) {
		unsigned value;
		int used = 0;

		if (i && *text == ':')
			text++;
		if (sscanf(text, "%2x%n", &value, &used) != 1 || used != 2 ||
		    strspn(text, "0123456789abcdefABCDEF") < 2)
			return -EINVAL;
		made[i] = (uint8_t)value;
		text += 2;
	}
	if (*text)
		return -EINVAL;
	memcpy(out, made, sizeof(made));
	return 0;
}
