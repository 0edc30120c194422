/* The first 64 bytes of every connection between cord daemons, and between an
 * importer and an exporter: what the connection is for, and the proof that it
 * belongs to its session. All integers little-endian. The accepting side
 * answers with 8 bytes (struct cor_preamble_reply), then the connection speaks
 * its own protocol: control messages, or the page lane protocol (paging/wire.h).
 */
#pragma once

#include <assert.h>
#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COR_PREAMBLE_MAGIC   "corpage"      /* 8 bytes with the NUL */
#define COR_PREAMBLE_VERSION 1

enum cor_connection_kind {
	COR_CONN_CONTROL = 1,   /* a migration's control channel: session and secret are zero,
				   but where it replaces the lost one of a committed session */
	COR_CONN_DEMAND  = 2,   /* a demand lane */
	COR_CONN_BULK    = 3,   /* a bulk lane */
	COR_CONN_HOME    = 4,   /* to a file server (names/home_wire.h): session and secret are
				   the tree's */
	COR_CONN_PUMP    = 5,   /* between the pumps of a task; session and secret are the link's */
};

enum cor_security {
	COR_SECURITY_CLEAR = 0,
	/* Behind the answer follows a handshake, the accepting side being the server, and
	 * inside it the answer once more: that one is to be believed. */
	COR_SECURITY_TLS   = 1,
};

struct cor_preamble {
	char     magic[8];
	uint16_t version;
	uint8_t  kind;          /* enum cor_connection_kind */
	uint8_t  index;         /* which of several bulk lanes */
	uint8_t  security;      /* enum cor_security */
	uint8_t  reserved[3];   /* zero */
	uint8_t  session[16];   /* the session's (or export's) identity */
	uint8_t  secret[32];    /* made per session, told only inside the control channel or the
				   ticket; zero where TLS follows, which proves it unsaid */
} __attribute__((packed));
static_assert(sizeof(struct cor_preamble) == 64, "preamble is 64 bytes");
static_assert(offsetof(struct cor_preamble, session) == 16, "session at 16");

struct cor_preamble_reply {
	char     magic[4];      /* "corp" */
	uint16_t version;       /* what the accepting side speaks */
	int16_t  status;        /* 0, or a negative errno: -EPROTO, -EPERM (wrong secret), -ENOENT,
				   -ETIME (the ticket has expired), -ETIMEDOUT, -EBUSY, -ENOKEY
				   (only TLS is served here), -EOPNOTSUPP (there are no keys here),
				   -EKEYREJECTED (inside TLS: not this key's); how the
				   session has ended, where a lost control channel is to be
				   replaced: -ECANCELED (aborted), -EALREADY (drained),
				   -ENOTRECOVERABLE (lost), -EOWNERDEAD (nobody knows) */
} __attribute__((packed));
static_assert(sizeof(struct cor_preamble_reply) == 8, "reply is 8 bytes");

#define COR_SESSION_ID 16       /* bytes */
#define COR_SECRET     32       /* bytes */

/* Fills buf with random bytes (getrandom(2)). */
int cor_secret_make(void *buf, size_t len, struct cor_error *err);

/* Whether two secrets are the same; the time it takes tells nothing about where
 * they differ. */
int cor_secret_equal(const void *a, const void *b, size_t len);

/* A preamble, ready to be sent. session and secret NULL: zeros (a control channel). */
void cor_preamble_make(struct cor_preamble *out, enum cor_connection_kind kind, uint8_t index,
		       const uint8_t session[COR_SESSION_ID], const uint8_t secret[COR_SECRET]);

/* Checks magic, version, kind and what must be zero of 64 bytes that came from
 * outside. -EPROTO. */
int cor_preamble_parse(const void *bytes, struct cor_preamble *out);

/* Is this status one that says how a session has ended? Where there is TLS such a word
 * counts only inside it: a task may be thawed for it, or killed. */
bool cor_preamble_status_ends(int status);

/* Does p belong to this session? 0; -ENOENT: another session; -EPERM: wrong secret,
 * which with TLS is not looked at here. */
int cor_preamble_check(const struct cor_preamble *p, const uint8_t session[COR_SESSION_ID],
		       const uint8_t secret[COR_SECRET]);

/* Reads and parses a preamble from a blocking or non-blocking socket, within
 * timeout_ms. -EPROTO, -ETIMEDOUT, -ECONNRESET (the peer closed), -errno of recv(2). */
int cor_preamble_read(int fd, unsigned timeout_ms, struct cor_preamble *out,
		      struct cor_error *err);

/* The same for an event loop with a non-blocking socket: call _feed whenever fd is readable. */
struct cor_preamble_reader {
	uint8_t bytes[sizeof(struct cor_preamble)];
	unsigned have;
};
#define COR_PREAMBLE_READER_INIT { { 0 }, 0 }

/* 1: *out is filled; 0: more must come; -EPROTO, -ECONNRESET, -errno of recv(2).
 * Nothing behind the preamble is read. */
int cor_preamble_reader_feed(struct cor_preamble_reader *r, int fd, struct cor_preamble *out);

/* The accepting side's answer: status 0 or a negative errno. */
void cor_preamble_reply_make(struct cor_preamble_reply *out, int status);
int cor_preamble_answer(int fd, int status);

/* What an answer says: 0, the refusal, or -EPROTO. */
int cor_preamble_reply_check(const struct cor_preamble_reply *reply, struct cor_error *err);

/* The connecting side: sends p and awaits the answer, within timeout_ms. The
 * peer's refusal is the return value. */
int cor_preamble_exchange(int fd, const struct cor_preamble *p, unsigned timeout_ms,
			  struct cor_error *err);
