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

#include "daemon/states.h"

struct record {
	bool              source;       /* the task leaves here; else it arrives */
	char              id[33];       /* "": an arrival that has not said yet */
	uint8_t           session[16], secret[32];
	bool              takes_lanes;  /* session and secret are set, and lanes are welcome */
	enum session_state state;
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
 * got so far and ended with status 0. status: wait(2)'s, -1: not known. let_go: a thread
 * of the task may have run on the destination; false: certainly none ever. */
void record_worker_died(struct record *r, int status, bool let_go);

/* A session of an earlier cord: what the state directory says about it (NULL: nothing). */
void record_adopt(struct record *r, const uint8_t session[16], const uint8_t secret[32],
		  const json_t *about);

/* A JSON string of bytes that may be no UTF-8. */
json_t *record_text(const char *text);
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

/* 2 × n lower-case digits and a NUL; hex_decode wants exactly that: -EINVAL. */
void hex_encode(char *out, const uint8_t *bytes, unsigned n);
int  hex_decode(uint8_t *out, const char *hex, unsigned n);
