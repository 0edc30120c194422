/* See pack.h. Costs are in ns for a KiB. What is sent is looked at in windows of some sends,
 * all of them packed or none. */
#include "libcor/paging/pack.h"

#include <limits.h>
#include <lz4.h>
#include <stdlib.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

/* A link on which no compressor pays: some 700 MB/s. */
#define FAST_LINK 1500u
/* Sends in a window; and windows of one way before one of the other. */
#define WINDOW 8u
#define STAY   8u
/* Nobody was waiting for us if nothing was asked for so long. */
#define PAUSE_NS (200 * 1000000ull)

struct cor_packer {
	uint64_t link;          /* to send as it is; 0: not known, or not what takes the time */
	uint64_t cost;          /* to pack; 0: not known */
	uint64_t left;          /* of 1024 bytes, packed */
	bool on;
	unsigned windows;       /* in this way */
	uint64_t from_ns;       /* time that is not in the window yet begins then: the last send's
				   end; 0: none yet */
	/* the window */
	unsigned sends;
	uint64_t passed_ns, spent_ns;   /* of time; of it, to pack */
	uint64_t cpu_from_ns, cpu_ns;   /* the thread's processor time before it, and now */
	size_t wire, raw, packed;       /* bytes sent; that were to be packed; what became of them */
	size_t used, room;      /* of buf */
	char buf[];
};

struct cor_packer *cor_packer_new(size_t raw)
{
	struct cor_packer *p = malloc(sizeof(*p) + raw);

	if (p)
		*p = (struct cor_packer){ .room = raw };
	return p;
}

void cor_packer_free(struct cor_packer *p)
{
	free(p);
}

/* Packing goes on while the kernel sends: the slower of the two counts. A little gain is not
 * worth the processor. */
static bool pays(const struct cor_packer *p)
{
	if (p->link < FAST_LINK)
		return false;
	return !p->cost || COR_MAX(p->cost, p->link * p->left / 1024) * 10 < p->link * 9;
}

static void begin_window(struct cor_packer *p)
{
	p->sends = 0;
	p->passed_ns = p->spent_ns = 0;
	p->cpu_from_ns = p->cpu_ns;
	p->wire = p->raw = p->packed = 0;
}

/* What the window has shown, and which way the next one goes. */
static void end_window(struct cor_packer *p)
{
	bool on;

	/* the rest of the time went in waiting: for requests, or in a full socket's send */
	if (!p->on)
		p->link = p->passed_ns > 4 * (p->cpu_ns - p->cpu_from_ns) ?
			  p->passed_ns * 1024 / COR_MAX(p->wire, (size_t)1) : 0;
	if (p->raw) {
		p->cost = COR_MAX(p->spent_ns * 1024 / p->raw, (uint64_t)1);
		p->left = p->packed * 1024 / p->raw;
	}
	p->windows++;
	on = pays(p);
	/* a slow link is now and then tried the other way */
	if (p->link >= FAST_LINK && p->windows >= STAY)
		on = !p->on;
	if (on != p->on)
		p->windows = on == pays(p) ? 0 : STAY - 1;
	p->on = on;
	begin_window(p);
}

bool cor_packer_begin(struct cor_packer *p, uint64_t now_ns)
{
	if (!p->from_ns || now_ns - p->from_ns > PAUSE_NS) {
		begin_window(p);
		p->from_ns = now_ns;
	}
	p->used = 0;
	return p->on;
}

size_t cor_pack(struct cor_packer *p, const void *data, size_t len, const void **out)
{
	size_t room = COR_MIN(len - len / 8, p->room - p->used);
	uint64_t from = cor_now_ns();
	int n = len <= INT_MAX ? LZ4_compress_default(data, p->buf + p->used, (int)len, (int)room) : 0;

	p->spent_ns += cor_now_ns() - from;
	p->raw += len;
	p->packed += n > 0 ? (size_t)n : len;
	*out = p->buf + p->used;
	p->used += n > 0 ? (size_t)n : 0;
	return n > 0 ? (size_t)n : 0;
}

void cor_packer_sent(struct cor_packer *p, size_t bytes, uint64_t now_ns, uint64_t cpu_ns)
{
	p->passed_ns += now_ns - p->from_ns;
	p->from_ns = now_ns;
	p->cpu_ns = cpu_ns;
	p->wire += bytes;
	if (++p->sends == WINDOW)
		end_window(p);
}

bool cor_unpack(const void *packed, size_t n, void *out, size_t len)
{
	return n <= INT_MAX && len <= INT_MAX &&
	       LZ4_decompress_safe(packed, out, (int)n, (int)len) == (int)len;
}
