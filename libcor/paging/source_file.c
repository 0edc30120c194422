/* A memory source: a part of a file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/paging/fdpages.h"
#include "libcor/paging/source.h"

#define PAGE (UINT64_C(1) << COR_PAGE_SHIFT)

struct file_source {
	struct cor_source base;
	int fd;
	uint64_t start, len;    /* bytes */
};

static int file_read(struct cor_source *s, uint16_t object, uint64_t offset,
		     unsigned npages, void *buf)
{
	struct file_source *f = (struct file_source *)s;
	uint64_t left;
	int r;

	if (object != 0)
		return -ENOENT;
	if (offset >= f->len)
		return 0;
	left = f->len - offset;
	npages = (unsigned)COR_MIN((uint64_t)npages, (left + PAGE - 1) / PAGE);
	r = cor_fd_read_pages(f->fd, f->start + offset, npages, buf);
	/* what follows the exported part in its last page is nobody's business */
	if (r > 0 && (uint64_t)r * PAGE > left)
		memset((char *)buf + left, 0, (uint64_t)r * PAGE - left);
	return r;
}

static int file_presence(struct cor_source *s, uint16_t object, uint64_t offset,
			 uint64_t npages, struct cor_page_run *runs, unsigned max,
			 uint64_t *next)
{
	struct file_source *f = (struct file_source *)s;
	uint64_t end = offset + npages * PAGE;
	uint64_t last = COR_MIN(end, (f->len + PAGE - 1) & ~(PAGE - 1));
	uint64_t seen = offset;
	int n = 0;

	if (object != 0)
		return -ENOENT;
	if (offset < last)
		n = cor_fd_runs(f->fd, f->start, offset, last, runs, max, &seen);
	if (n < 0)
		return n;
	*next = offset >= last || seen == last ? end : seen;
	return n;
}

static void file_close(struct cor_source *s)
{
	struct file_source *f = (struct file_source *)s;

	close(f->fd);
	free(f);
}

static const struct cor_source_ops file_ops = {
	.name = "file",
	.read = file_read,
	.presence = file_presence,
	.close = file_close,
};

int cor_source_file(struct cor_source **out, int fd, off_t off, size_t len,
		    struct cor_error *err)
{
	_cleanup_close_ int owned = fd;
	struct file_source *f;

	if (off < 0 || len == 0 || len > (uint64_t)INT64_MAX - PAGE - (uint64_t)off)
		return cor_fail(err, -EINVAL, "%zu bytes from %lld of descriptor %d cannot be served",
				len, (long long)off, fd);
	f = calloc(1, sizeof(*f));
	if (!f)
		return cor_fail(err, -ENOMEM, "serving descriptor %d: out of memory", fd);
	*f = (struct file_source){
		.base.ops = &file_ops, .fd = take_fd(&owned), .start = (uint64_t)off, .len = len,
	};
	*out = &f->base;
	return 0;
}
