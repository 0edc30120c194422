/* cord's record of one migration: what its worker has told so far.
 *
 * Data only: no process, no socket. A migration within one host has two
 * records with the same identity, one for each role.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* In the order in which a good migration passes them; worker.h says what they mean. */
enum record_state {
	RECORD_PREPARE,
	RECORD_FREEZE,
	RECORD_COMMIT,
	RECORD_IN_DOUBT,
	RECORD_PAGING,
	RECORD_DRAINED,
	RECORD_RELEASED,
	RECORD_ABORTED,
	RECORD_LOST,
};

struct record {
	bool              source;       /* the task leaves here; else it arrives */
	char              id[33];       /* "": an arrival that has not said yet */
	uint8_t           session[16], secret[32];
	bool              takes_lanes;  /* session and secret are set, and lanes are welcome */
	enum record_state state;
	bool              ended;        /* result: */
	bool              ok;
	int               exit;         /* 0, 1, 3 */
	bool              died;         /* ended without a word: how, is a guess */
	json_t           *figures;      /* all else */
};

/* The figures start as what is always shown: null or 0. -ENOMEM. */
int  record_init(struct record *r, bool source);
void record_clear(struct record *r);

/* A worker's message; each ignores what it does not know. 0, or -EINVAL when
 * the message makes no sense (then nothing changed). */
int  record_session(struct record *r, const json_t *message);
int  record_status(struct record *r, const json_t *message);
int  record_result(struct record *r, const json_t *message);

/* The worker ended without a result: a failed session, but for an arrival that
 * got so far and ended with status 0. status: wait(2)'s. */
void record_worker_died(struct record *r, int status);

void record_set_text(struct record *r, const char *key, const char *text);

/* It runs on the destination (or did), and nothing brings it back. */
bool record_committed(const struct record *r);
/* What a destination's session answers to a source that has lost touch with it: 0
 * while it lives, else how it ended; see struct cor_preamble_reply. */
int  record_outcome(const struct record *r);
/* What a client that does not wait for the drain waits for. */
bool record_resumed(const struct record *r);

/* A fresh object: id, role, state, the figures; ok and exit once ended. */
json_t *record_json(const struct record *r);

const char *record_state_name(enum record_state s);
/* -EINVAL for a name that is none. */
int  record_state_parse(const char *name);

/* 2 × n lower-case digits and a NUL; hex_decode wants exactly that: -EINVAL. */
void hex_encode(char *out, const uint8_t *bytes, unsigned n);
int  hex_decode(uint8_t *out, const char *hex, unsigned n);
