/* cor-bench pin: how soon a large ghost's memory can be read one-sided, and how much of it is
 * registered for that, beside registering all of it. */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/remote.h"
#include "bench/report.h"
#include "libcor/base/io.h"
#include "libcor/paging/wire.h"

#define PAGE        4096u
#define PATIENCE_NS (30 * UINT64_C(1000000000))

struct options {
	struct bench_common common;
	size_t size, bound;
	struct remote over;
};

static const struct argp_option pin_options[] = {
	{ "size", 's', "BYTES", 0, "Memory of the ghost (default 4G)", 0 },
	{ "bound", 'b', "BYTES", 0, "Registered at once, at the most (default 256M)", 0 },
	{ "transport", 't', "NAME", 0, "Over this transport (default fabric:tcp)", 0 },
	{ "address", 'a', "ADDR", 0, "This host's address on that (default 127.0.0.1)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 's': o->size = parse_size(state, arg); return 0;
	case 'b': o->bound = parse_size(state, arg); return 0;
	case 't': o->over.transport = arg; return 0;
	case 'a': o->over.address = arg; return 0;
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->common;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* As a pager does that faults there until the page can be had, and then reads it. */
static void fetch(struct cor_stream *s, uint64_t offset)
{
	uint64_t until = cor_now_ns() + PATIENCE_NS;
	struct cor_page_request q = { .op = COR_PAGE_READ, .npages = 1, .offset = offset };
	struct cor_page_reply re;
	static char page[PAGE];

	while (!cor_reach_has(s, 0, offset)) {
		struct pollfd p = { .fd = s->in_fd, .events = POLLIN };
		struct iovec iov = { page, 1 };

		if (cor_stream_receive(s, &iov, 1, COR_STREAM_NOWAIT) != -EAGAIN ||
		    cor_now_ns() > until)
			errx(1, "the page at 0x%llx is not to be had", (unsigned long long)offset);
		poll(&p, 1, 1);
	}
	if (cor_stream_write(s, &q, sizeof(q)) || cor_stream_read(s, &re, sizeof(re)) ||
	    re.status != COR_PAGE_DATA || cor_stream_read(s, page, sizeof(page)))
		errx(1, "the page at 0x%llx does not come", (unsigned long long)offset);
}

enum { WHOLE, SERVING, CHUNK, PINNED, BOUND, OF_BOUND, NCOLUMNS };

static const struct report_column columns[NCOLUMNS] = {
	{ "whole_ms", "whole ms", 2 }, { "serving_ms", "serving ms", 2 },
	{ "chunk_us", "chunk us", 1 }, { "pinned_max_mib", "pinned MiB", 1 },
	{ "bound_mib", "bound MiB", 1 }, { "pinned_of_bound", "of bound", 3 },
};

struct measurement {
	const struct options *o;
	double v[NCOLUMNS];
};

static void check(void *arg)
{
	struct measurement *m = arg;

	remote_check(&m->o->over);
}

static void measure(void *arg)
{
	struct measurement *m = arg;
	const struct options *o = m->o;
	/* nobody has faulted yet: the first page is in the middle */
	struct ghost g = { .base = mmap(NULL, o->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
					MAP_NORESERVE, -1, 0), .size = o->size };
	uint64_t base = (uintptr_t)g.base, start;
	struct remote_owned told;
	struct cor_stream *lane;
	double *v = m->v;
	pid_t owner;
	int sock;

	if (g.base == MAP_FAILED)
		err(1, "memory");
	owner = remote_owner_start(&o->over, &g, o->bound, &sock);
	lane = remote_owner_here(&o->over, sock);
	start = cor_now_ns();
	fetch(lane, base + g.size / 2);
	v[SERVING] = US(cor_now_ns() - start) / 1e3;
	start = cor_now_ns();
	for (uint64_t at = 0; at < g.size; at += COR_REACH_CHUNK)
		fetch(lane, base + at);
	v[CHUNK] = US(cor_now_ns() - start) / (double)(g.size / COR_REACH_CHUNK);
	remote_owner_ask(sock, &told);
	v[WHOLE] = US(told.whole_ns) / 1e3;
	v[PINNED] = (double)told.stats.pinned_max / (1 << 20);
	v[BOUND] = (double)o->bound / (1 << 20);
	v[OF_BOUND] = v[PINNED] / v[BOUND];
	cor_stream_close(lane);
	close(sock);
	end_child(owner);
	munmap(g.base, g.size);
}

int cmd_pin(int argc, char **argv)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = { pin_options, parse, NULL,
		"Reads one page of every chunk of a large memory one-sided: the time until the first "
		"one is here, and how much was registered at once, beside registering all of it.",
		children, NULL, NULL };
	struct options o = { .common.runs = 3, .size = 4ull << 30, .bound = REMOTE_BOUND,
			     .over = { "fabric:tcp", "127.0.0.1" } };
	struct measurement *m = shared_memory(sizeof(*m));
	struct samples s[NCOLUMNS] = { 0 };
	struct report *r;
	char name[24];

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	if (o.size < COR_REACH_CHUNK || o.bound < 2 * COR_REACH_CHUNK)
		errx(2, "memory is registered in pieces of 2 MiB");
	m->o = &o;
	in_child(check, m);
	for (unsigned run = 0; run < o.common.runs; run++) {
		in_child(measure, m);
		for (unsigned i = 0; i < NCOLUMNS; i++)
			samples_add(&s[i], m->v[i]);
	}
	r = report_new("pin");
	report_table(r, "pin", "one-sided reads of a large memory", columns, NCOLUMNS);
	report_row_medians(r, size_text(name, o.size), s);
	report_finding(r, "serving_ms", "ms until the first page was read one-sided",
		       samples_median(&s[SERVING]), 5);
	report_finding(r, "pinned_of_bound", "registered at the most, of what is permitted",
		       samples_median(&s[OF_BOUND]), 1);
	return report_end(r, &o.common);
}
