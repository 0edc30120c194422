/* Shared memory objects: memfds, tmpfs files without a name, and tmpfs files that
 * the task also maps. Their bytes are the paging's; here only which object it is,
 * how it is open, and where its offset stands. A named tmpfs file that is not
 * mapped is a regular file: others may look for it by its name. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"

static uint32_t known_id(const struct cor_file_capture *c, const struct stat *st)
{
	for (unsigned i = 0; i < c->nobjects; i++)
		if (c->objects[i].dev == st->st_dev && c->objects[i].ino == st->st_ino)
			return c->objects[i].id;
	for (unsigned i = 0; i < c->nextra; i++)
		if (c->extra[i].dev == st->st_dev && c->extra[i].ino == st->st_ino)
			return c->extra[i].id;
	return 0;
}

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	struct statfs fs;

	if (!S_ISREG(seen->st.st_mode) || (seen->flags & O_PATH) || seen->link[0] != '/')
		return -1;
	if (cor_file_link_is(seen, "/memfd:") || known_id(c, &seen->st))
		return COR__NAMES__FILE_KIND__MEMORY;
	if (seen->st.st_nlink == 0 && fstatfs(seen->dup, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
		return COR__NAMES__FILE_KIND__MEMORY;
	return -1;
}

/* The next id after all that are known. */
static int new_id(struct cor_file_capture *c, const struct stat *st, uint32_t *id)
{
	struct cor_files_object *bigger = realloc(c->extra, (c->nextra + 1) * sizeof(*bigger));
	uint32_t last = 0;

	if (!bigger)
		return -ENOMEM;
	c->extra = bigger;
	for (unsigned i = 0; i < c->nobjects; i++)
		last = c->objects[i].id > last ? c->objects[i].id : last;
	*id = last + c->nextra + 1;
	c->extra[c->nextra++] = (struct cor_files_object){
		.dev = st->st_dev, .ino = st->st_ino, .id = *id,
	};
	return 0;
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct statfs fs;
	int rc;

	if (fstatfs(seen->dup, &fs) < 0)
		return cor_fail_errno(err, "descriptor %d: statfs", seen->fd);
	if (fs.f_type != TMPFS_MAGIC)
		return cor_file_refuse(err, seen, "%s, memory in huge pages: that is not carried",
				       seen->link);
	if (seen->holder.pid)
		return cor_file_refuse_shared(err, seen, seen->link);
	rc = cor_fdinfo_u64(seen->info, "pos:", 10, &out->offset);
	if (rc < 0)
		return cor_fail_code(err, rc, "descriptor %d: fdinfo", seen->fd);
	out->path = strdup(seen->link);
	if (!out->path)
		return -ENOMEM;
	out->size = (uint64_t)seen->st.st_size;
	rc = fcntl(seen->dup, F_GET_SEALS);
	out->seals = rc > 0 ? (uint32_t)rc : 0;
	out->object = known_id(c, &seen->st);
	return out->object ? 0 : new_id(c, &seen->st, &out->object);
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	int number = cor_file_number(r->place.table, index);
	int fd, rc;

	if (file->object == 0 || file->object > r->nobjects || r->objects[file->object - 1] < 0)
		return cor_fail(err, -ENOENT, "descriptor %d: memory object %u (%s) was not made here",
				number, file->object, file->path);
	fd = cor_file_reopen(r->objects[file->object - 1], cor_file_open_flags(file->flags));
	if (fd < 0)
		return cor_fail_code(err, fd, "descriptor %d: opening memory object %u (%s)", number,
				     file->object, file->path);
	rc = cor_file_made(r, index, fd, file->path, err);
	if (rc == 0 && file->offset && lseek(r->fds[index], (off_t)file->offset, SEEK_SET) < 0)
		return cor_fail_errno(err, "descriptor %d: seeking in %s", number, file->path);
	return rc;
}

const struct cor_file_ops cor_file_memory = {
	.recognise = recognise,
	.capture   = capture,
	.restore   = restore,
	.mechanism = COR_MECHANISM_DESCRIPTORS,
	.kinds     = 1u << COR__NAMES__FILE_KIND__MEMORY,
};
