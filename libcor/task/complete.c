/* An image and the skeleton that went ahead of it, put together: see capture.h. */
#include <errno.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/capture.h"
#include "libcor/task/pb.h"

#define PAGE 4096ull

/* Ascending through the image's mappings and their written runs. */
struct place { size_t vma, run; };

/* Is the page still one that the image says was written? */
static bool still_written(const Cor__Task__Memory *m, uint64_t addr, struct place *at)
{
	for (; at->vma < m->n_vmas; at->vma++, at->run = 0) {
		const Cor__Task__Vma *v = m->vmas[at->vma];

		if (addr < v->start)
			return false;
		if (v->written_lazy || addr >= v->end)
			continue;
		for (; at->run < v->n_written; at->run++) {
			const Cor__Task__Run *run = v->written[at->run];

			if (addr < run->start)
				return false;
			if (addr < run->start + run->npages * PAGE)
				return true;
		}
	}
	return false;
}

static int add(Cor__Task__PageData ***list, size_t *n, uint64_t addr, const void *data, size_t len)
{
	Cor__Task__PageData *p = pb_add(list, n, Cor__Task__PageData, cor__task__page_data__init);

	if (!p || pb_bytes(&p->data, data, len) < 0)
		return -ENOMEM;
	p->addr = addr;
	return 0;
}

int cor_capture_complete(Cor__Task__Image *image, const Cor__Task__Image *skeleton,
			 struct cor_error *err)
{
	const ProtobufCBinaryData *vdso = &skeleton->memory->vdso;
	Cor__Task__PageData **list = NULL;
	struct place at = { 0, 0 };
	size_t n = 0;
	int r = pb_bytes(&image->memory->vdso, vdso->data, vdso->len);

	for (size_t i = 0; i < skeleton->n_pages && r == 0; i++) {
		const Cor__Task__PageData *p = skeleton->pages[i];

		for (uint64_t off = 0; off + PAGE <= p->data.len && r == 0; off += PAGE)
			if (still_written(image->memory, p->addr + off, &at))
				r = add(&list, &n, p->addr + off, p->data.data + off, PAGE);
	}
	/* the image's own come last: they are newer */
	for (size_t i = 0; i < image->n_pages && r == 0; i++) {
		r = pb_append(&list, &n, image->pages[i]);
		if (r == 0)
			image->pages[i] = NULL;
	}
	if (r < 0)
		cor_fail(err, r, "out of memory");
	for (size_t i = 0; i < image->n_pages; i++)
		if (image->pages[i])
			cor__task__page_data__free_unpacked(image->pages[i], NULL);
	free(image->pages);
	image->pages = list;
	image->n_pages = n;
	return r;
}
