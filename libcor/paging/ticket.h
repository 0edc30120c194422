/* A ticket: one printable string that says where an export is and proves the
 * right to read it:
 *
 *	cor1:tcp:ADDR:PORT:ID:SECRET:SIZE
 *
 * ADDR is a name, IPv4, or IPv6 in brackets; ID (32) and SECRET (64) are lower-case
 * hexadecimal digits; SIZE is the export's length in bytes, decimal, a positive
 * multiple of the page size. There is exactly one text for a ticket. */
#pragma once

#include <cor/error.h>
#include <stdint.h>

#include "libcor/transport/preamble.h"
#include "libcor/transport/tcp.h"

#define COR_TICKET_TEXT     512          /* room for any ticket, NUL included */
#define COR_TICKET_MAX_SIZE (UINT64_C(1) << 56)

struct cor_ticket {
	char     transport[16];          /* a cor_transport_find() name */
	char     addrport[COR_ADDRPORT_TEXT];
	uint8_t  id[COR_SESSION_ID];
	uint8_t  secret[COR_SECRET];
	uint64_t size;                   /* bytes */
};

/* Writes the ticket's text. -EINVAL: a field that no ticket can hold. */
int cor_ticket_format(const struct cor_ticket *t, char text[COR_TICKET_TEXT],
		      struct cor_error *err);

/* Takes a text from outside apart. -EINVAL, -ENOTSUP (unknown version or transport).
 * The sentence in *err never quotes the secret. */
int cor_ticket_parse(const char *text, struct cor_ticket *out, struct cor_error *err);
