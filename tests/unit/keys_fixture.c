/* See keys_fixture.h. */
#include "tests/unit/keys_fixture.h"

#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char g_dir[64];

#define DAY (24 * 3600)
#define MUST(call) do { \
	if ((call) < 0) { \
		fprintf(stderr, "%s:%d: %s failed\n", __FILE__, __LINE__, #call); \
		abort(); \
	} \
} while (0)

const char *keys_begin(void)
{
	snprintf(g_dir, sizeof(g_dir), "/tmp/cor-keys.XXXXXX");
	if (!mkdtemp(g_dir))
		abort();
	return g_dir;
}

void keys_end(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf --one-file-system '%s'", g_dir);
	MUST(system(command));
}

const char *keys_path(const char *name)
{
	static char paths[8][256];
	static unsigned next;
	char *p = paths[next++ % 8];

	snprintf(p, sizeof(paths[0]), "%s/%.100s", g_dir, name);
	return p;
}

void keys_file(const char *name, const char *text, unsigned mode)
{
	int fd = open(keys_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fchmod(fd, mode))
		abort();
	close(fd);
}

static void save(const char *name, const char *suffix, gnutls_datum_t *text)
{
	char file[64];

	snprintf(file, sizeof(file), "%.50s%s", name, suffix);
	keys_file(file, (char *)text->data, 0600);
	gnutls_free(text->data);
}

static gnutls_datum_t load(const char *name, const char *suffix)
{
	gnutls_datum_t d;
	char file[64];

	snprintf(file, sizeof(file), "%.50s%s", name, suffix);
	MUST(gnutls_load_file(keys_path(file), &d));
	return d;
}

static gnutls_x509_privkey_t make_key(const char *name)
{
	gnutls_x509_privkey_t key;
	gnutls_datum_t text;

	MUST(gnutls_x509_privkey_init(&key));
	MUST(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
					  GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
	MUST(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text));
	save(name, ".key", &text);
	return key;
}

static void load_authority(const char *name, gnutls_x509_crt_t *crt, gnutls_x509_privkey_t *key)
{
	gnutls_datum_t d = load(name, ".pem");

	MUST(gnutls_x509_crt_init(crt));
	MUST(gnutls_x509_crt_import(*crt, &d, GNUTLS_X509_FMT_PEM));
	gnutls_free(d.data);
	d = load(name, ".key");
	MUST(gnutls_x509_privkey_init(key));
	MUST(gnutls_x509_privkey_import(*key, &d, GNUTLS_X509_FMT_PEM));
	gnutls_free(d.data);
}

static gnutls_x509_crt_t begin(const char *common, gnutls_x509_privkey_t key, time_t until)
{
	static unsigned char serial[] = { 1, 0, 0, 0 };
	gnutls_x509_crt_t crt;

	serial[3]++;
	MUST(gnutls_x509_crt_init(&crt));
	MUST(gnutls_x509_crt_set_version(crt, 3));
	MUST(gnutls_x509_crt_set_serial(crt, serial, sizeof(serial)));
	MUST(gnutls_x509_crt_set_activation_time(crt, time(NULL) - 2 * DAY));
	MUST(gnutls_x509_crt_set_expiration_time(crt, until));
	MUST(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, common,
					   (unsigned)strlen(common)));
	MUST(gnutls_x509_crt_set_key(crt, key));
	return crt;
}

static void end(const char *name, gnutls_x509_crt_t crt)
{
	gnutls_datum_t text;

	MUST(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text));
	save(name, ".pem", &text);
	gnutls_x509_crt_deinit(crt);
}

void keys_authority(const char *name)
{
	gnutls_x509_privkey_t key = make_key(name);
	gnutls_x509_crt_t crt = begin(name, key, time(NULL) + DAY);

	MUST(gnutls_x509_crt_set_basic_constraints(crt, 1, -1));
	MUST(gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN));
	MUST(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0));
	end(name, crt);
	gnutls_x509_privkey_deinit(key);
}

void keys_certificate(const char *name, const char *dns, const char *authority, unsigned flags)
{
	gnutls_x509_privkey_t key = make_key(name), ca_key = key;
	gnutls_x509_crt_t crt = begin(name, key, time(NULL) + (flags & KEYS_EXPIRED ? -DAY : DAY));
	gnutls_x509_crt_t ca = crt;

	MUST(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, dns,
						  (unsigned)strlen(dns), GNUTLS_FSAN_SET));
	MUST(gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE));
	if (flags & KEYS_ONLY_SERVER)
		MUST(gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0));
	if (authority)
		load_authority(authority, &ca, &ca_key);
	MUST(gnutls_x509_crt_sign2(crt, ca, ca_key, GNUTLS_DIG_SHA256, 0));
	end(name, crt);
	gnutls_x509_privkey_deinit(key);
	if (authority) {
		gnutls_x509_crt_deinit(ca);
		gnutls_x509_privkey_deinit(ca_key);
	}
}

void keys_revoke(const char *name, const char *authority)
{
	gnutls_x509_crt_t ca, crt;
	gnutls_x509_privkey_t ca_key;
	gnutls_x509_crl_t crl;
	gnutls_datum_t d = load(name, ".pem");

	load_authority(authority, &ca, &ca_key);
	MUST(gnutls_x509_crt_init(&crt));
	MUST(gnutls_x509_crt_import(crt, &d, GNUTLS_X509_FMT_PEM));
	gnutls_free(d.data);
	MUST(gnutls_x509_crl_init(&crl));
	MUST(gnutls_x509_crl_set_version(crl, 2));
	MUST(gnutls_x509_crl_set_this_update(crl, time(NULL) - DAY));
	MUST(gnutls_x509_crl_set_next_update(crl, time(NULL) + DAY));
	MUST(gnutls_x509_crl_set_crt(crl, crt, time(NULL) - DAY));
	MUST(gnutls_x509_crl_sign2(crl, ca, ca_key, GNUTLS_DIG_SHA256, 0));
	MUST(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &d));
	save(authority, ".crl", &d);
	gnutls_x509_crl_deinit(crl);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_crt_deinit(ca);
	gnutls_x509_privkey_deinit(ca_key);
}
