/* Tickets; see ticket.h. */
#include "libcor/paging/ticket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "libcor/base/error.h"
#include "libcor/paging/wire.h"
#include "libcor/transport/transport.h"

#define PREFIX "cor1:"
#define PAGE_MASK ((UINT64_C(1) << COR_PAGE_SHIFT) - 1)

static bool size_is_valid(uint64_t size)
{
	return size != 0 && size <= COR_TICKET_MAX_SIZE && (size & PAGE_MASK) == 0;
}

/* A host that would end the string, or split it elsewhere than meant, is none. */
static bool addrport_is_printable(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~' || *s == '"' || *s == '\'' || *s == '\\')
			return false;
	return true;
}

/* A ticket is for connecting: it names one host and a port that is not 0. */
static int check_addrport(const char *text, struct cor_error *err)
{
	struct cor_addrport a;
	int r = cor_addrport_parse(text, &a, err);

	if (r < 0)
		return cor_fail_prefix(err, r, "the ticket's address");
	if (!a.host[0] || a.port[0] == '0' || !addrport_is_printable(text))
		return cor_fail(err, -EINVAL, "the ticket's address names no host and port");
	return 0;
}

static void put_hex(char *out, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	*out = 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Exactly len bytes from text[0..text_len). */
static bool get_hex(const char *text, size_t text_len, uint8_t *out, size_t len)
{
	if (text_len != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int hi = hex_digit(text[2 * i]), lo = hex_digit(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

/* Decimal without sign or leading zero, at most 17 digits (2^56 has as many). */
static bool get_size(const char *text, uint64_t *out)
{
	size_t len = strlen(text);
	uint64_t v = 0;

	if (len == 0 || len > 17 || text[0] == '0')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(text[i] - '0');
	}
	*out = v;
	return true;
}

int cor_ticket_format(const struct cor_ticket *t, char text[COR_TICKET_TEXT],
		      struct cor_error *err)
{
	char id[2 * COR_SESSION_ID + 1], secret[2 * COR_SECRET + 1];
	char made[COR_TICKET_TEXT];
	int n, r = check_addrport(t->addrport, err);

	if (r < 0)
		return r;
	if (!cor_transport_find(t->transport))
		return cor_fail(err, -EINVAL, "a ticket cannot name the transport \"%s\"", t->transport);
	if (!size_is_valid(t->size))
		return cor_fail(err, -EINVAL, "a ticket cannot be for %" PRIu64 " bytes", t->size);
	put_hex(id, t->id, sizeof(t->id));
	put_hex(secret, t->secret, sizeof(t->secret));
	n = snprintf(made, sizeof(made), PREFIX "%s:%s:%s:%s:%" PRIu64, t->transport, t->addrport,
		     id, secret, t->size);
	if (n < 0 || (size_t)n >= sizeof(made))
		return cor_fail(err, -EINVAL, "the address %s is too long for a ticket", t->addrport);
	memcpy(text, made, (size_t)n + 1);
	return 0;
}

/* Cuts the last ":field" off text[0..*len); NULL when there is none. */
static const char *cut_last(const char *text, size_t *len, size_t *field_len)
{
	const char *colon = memrchr(text, ':', *len);

	if (!colon)
		return NULL;
	*field_len = (size_t)(text + *len - colon - 1);
	*len = (size_t)(colon - text);
	return colon + 1;
}

/* "transport:address:port", len bytes. */
static int parse_where(const char *text, size_t len, struct cor_ticket *t, struct cor_error *err)
{
	const char *colon = memchr(text, ':', len);
	size_t name, rest;

	if (!colon)
		return cor_fail(err, -EINVAL, "the ticket lacks its address");
	name = (size_t)(colon - text);
	rest = len - name - 1;
	if (name == 0 || name >= sizeof(t->transport) || rest >= sizeof(t->addrport))
		return cor_fail(err, -EINVAL, "the ticket's transport or address is too long");
	memcpy(t->transport, text, name);
	memcpy(t->addrport, colon + 1, rest);
	if (!cor_transport_find(t->transport))
		return cor_fail(err, -ENOTSUP, "the ticket is for a transport that is not known here");
	return check_addrport(t->addrport, err);
}

int cor_ticket_parse(const char *text, struct cor_ticket *out, struct cor_error *err)
{
	size_t len = strnlen(text, COR_TICKET_TEXT), id_len = 0, secret_len = 0, size_len = 0;
	const size_t prefix = strlen(PREFIX);
	const char *id, *secret, *size;
	struct cor_ticket t = { 0 };
	int r;

	if (len >= COR_TICKET_TEXT)
		return cor_fail(err, -EINVAL, "the ticket is too long");
	if (len < prefix || memcmp(text, "cor", 3) != 0 || text[3] < '1' || text[3] > '9')
		return cor_fail(err, -EINVAL, "this is not a ticket: it does not begin with \"cor1:\"");
	if (memcmp(text, PREFIX, prefix) != 0)
		return cor_fail(err, -ENOTSUP, "the ticket is of another version than 1");
	text += prefix;
	len -= prefix;
	size = cut_last(text, &len, &size_len);
	secret = size ? cut_last(text, &len, &secret_len) : NULL;
	id = secret ? cut_last(text, &len, &id_len) : NULL;
	if (!id)
		return cor_fail(err, -EINVAL, "the ticket lacks fields");
	if (!get_size(size, &t.size) || !size_is_valid(t.size))
		return cor_fail(err, -EINVAL, "the ticket's size is not a whole number of pages");
	if (!get_hex(id, id_len, t.id, sizeof(t.id)) ||
	    !get_hex(secret, secret_len, t.secret, sizeof(t.secret)))
		return cor_fail(err, -EINVAL, "the ticket's identity or secret is not hexadecimal");
	r = parse_where(text, len, &t, err);
	if (r < 0)
		return r;
	*out = t;
	return 0;
}
