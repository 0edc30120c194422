/* The freeze, and its taking back: the task is stopped and read. */
#include "daemon/source/source.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/fault.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/mapped.h"

#define CLOSE_TIMEOUT_MS 5000
#define LOCKS_PATIENCE_NS UINT64_C(200000000)   /* some hold them as long as they run */

/* A user may move his own tasks only, and it must be his still: it may have executed a
 * set-user-ID program since he asked. */
int source_check_owner(const struct source *s, const Cor__Task__Image *image, bool frozen,
		       struct cor_error *err)
{
	int64_t owner = s->args->owner;

	for (size_t i = 0; i < image->n_threads && owner >= 0; i++) {
		const Cor__Task__Credentials *c = image->threads[i]->creds;

		if (!c || c->uid != owner || c->euid != owner || c->suid != owner ||
		    c->fsuid != owner)
			return cor_fail(err, -EPERM, "process %d is not, or no longer, user %lld's",
					s->args->pid, (long long)owner);
	}
	if (owner >= 0 && frozen && image->identity->dumpable != 1)
		return cor_fail(err, -EPERM, "process %d keeps its memory from its user (it is not "
				"dumpable)", s->args->pid);
	return 0;
}

/* What the freeze will do, as far as that can be done to a running task. */
static void rehearse(struct source *s)
{
	Cor__Names__FileTable *table = NULL;
	struct cor_files_object *extra = NULL;
	const struct cor_files_options options = {
		.with_content = true, .running = true, .ahead = true, .before = s->files,
		.mechanisms = &s->mechanisms,
		.departure = s->departure, .pumps = &s->pumps.seen,
		.plan = s->home.plan, .adopt = source_home_adopt, .arg = s,
	};
	unsigned nextra;

	session_warm();         /* the serving part has been forked */
	cor_capture_rehearse(s->args->pid, &s->options, s->skeleton);
	if (cor_files_capture_with(s->args->pid, &options, &extra, &nextra, &table, NULL) == 0)
		cor__names__file_table__free_unpacked(table, NULL);
	free(extra);
}

/* POSIX locks are the process's: but for files of its home's they are given up here, and taken
 * again there some milliseconds later, in which another process may take and release them. Who
 * holds them for a transaction, and believes that nothing has changed since, is moved between two
 * of these. */
static bool holds_locks(const Cor__Names__FileTable *t)
{
	for (size_t i = 0; i < t->n_files; i++)
		for (size_t k = 0; k < t->files[i]->n_locks; k++)
			if (cor_lock_is_posix(t->files[i]->locks[k]))
				return true;
	return false;
}

/* Stops the task and reads it. -EAGAIN: something short-lived was in the way; locks are no more
 * behind patient_until_ns. */
static int freeze_once(struct source *s, uint64_t patient_until_ns, struct cor_error *err)
{
	int r;

	rehearse(s);
	r = source_undo_note(s, err);
	if (r == 0)
		r = source_network_settle(s, err);
	if (r < 0)
		return r;
	cor_sleepers_settle(&s->sleepers, s->args->pid);
	r = cor_tracee_seize(&s->tracee, s->args->pid, err);
	if (r < 0)
		return r;
	cor_sleepers_attach(&s->sleepers, s->tracee);
	session_hurry(true);
	r = cor_tracee_stop(s->tracee, s->args->config->timeouts.freeze_ms, err);
	s->freeze_from_ns = s->tracee->stopping_ns;
	FAULT_POINT("frozen", s->control);
	if (r == 0 && s->departure)
		cor_departure_stop(s->departure);
	if (r == 0 && s->have_hooks) {
		cor_hooks_arriving(&s->hooks, NULL);
		r = source_undo_note(s, err);
	}
	if (r == 0)
		r = cor_capture_image(s->tracee, &s->options, s->skeleton, &s->image, err);
	if (r == 0)
		r = source_check_owner(s, s->image, true, err);
	if (r == 0)
		r = source_check_filters(s, s->image, err);
	if (r == 0)
		r = source_pumps_freeze(&s->pumps, err);
	if (r == 0)
		r = source_capture_files(s, s->image, err);
	if (r == 0 && holds_locks(s->files) && cor_now_ns() < patient_until_ns)
		r = cor_fail(err, -EAGAIN, "process %d holds file locks", s->args->pid);
	if (r == 0)
		r = source_check_mapped(s, s->image, err);
	if (r == 0)
		r = cor_mapped_flush(s->args->pid, s->image, err);
	if (r == 0)
		r = source_note_descriptor_objects(s, s->image, err);
	/* once the destination has the image it is too late for another try */
	return r == 0 ? source_network_check(s, err) : r;
}

/* The destination has been told to give up: when it closes the connection, the
 * addresses that it had taken for the task are free again. */
static void await_close(struct source *s)
{
	struct control_message m;

	while (s->control && control_receive(s->control, CLOSE_TIMEOUT_MS, &m, NULL) == 0)
		control_message_done(&m);
}

void source_thaw(struct source *s)
{
	source_network_undo(s);
	if (s->image)
		cor__task__image__free_unpacked(s->image, NULL);
	s->image = NULL;
	if (s->parked) {
		await_close(s);
		cor_files_unpark(s->args->pid, s->files, NULL);
		source_home_keep(s);
		s->parked = false;
	}
	if (s->have_hooks && s->hooks.arriving) {
		/* only the arrival is taken back: another attempt may follow */
		bool asked = s->hooks.asked;

		s->hooks.asked = false;
		cor_hooks_cancel(&s->hooks, true, NULL);
		s->hooks.asked = asked;
	}
	source_pumps_thaw(&s->pumps);
	source_let_go(s, s->tracee);
	s->tracee = NULL;
	cor_sleepers_done(&s->sleepers);        /* they have run */
	session_hurry(false);
}

/* Threads that sleep are read and told of ahead; the destination makes them. */
static int tell_sleepers(struct source *s, struct cor_error *err)
{
	Cor__Control__Sleepers said = COR__CONTROL__SLEEPERS__INIT;
	_cleanup_free_ uint8_t *buf = NULL;
	struct control_message m;
	int r;

	if (!s->options.sleepers || s->skeleton->n_threads < 2)
		return 0;
	cor_sleepers_look(s->args->pid, &s->options, &s->sleepers);
	if (!s->sleepers.n)
		return 0;
	r = cor_sleepers_pack(&s->sleepers, &buf, &said.sleepers.len);
	if (r < 0)
		return cor_fail_code(err, r, "out of memory");
	said.sleepers.data = buf;
	FAULT_POINT("sleepers", s->control);
	r = control_send(s->control, CONTROL_SLEEPERS, &said.base, err);
	if (r == 0)
		r = control_expect(s->control, CONTROL_SLEEPERS_MADE, ANSWER_TIMEOUT_MS, &m, err);
	if (r < 0)
		return cor_fail_prefix(err, r, "%s", s->args->dest);
	control_message_done(&m);
	return 0;
}

int source_freeze(struct source *s, struct cor_error *err)
{
	uint64_t until = cor_now_ns() + SOURCE_RETRY_FOR_NS, patient_until;
	unsigned pause_us = 1000;
	int r = tell_sleepers(s, err);

	if (r < 0)
		return r;
	/* not counted in: the destination made the sleepers */
	patient_until = cor_now_ns() + LOCKS_PATIENCE_NS;
	for (;;) {
		if (source_cancelled(s, NULL))
			return cor_fail(err, -ECANCELED, "cancelled");
		r = session_move(&s->session, SESSION_FREEZE, err);
		if (r == 0)
			r = freeze_once(s, patient_until, err);
		if (r != -EAGAIN || cor_now_ns() > until)
			return r;
		source_thaw(s);
		session_move(&s->session, SESSION_PREPARE, NULL);
		/* what is in the way ends by itself; nothing tells when */
		usleep(pause_us);
		pause_us = COR_MIN(pause_us * 2, 50000u);
	}
}

/* The task's addresses and locks: the destination may see the same network and
 * the same files. */
int source_park(struct source *s, struct cor_error *err)
{
	int r = source_undo_renew(s, err);

	if (r == 0)
		r = cor_files_park(s->args->pid, s->files, s->same_netns, err);
	if (r < 0)
		return r;
	r = source_home_pass(s, err);
	if (r < 0)
		cor_files_unpark(s->args->pid, s->files, NULL);
	s->parked = r == 0;
	return r;
}

/* A server that was started ahead must still be the one for this task. */
int source_check_server(struct source *s, struct cor_error *err)
{
	uint64_t page = s->tracee->threads[0].regs.rsp & ~(uint64_t)(COR_PAGE_SIZE - 1);
	uint8_t buf[COR_PAGE_SIZE];

	if (!s->serving)
		return source_give_image_objects(s, s->image, err);
	if (s->image->memory->n_objects)
		return cor_fail(err, -EAGAIN, "process %d made shared memory while its migration "
				"was prepared; try again", s->args->pid);
	if (s->memory->ops->read(s->memory, 0, page, 1, buf) != 1)
		return cor_fail(err, -EAGAIN, "process %d executed another program while its "
				"migration was prepared; try again", s->args->pid);
	return 0;
}
