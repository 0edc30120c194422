/* Before the freeze: who comes, may it, and what can be made ahead. */
#include "daemon/destination/destination.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/fault.h"
#include "daemon/record.h"
#include "daemon/session/mechanisms.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/journal.h"
#include "libcor/task/pb.h"

#define CLOCK_PROBES          8
/* A shorter round trip is good enough; for a longer one it may be the load that is to blame, and
 * more of them are made for so long. */
#define CLOCK_TRIP_NS  (150 * 1000ull)
#define CLOCK_TRIES_NS (30 * 1000000ull)

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

int destination_hello(struct destination *d, struct cor_error *err)
{
	Cor__Control__Hello reply = COR__CONTROL__HELLO__INIT, *h;
	struct destination_offer transports;
	struct session_offer offer;
	char id[33] = "", secret[65] = "";
	struct utsname u;
	int r = control_expect_message(d->control, CONTROL_HELLO, ANSWER_TIMEOUT_MS,
				       &cor__control__hello__descriptor, &h, err);

	if (r < 0)
		return r;
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

void destination_forget(Cor__Task__Image *image, Cor__Names__FileTable *files)
{
	if (image)
		cor__task__image__free_unpacked(image, NULL);
	if (files)
		cor__names__file_table__free_unpacked(files, NULL);
}

int destination_unpack(struct destination *d, const ProtobufCBinaryData *task,
		       const ProtobufCBinaryData *files, struct cor_error *err)
{
	Cor__Task__Image *image = cor__task__image__unpack(NULL, task->len, task->data);
	Cor__Names__FileTable *table = cor__names__file_table__unpack(NULL, files->len, files->data);

	/* the CPU and the clocks travel in the skeleton only */
	if (!image || !table || !image->memory || !image->identity || !image->n_threads ||
	    (!d->image && (!image->cpu || !image->clock))) {
		destination_forget(image, table);
		return cor_fail(err, -EPROTO, "the task's image cannot be read");
	}
	if (destination_pumps_address(table, d->args->peer, d->listen, d->host, err) < 0) {
		destination_forget(image, table);
		return -EINVAL;
	}
	if (cor_sleepers_complete(image, d->sleepers, err) < 0) {
		destination_forget(image, table);
		return -EPROTO;
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
		int r = control_send(d->control, CONTROL_CLOCK, &ask.base, err);

		if (r == 0)
			r = control_expect_message(d->control, CONTROL_CLOCK, ANSWER_TIMEOUT_MS,
						   &cor__control__clock__descriptor, &c, err);
		if (r < 0)
			return r;
		theirs = (struct session_clocks){ c->monotonic_ns, c->boottime_ns };
		cor__control__clock__free_unpacked(c, NULL);
		r = session_clocks_initial(&now, err);
		if (r < 0)
			return r;
		trip = cor_now_ns() - from;
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

/* The task as it is announced: may it come, and can it? */
static int take_announced(struct destination *d, struct doubts *doubts, struct cor_error *err)
{
	Cor__Control__Prepare *p;
	int r = control_expect_message(d->control, CONTROL_PREPARE, ANSWER_TIMEOUT_MS,
				       &cor__control__prepare__descriptor, &p, err);

	if (r < 0)
		return r;
	d->prefetch = p->prefetch;
	d->hooks = p->hooks;
	d->epoch = p->epoch;
	atomic_store(&d->session.page->epoch, d->epoch);
	r = destination_unpack(d, &p->task, &p->files, err);
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
		r = check_files(d, doubts, err);
	return r ? r : cor_files_permitted(d->files, &d->mechanisms, err);
}

/* All that can be made before the task stands still. */
static int build_ahead(struct destination *d, struct cor_error *err)
{
	int r = d->time_ns ? measure_clocks(d, err) : 0;

	if (r == 0)
		r = destination_pumps_begin(&d->pumps, d->args->config, d->files, err);
	if (r == 0)
		r = destination_build_begin(d, err);
	if (r == 0)
		r = destination_build_ahead(d, err);
	/* behind the fork of the supervisor, which is to have nothing of it */
	if (r == 0)
		r = cor_pager_new(&d->pager, d->ctx, err);
	return r ? r : destination_network_begin(d, err);
}

static int set_up_pager(struct destination *d, struct cor_error *err)
{
	int r;

	cor_pager_spin(d->pager, d->args->config->paging.spin_us);
	cor_pager_check(d->pager, d->check);
	cor_pager_pack(d->pager, cor_mechanism_on(&d->mechanisms, COR_MECHANISM_COMPRESS));
	r = cor_journal_new(&d->journal, err);
	if (r < 0)
		return r;
	cor_pager_keep(d->pager, d->journal);
	/* bitmaps of what will be paged if nothing is mapped or unmapped until then */
	return d->ahead ? cor_pager_set_regions(d->pager, d->regions, d->nregions, err) : 0;
}

static int say_prepared(struct destination *d, const struct doubts *doubts, struct cor_error *err)
{
	Cor__Control__Prepared reply = COR__CONTROL__PREPARED__INIT;
	ProtobufCBinaryData hardware[COR_ADDRESSES_MAX];

	reply.sparse = true;
	reply.sleepers = d->ahead && d->args->config->task.sleepers;
	reply.pid_namespace = cor_rebuild_in_pid_ns(d->rebuild);
	reply.all_first = !cor_rebuild_follows_forks(d->rebuild);
	reply.network_namespace = cor_files_same_netns(d->files);
	reply.n_hardware = destination_hardware(d, hardware);
	reply.hardware = hardware;
	reply.n_doubts = doubts->n;
	reply.doubts = doubts->list;
	return control_send(d->control, CONTROL_PREPARED, &reply.base, err);
}

int destination_prepare(struct destination *d, struct cor_error *err)
{
	_cleanup_(free_doubts) struct doubts doubts = { 0 };
	int r = cor_mechanism_on(&d->mechanisms, COR_MECHANISM_HOME) ?
		destination_home_agree(d, err) : 0;

	if (r == 0)
		r = take_announced(d, &doubts, err);
	if (r == 0)
		r = build_ahead(d, err);
	if (r == 0)
		r = set_up_pager(d, err);
	if (r < 0)
		return r;
	share(d);
	session_warm();         /* the supervisor has been forked */
	r = say_prepared(d, &doubts, err);
	FAULT_POINT("prepared-sent", d->control);
	return r;
}
