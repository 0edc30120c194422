/* What there is to tell of the pages, to the source and to cord. */
#include "daemon/destination/destination.h"

#include "daemon/control.h"
#include "libcor/paging/journal.h"

void destination_look(struct destination *d)
{
	Cor__Control__Progress *p = &d->last;
	static __thread struct cor_paging_stats st;

	/* a pager that goes on for another counts on from here */
	if (d->pager) {
		cor_pager_stats(d->pager, &st);
		cor_journal_save(d->journal, &st);
	} else if (d->journal) {
		cor_journal_saved(d->journal, &st);
	}
	cor__control__progress__init(p);
	p->pages_total = st.pages_total;
	p->pages_demand = st.pages_demand;
	p->pages_prefetched = st.pages_prefetched;
	p->pages_zero = st.pages_zero;
	p->pages_dropped = st.pages_dropped;
	p->pages_eager = st.pages_eager;
	p->pages_corrupt = st.pages_corrupt;
	p->pages_packed = st.pages_packed;
	p->pages_one_sided = st.pages_one_sided;
	p->faults = st.faults;
	p->bytes_wire = st.bytes_wire;
	p->drain_us = st.drain_ns / 1000;
	p->presence_known = st.presence_known;
	p->fault_p50_us = (double)cor_hist_percentile(&st.fault_ns, 0.50) / 1000;
	p->fault_p90_us = (double)cor_hist_percentile(&st.fault_ns, 0.90) / 1000;
	p->fault_p99_us = (double)cor_hist_percentile(&st.fault_ns, 0.99) / 1000;
	p->fault_max_us = (double)st.fault_ns.max / 1000;
}

void destination_report(struct destination *d)
{
	session_figures_progress(&d->session, &d->last);
	session_report(&d->session);
	if (d->control)
		control_send(d->control, CONTROL_PROGRESS, &d->last.base, NULL);
}
