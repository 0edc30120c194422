/* Mappings of a process, one at a time; see vma.h. */
#include "libcor/paging/vma.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/io.h"

static int find_by_query(int maps_fd, uint64_t addr, struct cor_vma *out)
{
	struct procmap_query q = {
		.size = sizeof(q),
		.query_flags = PROCMAP_QUERY_COVERING_OR_NEXT_VMA,
		.query_addr = addr,
	};

	if (ioctl(maps_fd, PROCMAP_QUERY, &q) < 0)
		return -errno;
	*out = (struct cor_vma){
		.start = q.vma_start, .end = q.vma_end, .offset = q.vma_offset, .inode = q.inode,
	};
	return 0;
}

static int find_in_text(int proc_dir, uint64_t addr, struct cor_vma *out)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = cor_slurp(proc_dir, "maps", &text, &len);

	if (r < 0)
		return r;
	if (len == 0)
		return -ESRCH;
	for (const char *line = text; line && *line; ) {
		struct cor_vma v;
		char head[128] = "";    /* without the name: sscanf measures all that it gets */

		memcpy(head, line, strnlen(line, sizeof(head) - 1));
		if (sscanf(head, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %" SCNu64,
			   &v.start, &v.end, &v.offset, &v.inode) != 4)
			return -EPROTO;
		if (v.start >> 63)      /* [vsyscall] is no mapping; PROCMAP_QUERY omits it too */
			break;
		if (addr < v.end) {
			*out = v;
			return 0;
		}
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return -ENOENT;
}

int cor_vma_open(struct cor_vma_view *out, int proc_dir)
{
	struct cor_vma_view v = { .proc_dir = proc_dir };
	struct cor_vma first;
	int r;

	v.maps_fd = openat(proc_dir, "maps", O_RDONLY | O_CLOEXEC);
	if (v.maps_fd < 0)
		return -errno;
	r = find_by_query(v.maps_fd, 0, &first);
	v.query = r == 0 || r == -ENOENT || r == -ESRCH;
	*out = v;
	return 0;
}

void cor_vma_close(struct cor_vma_view *v)
{
	cor_closep(&v->maps_fd);
	v->maps_fd = -1;
}

int cor_vma_find(const struct cor_vma_view *v, uint64_t addr, struct cor_vma *out)
{
	if (v->query)
		return find_by_query(v->maps_fd, addr, out);
	return find_in_text(v->proc_dir, addr, out);
}

/* By the mapping itself, or, without the right to that, by its name, if that still is the
 * same file. */
static int stat_file(const struct cor_vma_view *v, const struct cor_vma *vma, struct stat *st)
{
	char link[64], path[4096] = "root";
	ssize_t n;

	snprintf(link, sizeof(link), "map_files/%" PRIx64 "-%" PRIx64, vma->start, vma->end);
	if (fstatat(v->proc_dir, link, st, 0) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	n = readlinkat(v->proc_dir, link, path + 4, sizeof(path) - 5);
	if (n <= 0 || path[4] != '/')
		return -EPERM;
	path[4 + n] = 0;
	if (fstatat(v->proc_dir, path, st, 0) < 0 || st->st_ino != vma->inode)
		return -EPERM;
	return 0;
}

int cor_vma_beyond_file(const struct cor_vma_view *v, const struct cor_vma *vma, uint64_t addr)
{
	struct stat st;
	int r;

	if (!vma->inode)
		return false;
	r = stat_file(v, vma, &st);
	if (r < 0)
		return r;
	if (!S_ISREG(st.st_mode))
		return false;
	return vma->offset + (addr - vma->start) >= (uint64_t)st.st_size;
}
