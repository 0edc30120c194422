/* The build-id of a file behind a mapping, on the source and on the destination. */
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/task/capture_base.h"
#include "libcor/task/rebuild.h"
#include "tests/fuzz/fuzz.h"

static bool same(int fd, uint8_t *id, size_t len)
{
	Cor__Task__Memory memory = COR__TASK__MEMORY__INIT;
	Cor__Task__File file = COR__TASK__FILE__INIT, *files = &file;
	char path[64];
	struct stat st;
	bool ok;

	FUZZ_CHECK(fstat(fd, &st) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	file.path = path;
	file.size = (uint64_t)st.st_size;
	file.mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
	file.build_id.data = id;
	file.build_id.len = len;
	memory.files = &files;
	memory.n_files = 1;
	FUZZ_CHECK(cor_rebuild_check_files(&memory, &ok, NULL) == 0);
	return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("elf", MFD_CLOEXEC);
	uint8_t id[20];
	size_t len;

	FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	len = cor_build_id(fd, id, sizeof(id));
	FUZZ_CHECK(len <= sizeof(id));
	/* what one side reads is the same file to the other */
	if (len)
		FUZZ_CHECK(same(fd, id, len));
	memset(id, 1, sizeof(id));
	(void)same(fd, id, sizeof(id));
	close(fd);
	return 0;
}
