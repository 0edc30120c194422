/* The states of a session, and what its worker tells cord. */
#include "daemon/session.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define TO(s) (1u << SESSION_##s)

static const struct {
	const char *name;
	unsigned    next;       /* bits of the states that may follow */
} states[SESSION_STATES] = {
	[SESSION_PREPARE]  = { "prepare",  TO(FREEZE) | TO(ABORTED) },
	/* back to PREPARE: a child or a new thread made the frozen task differ
	 * from its skeleton; it is thawed and the attempt repeated */
	[SESSION_FREEZE]   = { "freeze",   TO(COMMIT) | TO(PREPARE) | TO(ABORTED) },
	[SESSION_COMMIT]   = { "commit",   TO(PAGING) | TO(IN_DOUBT) | TO(LOST) },
	/* the source alone: no RESUMED came. It asks until it is told; ABORTED only
	 * where the destination says that it has given up without having seen COMMIT */
	[SESSION_IN_DOUBT] = { "in-doubt", TO(PAGING) | TO(ABORTED) | TO(LOST) },
	[SESSION_PAGING]   = { "paging",   TO(DRAINED) | TO(LOST) },
	[SESSION_DRAINED]  = { "drained",  TO(RELEASED) },
	[SESSION_RELEASED] = { "released", 0 },
	[SESSION_ABORTED]  = { "aborted",  0 },
	[SESSION_LOST]     = { "lost",     0 },
};

void session_hurry(bool on)
{
	setpriority(PRIO_PROCESS, 0, on ? -20 : 0);
}

int session_begin(struct session *s, int cord, struct cor_error *err)
{
	s->state = SESSION_PREPARE;
	s->cord = cord;
	s->figures = json_object();
	return s->figures ? 0 : cor_fail(err, -ENOMEM, "out of memory");
}

void session_end(struct session *s)
{
	json_decref(s->figures);
	s->figures = NULL;
}

const char *session_state_name(enum session_state state)
{
	return states[state].name;
}

int session_move(struct session *s, enum session_state to, struct cor_error *err)
{
	if (!(states[s->state].next & (1u << to)))
		return cor_fail(err, -EPROTO, "a session cannot go from %s to %s",
				states[s->state].name, states[to].name);
	s->state = to;
	return 0;
}

bool session_committed(const struct session *s)
{
	switch (s->state) {
	case SESSION_PREPARE:
	case SESSION_FREEZE:
	case SESSION_ABORTED:
		return false;
	default:
		return true;
	}
}

void session_tell(struct session *s, json_t *message, int fd)
{
	_cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);

	json_decref(message);
	if (!text || s->cord < 0)
		return;
	if (cor_send_fds(s->cord, text, strlen(text), &fd, fd >= 0 ? 1 : 0) < 0)
		s->cord = -1;
}

int session_hear(struct session *s, json_t **message, int *fd)
{
	struct pollfd p = { .fd = s->cord, .events = POLLIN };
	unsigned nfds = 1;
	char buf[65536];
	ssize_t n;

	*fd = -1;
	if (s->cord < 0)
		return -ENOTCONN;
	if (poll(&p, 1, 0) <= 0)
		return 0;
	n = cor_recv_fds(s->cord, buf, sizeof(buf), fd, &nfds);
	if (n <= 0) {
		s->cord = -1;
		return n < 0 ? (int)n : -ENOTCONN;
	}
	*message = json_loadb(buf, (size_t)n, 0, NULL);
	if (!*message) {
		cor_closep(fd);
		*fd = -1;
		return 0;
	}
	return 1;
}

static void send_with_figures(struct session *s, json_t *message)
{
	json_object_update_missing(message, s->figures);
	session_tell(s, message, -1);
}

void session_report(struct session *s)
{
	send_with_figures(s, json_pack("{s:s, s:s}", "type", "status",
				       "state", session_state_name(s->state)));
}

void session_result(struct session *s, int exit_code, const struct cor_error *why)
{
	json_t *m = json_pack("{s:s, s:b, s:i, s:s}", "type", "result", "ok", why == NULL,
			      "exit", exit_code, "state", session_state_name(s->state));

	if (why)
		json_object_set_new(m, "error", json_string(why->text));
	send_with_figures(s, m);
}

static void set_count(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

void session_figures_progress(struct session *s, const Cor__Control__Progress *p)
{
	json_t *f = s->figures;

	set_count(f, "pages", p->pages_demand + p->pages_prefetched + p->pages_eager);
	set_count(f, "pages_total", p->pages_total);
	set_count(f, "pages_demand", p->pages_demand);
	set_count(f, "pages_prefetched", p->pages_prefetched);
	set_count(f, "pages_zero", p->pages_zero);
	set_count(f, "pages_dropped", p->pages_dropped);
	set_count(f, "pages_eager", p->pages_eager);
	set_count(f, "pages_corrupt", p->pages_corrupt);
	set_count(f, "faults", p->faults);
	set_count(f, "bytes_wire", p->bytes_wire);
	set_count(f, "drain_us", p->drain_us);
	json_object_set_new(f, "presence_known", json_boolean(p->presence_known));
	json_object_set_new(f, "fault_us",
			    json_pack("{s:f, s:f, s:f, s:f}", "p50", p->fault_p50_us,
				      "p90", p->fault_p90_us, "p99", p->fault_p99_us,
				      "max", p->fault_max_us));
}
