/* The image of an arriving task: what the destination makes of it before
 * anything runs in the stub. The calls that would be injected are looked at
 * instead of made. */
#include <errno.h>
#include <unistd.h>

#include "libcor/task/capture.h"
#include "libcor/task/rebuild_creds.h"
#include "tests/fuzz/batch.h"

#define OFFSET_MASK (COR_PAGE_SIZE - 1ull)

/* This process stands for the stub. */
static void read_stub(struct cor_memory_job *job)
{
	static struct cor_layout own;

	if (!own.n)
		FUZZ_CHECK(cor_layout_read(&own, getpid(), NULL) == 0);
	for (size_t i = 0; i < own.n; i++) {
		const struct cor_range *r = &own.ranges[i];

		FUZZ_CHECK(cor_layout_add(&job->stub, r->start, r->end, r->kind) == 0);
		FUZZ_CHECK(cor_layout_add(&job->all, r->start, r->end, r->kind) == 0);
	}
	FUZZ_CHECK(cor_layout_add_image(&job->all, job->memory) == 0);
}

static void check_regions(const struct cor_memory_job *job)
{
	for (unsigned i = 0; i < job->nregions; i++) {
		const struct cor_region *r = &job->regions[i];

		FUZZ_CHECK(r->len && !((r->start | r->len | r->offset) & OFFSET_MASK));
		FUZZ_CHECK(r->start + r->len > r->start && r->offset + r->len > r->offset);
		FUZZ_CHECK(r->object <= job->memory->n_objects && r->shared == (r->object != 0));
		/* never the address space where shared memory was meant */
	}
}

static void plan_memory(struct cor_memory_job *job)
{
	const Cor__Task__Memory *m = job->memory;
	bool *file_ok = calloc(m->n_files + 1, sizeof(*file_ok));
	struct cor_error err = COR_ERROR_INIT;
	uint64_t hole;

	job->file_fds = calloc(m->n_files + 1, sizeof(int32_t));
	job->object_fds = calloc(m->n_objects + 1, sizeof(int32_t));
	FUZZ_CHECK(file_ok && job->file_fds && job->object_fds);
	for (size_t i = 0; i < m->n_files; i++) {
		file_ok[i] = m->files[i]->size & 1;
		job->file_fds[i] = FUZZ_FIRST_FILE + (int)i;
	}
	for (size_t i = 0; i < m->n_objects; i++)
		job->object_fds[i] = FUZZ_FIRST_OBJECT + (int)i;
	job->file_ok = file_ok;
	job->nobjects = (unsigned)m->n_objects;
	read_stub(job);
	hole = cor_layout_hole(&job->all, 0x5000, 0x10000);
	FUZZ_CHECK(!(hole & OFFSET_MASK));
	if (cor_rebuild_place_vdso(job, &err) == 0 && cor_rebuild_map(job, &err) == 0)
		check_regions(job);
	else
		FUZZ_CHECK(err.code < 0 && err.text[0]);
	free(file_ok);
}

static void plan_process(struct cor_rebuild *rb, const Cor__Task__Image *image)
{
	static const char status[] = "Name:\tcord\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n"
		"Groups:\t4 20 1000 \nCapPrm:\t000001ffffffffff\nCapBnd:\t000001fffeffffff\n";
	struct cor_error err = COR_ERROR_INIT;
	struct cor_creds_now now;

	cor_creds_read(&now, status);
	FUZZ_CHECK(cor_rebuild_actions(rb, image, &err) <= 0);
	FUZZ_CHECK(cor_rebuild_process(rb, image, &err) <= 0);
	FUZZ_CHECK(cor_rebuild_timers(rb, image, &err) <= 0);
	for (size_t i = 0; i < image->n_threads; i++)
		if (image->threads[i]->creds)
			FUZZ_CHECK(cor_creds_add(rb->batch, &now, image->threads[i]->creds, &err) <= 0);
}

static void check_cpu(const Cor__Task__Cpu *theirs)
{
	uint32_t words[3] = { 0x1234567, ~0u, 0 };
	Cor__Task__Cpu ours = COR__TASK__CPU__INIT;

	ours.words = words;
	ours.n_words = 3;
	if (theirs)
		(void)cor_cpu_check(theirs, &ours, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Cor__Task__Image *image = cor__task__image__unpack(NULL, size, data);
	struct cor_rebuild rb = { .pid = getpid(), .max_fd = 100, .foreign_vdso = size & 1 };
	struct cor_memory_job job = { .rb = &rb, .image = image };
	struct cor_error err = COR_ERROR_INIT;

	if (!image)
		return 0;
	job.memory = image->memory;
	fuzz_job = &job;
	check_cpu(image->cpu);
	if (image->memory && image->identity && cor_layout_check(image->memory, 0x10000, &err) == 0) {
		plan_memory(&job);
		plan_process(&rb, image);
	}
	free(job.file_fds);
	free(job.object_fds);
	free(job.old_vdso);
	free(job.regions);
	free(rb.detours);
	cor_layout_clear(&job.all);
	cor_layout_clear(&job.stub);
	cor__task__image__free_unpacked(image, NULL);
	return 0;
}
