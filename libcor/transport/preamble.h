/* The first 64 bytes of every connection between cord daemons, and between an
 * importer and an exporter: what the connection is for, and the proof that it
 * belongs to its session. All integers little-endian. The accepting side
 * answers with 8 bytes (struct cor_preamble_reply), then the connection speaks
 * its own protocol: control messages, or the page lane protocol (paging/wire.h).
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define COR_PREAMBLE_MAGIC   "corpage"      /* 8 bytes with the NUL */
#define COR_PREAMBLE_VERSION 1

enum cor_connection_kind {
	COR_CONN_CONTROL = 1,   /* a migration's control channel: session and secret are zero */
	COR_CONN_DEMAND  = 2,   /* a demand lane */
	COR_CONN_BULK    = 3,   /* a bulk lane */
};

struct cor_preamble {
	char     magic[8];
	uint16_t version;
	uint8_t  kind;          /* enum cor_connection_kind */
	uint8_t  index;         /* which of several bulk lanes */
	uint32_t reserved;      /* zero */
	uint8_t  session[16];   /* the session's (or export's) identity */
	uint8_t  secret[32];    /* made per session, told only inside the control channel or the ticket */
} __attribute__((packed));
static_assert(sizeof(struct cor_preamble) == 64, "preamble is 64 bytes");
static_assert(offsetof(struct cor_preamble, session) == 16, "session at 16");

struct cor_preamble_reply {
	char     magic[4];      /* "corp" */
	uint16_t version;       /* what the accepting side speaks */
	int16_t  status;        /* 0, or a negative errno: -EPROTO, -EPERM (wrong secret), -ENOENT */
} __attribute__((packed));
static_assert(sizeof(struct cor_preamble_reply) == 8, "reply is 8 bytes");
