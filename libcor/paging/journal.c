/* The pager's journal as bytes; see journal.h.
 *
 * The events of one read(2) lie behind a slot of ours that says of which address space
 * they are. A slot whose event is 0 is free: the first free one ends the list, however
 * the writer died. There are two lists and two snapshots; the generation says which are
 * the valid ones, so that one store of it replaces both. */
#include "libcor/paging/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/paging/pager.h"

#define MAGIC    "corjrnl"
#define VERSION  1
#define SLOTS    4096u
#define LIST_LEN (SLOTS * sizeof(struct uffd_msg))

/* Where things lie in the file, which is as good as empty. */
#define STATS_AT    4096ull
#define LISTS_AT    (128ull << 10)
#define WINDOW      (LISTS_AT + 2 * LIST_LEN)
#define HAVE_AT     (1ull << 30)
#define HAVE_MAX    (1ull << 38)
#define HAVE_READY  (64ull << 10)   /* of it, in place before it is asked for: 2 GiB of pages */
#define SNAPSHOT_AT (1ull << 40)
#define FILE_SIZE   (3 * SNAPSHOT_AT)

/* Slots of ours; the kernel's events begin at 0x12. */
enum { SLOT_MM = 1, SLOT_CLOSED = 2 };

struct head {
	char     magic[8];
	uint32_t version;
	_Atomic uint32_t broken;
	_Atomic uint64_t generation;    /* 0: nothing yet */
	uint64_t snapshot_len[2];       /* by generation % 2 */
	uint64_t started_at;
};

struct cor_journal {
	int fd;
	struct head *head;
	struct uffd_msg *list;          /* the valid one */
	unsigned used;                  /* slots of it */
	uint64_t *have;
	size_t have_len;
};

static_assert(STATS_AT + sizeof(struct cor_paging_stats) <= LISTS_AT, "the figures have room");

static struct uffd_msg *list_of(const struct cor_journal *j, uint64_t generation)
{
	return (struct uffd_msg *)((char *)j->head + LISTS_AT + (generation % 2) * LIST_LEN);
}

static int map(struct cor_journal *j)
{
	void *m = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, 0);

	if (m == MAP_FAILED)
		return -errno;
	j->head = m;
	return 0;
}

static int map_have(struct cor_journal *j, size_t len)
{
	void *m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, j->fd, HAVE_AT);

	if (m == MAP_FAILED)
		return -errno;
	j->have = m;
	j->have_len = len;
	return 0;
}

int cor_journal_new(struct cor_journal **out, struct cor_error *err)
{
	struct cor_journal *j = calloc(1, sizeof(*j));
	int r = 0;

	if (!j)
		return cor_fail(err, -ENOMEM, "out of memory for a journal");
	j->fd = memfd_create("cor-journal", MFD_CLOEXEC);
	if (j->fd < 0 || ftruncate(j->fd, FILE_SIZE) < 0)
		r = -errno;
	if (r == 0)
		r = map(j);
	if (r == 0)
		r = map_have(j, HAVE_READY);
	/* what the fault path writes to is there before it does */
	if (r == 0 && (madvise(j->head, WINDOW, MADV_POPULATE_WRITE) < 0 ||
		       madvise(j->have, HAVE_READY, MADV_POPULATE_WRITE) < 0))
		r = errno == EINVAL ? -posix_fallocate(j->fd, 0, WINDOW) : -errno;
	if (r < 0) {
		cor_journal_free(j);
		return cor_fail_code(err, r, "making the pager's journal");
	}
	memcpy(j->head->magic, MAGIC, sizeof(j->head->magic));
	j->head->version = VERSION;
	j->list = list_of(j, 0);
	*out = j;
	return 0;
}

int cor_journal_open(struct cor_journal **out, int fd, struct cor_error *err)
{
	struct cor_journal *j = calloc(1, sizeof(*j));
	struct stat st;
	int r;

	if (!j) {
		close(fd);
		return cor_fail(err, -ENOMEM, "out of memory for a journal");
	}
	j->fd = fd;
	r = fstat(fd, &st) < 0 ? -errno : (uint64_t)st.st_size != FILE_SIZE ? -EPROTO : map(j);
	if (r == 0 && (memcmp(j->head->magic, MAGIC, sizeof(j->head->magic)) ||
		       j->head->version != VERSION))
		r = -EPROTO;
	if (r == 0 && (!atomic_load(&j->head->generation) || atomic_load(&j->head->broken)))
		r = -ENODATA;
	if (r < 0) {
		cor_journal_free(j);
		return cor_fail_code(err, r, "nothing can be gone on from in the pager's journal");
	}
	j->list = list_of(j, atomic_load(&j->head->generation));
	*out = j;
	return 0;
}

void cor_journal_free(struct cor_journal *j)
{
	if (!j)
		return;
	if (j->have)
		munmap(j->have, j->have_len);
	if (j->head)
		munmap(j->head, WINDOW);
	cor_closep(&j->fd);
	free(j);
}

int cor_journal_fd(const struct cor_journal *j)
{
	return j->fd;
}

/* ---- events ------------------------------------------------------------------------ */

struct uffd_msg *cor_journal_room(struct cor_journal *j, uint32_t mm, unsigned n)
{
	struct uffd_msg *slot = &j->list[j->used];

	if (j->used + n + 1 > SLOTS)
		return NULL;
	slot->arg.reserved.reserved1 = mm;
	slot->event = SLOT_MM;
	return slot + 1;
}

void cor_journal_read(struct cor_journal *j, unsigned n, bool keep)
{
	if (keep) {
		j->used += n + 1;
		return;
	}
	for (unsigned i = n + 1; i-- > 0;)
		j->list[j->used + i].event = 0;
}

bool cor_journal_closed(struct cor_journal *j, uint32_t mm)
{
	struct uffd_msg *slot = &j->list[j->used];

	if (j->used == SLOTS)
		return false;
	slot->arg.reserved.reserved1 = mm;
	atomic_signal_fence(memory_order_release);
	slot->event = SLOT_CLOSED;
	j->used++;
	return true;
}

/* Behind what was read, in full or up to the death, whatever there is is stale. */
static void find_end(struct cor_journal *j)
{
	while (j->used < SLOTS && j->list[j->used].event)
		j->used++;
	if (j->used && j->list[j->used - 1].event == SLOT_MM)
		j->used--;
	memset(&j->list[j->used], 0, (SLOTS - j->used) * sizeof(*j->list));
}

int cor_journal_replay(struct cor_journal *j,
		       int (*fn)(void *arg, uint32_t mm, const struct uffd_msg *m), void *arg)
{
	uint32_t mm = 0;
	int r = 0;

	find_end(j);
	for (unsigned i = 0; r == 0 && i < j->used; i++) {
		const struct uffd_msg *m = &j->list[i];

		switch (m->event) {
		case SLOT_MM:
			mm = (uint32_t)m->arg.reserved.reserved1;
			break;
		case SLOT_CLOSED:
			r = fn(arg, (uint32_t)m->arg.reserved.reserved1, NULL);
			break;
		case UFFD_EVENT_PAGEFAULT:
			break;          /* asked again, once woken */
		default:
			r = fn(arg, mm, m);
		}
	}
	return r;
}

/* ---- snapshots --------------------------------------------------------------------- */

static int write_all(int fd, const char *bytes, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, bytes, len, (off_t)at);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			bytes += n;
			at += (uint64_t)n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int cor_journal_snapshot(struct cor_journal *j, const void *bytes, size_t len)
{
	uint64_t next = atomic_load(&j->head->generation) + 1;
	int r = len < SNAPSHOT_AT ? write_all(j->fd, bytes, len, SNAPSHOT_AT * (1 + next % 2)) :
		-EFBIG;

	if (r < 0)
		return r;
	j->head->snapshot_len[next % 2] = len;
	if (next > 1)
		memset(list_of(j, next), 0, LIST_LEN);
	atomic_store(&j->head->generation, next);
	j->list = list_of(j, next);
	j->used = 0;
	return 0;
}

void cor_journal_break(struct cor_journal *j)
{
	atomic_store(&j->head->broken, 1);
}

int cor_journal_load(struct cor_journal *j, void **bytes, size_t *len)
{
	uint64_t now = atomic_load(&j->head->generation);
	size_t want = j->head->snapshot_len[now % 2];
	_cleanup_free_ char *buf = malloc(want + 1);
	size_t got = 0;

	if (!buf)
		return -ENOMEM;
	while (got < want) {
		ssize_t n = pread(j->fd, buf + got, want - got,
				  (off_t)(SNAPSHOT_AT * (1 + now % 2) + got));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EPROTO;
		got += n > 0 ? (size_t)n : 0;
	}
	*bytes = take_ptr(buf);
	*len = want;
	return 0;
}

int cor_journal_have(struct cor_journal *j, uint64_t words, uint64_t **out)
{
	size_t len = words * sizeof(**out);
	int r = 0;

	if (!words || len > HAVE_MAX)
		return -EINVAL;
	if (len > j->have_len) {
		if (j->have)
			munmap(j->have, j->have_len);
		j->have = NULL;
		r = map_have(j, len);
	}
	*out = j->have;
	return r;
}

/* ---- figures ----------------------------------------------------------------------- */

void cor_journal_begin(struct cor_journal *j, uint64_t started_at)
{
	j->head->started_at = started_at;
}

uint64_t cor_journal_began(const struct cor_journal *j)
{
	return j->head->started_at;
}

void cor_journal_save(struct cor_journal *j, const struct cor_paging_stats *stats)
{
	memcpy((char *)j->head + STATS_AT, stats, sizeof(*stats));
}

void cor_journal_saved(const struct cor_journal *j, struct cor_paging_stats *out)
{
	memcpy(out, (char *)j->head + STATS_AT, sizeof(*out));
}
