/* Pages behind a descriptor; see fdpages.h. */
#include "libcor/paging/fdpages.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/paging/pagemap.h"

#define PAGE (UINT64_C(1) << COR_PAGE_SHIFT)

int cor_fd_read_pages(int fd, uint64_t offset, unsigned npages, void *buf)
{
	size_t want = npages * PAGE, got = 0, tail;

	if (offset > INT64_MAX - want)
		return 0;
	while (got < want) {
		ssize_t n = pread(fd, (char *)buf + got, want - got, (off_t)(offset + got));

		if (n == 0)
			break;
		if (n > 0) {
			got += (size_t)n;
		} else if (errno != EINTR) {
			/* the pages before the failing one are good, a part of it is not */
			return got >= PAGE ? (int)(got / PAGE) : -errno;
		}
	}
	tail = got % PAGE;
	if (tail) {
		memset((char *)buf + got, 0, PAGE - tail);
		got += PAGE - tail;
	}
	return (int)(got / PAGE);
}

int cor_fd_runs(int fd, uint64_t base, uint64_t start, uint64_t end,
		struct cor_page_run *runs, unsigned max, uint64_t *next)
{
	unsigned n = 0;

	while (start < end) {
		off_t data = lseek(fd, (off_t)(base + start), SEEK_DATA), hole;
		uint64_t from, to;

		if (data < 0 && errno == ENXIO)
			break;                       /* no data up to the end */
		if (data < 0 && errno != EINVAL)
			return -errno;
		hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
		if (hole < 0) {                      /* it cannot tell: all of it may be data */
			from = start;
			to = end;
		} else {
			from = COR_MAX(((uint64_t)data - base) & ~(PAGE - 1), start);
			to = COR_MIN(((uint64_t)hole - base + PAGE - 1) & ~(PAGE - 1), end);
		}
		if (from < end && !cor_runs_add(runs, max, &n, from, to, 0, next))
			return (int)n;
		start = from < end ? to : end;
	}
	*next = end;
	return (int)n;
}
