/* The source's: the task's descriptors, and the objects of its shared memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/source/source.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* Descriptors that refer to shared memory name the objects the memory capture found. */
static int capture_files(struct source *s, const Cor__Task__Image *image, bool running, bool ahead,
			 struct cor_error *err)
{
	size_t n = image->memory->n_objects;
	_cleanup_free_ struct cor_files_object *known = calloc(n + 1, sizeof(*known));
	Cor__Names__FileTable *table = NULL;
	struct cor_files_object *extra = NULL;
	unsigned nextra = 0;
	const struct cor_files_options options = {
		.with_content = true, .running = running, .ahead = ahead, .before = s->files,
		.mechanisms = &s->mechanisms,
		.departure = s->departure, .pumps = &s->pumps.seen,
		.objects = known, .nobjects = (unsigned)n, .plan = s->home.plan,
		.adopt = source_home_adopt, .arg = s,
	};
	int r;

	if (!known)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		known[i] = (struct cor_files_object){ image->memory->objects[i]->dev,
						      image->memory->objects[i]->ino,
						      image->memory->objects[i]->id };
	r = cor_files_capture_with(s->args->pid, &options, &extra, &nextra, &table, err);
	if (r < 0)
		return r;
	if (s->files)
		cor__names__file_table__free_unpacked(s->files, NULL);
	free(s->extra);
	s->files = table;
	s->extra = extra;
	s->nextra = nextra;
	return 0;
}

int source_capture_files(struct source *s, const Cor__Task__Image *image, struct cor_error *err)
{
	return capture_files(s, image, false, false, err);
}

static int capture_stopped_files(struct source *s, struct cor_tracee *t, struct cor_error *err)
{
	return capture_files(s, s->skeleton, false, true, err);
}

/* While the task runs, if it has nothing of which it could notice that. One that opens and
 * closes all the time may never be seen whole that way either: then too it is stopped for as
 * long as its descriptors are read. */
int source_capture_running_files(struct source *s, struct cor_error *err)
{
	uint64_t until = cor_now_ns() + SOURCE_RETRY_FOR_NS;
	unsigned pause_us = 1000;
	int r = capture_files(s, s->skeleton, true, true, err);

	if (r == -EBUSY)
		r = source_look(s, capture_stopped_files, err);
	while (r == -EAGAIN && cor_now_ns() < until && !source_cancelled(s, NULL)) {
		usleep(pause_us);
		pause_us = COR_MIN(pause_us * 2, 50000u);
		r = source_look(s, capture_stopped_files, err);
	}
	return r;
}

static Cor__Task__Object *find_object(const Cor__Task__Image *image, uint32_t id)
{
	for (size_t i = 0; i < image->memory->n_objects; i++)
		if (image->memory->objects[i]->id == id)
			return image->memory->objects[i];
	return NULL;
}

/* Of one that the task only has open. */
static Cor__Task__Object *new_object(const Cor__Names__OpenFile *f)
{
	static const char memfd[] = "/memfd:", deleted[] = " (deleted)";
	const char *name = f->path ? f->path : "";
	bool is_memfd = strncmp(name, memfd, strlen(memfd)) == 0;
	size_t len;
	Cor__Task__Object *o = malloc(sizeof(*o));

	if (!o)
		return NULL;
	cor__task__object__init(o);
	o->id = f->object;
	o->size = f->size;
	o->dev = f->dev;
	o->ino = f->ino;
	o->mode = f->mode & 07777;
	o->seals = f->seals;
	o->unlinked = f->deleted;
	o->kind = is_memfd ? COR__TASK__OBJECT_KIND__OBJECT_MEMFD :
		  COR__TASK__OBJECT_KIND__OBJECT_TMPFS;
	/* the kernel puts both to the name that it was given */
	name += is_memfd ? strlen(memfd) : 0;
	len = strlen(name);
	if (len >= strlen(deleted) && strcmp(name + len - strlen(deleted), deleted) == 0)
		len -= strlen(deleted);
	o->name = strndup(name, len);
	if (o->name)
		return o;
	free(o);
	return NULL;
}

/* The image's objects that a descriptor also reaches must have their bytes before
 * the task runs: read(2) asks no userfaultfd. Objects that only descriptors
 * reach are added to the image. */
int source_note_descriptor_objects(struct source *s, Cor__Task__Image *image,
				   struct cor_error *err)
{
	Cor__Task__Memory *m = image->memory;

	for (size_t i = 0; i < s->files->n_files; i++) {
		Cor__Names__OpenFile *f = s->files->files[i];
		Cor__Task__Object *o, **more;

		if (f->kind != COR__NAMES__FILE_KIND__MEMORY)
			continue;
		o = find_object(image, f->object);
		if (!o) {
			if (f->object != m->n_objects + 1)
				return cor_fail(err, -EPROTO, "shared memory %s has an odd number",
						f->path);
			more = realloc(m->objects, (m->n_objects + 1) * sizeof(*more));
			if (more)
				m->objects = more;
			o = more ? new_object(f) : NULL;
			if (!o)
				return cor_fail(err, -ENOMEM, "out of memory");
			m->objects[m->n_objects++] = o;
		}
		o->has_descriptor = true;
	}
	return 0;
}

/* A mapping or, where the task has it open only, a descriptor leads to it. */
static int open_object(struct source *s, const Cor__Task__Image *image, uint32_t id,
		       struct cor_error *err)
{
	for (size_t i = 0; i < s->files->n_descriptors; i++) {
		const Cor__Names__Descriptor *d = s->files->descriptors[i];
		const Cor__Names__OpenFile *f = s->files->files[d->file];
		_cleanup_close_ int dup = -1;
		char path[40];
		int fd;

		if (f->kind != COR__NAMES__FILE_KIND__MEMORY || f->object != id)
			continue;
		dup = cor_files_duplicate(s->args->pid, d->fd, err);
		if (dup < 0)
			return dup;
		/* the task may have it for writing only, or at an offset of its own */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", dup);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		return fd < 0 ? cor_fail_errno(err, "descriptor %d: its memory", d->fd) : fd;
	}
	return cor_capture_open_object(s->args->pid, image, id, err);
}

/* The objects of the task's shared memory, for the page server. */
int source_give_image_objects(struct source *s, const Cor__Task__Image *image,
			      struct cor_error *err)
{
	size_t n = image->memory->n_objects, got = 0;
	_cleanup_free_ int *fds = calloc(n + 1, sizeof(*fds));
	int r = fds ? 0 : cor_fail(err, -ENOMEM, "out of memory");

	for (; r == 0 && got < n; got++) {
		fds[got] = open_object(s, image, image->memory->objects[got]->id, err);
		r = COR_MIN(fds[got], 0);
	}
	if (r == 0)
		r = source_give_objects(s, fds, (unsigned)n, err);
	while (got-- > 0)
		cor_closep(&fds[got]);
	return r;
}
