/* Which chunks of the owner's memory can be read; see reach_table.h. */
#include "libcor/paging/reach_table.h"

#include <errno.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

/* A chunk that was used so lately is not given back: requests for it may be on their way
 * through the pager. */
#define FRESH_NS (10 * UINT64_C(1000000))

struct reach_chunk *reach_table_find(struct reach_table *t, uint64_t offset)
{
	uint64_t key = reach_chunk_of(offset);

	for (unsigned i = 0; i < t->n; i++)
		if (t->key[i] == key)
			return &t->chunk[i];
	return NULL;
}

const struct reach_range *reach_chunk_find(const struct reach_chunk *c, uint64_t offset)
{
	for (unsigned i = 0; i < c->n; i++)
		if (offset >= c->range[i].offset && offset - c->range[i].offset < c->range[i].len)
			return &c->range[i];
	return NULL;
}

static int say(struct reach_table *t, enum reach_kind kind, uint64_t key)
{
	const struct reach_message m = { .kind = kind, .offset = key };
	int r = t->said - t->heard < REACH_UNHEARD ? t->say(t->arg, &m) : -EAGAIN;

	if (r == 0)
		t->said++;
	return r;
}

static int drop(struct reach_table *t, unsigned i)
{
	int r = say(t, REACH_DROP, t->key[i]);

	if (r < 0)
		return r;
	t->bytes -= t->chunk[i].bytes;
	t->n--;
	t->key[i] = t->key[t->n];
	t->chunk[i] = t->chunk[t->n];
	return 0;
}

/* Gives the one back that was not used for longest. */
static int drop_oldest(struct reach_table *t, uint64_t now)
{
	unsigned oldest = t->n;

	for (unsigned i = 0; i < t->n; i++) {
		const struct reach_chunk *c = &t->chunk[i];

		if (c->wanted || c->reading || now - c->used_ns < FRESH_NS)
			continue;
		if (oldest == t->n || c->used_ns < t->chunk[oldest].used_ns)
			oldest = i;
	}
	return oldest < t->n ? drop(t, oldest) : -EBUSY;
}

/* Each chunk that is asked for may be all data. */
static bool is_full(const struct reach_table *t)
{
	return t->n == COR_REACH_CHUNKS || t->bytes + (t->wants + 1) * COR_REACH_CHUNK > t->bound;
}

static void want(struct reach_table *t, uint64_t key)
{
	uint64_t now = cor_now_ns();

	if (t->wants == REACH_WANTS || t->bound < COR_REACH_CHUNK)
		return;
	while (is_full(t))
		if (drop_oldest(t, now) < 0)
			return;
	if (say(t, REACH_WANT, key) < 0)
		return;
	t->key[t->n] = key;
	t->chunk[t->n++] = (struct reach_chunk){ .wanted = true, .used_ns = now, .heard = t->said };
	t->wants++;
}

/* One fault says little: a chunk is worth the owner's trouble where another one follows. */
void reach_table_miss(struct reach_table *t, uint64_t offset)
{
	uint64_t key = reach_chunk_of(offset);

	for (unsigned i = 0; i < REACH_SEEN; i++) {
		if (t->seen[i] == key + 1) {
			want(t, key);
			return;
		}
	}
	t->seen[t->next_seen++ % REACH_SEEN] = key + 1;
}

int reach_table_take(struct reach_table *t, const struct reach_message *m)
{
	struct reach_chunk *c = reach_table_find(t, m->offset);
	const struct reach_range *last;

	if (!c || !c->wanted || m->object || !reach_aligned(m->offset | m->len))
		return -EPROTO;
	last = c->n ? &c->range[c->n - 1] : NULL;
	if (m->len > COR_REACH_CHUNK - (m->offset - reach_chunk_of(m->offset)) ||
	    (last && m->offset < last->offset + last->len) ||
	    (m->len && c->n == COR_REACH_RANGES))
		return -EPROTO;
	if (m->len) {
		c->range[c->n++] = (struct reach_range){ m->offset, m->len, { m->remote, m->key } };
		c->bytes += m->len;
		t->bytes += m->len;
	}
	if (m->left)
		return 0;
	c->wanted = false;
	t->wants--;
	/* messages are taken in their order */
	t->heard = COR_MAX(t->heard, c->heard);
	return 0;
}
