/* The destination's connections: who is at the other end, and what cord hands over. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/keys.h"
#include "daemon/destination/destination.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/transport/lane.h"
#include "libcor/transport/tcp.h"

/* ---- the first connection --------------------------------------------------------- */

/* Nothing that the peer says is looked at before it has shown whose it is. */
static int shake_hands(struct destination *d, struct cor_stream *s, struct cor_error *err)
{
	const struct cord_config *config = d->args->config;
	uint64_t deadline = cor_now_ns() + config->timeouts.preamble_s * UINT64_C(1000000000);
	int r = cor_stream_tls_handshake(s, deadline, err);

	if (r == 0)
		r = cord_keys_identify(config, s, &d->peer, err);
	return r;
}

static int accept_encrypted(struct destination *d, struct cor_error *err)
{
	struct cor_stream *s = NULL;
	struct cor_tls *keys;
	int r = cord_keys_load(d->args->config, &keys, err);

	if (r < 0) {
		close(d->args->control);
		return r;
	}
	r = cor_lane_accept_tls(&s, d->args->control, COR_CONN_CONTROL, keys, err);
	if (r < 0) {
		cor_tls_free(keys);
		return r;
	}
	r = shake_hands(d, s, err);
	cor_tls_free(keys);
	if (r == -EKEYREJECTED && cor_stream_tls_step(s, NULL) == 0) {
		/* it has shown a key, only not one that we know: it may know that much */
		cor_lane_admit(&s, COR_CONN_CONTROL, r, NULL);
		return r;
	}
	if (r == 0)
		r = cor_lane_admit(&s, COR_CONN_CONTROL, 0, err);
	else
		cor_stream_close(s);
	if (r == 0)
		d->control = s;
	return r;
}

int destination_greet(struct destination *d, struct cor_error *err)
{
	const struct worker_destination_args *a = d->args;
	int r;

	cor_tcp_give_up_after(a->control, a->config->timeouts.silence_s);
	if (!a->tls)
		return cor_lane_accept(&d->control, a->control, COR_CONN_CONTROL, err);
	r = accept_encrypted(d, err);
	if (r < 0)
		return cor_fail_prefix(err, r, "%s is refused", a->peer);
	json_object_set_new(d->session.figures, "peer_name", json_string(d->peer->name));
	return 0;
}

/* ---- what cord says ------------------------------------------------------------------ */

/* Takes s, which belongs to the session. */
static void take_connection(struct destination *d, enum cor_connection_kind kind,
			    struct cor_stream *s)
{
	struct cor_stream **slot = kind == COR_CONN_BULK ? &d->bulk : &d->demand;

	if (kind == COR_CONN_CONTROL) {
		destination_rejoin(d, s);
	} else if (d->paging && !d->pager) {
		cor_stream_close(s);    /* drained meanwhile */
	} else if (d->paging) {
		cor_pager_add_lane(d->pager, s, kind, NULL);
	} else {
		cor_stream_close(*slot);
		*slot = s;
	}
}

/* For cord's log. */
static void tell_refused(struct destination *d, const struct cor_error *why)
{
	session_tell(&d->session, json_pack("{s:s, s:s, s:s}", "type", "refused",
					    "what", "a connection", "why", why->text), -1);
}

/* Takes fd. */
static void take_socket(struct destination *d, const json_t *m, int fd)
{
	const char *name = json_string_value(json_object_get(m, "kind")) ?: "";
	enum cor_connection_kind kind = strcmp(name, "control") == 0 ? COR_CONN_CONTROL :
					strcmp(name, "bulk") == 0 ? COR_CONN_BULK : COR_CONN_DEMAND;
	uint8_t index = (uint8_t)json_integer_value(json_object_get(m, "index"));
	const struct state_page *page = d->session.page;
	struct cor_error err = COR_ERROR_INIT;
	struct cor_stream *s;

	cor_tcp_give_up_after(fd, d->args->config->timeouts.silence_s);
	if (json_is_true(json_object_get(m, "tls"))) {
		if (doors_open(&d->doors, fd, kind, index, page->session, page->secret,
			       d->args->config->timeouts.preamble_s, &err) < 0)
			tell_refused(d, &err);
	} else if (cor_lane_accept(&s, fd, kind, NULL) == 0) {
		take_connection(d, kind, s);
	}
}

static void hear_doors(struct destination *d)
{
	struct cor_error err = COR_ERROR_INIT;
	enum cor_connection_kind kind;
	struct cor_stream *s;
	int r;

	while ((r = doors_next(&d->doors, &s, &kind, &err)) != 0)
		if (r > 0)
			take_connection(d, kind, s);
		else
			tell_refused(d, &err);
}

void destination_hear_cord(struct destination *d)
{
	json_t *m;
	int fd;

	while (session_hear(&d->session, &m, &fd) > 0) {
		const char *type = json_string_value(json_object_get(m, "type")) ?: "";

		if (strcmp(type, "lane") == 0 && fd >= 0 && d->session.page)
			take_socket(d, m, take_fd(&fd));
		else if (strcmp(type, "lane") == 0 && fd < 0)
			d->lane_missed = true;
		else if (strcmp(type, "cancel") == 0)
			d->cancelled = true;
		else if (strcmp(type, "resolve") == 0)
			d->resolved = true;
		else if (strcmp(type, "prefetch") == 0 && d->pager) {
			d->shared->prefetch = true;
			cor_pager_prefetch(d->pager, true);
		}
		if (fd >= 0)
			close(fd);
		json_decref(m);
	}
	hear_doors(d);
}
