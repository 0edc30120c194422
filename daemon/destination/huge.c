/* After the drain: what was in huge pages at the source becomes so again, while the task
 * runs. Where it cannot it is left as it is, and told. */
#include "daemon/destination/destination.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/paging/collapse.h"

/* At once: 16 MiB. The kernel waits for all processors once in each call. */
#define BATCH 8u
/* No huge page in so many: this host has none to give, and looking for them costs. */
#define FRUITLESS 32u
#define REPORT_NS (100 * UINT64_C(1000000))

void destination_huge_begin(struct destination *d)
{
	if (d->task_ended || !d->pager || !d->args->config->paging.huge_pages ||
	    cor_pager_huge(d->pager, &d->huge.addrs, &d->huge.n, NULL) < 0)
		return;
	d->huge.pidfd = fcntl(cor_rebuild_pidfd(d->rebuild), F_DUPFD_CLOEXEC, 3);
	if (d->huge.pidfd < 0)
		d->huge.n = 0;
}

/* Rests for as long as the last batch has taken: a task that had to wait for it has
 * that time to itself. This thread's priority stays: it holds what the task waits for. */
static void rest(struct destination *d, uint64_t ns)
{
	struct pollfd p = { .fd = session_fd(&d->session), .events = POLLIN };

	if (poll(&p, 1, (int)(ns / 1000000) + 1) > 0)
		destination_hear_cord(d);
}

static void tell_huge(struct destination *d)
{
	Cor__Control__Huge done = COR__CONTROL__HUGE__INIT;

	session_figures_progress(&d->session, &d->last);
	done.progress = &d->last;
	if (d->control)
		control_send(d->control, CONTROL_HUGE, &done.base, NULL);
}

void destination_huge(struct destination *d)
{
	uint64_t reported = cor_now_ns();
	size_t at = 0, fruitless = 0;
	int why = 0;

	if (!d->huge.n)
		return;
	session_report(&d->session);
	while (at < d->huge.n && fruitless < FRUITLESS && why != -ESRCH) {
		size_t n = COR_MIN(d->huge.n - at, (size_t)BATCH);
		uint64_t from = cor_now_ns(), to;
		size_t made = cor_collapse(d->huge.pidfd, d->huge.addrs + at, n, &why);

		at += n;
		fruitless = made ? 0 : fruitless + n;
		d->last.huge_pages += made;
		to = cor_now_ns();
		if (to - reported > REPORT_NS) {
			destination_report(d);
			reported = to;
		}
		rest(d, to - from);
	}
	d->last.huge_pages_left = why == -ESRCH ? 0 : d->huge.n - d->last.huge_pages;
	if (d->last.huge_pages_left)
		json_object_set_new(d->session.figures, "huge_pages_error",
				    json_string(strerrordesc_np(-why) ?: "unknown error"));
	tell_huge(d);
}

void destination_huge_end(struct destination *d)
{
	free(d->huge.addrs);
	cor_closep(&d->huge.pidfd);
}
