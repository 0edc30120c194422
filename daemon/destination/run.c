/* The destination's side of a migration: one worker process, which checks, rebuilds the task by
 * ptrace (this process's main thread) and pages for it (the pager's thread; paging.c). It ends
 * when nothing is missing any more; the task's supervisor lives on. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/fault.h"
#include "daemon/record.h"
#include "daemon/destination/destination.h"
#include "daemon/session/mechanisms.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_forward.h"
#include "libcor/names/home/mount.h"
#include "libcor/paging/fetch.h"
#include "libcor/paging/journal.h"
#include "libcor/task/pb.h"
#include "libcor/task/sparse.h"
#include "libcor/task/uts.h"

#define CLOCK_PROBES          8
/* A shorter round trip is good enough; for a longer one it may be the load that is to blame, and
 * more of them are made for so long. */
#define CLOCK_TRIP_NS  (150 * 1000ull)
#define CLOCK_TRIES_NS (30 * 1000000ull)
#define LANES_TIMEOUT_NS ((uint64_t)ANSWER_TIMEOUT_MS * 1000000)

/* ---- prepare ---------------------------------------------------------------------- */

static int keep(struct destination *d, const Cor__Control__Hello *h, struct cor_error *err)
{
	json_t *about = json_pack("{s:i, s:o, s:s, s:o}", "pid", h->pid,
				  "comm", record_text(h->comm), "peer", d->args->peer,
				  "source", record_text(h->host));
	int fd = -1, r;

	r = session_keep(&d->session, d->args->config->state_dir, STATE_DESTINATION,
			 h->session.data, h->secret.data, about, &fd, err);
	if (r < 0)
		return r;
	d->shared->listen = d->session.listen;
	d->shared->page = fd;
	state_process_set(&d->session.page->keeper, getppid());
	state_process_set(&d->session.page->part, getpid());
	return 0;
}

static int hello(struct destination *d, struct cor_error *err)
{
	Cor__Control__Hello reply = COR__CONTROL__HELLO__INIT, *h;
	struct destination_offer transports;
	struct session_offer offer;
	char id[33] = "", secret[65] = "";
	struct control_message m;
	struct utsname u;
	int r = control_expect(d->control, CONTROL_HELLO, ANSWER_TIMEOUT_MS, &m, err);

	if (r < 0)
		return r;
	h = control_unpack(&m, &cor__control__hello__descriptor, err);
	control_message_done(&m);
	if (!h)
		return -EPROTO;
	r = session_agree(&d->mechanisms, h, err);
	if (r == 0 && (h->session.len != 16 || h->secret.len != 32))
		r = cor_fail(err, -EPROTO, "the source's hello lacks a session or a secret");
	if (r == 0) {
		hex_encode(id, h->session.data, 16);
		hex_encode(secret, h->secret.data, 32);
		r = keep(d, h, err);
	}
	if (r == 0) {
		session_tell(&d->session,
			     json_pack("{s:s, s:s, s:s, s:s, s:i, s:o, s:s}", "type", "session",
				       "id", id, "secret", secret, "role", "destination",
				       "pid", h->pid, "comm", record_text(h->comm),
				       "peer", d->args->peer), -1);
		json_object_set_new(d->session.figures, "comm", record_text(h->comm));
		json_object_set_new(d->session.figures, "source", record_text(h->host));
	}
	snprintf(d->listen, sizeof(d->listen), "%s", h->listen);
	snprintf(d->host, sizeof(d->host), "%s", h->host);
	if (r == 0) {
		uname(&u);
		reply.host = (char *)d->args->config->name;
		reply.kernel = u.release;
		session_offer(&reply, &offer, &d->mechanisms);
		destination_offer_transports(d, h, &transports, &reply);
		json_object_set_new(d->session.figures, "mechanisms",
				    session_mechanisms_json(&d->mechanisms));
		r = control_send(d->control, CONTROL_HELLO_REPLY, &reply.base, err);
	}
	cor__control__hello__free_unpacked(h, NULL);
	return r;
}

static void forget_task(Cor__Task__Image *image, Cor__Names__FileTable *files)
{
	if (image)
		cor__task__image__free_unpacked(image, NULL);
	if (files)
		cor__names__file_table__free_unpacked(files, NULL);
}

/* d->image and d->files are what the message carries; what they were before is
 * kept as what was built ahead. */
static int unpack_task(struct destination *d, const ProtobufCBinaryData *task,
		       const ProtobufCBinaryData *files, struct cor_error *err)
{
	Cor__Task__Image *image = cor__task__image__unpack(NULL, task->len, task->data);
	Cor__Names__FileTable *table = cor__names__file_table__unpack(NULL, files->len, files->data);

	/* the CPU and the clocks travel in the skeleton only */
	if (!image || !table || !image->memory || !image->identity || !image->n_threads ||
	    (!d->image && (!image->cpu || !image->clock))) {
		forget_task(image, table);
		return cor_fail(err, -EPROTO, "the task's image cannot be read");
	}
	if (destination_pumps_address(table, d->args->peer, d->listen, d->host, err) < 0) {
		forget_task(image, table);
		return -EINVAL;
	}
	d->skeleton = d->image;
	d->skeleton_files = d->files;
	d->image = image;
	d->files = table;
	return 0;
}

/* The offsets for the task's time namespace. Of several probes the one with the
 * shortest round trip counts. */
static int measure_clocks(struct destination *d, struct cor_error *err)
{
	uint64_t best = UINT64_MAX, until = cor_now_ns() + CLOCK_TRIES_NS;

	for (unsigned i = 0; i < CLOCK_PROBES || (best > CLOCK_TRIP_NS && cor_now_ns() < until); i++) {
		Cor__Control__Clock ask = COR__CONTROL__CLOCK__INIT, *c;
		uint64_t from = cor_now_ns(), trip;
		struct session_clocks now, theirs, offsets;
		struct control_message m;
		int r = control_send(d->control, CONTROL_CLOCK, &ask.base, err);

		if (r == 0)
			r = control_expect(d->control, CONTROL_CLOCK, ANSWER_TIMEOUT_MS, &m, err);
		if (r == 0)
			r = session_clocks_initial(&now, err);
		if (r < 0)
			return r;
		trip = cor_now_ns() - from;
		c = control_unpack(&m, &cor__control__clock__descriptor, err);
		control_message_done(&m);
		if (!c)
			return -EPROTO;
		theirs = (struct session_clocks){ c->monotonic_ns, c->boottime_ns };
		cor__control__clock__free_unpacked(c, NULL);
		r = session_clocks_offsets(&theirs, &now, trip, &offsets, err);
		if (r < 0)
			return r;
		if (trip < best) {
			best = trip;
			d->offsets = offsets;
		}
	}
	return 0;
}

/* ---- lanes -------------------------------------------------------------------------------- */

/* Will a lane be needed before the pager has it? */
static bool objects_to_fetch(const Cor__Task__Image *image)
{
	for (size_t i = 0; i < image->memory->n_objects; i++)
		if (image->memory->objects[i]->has_descriptor)
			return true;
	return false;
}

static int hand_lanes_over(struct destination *d, struct cor_error *err)
{
	int r = 0;

	if (d->demand)
		r = cor_pager_add_lane(d->pager, take_ptr(d->demand), COR_CONN_DEMAND, err);
	if (r == 0 && d->bulk)
		r = cor_pager_add_lane(d->pager, take_ptr(d->bulk), COR_CONN_BULK, err);
	if (r == 0 && d->fast_demand)
		r = cor_pager_add_lane(d->pager, take_ptr(d->fast_demand), COR_CONN_DEMAND, err);
	if (r == 0 && d->fast_bulk)
		r = cor_pager_add_lane(d->pager, take_ptr(d->fast_bulk), COR_CONN_BULK, err);
	if (r == 0 && d->one_sided)
		r = cor_pager_add_lane(d->pager, take_ptr(d->one_sided), COR_CONN_DEMAND, err);
	return r;
}

/* What the source says before its lanes have come. */
static int hear_of_lanes(struct destination *d, struct cor_error *err)
{
	struct control_message m;
	int r = control_receive(d->control, ANSWER_TIMEOUT_MS, &m, err);

	if (r < 0)
		return r;
	switch (m.type) {
	case CONTROL_TRANSPORT:
		r = destination_hear_transport(d, &m, err);
		break;
	case CONTROL_ABORT:
		r = control_aborted(&m, err);
		break;
	case CONTROL_IMAGE:
		/* lanes go by cord, which may take longer: this is for take_over() */
		d->early = m;
		return 0;
	default:
		r = cor_fail(err, -EPROTO, "the peer sent %s where image was due",
			     control_type_name(m.type));
	}
	control_message_done(&m);
	return r;
}

/* Lanes over TCP come through cord, others by themselves and before them; all must be
 * here before memory is needed. */
static int await_lanes(struct destination *d, struct cor_error *err)
{
	uint64_t until = cor_now_ns() + LANES_TIMEOUT_NS;

	while (!d->demand || !d->bulk) {
		struct pollfd p[] = {
			{ .fd = session_fd(&d->session), .events = POLLIN },
			{ .fd = d->control->in_fd, .events = d->early.body ? POLLRDHUP : POLLIN },
			{ .fd = destination_rdma_fd(&d->rdma), .events = POLLIN },
			{ .fd = d->doors.fd, .events = POLLIN },
			{ .fd = destination_rdma_fd(&d->reach), .events = POLLIN },
		};
		bool pending = !d->early.body && cor_stream_pending(d->control);
		int r = 0;

		if (cor_now_ns() > until)
			return cor_fail(err, -ETIMEDOUT, "the source's lanes did not come");
		if (session_fd(&d->session) < 0)
			return cor_fail(err, -ENOTCONN, "cord ended while lanes were due");
		if (poll(p, ARRAY_SIZE(p), pending ? 0 : 1000) < 0)
			continue;
		if (p[0].revents || p[3].revents)
			destination_hear_cord(d);
		if (d->lane_missed)
			return cor_fail(err, -EMFILE, "too many open files: a connection of the source "
					"cannot be taken");
		if (p[2].revents)
			destination_accept_rdma(d, &d->rdma);
		if (p[4].revents)
			destination_accept_rdma(d, &d->reach);
		if (p[1].revents && d->early.body)
			return cor_fail(err, -ENOTCONN, "the source hung up while lanes were due");
		if (p[1].revents || pending) {
			r = hear_of_lanes(d, err);
			until = cor_now_ns() + LANES_TIMEOUT_NS;
		}
		if (r < 0)
			return r;
	}
	/* ahead of the freeze where that can be */
	return objects_to_fetch(d->image) ? 0 : hand_lanes_over(d, err);
}

/* Files that cannot be had here, for PREPARED. */
struct doubts {
	Cor__Control__Doubt **list;
	size_t n;
	bool no_memory;
};

static void free_doubts(struct doubts *x)
{
	while (x->n)
		cor__control__doubt__free_unpacked(x->list[--x->n], NULL);
	free(x->list);
}

static void note_doubt(void *arg, unsigned file, const struct cor_error *why)
{
	struct doubts *x = arg;
	Cor__Control__Doubt *doubt = pb_add(&x->list, &x->n, Cor__Control__Doubt,
					    cor__control__doubt__init);

	if (!doubt || pb_text(&doubt->why, why->text, strlen(why->text)) < 0) {
		x->no_memory = true;
		return;
	}
	doubt->file = file;
	doubt->code = why->code;
}

static int check_files(struct destination *d, struct doubts *x, struct cor_error *err)
{
	struct cor_as_user_saved saved;
	int r = destination_as_user(d, &saved, err);

	if (r < 0)
		return r;
	r = cor_files_check(d->files, note_doubt, x, err);
	cor_as_user_end(&saved);
	return r == 0 && x->no_memory ? cor_fail(err, -ENOMEM, "out of memory") : r;
}

/* ---- prepare, as a whole -------------------------------------------------------------- */

/* What another worker needs if this one is killed. */
static void share(struct destination *d)
{
	struct arrival *s = d->shared;

	s->journal = cor_journal_fd(d->journal);
	s->hooks = d->hooks;
	s->check = d->check;
	s->pack = cor_mechanism_on(&d->mechanisms, COR_MECHANISM_COMPRESS);
	s->prefetch = d->prefetch;
}

static int prepare(struct destination *d, struct cor_error *err)
{
	Cor__Control__Prepared reply = COR__CONTROL__PREPARED__INIT;
	_cleanup_(free_doubts) struct doubts doubts = { 0 };
	ProtobufCBinaryData hardware[COR_ADDRESSES_MAX];
	Cor__Control__Prepare *p;
	struct control_message m;
	int r = cor_mechanism_on(&d->mechanisms, COR_MECHANISM_HOME) ?
		destination_home_agree(d, err) : 0;

	if (r == 0)
		r = control_expect(d->control, CONTROL_PREPARE, ANSWER_TIMEOUT_MS, &m, err);

	if (r < 0)
		return r;
	p = control_unpack(&m, &cor__control__prepare__descriptor, err);
	control_message_done(&m);
	if (!p)
		return -EPROTO;
	d->prefetch = p->prefetch;
	d->hooks = p->hooks;
	d->epoch = p->epoch;
	atomic_store(&d->session.page->epoch, d->epoch);
	r = unpack_task(d, &p->task, &p->files, err);
	if (r == 0)
		r = destination_home_mount(d, &p->plan, err);
	cor__control__prepare__free_unpacked(p, NULL);
	if (r == 0)
		d->time_ns = !session_clocks_same(d->image->clock) ||
			     d->args->config->task.force_time_ns;
	if (r == 0)
		r = destination_permit(d, d->image, err);
	if (r == 0 && d->image->threads[0]->creds)
		json_object_set_new(d->session.figures, "uid",
				    json_integer(d->image->threads[0]->creds->uid));
	if (r == 0)
		r = cor_capture_admissible(d->image, err);
	if (r == 0)
		r = check_files(d, &doubts, err);
	if (r == 0)
		r = cor_files_permitted(d->files, &d->mechanisms, err);
	if (r == 0 && d->time_ns)
		r = measure_clocks(d, err);
	if (r == 0)
		r = destination_pumps_begin(&d->pumps, d->args->config, d->files, err);
	if (r == 0)
		r = destination_build_begin(d, err);
	if (r == 0)
		r = destination_build_ahead(d, err);
	/* behind the fork of the supervisor, which is to have nothing of it */
	if (r == 0)
		r = cor_pager_new(&d->pager, d->ctx, err);
	if (r == 0)
		r = destination_network_begin(d, err);
	if (r < 0)
		return r;
	cor_pager_spin(d->pager, d->args->config->paging.spin_us);
	cor_pager_check(d->pager, d->check);
	cor_pager_pack(d->pager, cor_mechanism_on(&d->mechanisms, COR_MECHANISM_COMPRESS));
	r = cor_journal_new(&d->journal, err);
	if (r < 0)
		return r;
	cor_pager_keep(d->pager, d->journal);
	/* bitmaps of what will be paged if nothing is mapped or unmapped until then */
	r = d->ahead ? cor_pager_set_regions(d->pager, d->regions, d->nregions, err) : 0;
	if (r < 0)
		return r;
	share(d);
	session_warm();         /* the supervisor has been forked */
	reply.sparse = true;
	reply.pid_namespace = cor_rebuild_in_pid_ns(d->rebuild);
	reply.all_first = !cor_rebuild_follows_forks(d->rebuild);
	reply.network_namespace = cor_files_same_netns(d->files);
	reply.n_hardware = destination_hardware(d, hardware);
	reply.hardware = hardware;
	reply.n_doubts = doubts.n;
	reply.doubts = doubts.list;
	r = control_send(d->control, CONTROL_PREPARED, &reply.base, err);
	FAULT_POINT("prepared-sent", d->control);
	return r;
}

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
	int r = hand_lanes_over(d, err);

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
	if (cor_rebuild_follows_forks(d->rebuild))
		return 0;
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

	if (r == 0)
		r = destination_home_sync(d, err);
	if (r == 0)
		r = destination_pumps_load(&d->pumps, d->files, err);
	if (r == 0)
		r = start_pager(d, d->regions, d->nregions, err);
	if (r == 0)
		r = cor_rebuild_threads(d->rebuild, d->image, err);
	if (r == 0)
		r = destination_connected(d, err);
	if (r == 0)
		r = destination_pumps_loaded(&d->pumps, err);
	return r == 0 ? fetch_all(d, err) : r;
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
	struct control_message m;
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
	r = control_expect(d->control, CONTROL_COMMIT, ANSWER_TIMEOUT_MS, &m, err);
	if (r < 0)
		return r;
	c = control_unpack(&m, &cor__control__commit__descriptor, err);
	control_message_done(&m);
	if (!c)
		return -EPROTO;
	if (c->epoch != d->epoch)
		r = cor_fail(err, -ESTALE, "the source commits hand-over %llu of the task, but "
			     "has prepared %llu", (unsigned long long)c->epoch,
			     (unsigned long long)d->epoch);
	cor__control__commit__free_unpacked(c, NULL);
	return r;
}

static int await_image(struct destination *d, struct control_message *m, struct cor_error *err)
{
	if (!d->early.body)
		return control_expect_soon(d->control, CONTROL_IMAGE, ANSWER_TIMEOUT_MS, m, err);
	*m = d->early;
	d->early.body = NULL;
	return 0;
}

static int take_over(struct destination *d, struct cor_error *err)
{
	Cor__Control__Resumed resumed = COR__CONTROL__RESUMED__INIT;
	Cor__Control__Ready ready = COR__CONTROL__READY__INIT;
	Cor__Control__Image *i;
	struct control_message m;
	bool pumps_behind;
	uint64_t from;
	int r = await_lanes(d, err);

	/* the image comes any moment now */
	session_hurry(true);
	setpriority(PRIO_PROCESS, (id_t)cor_rebuild_pid(d->rebuild), -20);
	if (r == 0)
		r = await_image(d, &m, err);
	if (r < 0)
		return r;
	session_move(&d->session, SESSION_FREEZE, NULL);
	FAULT_POINT("image-heard", d->control);
	from = cor_now_ns();
	i = control_unpack(&m, &cor__control__image__descriptor, err);
	control_message_done(&m);
	if (!i)
		return -EPROTO;
	r = unpack_task(d, &i->task, &i->files, err);
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
	r = cor_rebuild_resume(d->rebuild, &d->session.page->let_go, err);
	if (r < 0)
		return r;
	FAULT_POINT("let-go", d->control);
	d->pid = resumed.pid = cor_rebuild_pid(d->rebuild);
	control_send(d->control, CONTROL_RESUMED, &resumed.base, NULL);
	if (pumps_behind)
		destination_pumps_start(&d->pumps, d->pid);
	cor_arrival_announce(d->arrival);
	session_hurry(false);
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
		r = hello(d, err);
	if (r == 0)
		r = prepare(d, err);
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
	cor_arrival_free(d->arrival);
	destination_pumps_end(&d->pumps);
	forget_task(d->image, d->files);
	forget_task(d->skeleton, d->skeleton_files);
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
