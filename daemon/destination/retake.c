/* A worker that goes on for one that was killed, once the task runs: it has the other's
 * descriptors that matter, the session's page and the pager's journal, and nothing else. The
 * source, whose connections have ended, makes them anew. */
#include "daemon/destination/destination.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/fault.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/paging/journal.h"

static int take_session(struct destination *d, struct cor_error *err)
{
	struct arrival *s = d->shared;
	json_auto_t *about = NULL;
	int r = session_begin(&d->session, -1, err);

	if (r == 0)
		r = doors_init(&d->doors, err);
	if (r < 0)
		return r;
	r = state_page_map(s->page, &d->session.page);
	if (r < 0)
		return cor_fail_code(err, r, "the session's page");
	d->session.listen = s->listen;
	d->session.state = (enum session_state)atomic_load(&d->session.page->state);
	d->epoch = atomic_load(&d->session.page->epoch);
	d->pid = s->pid;
	d->prefetch = s->prefetch;
	d->check = s->check;
	d->hooks = s->hooks;
	d->task_ended = s->task_ended;
	d->paging = true;
	about = state_page_about(d->session.page);
	json_object_update_missing(d->session.figures, about);
	json_object_set_new(d->session.figures, "destination_pid", json_integer(d->pid));
	state_process_set(&d->session.page->part, getpid());
	return 0;
}

/* Between the first thread's first instruction and that step nothing can fail. Whether its
 * pumps were started nobody knows; to those that were it says nothing. */
static void catch_up(struct destination *d)
{
	if (d->session.state == SESSION_COMMIT)
		session_move(&d->session, SESSION_PAGING, NULL);
	destination_pumps_start_shared(&d->shared->pumps, d->pid);
	destination_task_found(d);
	session_report(&d->session);
}

static int take_pager(struct destination *d, struct cor_error *err)
{
	int r = cor_journal_open(&d->journal, dup(d->shared->journal), err);

	if (r == 0)
		r = cor_pager_new(&d->pager, d->ctx, err);
	if (r < 0)
		return r;
	cor_pager_spin(d->pager, d->args->config->paging.spin_us);
	cor_pager_check(d->pager, d->check);
	cor_pager_pack(d->pager, d->shared->pack);
	cor_pager_keep(d->pager, d->journal);
	r = cor_pager_retake(d->pager, err);
	if (r == 0)
		cor_pager_prefetch(d->pager, d->prefetch);
	return r;
}

static int go_on(struct destination *d, struct cor_error *err)
{
	struct cor_rebuild_kept kept = { .ctl = d->shared->ctl, .pidfd = d->shared->pidfd,
					 .pid = d->pid, .supervisor = d->shared->supervisor };
	int r = take_session(d, err);

	if (r == 0)
		r = cor_open(&d->ctx, err);
	if (r == 0)
		r = cor_rebuild_take(&d->rebuild, &kept, err);
	if (r < 0)
		return r;
	catch_up(d);
	if (d->session.state == SESSION_DRAINED) {
		/* every page is there: it only remains to let go */
		cor_pager_close_all_uffds();
		return destination_release(d, err);
	}
	r = take_pager(d, err);
	if (r == 0)
		r = destination_page(d, err);
	return r < 0 ? r : destination_release(d, err);
}

int destination_retake(const struct worker_destination_args *a, struct arrival *s)
{
	struct destination d = DESTINATION_INIT(a, s);
	struct cor_error err = COR_ERROR_INIT;

	return destination_end(&d, go_on(&d, &err), &err);
}
