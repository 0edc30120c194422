/* Files of pre-shared keys, as psktool(1) writes them; see tls.h. */
#include <errno.h>
#include <string.h>

#include "libcor/transport/tls.h"

#define KEY_MIN 16u     /* bytes: less than 128 bits is no key */
#define KEY_MAX 64u

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* len digits into at most size bytes; the number of bytes, or -EINVAL. */
static int from_hex(const char *text, size_t len, uint8_t *out, unsigned size)
{
	if (len % 2 || len / 2 > size)
		return -EINVAL;
	for (size_t i = 0; i < len; i += 2) {
		int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		out[i / 2] = (uint8_t)(high << 4 | low);
	}
	return (int)(len / 2);
}

struct line {
	char identity[COR_TLS_NAME];
	uint8_t key[KEY_MAX];
	int key_len;
};

static int parse_identity(const char *text, size_t len, char out[COR_TLS_NAME])
{
	int n;

	memset(out, 0, COR_TLS_NAME);
	if (len && text[0] == '#') {
		n = from_hex(text + 1, len - 1, (uint8_t *)out, COR_TLS_NAME - 1);
		/* a NUL inside would make it another one */
		return n > 0 && strlen(out) == (size_t)n ? 0 : -EINVAL;
	}
	if (len == 0 || len >= COR_TLS_NAME)
		return -EINVAL;
	memcpy(out, text, len);
	return 0;
}

static int parse_line(const char *text, size_t len, struct line *l)
{
	const char *colon = memchr(text, ':', len);
	size_t name = colon ? (size_t)(colon - text) : 0;

	if (!colon || parse_identity(text, name, l->identity) < 0)
		return -EINVAL;
	l->key_len = from_hex(colon + 1, len - name - 1, l->key, sizeof(l->key));
	return l->key_len >= (int)KEY_MIN ? 0 : -EINVAL;
}

int cor_psk_find(const char *text, const char *identity, uint8_t *key, unsigned size,
		 unsigned *line)
{
	int found = -ENOENT;

	for (unsigned number = 1; *text; number++) {
		size_t len = strcspn(text, "\n"), used = len;
		struct line l;

		if (used && text[used - 1] == '\r')
			used--;
		if (used) {
			int r = parse_line(text, used, &l);

			if (r == 0 && identity && found == -ENOENT &&
			    strcmp(l.identity, identity) == 0 && (unsigned)l.key_len <= size) {
				memcpy(key, l.key, (size_t)l.key_len);
				found = l.key_len;
			}
			explicit_bzero(&l, sizeof(l));
			if (r < 0) {
				*line = number;
				return r;
			}
		}
		text += len + (text[len] == '\n');
	}
	return identity || found >= 0 ? found : 0;
}
