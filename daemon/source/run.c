/* The source's side of a migration, up to COMMIT: one worker process, whose main thread is the
 * task's tracer. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/fault.h"
#include "daemon/keys.h"
#include "daemon/owner.h"
#include "daemon/record.h"
#include "daemon/session/clock.h"
#include "daemon/session/mechanisms.h"
#include "daemon/source/source.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/uts.h"

#define FREEZE_TIMEOUT_MS  ((int)s->args->config->timeouts.freeze_ms)
#define HOOKS_TIMEOUT_MS    1000
#define CHANGING_FOR_NS 1000000000ull /* how long what is short-lived may take */
#define SLOWEST_BYTES_PER_MS 10000u   /* of a destination that fetches all first */

/* The program may want to know (include/cor/migrate.h). That it does not answer in
 * time, or has no hooks after all, is no reason to stay. */
static void run_hooks(struct source *s)
{
	pid_t pid = s->args->pid;
	uint64_t told = s->args->hooks;

	if ((told && cor_hooks_open(&s->hooks, pid, told, NULL) == 0) ||
	    cor_hooks_find(&s->hooks, pid, NULL) == 0) {
		s->have_hooks = true;
		source_undo_note(s, NULL);
		cor_hooks_before(&s->hooks, HOOKS_TIMEOUT_MS, NULL);
	}
}

/* ---- prepare ---------------------------------------------------------------- */

/* A pre-shared key proves no name: who has it is believed, but held to his own word. */
static int check_name(const struct source *s, const char *host, struct cor_error *err)
{
	const struct cord_config *c = s->args->config;
	const struct cord_peer *peer = cord_config_find_peer(c, s->args->peer);

	if (!cord_keys_set(c) || !s->psk || !peer || strcmp(peer->name, host) == 0)
		return 0;
	return cor_fail(err, -EKEYREJECTED, "%s answers, at %s, by the name of \"%.64s\"",
			s->args->peer, s->args->dest, host);
}

static int hello(struct source *s, struct cor_error *err)
{
	struct source_offer transports;
	struct session_offer offer;
	Cor__Control__Hello h = COR__CONTROL__HELLO__INIT, *reply;
	struct utsname u;
	int r;

	uname(&u);
	h.host = (char *)s->args->config->name;
	h.kernel = u.release;
	h.session = (ProtobufCBinaryData){ 16, (uint8_t *)s->args->session };
	h.secret = (ProtobufCBinaryData){ 32, (uint8_t *)s->args->secret };
	h.pid = s->args->pid;
	h.listen = (char *)s->args->config->listen;
	h.comm = s->skeleton->n_threads ? s->skeleton->threads[0]->comm : (char *)"";
	session_offer(&h, &offer, &s->mechanisms);
	source_offer_transports(s, &transports, &h);
	r = control_send(s->control, CONTROL_HELLO, &h.base, err);
	if (r == 0)
		r = control_expect_message(s->control, CONTROL_HELLO_REPLY, ANSWER_TIMEOUT_MS,
					   &cor__control__hello__descriptor, &reply, err);
	if (r < 0)
		return r;
	json_object_set_new(s->session.figures, "destination", record_text(reply->host));
	r = check_name(s, reply->host, err);
	if (r == 0)
		r = session_agree(&s->mechanisms, reply, err);
	if (r == 0)
		r = source_agree_transports(s, reply, err);
	cor__control__hello__free_unpacked(reply, NULL);
	json_object_set_new(s->session.figures, "mechanisms",
			    session_mechanisms_json(&s->mechanisms));
	return r;
}

static int send_task(struct source *s, enum control_type type, const Cor__Task__Image *image,
		     struct cor_error *err)
{
	_cleanup_free_ uint8_t *task = NULL, *files = NULL, *plan = NULL;
	size_t nplan = s->home.plan ? cor__names__plan__get_packed_size(s->home.plan) : 0;
	size_t ntask = cor__task__image__get_packed_size(image);
	size_t nfiles = cor__names__file_table__get_packed_size(s->files);
	Cor__Control__Prepare p = COR__CONTROL__PREPARE__INIT;
	Cor__Control__Image i = COR__CONTROL__IMAGE__INIT;

	task = malloc(ntask + 1);
	files = malloc(nfiles + 1);
	plan = malloc(nplan + 1);
	if (!task || !files || !plan)
		return cor_fail(err, -ENOMEM, "out of memory");
	cor__task__image__pack(image, task);
	cor__names__file_table__pack(s->files, files);
	if (type == CONTROL_PREPARE) {
		p.task = (ProtobufCBinaryData){ ntask, task };
		p.files = (ProtobufCBinaryData){ nfiles, files };
		p.prefetch = s->args->prefetch;
		if (s->home.plan)
			cor__names__plan__pack(s->home.plan, plan);
		p.plan = (ProtobufCBinaryData){ nplan, plan };
		p.epoch = s->args->epoch;
		p.hooks = s->have_hooks ? s->hooks.addr : 0;
		return control_send(s->control, type, &p.base, err);
	}
	i.task = (ProtobufCBinaryData){ ntask, task };
	i.files = (ProtobufCBinaryData){ nfiles, files };
	return control_send(s->control, type, &i.base, err);
}

/* Of threads that are asleep the destination has been told. */
static int send_image(struct source *s, struct cor_error *err)
{
	Cor__Task__Image lean;
	int r;

	if (cor_sleepers_lean(s->image, &lean) < 0)
		return cor_fail(err, -ENOMEM, "out of memory");
	lean.stood_ns = cor_now_ns() - s->tracee->stopped_ns;
	r = send_task(s, CONTROL_IMAGE, &lean, err);
	cor_sleepers_lean_done(s->image, &lean);
	return r;
}

/* What CLOCK_MONOTONIC and BOOTTIME show to the task now. */
static int answer_clock(struct source *s, struct cor_error *err)
{
	Cor__Control__Clock c = COR__CONTROL__CLOCK__INIT;
	struct session_clocks now;
	int r = session_clocks_of_task(s->skeleton->clock, &now, err);

	if (r < 0)
		return r;
	c.monotonic_ns = now.monotonic_ns;
	c.boottime_ns = now.boottime_ns;
	return control_send(s->control, CONTROL_CLOCK, &c.base, err);
}

/* Files that cannot be had there, as they were. */
static int clear_doubts(struct source *s, const Cor__Control__Prepared *p, struct cor_error *err)
{
	for (size_t i = 0; i < p->n_doubts; i++) {
		const Cor__Control__Doubt *d = p->doubts[i];

		if (d->file >= s->files->n_files)
			return cor_fail(err, -EPROTO, "the peer doubts a file that was not named");
		if (cor_files_still(s->files, s->args->pid, d->file))
			return cor_fail(err, d->code < 0 && d->code > -4096 ? d->code : -EIO,
					"%s refuses: %s", s->args->dest, d->why);
	}
	return 0;
}

static int take_prepared(struct source *s, struct control_message *m, struct cor_error *err)
{
	Cor__Control__Prepared *p = control_unpack(m, &cor__control__prepared__descriptor, err);
	int r;

	control_message_done(m);
	if (!p)
		return -EPROTO;
	s->same_netns = p->network_namespace;
	s->all_first = p->all_first;
	s->options.sparse = p->sparse;
	s->options.sleepers = p->sleepers && s->args->config->task.sleepers ? &s->sleepers : NULL;
	for (size_t i = 0; s->departure && i < p->n_hardware; i++)
		if (p->hardware[i].len == 6)
			cor_departure_next(s->departure, (unsigned)i, p->hardware[i].data);
	r = clear_doubts(s, p, err);
	cor__control__prepared__free_unpacked(p, NULL);
	return r;
}

static int ask_prepare(struct source *s, struct cor_error *err)
{
	struct control_message m;
	int r = send_task(s, CONTROL_PREPARE, s->skeleton, err);

	while (r == 0) {
		r = control_receive(s->control, ANSWER_TIMEOUT_MS, &m, err);
		if (r < 0)
			return cor_fail_prefix(err, r, "preparing on %s", s->args->dest);
		switch (m.type) {
		case CONTROL_CLOCK:
			r = answer_clock(s, err);
			break;
		case CONTROL_PREPARED:
			return take_prepared(s, &m, err);
		case CONTROL_ABORT:
			r = source_refused(s, &m, err);
			if (r == -EAGAIN)
				json_object_set_new(s->session.figures, "again", json_true());
			break;
		default:
			r = cor_fail(err, -EPROTO, "the peer sent %s while preparing",
				     control_type_name(m.type));
		}
		control_message_done(&m);
	}
	return r;
}

/* The one connection that needs this host's keys. */
static int connect_control(struct source *s, struct cor_error *err)
{
	const struct cord_config *c = s->args->config;
	int r = cord_keys_set(c) ? cord_keys_load(c, &s->keys, err) : 0;

	if (r == 0 && s->keys)
		s->psk = cord_keys_psk(c, s->keys, cord_config_find_peer(c, s->args->peer));
	if (r == 0)
		r = source_connect(s, COR_CONN_CONTROL, NULL, NULL, CONNECT_TIMEOUT_MS, &s->control,
				   err);
	cor_tls_free(s->keys);
	s->keys = NULL;
	return r;
}

/* -EAGAIN: children, which may soon be gone, or a program that is just being loaded. */
static int capture_skeleton(struct source *s, struct cor_error *err)
{
	uint64_t until = cor_now_ns() + CHANGING_FOR_NS;
	int r;

	for (;;) {
		r = cor_capture_skeleton(s->args->pid, &s->options, &s->skeleton, err);
		if (r != -EAGAIN || cor_now_ns() > until)
			return r;
		usleep(1000);
	}
}

/* Of a host name that is not ours either. */
static int check_host_name(struct source *s, struct cor_error *err)
{
	_cleanup_close_ int proc = -1;
	char path[32], what[160];

	snprintf(path, sizeof(path), "/proc/%d", s->args->pid);
	proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0 || !cor_uts_differs(proc))
		return 0;
	snprintf(what, sizeof(what), "the host name \"%.64s\" of process %d",
		 s->skeleton->identity->hostname, s->args->pid);
	return cor_mechanism_require(&s->mechanisms, COR_MECHANISM_HOST_NAME, what, err);
}

static int prepare(struct source *s, struct cor_error *err)
{
	int r;

	r = capture_skeleton(s, err);
	if (r == 0)
		r = source_check_owner(s, s->skeleton, false, err);
	if (r == 0)
		r = cor_capture_owns_memory(s->args->pid, s->skeleton, err);
	if (r < 0)
		return r;
	if (s->skeleton->n_threads)
		json_object_set_new(s->session.figures, "comm",
				    record_text(s->skeleton->threads[0]->comm));
	session_report(&s->session);
	if (s->args->settle)
		r = source_check_settled(s, err);
	if (r == 0 && s->args->settle)
		r = source_home_settle(s, err);
	if (r < 0)
		return r;
	r = connect_control(s, err);
	if (r == 0)
		r = hello(s, err);
	if (r == 0 && cor_mechanism_on(&s->mechanisms, COR_MECHANISM_HOME))
		r = source_home_agree(s, err);
	if (r == 0)
		r = source_network_begin(s, err);
	/* behind HELLO: what the peer lacks may decide how a descriptor is carried */
	if (r == 0)
		r = source_read_filters(s, err);
	if (r == 0)
		r = check_host_name(s, err);
	if (r == 0)
		r = source_standin_begin(&s->standin, s->args->pid, &s->mechanisms, err);
	if (r == 0)
		r = source_pumps_begin(&s->pumps, s->args->config, s->args->pid,
				       (s->standin.wanted ? SOURCE_PUMPS_STANDIN : 0) |
				       (s->args->outside ? SOURCE_PUMPS_EXPECTED : 0), err);
	if (r == 0)
		r = source_capture_running_files(s, err);
	if (r == 0)
		r = source_pumps_prepare(&s->pumps, s->files, err);
	if (r == 0)
		r = source_check_mapped(s, s->skeleton, err);
	if (r == 0)
		r = source_note_descriptor_objects(s, s->skeleton, err);
	if (r == 0)
		r = ask_prepare(s, err);
	FAULT_POINT("prepared", s->control);
	if (r == 0)
		r = source_start_server(s, err);
	FAULT_POINT("lanes", s->control);
	/* shared memory may still come and go: then it begins in the freeze */
	if (r == 0 && !s->skeleton->memory->n_objects) {
		r = source_give_image_objects(s, s->skeleton, err);
		if (r == 0)
			r = source_await_serving(s, err);
	}
	return r;
}

static void note_ready(struct source *s, const struct control_message *m)
{
	Cor__Control__Ready *r = control_unpack(m, &cor__control__ready__descriptor, NULL);

	if (!r)
		return;
	json_object_set_new(s->session.figures, "built_ahead", json_boolean(r->built_ahead));
	json_object_set_new(s->session.figures, "destination_us",
			    json_integer((json_int_t)r->rebuild_us));
	cor__control__ready__free_unpacked(r, NULL);
}

/* How long READY may take. */
static int ready_timeout_ms(const struct source *s)
{
	uint64_t ms = s->all_first ? s->image->memory->resident / SLOWEST_BYTES_PER_MS : 0;

	return FREEZE_TIMEOUT_MS + (int)COR_MIN(ms, (uint64_t)3600 * 1000);
}

/* Up to the destination's word that all is there, and to the ghost. */
static int hand_over(struct source *s, struct cor_error *err)
{
	struct control_message m;
	int r;

	s->captured_ns = cor_now_ns();
	FAULT_POINT("captured", s->control);
	r = source_park(s, err);
	if (r == 0)
		r = source_check_server(s, err);
	if (r == 0)
		r = send_image(s, err);
	FAULT_POINT("image-sent", s->control);
	/* while the destination works */
	if (r == 0)
		r = source_pumps_hand(&s->pumps, s->args->pid, s->files, err);
	if (r == 0)
		r = cor_capture_recheck(s->tracee, err);
	if (r == 0)
		r = source_network_leave(s, err);
	if (r == 0)
		r = control_expect_soon(s->control, CONTROL_READY, ready_timeout_ms(s), &m, err);
	if (r < 0)
		return cor_fail_prefix(err, r, "%s", s->args->dest);
	FAULT_POINT("ready", s->control);
	note_ready(s, &m);
	control_message_done(&m);
	s->ready_ns = cor_now_ns();
	if (source_cancelled(s, NULL))
		return cor_fail(err, -ECANCELED, "cancelled");
	r = source_check_serving(s, err);
	if (r < 0)
		return r;
	/* from here on our death is the task's */
	atomic_store(&s->session.page->let_go, 1);
	r = cor_tracee_make_ghost(s->tracee, err);
	FAULT_POINT("ghost", s->control);
	return r;
}

/* ---- the whole ---------------------------------------------------------------- */

static int migrate(struct source *s, struct cor_error *err)
{
	int r = session_transports(&s->transports, s->args->config, s->args->transport, err);
	bool again;

	if (r == 0)
		r = source_await_go(s, err);
	if (r < 0)
		return r;
	run_hooks(s);
	r = prepare(s, err);
	if (r == 0)
		r = source_freeze(s, err);
	/* what else was in the way has been tried again and again by then */
	again = r < 0 && s->pumps.ended;
	if (r == 0) {
		r = hand_over(s, err);
		again = r == -EAGAIN;
	}
	if (again)
		json_object_set_new(s->session.figures, "again", json_true());
	if (s->pumps.missed)
		json_object_set_new(s->session.figures, "outside", json_true());
	return r;
}

/* Before COMMIT: the task goes on here. */
static int fail(struct source *s, struct cor_error *err)
{
	if (s->control)
		control_send_abort(s->control, err);
	/* what they have of the task's, before it runs */
	source_pumps_drop(&s->pumps);
	if (s->tracee)
		source_thaw(s);
	else
		source_network_undo(s);
	if (s->session.page)
		atomic_store(&s->session.page->let_go, 0);
	if (s->have_hooks)
		cor_hooks_cancel(&s->hooks, false, NULL);
	source_undo_forget(s);
	session_move(&s->session, SESSION_ABORTED, NULL);
	session_result(&s->session, 1, err);
	return 1;
}

static int commit(struct source *s)
{
	char doubt[COR_ERROR_TEXT];

	source_commit(s, doubt, sizeof(doubt));
	cor_stream_close(s->control);
	s->control = NULL;
	return source_keep(s, doubt);
}

static int keep(struct source *s, struct cor_error *err)
{
	const struct worker_source_args *a = s->args;
	json_t *about = json_pack("{s:i, s:s, s:s}", "pid", a->pid, "peer", a->peer, "dest", a->dest);
	uid_t uid;
	int r;

	if (owner_of(a->pid, &uid) == 0)
		json_object_set_new(about, "uid", json_integer(uid));
	r = session_keep(&s->session, a->config->state_dir, STATE_SOURCE, a->session, a->secret,
			 about, NULL, err);
	if (r == 0)
		atomic_store(&s->session.page->epoch, a->epoch);
	return r;
}

/* What a task waits for that has come from elsewhere. Not knowing that it is only late. */
static void read_waits(struct source *s)
{
	const struct worker_source_args *a = s->args;
	_cleanup_close_ int dir = -1, fd = -1;

	if (!a->arrived)
		return;
	dir = state_open(a->config->state_dir, NULL);
	fd = dir < 0 ? dir : state_waits(dir, a->arrived, false);
	if (fd >= 0 && cor_waits_read(&s->waits, fd) == 0)
		s->options.waits = &s->waits;
}

int session_source_run(const struct worker_source_args *a)
{
	struct cor_error err = COR_ERROR_INIT;
	struct source s = {
		.args = a, .pumps.home = -1,
		.options = { .inline_written_max = 1024 }, .home = { .control = -1 },
		.link = -1, .reach_link = -1, .ghost.fd = -1,
	};
	int status = 0;

	cor_mechanisms_init(&s.mechanisms, a->config->mechanisms_off, a->without);

	if (session_begin(&s.session, a->cord, &err) < 0)
		return 1;
	json_object_set_new(s.session.figures, "pid", json_integer(a->pid));
	json_object_set_new(s.session.figures, "encrypted", json_boolean(cord_keys_set(a->config)));
	source_transport_set(&s, "tcp");
	session_report(&s.session);
	read_waits(&s);
	if (keep(&s, &err) < 0 || migrate(&s, &err) < 0)
		status = fail(&s, &err);
	else
		status = commit(&s);
	source_end_server(&s);
	cor_source_close(s.memory);
	if (s.skeleton)
		cor__task__image__free_unpacked(s.skeleton, NULL);
	if (s.image)
		cor__task__image__free_unpacked(s.image, NULL);
	if (s.files)
		cor__names__file_table__free_unpacked(s.files, NULL);
	free(s.extra);
	cor_sleepers_done(&s.sleepers);
	cor_waits_done(&s.waits);
	source_home_end(&s);
	cor_departure_free(s.departure);
	source_pumps_end(&s.pumps);
	source_standin_end(&s.standin);
	cor_stream_close(s.control);
	session_end(&s.session);
	return status;
}
