/* See mapped.h. */
#include "libcor/task/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcor/base/error.h"

void cor_mapped_note(Cor__Task__File *f, uint32_t prot)
{
	if (prot & PROT_WRITE)
		f->use = COR__TASK__FILE_USE__FILE_ITSELF;
	else if (f->use == COR__TASK__FILE_USE__FILE_AS_IT_IS)
		f->use = COR__TASK__FILE_USE__FILE_FOLLOWED;
}

bool cor_mapped_any(const Cor__Task__Memory *m)
{
	for (size_t i = 0; i < m->n_files; i++)
		if (m->files[i]->use == COR__TASK__FILE_USE__FILE_ITSELF)
			return true;
	return false;
}

/* The first mapping of the file that is shared and writable; NULL: none any more. */
static const Cor__Task__Vma *mapping_of(const Cor__Task__Memory *m, size_t file)
{
	for (size_t i = 0; i < m->n_vmas; i++) {
		const Cor__Task__Vma *v = m->vmas[i];

		if (v->kind == COR__TASK__VMA_KIND__FILE_SHARED && v->file == file &&
		    (v->prot & PROT_WRITE))
			return v;
	}
	return NULL;
}

bool cor_mapped_writable(const Cor__Task__Memory *m, size_t file)
{
	return mapping_of(m, file) != NULL;
}

/* By the mapping itself, or where that takes a capability that we lack (proc(5), map_files),
 * by its name in the task's view. */
static int open_mapped(pid_t pid, const Cor__Task__Vma *v, const char *name)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", pid,
		 (unsigned long long)v->start, (unsigned long long)v->end);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 || errno != EPERM)
		return fd;
	snprintf(path, sizeof(path), "/proc/%d/root%s", pid, name);
	return open(path, O_RDWR | O_CLOEXEC);
}

int cor_mapped_flush(pid_t pid, const Cor__Task__Image *image, struct cor_error *err)
{
	const Cor__Task__Memory *m = image->memory;

	for (size_t i = 0; i < m->n_files; i++) {
		const Cor__Task__Vma *v = mapping_of(m, i);
		int fd;

		if (!v)
			continue;
		fd = open_mapped(pid, v, m->files[i]->path);
		if (fd < 0 || close(fd) < 0)
			return cor_fail_errno(err, "process %d: what it has stored in %s cannot be "
					      "written back", pid, m->files[i]->path);
	}
	return 0;
}
