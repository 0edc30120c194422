/* Memory that was built from a skeleton, brought up to the image that came later:
 * two messages of a peer. The input: the length of the first (2 bytes), the two. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "tests/fuzz/batch.h"

/* Stands for the stub's memory: pages that the image brings are written into it. */
static int memory_fd;

int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	FUZZ_CHECK(strncmp(path, "/proc/", 6) == 0 && strstr(path, "/mem"));
	return dup(memory_fd);
}

/* Only that it is readable and in some mapping: a file of that size is not wanted. */
ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *data, size_t len, off_t at)
{
	FUZZ_CHECK(len && at > 0);
	free(fuzz_copy(data, len));
	return (ssize_t)len;
}

static bool usable(const Cor__Task__Image *i)
{
	return i && i->memory && i->identity && cor_layout_check(i->memory, 0x10000, NULL) == 0;
}

/* What is lazy is what the image says: each anonymous mapping is a region. */
static void check_regions(const struct cor_region *regions, unsigned n, const Cor__Task__Memory *m)
{
	unsigned k = 0;

	for (size_t i = 0; i < m->n_vmas; i++) {
		const Cor__Task__Vma *v = m->vmas[i];
		unsigned found = 0;

		if (v->kind != COR__TASK__VMA_KIND__ANON)
			continue;
		for (k = 0; k < n; k++)
			if (regions[k].start < v->end && v->start < regions[k].start + regions[k].len) {
				FUZZ_CHECK(regions[k].start == v->start);
				FUZZ_CHECK(regions[k].len == v->end - v->start);
				found++;
			}
		FUZZ_CHECK(found == 1);
	}
}

static void update(const Cor__Task__Image *built, const Cor__Task__Image *image)
{
	struct cor_rebuild rb = { .pid = getpid(), .stage = COR_REBUILD_MEMORY };
	struct cor_memory_job job = { .rb = &rb, .image = built, .memory = built->memory };
	size_t nfiles = built->memory->n_files;
	_cleanup_free_ bool *file_ok = calloc(nfiles + 1, sizeof(*file_ok));
	struct cor_error err = COR_ERROR_INIT;
	unsigned nregions;
	int r;

	fuzz_job = &job;
	job.file_fds = calloc(nfiles + 1, sizeof(int32_t));
	FUZZ_CHECK(file_ok && job.file_fds);
	for (size_t i = 0; i < nfiles; i++) {
		file_ok[i] = built->memory->files[i]->size & 1;
		job.file_fds[i] = FUZZ_FIRST_FILE + (int)i;
	}
	job.file_ok = file_ok;
	if (cor_rebuild_map(&job, NULL) == 0) {
		nregions = job.nregions;
		r = cor_rebuild_memory_update(&rb, built, image, file_ok, &job.regions, &nregions, &err);
		FUZZ_CHECK(r == 0 || (r < 0 && err.code == r && err.text[0]));
		if (r == 0)
			check_regions(job.regions, nregions, image->memory);
	}
	free(job.file_fds);
	free(job.regions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	Cor__Task__Image *built, *image;
	uint16_t len;

	fuzz_take(&in, &len, sizeof(len));
	len = len < in.size ? len : (uint16_t)in.size;
	if (!memory_fd)
		memory_fd = memfd_create("memory", MFD_CLOEXEC);
	built = cor__task__image__unpack(NULL, len, in.data);
	image = cor__task__image__unpack(NULL, in.size - len, in.data + len);
	if (usable(built) && image && image->memory && image->identity)
		update(built, image);
	if (built)
		cor__task__image__free_unpacked(built, NULL);
	if (image)
		cor__task__image__free_unpacked(image, NULL);
	return 0;
}
