/* The progress bar; see progress.h. */
#include "tools/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "tools/output.h"

#define PAGE 4096.0
#define BAR_MAX 40u
#define BAR_MIN 8u
/* How often the rate is taken, and how much the newest counts. */
#define RATE_NS 250000000u
#define RATE_WEIGHT 0.4

static void format_eta(char *buf, size_t size, const struct progress_view *v)
{
	uint64_t left;

	buf[0] = 0;
	if (v->rate < 1 || v->total <= v->done)
		return;
	left = (uint64_t)((double)(v->total - v->done) / v->rate + 0.5);
	if (left < 360000)
		snprintf(buf, size, "  ETA %u:%02u", (unsigned)(left / 60), (unsigned)(left % 60));
}

static void format_bar(char *buf, size_t size, unsigned cells, double part)
{
	unsigned full = (unsigned)(part * cells);

	if (cells + 3 > size)
		cells = (unsigned)size - 3;
	buf[0] = '[';
	for (unsigned i = 0; i < cells; i++)
		buf[i + 1] = i < full ? '#' : '-';
	buf[cells + 1] = ']';
	buf[cells + 2] = 0;
}

void progress_line(char *buf, size_t size, unsigned width, const struct progress_view *v)
{
	char head[160], tail[160], bar[BAR_MAX + 3] = "", rate[32], eta[32];
	double part = v->total ? (double)COR_MIN(v->done, v->total) / (double)v->total : 0;
	unsigned used;

	snprintf(head, sizeof(head), "%.16s (%lld) to %.40s: %s ", v->comm, (long long)v->pid,
		 v->peer, v->state);
	if (v->total) {
		format_eta(eta, sizeof(eta), v);
		snprintf(tail, sizeof(tail), " %3.0f %%  %llu/%llu pages  %s/s  %llu faults%s",
			 part * 100, (unsigned long long)v->done, (unsigned long long)v->total,
			 output_bytes(rate, sizeof(rate), v->rate * PAGE),
			 (unsigned long long)v->faults, eta);
	} else {
		tail[0] = 0;
	}
	used = (unsigned)(strlen(head) + strlen(tail)) + 2;
	if (v->total && used + BAR_MIN <= width)
		format_bar(bar, sizeof(bar), COR_MIN(width - used, BAR_MAX), part);
	snprintf(buf, COR_MIN(size, (size_t)width + 1), "%s%s%s", head, bar, tail);
}

void progress_begin(struct progress *p)
{
	memset(p, 0, sizeof(*p));
	p->on = isatty(STDERR_FILENO) == 1;
}

static void take_rate(struct progress *p, uint64_t pages)
{
	uint64_t now = cor_now_ns();
	double rate;

	if (!p->last_ns || pages < p->last_pages) {
		p->last_ns = now;
		p->last_pages = pages;
		return;
	}
	if (now - p->last_ns < RATE_NS)
		return;
	rate = (double)(pages - p->last_pages) * 1e9 / (double)(now - p->last_ns);
	p->rate = p->rate > 0 ? p->rate + RATE_WEIGHT * (rate - p->rate) : rate;
	p->last_ns = now;
	p->last_pages = pages;
}

static unsigned terminal_width(void)
{
	struct winsize w;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col < 20)
		return 79;
	return w.ws_col - 1u;
}

void progress_show(struct progress *p, const json_t *event)
{
	struct progress_view v = {
		.comm = output_text(event, "comm"),
		.peer = output_text(event, "peer"),
		.state = output_text(event, "state"),
		.pid = output_number(event, "pid"),
		.total = (uint64_t)output_number(event, "pages_total"),
		.faults = (uint64_t)output_number(event, "faults"),
	};
	char line[512];

	if (!p->on)
		return;
	v.done = (uint64_t)(output_number(event, "pages_demand") +
			    output_number(event, "pages_prefetched") +
			    output_number(event, "pages_eager"));
	take_rate(p, v.done);
	v.rate = p->rate;
	progress_line(line, sizeof(line), terminal_width(), &v);
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
	p->drawn = true;
}

void progress_end(struct progress *p)
{
	if (p->drawn)
		fputs("\r\033[K", stderr);
	p->drawn = false;
}
