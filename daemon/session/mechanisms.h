/* The mechanisms of a session: told in HELLO by both sides, shown by cor status. */
#pragma once

#include <cor/error.h>
#include <jansson.h>

#include "daemon/control.pb-c.h"
#include "libcor/names/mechanism.h"

/* Room for what a HELLO offers. */
struct session_offer {
	Cor__Control__Mechanism row[COR_MECHANISMS], *list[COR_MECHANISMS];
};

/* Puts into h what this host has on; o must live as long as h. */
void session_offer(Cor__Control__Hello *h, struct session_offer *o,
		   const struct cor_mechanisms *m);

/* Settles m by what the peer's HELLO offers. -EPROTONOSUPPORT; see mechanism.h. */
int session_agree(struct cor_mechanisms *m, const Cor__Control__Hello *h, struct cor_error *err);

/* {"files":"on", "pipes":"off on B", ...} */
json_t *session_mechanisms_json(const struct cor_mechanisms *m);
