/* HELLO's mechanisms; see mechanisms.h. */
#include "daemon/session/mechanisms.h"

void session_offer(Cor__Control__Hello *h, struct session_offer *o,
		   const struct cor_mechanisms *m)
{
	h->n_mechanisms = 0;
	h->mechanisms = o->list;
	for (unsigned i = 0; i < COR_MECHANISMS; i++) {
		Cor__Control__Mechanism *row = &o->row[i];

		/* that the peer has another version is for both to know */
		if (m->state[i] == COR_MECHANISM_OFF_HERE ||
		    m->state[i] == COR_MECHANISM_OFF_ASKED)
			continue;
		cor__control__mechanism__init(row);
		row->name = (char *)cor_mechanism_table[i].name;
		row->version = cor_mechanism_table[i].version;
		h->mechanisms[h->n_mechanisms++] = row;
	}
}

int session_agree(struct cor_mechanisms *m, const Cor__Control__Hello *h, struct cor_error *err)
{
	for (size_t i = 0; i < h->n_mechanisms; i++)
		cor_mechanisms_offered(m, h->mechanisms[i]->name, h->mechanisms[i]->version);
	return cor_mechanisms_settle(m, h->host[0] ? h->host : "the peer", err);
}

json_t *session_mechanisms_json(const struct cor_mechanisms *m)
{
	json_t *o = json_object();
	char text[128];

	for (unsigned i = 0; i < COR_MECHANISMS; i++)
		json_object_set_new(o, cor_mechanism_table[i].name,
				    json_string(cor_mechanism_state_text(m, i, text,
									 sizeof(text))));
	return o;
}
