/* The text of /proc/PID/maps as the page server reads it, where the kernel has no
 * PROCMAP_QUERY. The input: an address, then the text. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcor/paging/vma.h"
#include "tests/fuzz/fuzz.h"

/* Stands for /proc/PID: the only file that is asked for. */
static int text_fd;

int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	FUZZ_CHECK(strcmp(path, "maps") == 0);
	FUZZ_CHECK(lseek(text_fd, 0, SEEK_SET) == 0);
	return dup(text_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cor_vma_view view = { .proc_dir = -1, .maps_fd = -1, .query = false };
	struct fuzz_input in = { data, size };
	uint64_t addr = fuzz_u64(&in);
	struct cor_vma v;
	int r;

	if (!text_fd)
		text_fd = memfd_create("maps", MFD_CLOEXEC);
	FUZZ_CHECK(ftruncate(text_fd, 0) == 0);
	FUZZ_CHECK(pwrite(text_fd, in.data, in.size, 0) == (ssize_t)in.size);
	r = cor_vma_find(&view, addr, &v);
	FUZZ_CHECK(r == 0 || r == -ENOENT || r == -ESRCH || r == -EPROTO);
	FUZZ_CHECK(r || addr < v.end);
	return 0;
}
