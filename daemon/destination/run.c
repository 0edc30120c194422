/* The destination's side of a migration: one worker process, which checks, rebuilds the task by
 * ptrace (this process's main thread) and pages for it (the pager's thread; paging.c). It ends
 * when nothing is missing any more; the task's supervisor lives on. */
#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/fault.h"
#include "daemon/destination/destination.h"
#include "daemon/session/mechanisms.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_forward.h"
#include "libcor/names/home/mount.h"
#include "libcor/paging/journal.h"
#include "libcor/task/restart.h"
#include "libcor/task/sparse.h"
#include "libcor/task/uts.h"

/* ---- rebuild ---------------------------------------------------------------------------- */

static int install_eager(struct destination *d, const Cor__Task__PageData *p, struct cor_error *err)
{
	uint8_t page[COR_PAGE_SIZE] __attribute__((aligned(64)));

	if (!p->sparse.len)
		return cor_pager_install(d->pager, p->addr, p->data.data, p->data.len, err);
	if (!cor_sparse_unpack(p->sparse.data, p->sparse.len, page))
		return cor_fail(err, -EPROTO, "the task's page at %#llx cannot be read",
				(unsigned long long)p->addr);
	return cor_pager_install(d->pager, p->addr, page, sizeof(page), err);
}

static int start_pager(struct destination *d, const struct cor_region *regions, unsigned n,
		       struct cor_error *err)
{
	int r = destination_hand_lanes(d, err);

	d->paging = true;
	if (r == 0)
		r = cor_pager_set_regions(d->pager, regions, n, err);
	for (size_t i = 0; r == 0 && i < d->image->n_eager; i++)
		r = install_eager(d, d->image->eager[i], err);
	if (r < 0)
		return r;
	cor_pager_hint(d->pager, d->image->hints, (unsigned)d->image->n_hints);
	return cor_pager_start(d->pager, cor_rebuild_take_uffd(d->rebuild), err);
}

/* What would be zeros to a child of the task is fetched first, since nobody would tell of
 * the child. */
static int fetch_all(struct destination *d, struct cor_error *err)
{
	cor_pager_prefetch(d->pager, true);
	for (;;) {
		struct pollfd p[] = {
			{ .fd = cor_pager_event_fd(d->pager), .events = POLLIN },
			{ .fd = d->control->in_fd, .events = POLLIN | POLLRDHUP },
			{ .fd = session_fd(&d->session), .events = POLLIN },
		};
		uint64_t event;
		int r = poll(p, ARRAY_SIZE(p), 1000);

		if (r < 0 && errno != EINTR)
			return cor_fail_errno(err, "poll");
		if (p[0].revents)
			(void)!read(p[0].fd, &event, sizeof(event));
		if (p[2].revents)
			destination_hear_cord(d);
		switch (cor_pager_state(d->pager, err)) {
		case COR_PAGER_DRAINED:
			return 0;
		case COR_PAGER_FAILED:
			return -EIO;
		case COR_PAGER_TASK_GONE:
			return cor_fail(err, -ESRCH, "the task's process has died");
		default:
			break;
		}
		/* it says nothing now but that it has given up */
		if (p[1].revents || d->superseded)
			return cor_fail(err, -ENOTCONN, "the source gave up, or the connection is lost");
		if (!cor_pager_lanes(d->pager, COR_CONN_BULK))
			return cor_fail(err, -ENOTCONN, "the bulk lane is lost");
	}
}

static int rebuild(struct destination *d, struct cor_error *err)
{
	int r = destination_build_in_freeze(d, err);

	FAULT_POINT("built", d->control);
	if (r == 0)
		r = destination_home_sync(d, err);
	if (r == 0)
		r = destination_pumps_load(&d->pumps, d->files, err);
	if (r == 0)
		r = start_pager(d, d->regions, d->nregions, err);
	if (r == 0) {
		cor_restart_elapse(d->image, d->image->stood_ns + cor_now_ns() - d->image_ns);
		r = cor_rebuild_threads(d->rebuild, d->image, err);
	}
	if (r == 0)
		r = destination_connected(d, err);
	if (r == 0)
		r = destination_pumps_loaded(&d->pumps, d->files, err);
	if (r == 0 && !cor_rebuild_follows_forks(d->rebuild)) {
		cor_rebuild_turns_end(d->rebuild);
		r = fetch_all(d, err);
	}
	return r;
}

/* A source that connects anew has lost this connection, and maybe its COMMIT with it:
 * if it is not here already, it never will be. */
static int await_commit(struct destination *d, struct cor_error *err)
{
	struct pollfd p[] = {
		{ .fd = d->control->in_fd, .events = POLLIN },
		{ .fd = session_fd(&d->session), .events = POLLIN },
		{ .fd = d->doors.fd, .events = POLLIN },
	};
	Cor__Control__Commit *c;
	int r = 0;

	control_spin(d->control);
	while (!p[0].revents && !cor_stream_pending(d->control)) {
		p[1].fd = session_fd(&d->session);
		r = poll(p, ARRAY_SIZE(p), ANSWER_TIMEOUT_MS);
		if (r == 0)
			return cor_fail(err, -ETIMEDOUT, "the source did not commit in time");
		if (r < 0 && errno != EINTR)
			return cor_fail_errno(err, "poll");
		if (r > 0 && !p[0].revents)
			destination_hear_cord(d);
		if (d->superseded)
			return cor_fail(err, -ENOTCONN, "the source lost the connection");
	}
	r = control_expect_message(d->control, CONTROL_COMMIT, ANSWER_TIMEOUT_MS,
				   &cor__control__commit__descriptor, &c, err);
	if (r < 0)
		return r;
	if (c->epoch != d->epoch)
		r = cor_fail(err, -ESTALE, "the source commits hand-over %llu of the task, but "
			     "has prepared %llu", (unsigned long long)c->epoch,
			     (unsigned long long)d->epoch);
	cor__control__commit__free_unpacked(c, NULL);
	return r;
}

/* Threads that are told of ahead. */
static int take_sleepers(struct destination *d, const struct control_message *m,
			 struct cor_error *err)
{
	uint64_t from = cor_now_ns();
	Cor__Control__Sleepers *s = control_unpack(m, &cor__control__sleepers__descriptor, err);
	int r;

	if (!s)
		return -EPROTO;
	d->sleepers = cor__task__sleepers__unpack(NULL, s->sleepers.len, s->sleepers.data);
	cor__control__sleepers__free_unpacked(s, NULL);
	if (!d->sleepers)
		return cor_fail(err, -EPROTO, "the task's sleeping threads cannot be read");
	r = destination_build_sleepers(d, from, err);
	FAULT_POINT("sleepers-made", d->control);
	return r < 0 ? r : control_send(d->control, CONTROL_SLEEPERS_MADE, NULL, err);
}

static int hear_soon(struct destination *d, struct control_message *m, struct cor_error *err)
{
	if (!d->early.body) {
		control_spin(d->control);
		if (d->ahead)
			cor_rebuild_turns_ahead(d->rebuild, d->image);
		return control_receive(d->control, ANSWER_TIMEOUT_MS, m, err);
	}
	*m = d->early;
	d->early.body = NULL;
	return 0;
}

static int await_image(struct destination *d, struct control_message *m, struct cor_error *err)
{
	int r = hear_soon(d, m, err);

	if (r == 0 && m->type == CONTROL_SLEEPERS && !d->sleepers) {
		r = take_sleepers(d, m, err);
		control_message_done(m);
		if (r == 0)
			r = hear_soon(d, m, err);
	}
	/* what is left to do then is short */
	if (r == 0 && m->type == CONTROL_IMAGE && d->ahead)
		cor_rebuild_turns_begin(d->rebuild);
	return r < 0 || m->type == CONTROL_IMAGE ? r : control_unexpected(m, CONTROL_IMAGE, err);
}

static int take_over(struct destination *d, struct cor_error *err)
{
	Cor__Control__Resumed resumed = COR__CONTROL__RESUMED__INIT;
	Cor__Control__Ready ready = COR__CONTROL__READY__INIT;
	Cor__Control__Image *i;
	struct control_message m;
	bool pumps_behind;
	uint64_t from;
	int r = destination_await_lanes(d, err);

	/* the image comes any moment now */
	session_hurry(true);
	setpriority(PRIO_PROCESS, (id_t)cor_rebuild_pid(d->rebuild), -20);
	if (r == 0)
		r = await_image(d, &m, err);
	if (r < 0)
		return r;
	session_move(&d->session, SESSION_FREEZE, NULL);
	FAULT_POINT("image-heard", d->control);
	from = d->image_ns = cor_now_ns();
	i = control_unpack(&m, &cor__control__image__descriptor, err);
	control_message_done(&m);
	if (!i)
		return -EPROTO;
	r = destination_unpack(d, &i->task, &i->files, err);
	cor__control__image__free_unpacked(i, NULL);
	/* once more: it may be another than was announced */
	if (r == 0)
		r = destination_permit(d, d->image, err);
	if (r == 0)
		r = cor_files_permitted(d->files, &d->mechanisms, err);
	if (r == 0)
		r = rebuild(d, err);
	FAULT_POINT("rebuilt", d->control);
	ready.built_ahead = d->ahead;
	ready.rebuild_us = (cor_now_ns() - from) / 1000;
	if (r == 0)
		r = control_send(d->control, CONTROL_READY, &ready.base, err);
	cor_rebuild_turns_end(d->rebuild);
	FAULT_POINT("ready-sent", d->control);
	if (r == 0)
		r = await_commit(d, err);
	if (r < 0)
		return r;
	session_move(&d->session, SESSION_COMMIT, NULL);
	FAULT_POINT("commit-heard", d->control);
	destination_network_take(d);
	/* waking them is not for the freeze, where another worker could do it in our place */
	pumps_behind = destination_pumps_share(&d->pumps, &d->shared->pumps);
	if (!pumps_behind)
		destination_pumps_start(&d->pumps, cor_rebuild_pid(d->rebuild));
	cor_rebuild_turns_begin(d->rebuild);
	r = cor_rebuild_resume(d->rebuild, &d->session.page->let_go, err);
	if (r < 0)
		return r;
	FAULT_POINT("let-go", d->control);
	d->pid = resumed.pid = cor_rebuild_pid(d->rebuild);
	control_send(d->control, CONTROL_RESUMED, &resumed.base, NULL);
	cor_rebuild_turns_end(d->rebuild);
	session_hurry(false);
	if (pumps_behind)
		destination_pumps_start(&d->pumps, d->pid);
	d->announce_ns = cor_now_ns();
	destination_announce(d);
	cor_pager_prefetch(d->pager, d->prefetch);
	session_move(&d->session, SESSION_PAGING, NULL);
	json_object_set_new(d->session.figures, "destination_pid", json_integer(resumed.pid));
	destination_home_arrived(d);
	destination_task_arrived(d);
	FAULT_POINT("resumed-sent", d->control);
	session_report(&d->session);
	return 0;
}

/* ---- the whole ----------------------------------------------------------------------- */

/* What cannot be done here is not offered: then files are carried as far as they can be. */
static cor_mechanism_set destination_mechanisms_off(const struct cord_config *c)
{
	return c->mechanisms_off | (cor_home_possible() ? 0 : 1u << COR_MECHANISM_HOME) |
	       (cor_forward_possible() ? 0 : 1u << COR_MECHANISM_FORWARD) |
	       (cor_uts_possible() ? 0 : 1u << COR_MECHANISM_HOST_NAME);
}

static int receive_task(struct destination *d, struct cor_error *err)
{
	int r = cor_open(&d->ctx, err);

	cor_mechanisms_init(&d->mechanisms, destination_mechanisms_off(d->args->config),
			    d->peer ? d->peer->without : 0);
	if (r == 0)
		r = destination_hello(d, err);
	if (r == 0)
		r = destination_prepare(d, err);
	if (r == 0)
		r = take_over(d, err);
	if (r == 0)
		r = destination_page(d, err);
	if (r == 0)
		r = destination_release(d, err);
	return r;
}

/* Before the task was let go: the stub goes, the source thaws. Behind that the task
 * cannot go on without its pages: it is killed rather than shown zeros. */
static int fail(struct destination *d, struct cor_error *err)
{
	bool lost = session_committed(&d->session) && atomic_load(&d->session.page->let_go);

	if (lost && d->pager)
		destination_note_missing(d, err);
	destination_disconnect(d);
	if (d->control)
		control_send_abort(d->control, err);
	if (d->rebuild && lost)
		cor_rebuild_kill_task(d->rebuild);
	else if (d->rebuild)
		cor_rebuild_abort(d->rebuild);
	/* its children, whom we do not know, live: they are to see no zeros */
	if (lost && d->pager)
		cor_pager_spoil(d->pager);
	if (d->pager)
		cor_pager_free(d->pager);
	d->pager = NULL;
	session_move(&d->session, lost ? SESSION_LOST : SESSION_ABORTED, NULL);
	session_result(&d->session, lost ? 3 : 1, err);
	return lost ? 3 : 1;
}

int destination_end(struct destination *d, int r, struct cor_error *err)
{
	int status = 0;

	if (r < 0)
		status = fail(d, err);
	else
		session_result(&d->session, 0, NULL);
	for (unsigned i = 0; i < d->nobjects; i++)
		close(d->objects[i]);
	free(d->objects);
	destination_home_end(d);
	destination_pumps_end(&d->pumps);
	destination_forget(d->image, d->files);
	destination_forget(d->skeleton, d->skeleton_files);
	if (d->sleepers)
		cor__task__sleepers__free_unpacked(d->sleepers, NULL);
	free(d->file_ok);
	free(d->regions);
	cor_stream_close(d->control);
	cor_stream_close(d->demand);
	cor_stream_close(d->bulk);
	cor_stream_close(d->fast_demand);
	cor_stream_close(d->fast_bulk);
	cor_stream_close(d->one_sided);
	cor_rdma_unref(d->rdma.device);
	cor_rdma_unref(d->reach.device);
	control_message_done(&d->early);
	doors_close(&d->doors);
	destination_task_end(d);
	destination_huge_end(d);
	if (r == 0)
		destination_announce_all(d);
	cor_arrival_free(d->arrival);
	cor_journal_free(d->journal);
	cor_close(d->ctx);
	session_end(&d->session);
	return status;
}

int destination_receive(const struct worker_destination_args *a, struct arrival *s)
{
	struct destination d = DESTINATION_INIT(a, s);
	struct cor_error err = COR_ERROR_INIT;

	int r;

	if (session_begin(&d.session, a->cord, &err) < 0)
		return 1;
	d.check = a->config->paging.check == CORD_CHECK_YES ||
		  (a->config->paging.check == CORD_CHECK_AUTO && !a->tls);
	json_object_set_new(d.session.figures, "transport", json_string("tcp"));
	json_object_set_new(d.session.figures, "encrypted", json_boolean(a->tls));
	r = doors_init(&d.doors, &err);
	if (r == 0)
		r = destination_greet(&d, &err);
	if (r == 0)
		r = receive_task(&d, &err);
	return destination_end(&d, r, &err);
}
