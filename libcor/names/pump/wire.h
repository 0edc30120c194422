/* The bytes between two pumps (pump/pump.h), behind the preamble (COR_CONN_PUMP). A
 * connection carries frames of one header and a payload; all integers little-endian.
 *
 * The one that holds the task's ends (the *away* side) connects and sends HELLO; the
 * *home* side, which holds what was outside of the task when it left, answers with
 * HELLO, or with a status and the end of the connection. Then nothing goes either way
 * until the away side, whose task runs now, sends ATTACH: this connection replaces any
 * other. Then each tells by an ACK for each channel what it has received. Only behind
 * the peer's first ACK for a channel may DATA and EVENT of it be sent, from where that
 * ACK said.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define COR_PUMP_VERSION 1

enum cor_pump_frame_type {
	COR_PUMP_HELLO  = 1,    /* arg: enum cor_pump_side; payload: struct cor_pump_hello */
	COR_PUMP_ATTACH = 2,    /* away to home; at: the task's epoch */
	COR_PUMP_ACK    = 3,    /* at: received up to here; payload: u64, may send up to there;
				   arg: enum cor_pump_ack */
	COR_PUMP_DATA   = 4,    /* at: position of the first byte; payload: the bytes */
	COR_PUMP_EVENT  = 5,    /* at: its position; arg: enum cor_pump_event; payload: its own */
	COR_PUMP_CLOSED = 7,    /* a channel that came by COR_PUMP_CAME is over for the sender, who
				   has got all of it (pump/forward.h) */
	COR_PUMP_BYE    = 6,    /* away to home: every channel is over, and so are we */
};

enum cor_pump_side { COR_PUMP_AWAY = 1, COR_PUMP_HOME = 2 };

/* arg of ACK. */
enum cor_pump_ack {
	COR_PUMP_ACK_GONE = 1,  /* what is sent this way reaches nobody any more */
};

struct cor_pump_frame {
	uint8_t  type;          /* enum cor_pump_frame_type */
	uint8_t  arg;
	uint16_t channel;       /* ACK, DATA, EVENT; else 0 */
	uint32_t length;        /* of the payload */
	uint64_t at;
} __attribute__((packed));
static_assert(sizeof(struct cor_pump_frame) == 16, "a pump's frame header is 16 bytes");
static_assert(offsetof(struct cor_pump_frame, at) == 8, "position at 8");

struct cor_pump_hello {
	uint16_t version;       /* COR_PUMP_VERSION */
	int16_t  status;        /* home's answer: 0; -ESTALE: the task has moved on from there */
	uint32_t epoch;         /* away: how often the task has moved; home: how often it knows of */
} __attribute__((packed));
static_assert(sizeof(struct cor_pump_hello) == 8, "a pump's hello is 8 bytes");

/* The payload of COR_PUMP_CAME: a client of a listening socket that stayed at home. The
 * addresses are struct sockaddr_in or _in6, as its socket has them. */
struct cor_pump_came {
	uint16_t channel;       /* that is the client's */
	uint8_t  ours_len, theirs_len;
	uint8_t  ours[28], theirs[28];
} __attribute__((packed));
static_assert(sizeof(struct cor_pump_came) == 60, "a client's addresses are 60 bytes");
static_assert(offsetof(struct cor_pump_came, theirs) == 32, "its own at 32");

/* What the task has done since home last heard of it. */
enum cor_pump_peer {
	COR_PUMP_PEER_AS_BEFORE = 0,
	COR_PUMP_PEER_NEW       = 1,    /* it has connected its socket to theirs */
	COR_PUMP_PEER_NONE      = 2,    /* it has dissolved the connection */
};

/* The payload of COR_PUMP_DATAGRAM: who else the datagram has to do with. Addresses as
 * above, those of IPv4 never within IPv6. */
struct cor_pump_datagram {
	uint8_t  refused;       /* no datagram: one that was sent to theirs has come to nobody */
	uint8_t  peer;          /* enum cor_pump_peer */
	uint8_t  ours_len, theirs_len;
	uint8_t  ours[28];      /* of the task's side, where that has bound none, and if it matters */
	uint8_t  theirs[28];
} __attribute__((packed));
static_assert(sizeof(struct cor_pump_datagram) == 60, "a datagram's addresses are 60 bytes");
static_assert(offsetof(struct cor_pump_datagram, theirs) == 32, "the other's at 32");

#define COR_PUMP_DATA_MAX 65536u        /* payload of DATA */

/* Takes a header apart that came from outside: type, length and what must be zero.
 * -EPROTO. */
int cor_pump_frame_parse(const void *bytes, struct cor_pump_frame *out);
