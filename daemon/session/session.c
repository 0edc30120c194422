/* What a session's worker tells cord, and hears from it. */
#include "daemon/session/session.h"

#include <cor/cor.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

void session_hurry(bool on)
{
	setpriority(PRIO_PROCESS, 0, on ? -20 : 0);
}

int session_begin(struct session *s, int cord, struct cor_error *err)
{
	session_warm();
	s->state = SESSION_PREPARE;
	s->cord = cord;
	s->listen = -1;
	s->page = NULL;
	s->standing = NULL;
	s->figures = json_object();
	return s->figures ? 0 : cor_fail(err, -ENOMEM, "out of memory");
}

void session_end(struct session *s)
{
	json_decref(s->figures);
	json_decref(s->standing);
	s->figures = s->standing = NULL;
	cor_closep(&s->listen);
	s->listen = -1;
	state_page_unmap(s->page);
	s->page = NULL;
}

int session_keep(struct session *s, const char *state_dir, enum state_kind kind,
		 const uint8_t session[16], const uint8_t secret[32], json_t *about,
		 int *page_fd, struct cor_error *err)
{
	_cleanup_close_ int dir = state_open(state_dir, err);
	int r = dir < 0 ? dir : state_page_new(dir, kind, session, secret, &s->page, page_fd,
						   err);

	if (r == 0) {
		state_process_set(&s->page->keeper, getpid());
		state_page_tell(s->page, json_incref(about));
		atomic_store(&s->page->state, s->state);
		s->listen = state_listen(dir, kind, session, err);
		r = COR_MIN(s->listen, 0);
	}
	json_decref(about);
	return r;
}

int session_move(struct session *s, enum session_state to, struct cor_error *err)
{
	if (!session_state_may(s->state, to))
		return cor_fail(err, -EPROTO, "a session cannot go from %s to %s",
				session_state_name(s->state), session_state_name(to));
	s->state = to;
	if (s->page)
		atomic_store(&s->page->state, to);
	return 0;
}

bool session_committed(const struct session *s)
{
	return session_state_committed(s->state);
}

/* Another cord is there: it is told how things are. */
static void meet_cord(struct session *s)
{
	if (s->listen < 0)
		return;
	s->cord = accept4(s->listen, NULL, NULL, SOCK_CLOEXEC);
	if (s->cord < 0)
		return;
	session_report(s);
	if (s->standing)
		session_tell(s, json_incref(s->standing), -1);
}

static void lose_cord(struct session *s)
{
	cor_closep(&s->cord);
	s->cord = -1;
}

void session_tell(struct session *s, json_t *message, int fd)
{
	_cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);

	json_decref(message);
	if (!text)
		return;
	/* the second cord may have been started anew */
	for (int tries = 0; tries < 2; tries++) {
		if (s->cord < 0)
			meet_cord(s);
		if (s->cord < 0 ||
		    cor_send_fds(s->cord, text, strlen(text), &fd, fd >= 0 ? 1 : 0) == 0)
			return;
		lose_cord(s);
	}
}

void session_tell_all(struct session *s, json_t *message, int fd)
{
	json_decref(s->standing);
	s->standing = json_incref(message);
	session_tell(s, message, fd);
}

void session_leave_cord(struct session *s)
{
	lose_cord(s);
}

int session_fd(const struct session *s)
{
	return s->cord >= 0 ? s->cord : s->listen;
}

int session_hear(struct session *s, json_t **message, int *fd)
{
	struct pollfd p = { .events = POLLIN };
	unsigned nfds = 1;
	char buf[65536];
	ssize_t n;

	*fd = -1;
	if (s->cord < 0)
		meet_cord(s);
	if (s->cord < 0)
		return -ENOTCONN;
	p.fd = s->cord;
	if (poll(&p, 1, 0) <= 0)
		return 0;
	n = cor_recv_fds(s->cord, buf, sizeof(buf), fd, &nfds);
	if (n <= 0) {
		lose_cord(s);
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

void session_report(struct session *s)
{
	json_t *m = json_pack("{s:s, s:s}", "type", "status",
			      "state", session_state_name(s->state));

	json_object_update_missing(m, s->figures);
	session_tell(s, m, -1);
}

void session_result(struct session *s, int exit_code, const struct cor_error *why)
{
	json_t *m = json_pack("{s:s, s:b, s:i, s:s}", "type", "result", "ok", why == NULL,
			      "exit", exit_code, "state", session_state_name(s->state));

	if (why)
		json_object_set_new(m, "error", json_string(why->text));
	json_object_update_missing(m, s->figures);
	if (s->page)
		state_page_end(s->page, json_incref(m));
	session_tell(s, m, -1);
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
	set_count(f, "pages_packed", p->pages_packed);
	set_count(f, "pages_one_sided", p->pages_one_sided);
	set_count(f, "huge_pages", p->huge_pages);
	set_count(f, "huge_pages_left", p->huge_pages_left);
	set_count(f, "faults", p->faults);
	set_count(f, "bytes_wire", p->bytes_wire);
	set_count(f, "drain_us", p->drain_us);
	json_object_set_new(f, "presence_known", json_boolean(p->presence_known));
	json_object_set_new(f, "fault_us",
			    json_pack("{s:f, s:f, s:f, s:f}", "p50", p->fault_p50_us,
				      "p90", p->fault_p90_us, "p99", p->fault_p99_us,
				      "max", p->fault_max_us));
}
