/* What is left of an arrival once its session has ended: the task, which cord lists
 * until it ends, and its page in the state directory, which a cord that is started
 * later lists it by. */
#include "daemon/destination/destination.h"

#include <stddef.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/record.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

/* Once; a second supervisor gets the same. */
static int make_page(struct destination *d, struct cor_error *err)
{
	const struct state_page *session = d->session.page;
	_cleanup_close_ int dir = -1;
	int r;

	if (d->task_page)
		return 0;
	dir = state_open(d->args->config->state_dir, err);
	if (dir < 0)
		return dir;
	r = state_page_new(dir, STATE_TASK, session->session, session->secret, &d->task_page,
			   &d->task_record, err);
	if (r < 0)
		return r;
	d->task_listen = state_listen(dir, STATE_TASK, session->session, err);
	return COR_MIN(d->task_listen, 0);
}

int destination_task_begin(struct destination *d, struct cor_rebuild_plan *plan,
			   int report[2], struct cor_error *err)
{
	int r = make_page(d, err);

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) < 0)
		return cor_fail_errno(err, "socketpair");
	plan->report = report[1];
	plan->listen = d->task_listen;
	plan->record = d->task_record;
	plan->record_at = offsetof(struct state_page, exit);
	return 0;
}

static void close_all(struct destination *d)
{
	cor_closep(&d->report);
	cor_closep(&d->task_listen);
	cor_closep(&d->task_record);
	d->report = d->task_listen = d->task_record = -1;
}

static void tell_arrived(struct destination *d, json_t *about)
{
	json_object_set_new(about, "type", json_string("arrived"));
	session_tell_all(&d->session, about, d->report);
}

/* For its next move. Without them it will wait longer than it wants, at the worst. */
static void keep_waits(struct destination *d)
{
	const struct cor_waits *waits = cor_rebuild_confirm_waits(d->rebuild);
	_cleanup_close_ int dir = -1, fd = -1;

	if (!waits->n)
		return;
	dir = state_open(d->args->config->state_dir, NULL);
	fd = dir < 0 ? dir : state_waits(dir, d->task_page->session, true);
	if (fd >= 0)
		cor_waits_write(waits, fd);
}

void destination_task_arrived(struct destination *d)
{
	pid_t supervisor = cor_rebuild_supervisor(d->rebuild);
	const char *comm = json_string_value(json_object_get(d->session.figures, "comm"));
	char id[33];
	json_t *about;

	hex_encode(id, d->task_page->session, sizeof(d->task_page->session));
	about = json_pack("{s:s, s:I, s:i, s:i, s:s, s:s, s:I}", "id", id,
			  "hooks", (json_int_t)d->hooks, "pid", d->pid, "supervisor", supervisor,
			  "comm", comm ?: "?", "from", d->args->peer,
			  "since", (json_int_t)time(NULL));
	json_object_set(about, "uid", json_object_get(d->session.figures, "uid"));
	keep_waits(d);
	state_page_tell(d->task_page, json_incref(about));
	state_process_set(&d->task_page->part, supervisor);
	atomic_store(&d->task_page->epoch, d->epoch);
	atomic_store(&d->task_page->state, SESSION_PAGING);
	tell_arrived(d, about);
	close_all(d);           /* the supervisor has its own */
}

void destination_task_found(struct destination *d)
{
	_cleanup_close_ int dir = state_open(d->args->config->state_dir, NULL);
	json_auto_t *about = NULL;
	char name[STATE_NAME_MAX];

	state_name(name, STATE_TASK, d->session.page->session);
	if (dir < 0 || state_page_open(dir, name, &d->task_page) < 0)
		return;
	about = state_page_about(d->task_page);
	if (atomic_load(&d->task_page->state) == SESSION_PAGING)
		tell_arrived(d, json_incref(about));
	else
		destination_task_arrived(d);
}

void destination_task_end(struct destination *d)
{
	if (!d->task_page)
		return;
	if (atomic_load(&d->task_page->state) != SESSION_PAGING) {
		_cleanup_close_ int dir = state_open(d->args->config->state_dir, NULL);

		state_remove(dir, STATE_TASK, d->task_page->session);
	}
	close_all(d);
	state_page_unmap(d->task_page);
	d->task_page = NULL;
}
