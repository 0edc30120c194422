/* Shared memory that somebody else maps too cannot move with one task, nor a file that the
 * task maps shared and writable: two kernels' caches of it are not one. The walk
 * over every process's mappings is for the skeleton only: too long for a freeze. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/capture.h"
#include "libcor/task/mapped.h"
#include "libcor/task/procfs.h"

static const Cor__Task__Object *object_of(const Cor__Task__Memory *m, const struct cor_map_line *l)
{
	for (size_t i = 0; l->ino && i < m->n_objects; i++)
		if (m->objects[i]->ino == l->ino && m->objects[i]->dev == l->dev)
			return m->objects[i];
	return NULL;
}

static const Cor__Task__File *file_of(const Cor__Task__Memory *m, const struct cor_map_line *l)
{
	for (size_t i = 0; l->ino && i < m->n_files; i++)
		if (m->files[i]->use == COR__TASK__FILE_USE__FILE_ITSELF &&
		    m->files[i]->ino == l->ino && m->files[i]->dev == l->dev)
			return m->files[i];
	return NULL;
}

/* A process that ends meanwhile shares nothing any more. */
static int look_at(const Cor__Task__Memory *m, pid_t pid, pid_t other, struct cor_error *err)
{
	_cleanup_free_ char *maps = NULL, *comm = NULL;
	struct cor_map_line l;
	const char *cursor;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/maps", other);
	if (cor_slurp(AT_FDCWD, path, &maps, NULL) < 0)
		return 0;
	cursor = maps;
	while (cor_parse_map_line(&cursor, &l) > 0) {
		const Cor__Task__Object *o = object_of(m, &l);
		const Cor__Task__File *f = o ? NULL : file_of(m, &l);

		if (!o && !f)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/comm", other);
		if (cor_slurp(AT_FDCWD, path, &comm, NULL) == 0)
			comm[strcspn(comm, "\n")] = 0;
		if (f)
			return cor_fail(err, -EOPNOTSUPP, "the file %s, which process %d maps shared "
					"and writable, is mapped by process %d (%s) too", f->path, pid,
					other, comm ? comm : "?");
		return cor_fail(err, -EOPNOTSUPP,
				"shared memory %s is mapped by process %d (%s) too, and memory that "
				"processes share is not carried yet", o->name[0] ? o->name : "(anonymous)",
				other, comm ? comm : "?");
	}
	return 0;
}

int cor_capture_owns_memory(pid_t pid, const Cor__Task__Image *skeleton, struct cor_error *err)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *e;
	int r = 0;

	if (!skeleton->memory->n_objects && !cor_mapped_any(skeleton->memory))
		return 0;
	d = opendir("/proc");
	if (!d)
		return cor_fail_errno(err, "/proc");
	while (r == 0 && (e = readdir(d))) {
		pid_t other = (pid_t)atoi(e->d_name);

		if (other > 0 && other != pid)
			r = look_at(skeleton->memory, pid, other, err);
	}
	return r;
}
