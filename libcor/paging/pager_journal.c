/* What the pager keeps in its journal, and how another pager goes on from there. See
 * journal.h. */
#include "libcor/paging/pager_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/bytes.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/bits.h"
#include "libcor/paging/journal.h"
#include "libcor/paging/uffd.h"

/* A snapshot: the header, then the presences, then each address space with its tracks
 * and extents. Bitmaps follow what they belong to, where it says so. */
struct snap_head {
	uint32_t npresences, nmms;
	uint32_t next_mm;
	uint32_t unused;
};

struct snap_presence {
	uint64_t offset, npages;
	uint64_t known;         /* 0: the map is asked for anew; else it follows */
	uint16_t object;
	uint16_t whole;
	uint32_t unused;
};

struct snap_mm {
	uint32_t id;
	int32_t  uffd;
	uint32_t root;
	uint32_t ntracks, nextents;
	uint32_t unused;
};

struct snap_track {
	uint32_t presence;      /* its number */
	uint16_t shared;
	uint16_t dropped;       /* the map of dropped pages follows */
};

#define NO_TRACK UINT32_MAX

struct snap_extent {
	uint64_t start, npages, first;
	uint32_t track;         /* the address space's, NO_TRACK: none */
	uint32_t unused;
};

/* ---- writing ------------------------------------------------------------------------ */

static uint64_t map_bytes(const struct cor_presence *pr)
{
	return cor_bits_words(pr->npages) * sizeof(uint64_t);
}

static bool any(const uint64_t *bits, uint64_t words)
{
	for (uint64_t i = 0; i < words; i++)
		if (bits[i])
			return true;
	return false;
}

static void put_presence(struct cor_bytes *out, const struct cor_presence *pr)
{
	bool whole_map = pr->known == pr->npages && !pr->whole;
	struct snap_presence s = { .offset = pr->offset, .npages = pr->npages,
				   .known = whole_map ? pr->known : 0,
				   .object = pr->object, .whole = pr->whole };

	cor_bytes_put(out, &s, sizeof(s));
	if (whole_map)
		cor_bytes_put(out, pr->data, map_bytes(pr));
}

static uint32_t number_of(const struct cor_pager *p, const struct cor_presence *pr)
{
	uint32_t i = 0;

	while (p->presences[i] != pr)
		i++;
	return i;
}

/* fresh: nothing was dropped yet, which then is not looked for. */
static void put_track(struct cor_bytes *out, const struct cor_pager *p,
		      const struct cor_track *t, bool fresh)
{
	struct snap_track s = {
		.presence = number_of(p, t->presence), .shared = t->shared,
		.dropped = !fresh && any(t->drop, cor_bits_words(t->presence->npages)),
	};

	cor_bytes_put(out, &s, sizeof(s));
	if (s.dropped)
		cor_bytes_put(out, t->drop, map_bytes(t->presence));
}

/* Tracks get their numbers as they are met. */
static uint32_t count_tracks(struct pager_mm *mm)
{
	uint32_t n = 0;

	for (size_t i = 0; i < mm->space.n; i++)
		if (mm->space.extents[i].track)
			mm->space.extents[i].track->number = NO_TRACK;
	for (size_t i = 0; i < mm->space.n; i++) {
		struct cor_track *t = mm->space.extents[i].track;

		if (t && t->number == NO_TRACK)
			t->number = n++;
	}
	return n;
}

static void put_mm(struct cor_bytes *out, const struct cor_pager *p, struct pager_mm *mm,
		   bool fresh)
{
	struct snap_mm s = { .id = mm->id, .uffd = mm->uffd, .root = mm->root,
			     .ntracks = count_tracks(mm), .nextents = (uint32_t)mm->space.n };
	uint32_t next = 0;

	cor_bytes_put(out, &s, sizeof(s));
	for (size_t i = 0; i < mm->space.n; i++) {
		const struct cor_track *t = mm->space.extents[i].track;

		if (t && t->number == next) {
			put_track(out, p, t, fresh);
			next++;
		}
	}
	for (size_t i = 0; i < mm->space.n; i++) {
		const struct cor_extent *e = &mm->space.extents[i];
		struct snap_extent x = { e->start, e->npages, e->first,
					 e->track ? e->track->number : NO_TRACK, 0 };

		cor_bytes_put(out, &x, sizeof(x));
	}
}

static int write_snapshot(struct cor_pager *p, bool fresh)
{
	_cleanup_bytes_ struct cor_bytes out = { 0 };
	struct snap_head h = { .npresences = p->npresences, .next_mm = p->next_mm };
	struct pager_mm *mm;

	TAILQ_FOREACH(mm, &p->mms, link)
		h.nmms += !mm->gone;
	cor_bytes_put(&out, &h, sizeof(h));
	for (unsigned i = 0; i < p->npresences; i++)
		put_presence(&out, p->presences[i]);
	TAILQ_FOREACH(mm, &p->mms, link)
		if (!mm->gone)
			put_mm(&out, p, mm, fresh);
	return out.failed ? -ENOMEM : cor_journal_snapshot(p->journal, out.data, out.len);
}

/* Paging goes on, but nobody could go on from here. */
static void give_up(struct cor_pager *p)
{
	cor_journal_break(p->journal);
	p->journal = NULL;
}

/* ---- while paging --------------------------------------------------------------------- */

/* The bits of the task's own pages move into the journal. */
static int move_bits(struct cor_pager *p)
{
	uint64_t words = 0, *at;
	int r;

	for (unsigned i = 0; i < p->npresences; i++)
		words += cor_bits_words(p->presences[i]->npages);
	if (!words)
		return 0;
	r = cor_journal_have(p->journal, words, &at);
	for (unsigned i = 0; r == 0 && i < p->npresences; i++) {
		struct cor_track *t = p->presences[i]->tracks;

		while (t && t->space != &p->root->space)
			t = t->sibling;
		if (t)
			cor_track_move(t, at);
		at += cor_bits_words(p->presences[i]->npages);
	}
	return r;
}

int pager_journal_prepare(struct cor_pager *p, struct cor_error *err)
{
	int r = move_bits(p);

	return r < 0 ? cor_fail_code(err, r, "the pager's journal") : 0;
}

int pager_journal_start(struct cor_pager *p, struct cor_error *err)
{
	/* the regions that were set have been prepared */
	int r = p->nset ? 0 : move_bits(p);

	if (r == 0)
		r = write_snapshot(p, true);
	return r < 0 ? cor_fail_code(err, r, "the pager's journal") : 0;
}

struct uffd_msg *pager_journal_room(struct cor_pager *p, const struct pager_mm *mm, unsigned n)
{
	struct uffd_msg *room = cor_journal_room(p->journal, mm->id, n);

	if (room)
		return room;
	if (write_snapshot(p, false) < 0) {
		give_up(p);
		return NULL;
	}
	return cor_journal_room(p->journal, mm->id, n);
}

/* Faults are not worth keeping, and as a rule there is nothing else. */
void pager_journal_read(struct cor_pager *p, const struct uffd_msg *m, ssize_t len)
{
	unsigned n = len > 0 ? (unsigned)((size_t)len / sizeof(*m)) : 0;
	bool keep = false;

	for (unsigned i = 0; i < n; i++)
		keep |= m[i].event != UFFD_EVENT_PAGEFAULT;
	cor_journal_read(p->journal, n, keep);
}

void pager_journal_closed(struct cor_pager *p, const struct pager_mm *mm)
{
	if (p->journal && !cor_journal_closed(p->journal, mm->id) && write_snapshot(p, false) < 0)
		give_up(p);
}

/* ---- reading --------------------------------------------------------------------------- */

struct snap {
	struct cor_pager *p;
	const char *at, *end;
};

static const void *take(struct snap *s, uint64_t n)
{
	const char *at = s->at;

	if (n > (uint64_t)(s->end - s->at))
		return NULL;
	s->at += n;
	return at;
}

static int take_presence(struct snap *s)
{
	const struct snap_presence *x = take(s, sizeof(*x));
	struct cor_presence *pr, **list;
	const void *data;

	if (!x || !x->npages || x->npages > UINT64_MAX >> COR_PAGE_SHIFT ||
	    (x->known && x->known != x->npages))
		return -EPROTO;
	list = reallocarray(s->p->presences, s->p->npresences + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	s->p->presences = list;
	pr = cor_presence_new(x->object, x->offset, x->npages, x->whole);
	if (!pr)
		return -ENOMEM;
	list[s->p->npresences++] = pr;
	if (!x->known) {
		s->p->unknown += !x->whole;
		return 0;
	}
	data = take(s, map_bytes(pr));
	if (!data)
		return -EPROTO;
	cor_presence_load(pr, data);
	return 0;
}

static int take_track(struct snap *s, struct cor_space *space, struct cor_track **out)
{
	const struct snap_track *x = take(s, sizeof(*x));
	const void *drop;
	struct cor_track *t;

	if (!x || x->presence >= s->p->npresences)
		return -EPROTO;
	t = cor_track_new(s->p->presences[x->presence], space, x->shared);
	if (!t)
		return -ENOMEM;
	*out = t;
	drop = x->dropped ? take(s, map_bytes(t->presence)) : NULL;
	if (x->dropped && !drop)
		return -EPROTO;
	if (drop)
		cor_track_load(t, COR_TRACK_DROPPED, drop);
	return 0;
}

static int take_extent(struct snap *s, struct cor_space *space, struct cor_track **tracks,
		       uint32_t ntracks)
{
	const struct snap_extent *x = take(s, sizeof(*x));
	struct cor_track *t;

	if (!x || (x->track != NO_TRACK && x->track >= ntracks))
		return -EPROTO;
	t = x->track == NO_TRACK ? NULL : tracks[x->track];
	if (t && (x->first > t->presence->npages || x->npages > t->presence->npages - x->first))
		return -EPROTO;
	return cor_space_add(space, x->start, x->npages, t, x->first);
}

static int take_mm(struct snap *s)
{
	const struct snap_mm *x = take(s, sizeof(*x));
	_cleanup_free_ struct cor_track **tracks = NULL;
	struct pager_mm *mm;
	int r = 0;

	if (!x || x->ntracks > (uint64_t)(s->end - s->at))
		return -EPROTO;
	tracks = calloc(x->ntracks + 1, sizeof(*tracks));
	mm = x->root ? s->p->root : pager_mm_new(s->p, -1);
	if (!tracks || !mm)
		return -ENOMEM;
	mm->id = x->id;
	mm->uffd = x->uffd;
	for (uint32_t i = 0; r == 0 && i < x->ntracks; i++)
		r = take_track(s, &mm->space, &tracks[i]);
	for (uint32_t i = 0; r == 0 && i < x->nextents; i++)
		r = take_extent(s, &mm->space, tracks, x->ntracks);
	for (uint32_t i = 0; i < x->ntracks; i++)
		cor_track_unref(tracks[i]);
	return r;
}

static int take_snapshot(struct cor_pager *p)
{
	_cleanup_free_ void *bytes = NULL;
	const struct snap_head *h;
	struct snap s = { .p = p };
	bool root = false;
	size_t len;
	int r = cor_journal_load(p->journal, &bytes, &len);

	if (r < 0)
		return r;
	s.at = bytes;
	s.end = s.at + len;
	h = take(&s, sizeof(*h));
	if (!h)
		return -EPROTO;
	for (uint32_t i = 0; r == 0 && i < h->npresences; i++)
		r = take_presence(&s);
	for (uint32_t i = 0; r == 0 && i < h->nmms; i++) {
		root |= ((const struct snap_mm *)s.at)->root;
		r = take_mm(&s);
	}
	p->next_mm = h->next_mm;
	if (r == 0 && !root)
		pager_mm_close(p, p->root);
	return r;
}

static struct pager_mm *find_mm(struct cor_pager *p, uint32_t id)
{
	struct pager_mm *mm;

	TAILQ_FOREACH(mm, &p->mms, link)
		if (mm->id == id)
			return mm;
	return NULL;
}

/* An event that the pager before us has read. */
static int replay(void *arg, uint32_t id, const struct uffd_msg *m)
{
	struct cor_pager *p = arg;
	struct pager_mm *mm = find_mm(p, id);

	if (!mm)
		return -EPROTO;
	if (m) {
		pager_mm_event(p, mm, m);
	} else {
		mm->uffd = -1;          /* closed, or it is found to be nobody's */
		pager_mm_close(p, mm);
	}
	return atomic_load(&p->state) == COR_PAGER_FAILED ? -ENOMEM : 0;
}

/* The bits of the pages: the task's own, and for shared memory its children's too, in
 * which a page is there for all as soon as it is there for one. */
static int merge_bits(struct cor_pager *p)
{
	uint64_t words = 0, *at;
	int r;

	for (unsigned i = 0; i < p->npresences; i++)
		words += cor_bits_words(p->presences[i]->npages);
	if (!words)
		return 0;
	r = cor_journal_have(p->journal, words, &at);
	for (unsigned i = 0; r == 0 && i < p->npresences; i++) {
		struct cor_presence *pr = p->presences[i];

		for (struct cor_track *t = pr->tracks; t; t = t->sibling) {
			bool own = t->space == &p->root->space;

			if (own || t->shared)
				cor_track_load(t, COR_TRACK_INSTALLED, at);
			if (!own)
				continue;
			memcpy(at, t->have, map_bytes(pr));
			cor_track_move(t, at);
		}
		at += cor_bits_words(pr->npages);
	}
	return r;
}

static bool is_uffd(int fd)
{
	char path[40], what[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, what, sizeof(what) - 1);
	what[COR_MAX(n, 0)] = 0;
	return strstr(what, "[userfaultfd]") != NULL;
}

/* Faults that were read by the pager before us are not told again: whoever waits for one
 * is woken, and asks anew. */
static int wake_all(struct cor_pager *p)
{
	struct pager_mm *mm, *next;

	for (mm = TAILQ_FIRST(&p->mms); mm; mm = next) {
		next = TAILQ_NEXT(mm, link);
		if (!is_uffd(mm->uffd))
			return -EBADF;
		fcntl(mm->uffd, F_SETFL, O_NONBLOCK);
		pager_mm_wake(mm);
		mm->readable = true;
	}
	return 0;
}

static bool is_served(const struct cor_pager *p, int fd)
{
	const struct pager_mm *mm;

	TAILQ_FOREACH(mm, &p->mms, link)
		if (mm->uffd == fd)
			return true;
	return false;
}

/* p NULL: all of them. */
static void close_uffds(const struct cor_pager *p)
{
	_cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (fd > STDERR_FILENO && is_uffd(fd) && !(p && is_served(p, fd)))
			close(fd);
	}
}

void cor_pager_close_all_uffds(void)
{
	close_uffds(NULL);
}

int pager_journal_take(struct cor_pager *p, struct cor_error *err)
{
	uint64_t total = 0;
	int r = take_snapshot(p);

	if (r == 0)
		r = cor_journal_replay(p->journal, replay, p);
	if (r == 0)
		r = merge_bits(p);
	if (r == 0)
		r = wake_all(p);
	if (r < 0)
		return cor_fail_code(err, r, "going on from the pager's journal");
	close_uffds(p);         /* noted as closed, but the death came first */
	cor_journal_saved(p->journal, &p->stats);
	for (unsigned i = 0; i < p->npresences; i++)
		total += p->presences[i]->counted;
	p->stats.pages_total = total;
	p->stats.presence_known = !p->unknown;
	p->started_at = cor_journal_began(p->journal);
	return 0;
}
