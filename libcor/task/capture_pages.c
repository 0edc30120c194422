/* Reading the memory of a task that is being captured. */
#include "libcor/task/capture_base.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "libcor/base/pagemap_bits.h"

static int opened(struct cor_capture *c, const char *name, int *fd)
{
	if (*fd < 0)
		*fd = openat(c->proc, name, O_RDONLY | O_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

/* Through /proc/PID/mem, which reads PROT_NONE memory too. */
int cor_capture_read(struct cor_capture *c, uint64_t addr, void *buf, size_t len)
{
	int r = opened(c, "mem", &c->mem);

	if (r < 0)
		return r;
	while (len) {
		ssize_t n = pread(c->mem, buf, len, (off_t)addr);

		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		buf = (char *)buf + n;
		addr += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* False for a page never touched, and for one that is itself still to be
 * fetched: reading that would wait for its own pager. */
bool cor_capture_page_is_there(struct cor_capture *c, uint64_t addr)
{
	struct cor_capture_seen *seen = &c->seen;
	uint64_t page = addr / 4096;

	/* the next one asked for is often a neighbour */
	if (page - seen->first >= seen->n) {
		ssize_t got = opened(c, "pagemap", &c->pagemap) < 0 ? 0 :
			      pread(c->pagemap, seen->entry, sizeof(seen->entry),
				    (off_t)(page * sizeof(seen->entry[0])));

		seen->first = page;
		seen->n = got > 0 ? (unsigned)got / sizeof(seen->entry[0]) : 0;
		if (!seen->n)
			return false;
	}
	return seen->entry[page - seen->first] & (PM_PRESENT | PM_SWAPPED);
}

Cor__Task__Vma *cor_capture_find_vma(const Cor__Task__Image *image, uint64_t addr)
{
	size_t low = 0, high = image->memory ? image->memory->n_vmas : 0;

	while (low < high) {
		size_t mid = (low + high) / 2;
		Cor__Task__Vma *v = image->memory->vmas[mid];

		if (addr < v->start)
			high = mid;
		else if (addr >= v->end)
			low = mid + 1;
		else
			return v;
	}
	return NULL;
}
