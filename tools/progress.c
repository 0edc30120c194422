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

/* Share, pages, rate, faults and time left: the first parts of them. */
static unsigned format_tail(char *buf, size_t size, const struct progress_view *v, double part,
			    unsigned parts)
{
	char pages[64] = "", rate[48] = "", faults[40] = "", eta[32] = "", bytes[32];

	if (parts > 1)
		snprintf(pages, sizeof(pages), "  %llu/%llu pages", (unsigned long long)v->done,
			 (unsigned long long)v->total);
	if (parts > 2)
		snprintf(rate, sizeof(rate), "  %s/s",
			 output_bytes(bytes, sizeof(bytes), v->rate * PAGE));
	if (parts > 3)
		snprintf(faults, sizeof(faults), "  %llu faults", (unsigned long long)v->faults);
	if (parts > 4)
		format_eta(eta, sizeof(eta), v);
	return (unsigned)snprintf(buf, size, " %3.0f %%%s%s%s%s", part * 100, pages, rate, faults,
				  eta);
}

/* What has no room beside the bar is left out, the last first. */
void progress_line(char *buf, size_t size, unsigned width, const struct progress_view *v)
{
	char head[160], tail[200] = "", bar[BAR_MAX + 3] = "";
	double part = v->total ? (double)COR_MIN(v->done, v->total) / (double)v->total : 0;
	unsigned used = 0, parts = v->total ? 6 : 0;

	snprintf(head, sizeof(head), "%.16s (%lld) to %.40s: %s ", v->comm, (long long)v->pid,
		 v->peer, v->state);
	while (parts-- > 1) {
		used = (unsigned)strlen(head) + format_tail(tail, sizeof(tail), v, part, parts) + 2;
		if (used + BAR_MIN <= width)
			break;
	}
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
