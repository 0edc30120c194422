/* Files and shared memory objects behind an arriving task's mappings. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/build_id.h"
#include "libcor/task/rebuild.h"

/* Whether the file's build-id differs from id; a file without one does not. */
static bool other_build(int fd, const ProtobufCBinaryData *id)
{
	uint8_t own[64];
	size_t n = cor_build_id(fd, own, sizeof(own));

	return n && (n != id->len || memcmp(own, id->data, n));
}

static bool very_same(const Cor__Task__File *f)
{
	_cleanup_close_ int found = -1, fd = -1;
	char path[40];
	struct stat st;

	/* the path of a deleted file is another file's now, or nobody's */
	if (f->deleted || f->path[0] != '/')
		return false;
	/* the path is a peer's: to open a device is enough to make it act */
	found = open(f->path, O_PATH | O_CLOEXEC);
	if (found < 0 || fstat(found, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", found);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return false;
	if ((uint64_t)st.st_size != f->size ||
	    (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec != f->mtime_ns)
		return false;
	return !f->build_id.len || !other_build(fd, &f->build_id);
}

int cor_rebuild_check_files(const Cor__Task__Memory *memory, bool *file_ok, struct cor_error *err)
{
	for (size_t i = 0; i < memory->n_files; i++)
		file_ok[i] = very_same(memory->files[i]);
	return 0;
}

#define SHM "/dev/shm/"

/* Makes the file under its name: in /dev/shm only, links and ".." not followed. The
 * name is a peer's, our privileges are root's, and elsewhere there are files that
 * the system obeys. -EXDEV: not there; -errno. */
static int open_in_shm(const char *name, mode_t mode)
{
	_cleanup_close_ int dir = open(SHM, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct open_how how = {
		.flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, .mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	long fd;

	if (strncmp(name, SHM, strlen(SHM)))
		return -EXDEV;
	if (dir < 0)
		return -errno;
	fd = syscall(SYS_openat2, dir, name + strlen(SHM), &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

/* In /dev/shm under its name; without a name where it had none or another place,
 * or where the name is in use here: then the bytes are the task's own nevertheless. */
static int open_tmpfs(const Cor__Task__Object *o, struct cor_error *err)
{
	mode_t mode = o->mode ? o->mode & 0777 : 0600;
	char dir[4096];
	char *slash;
	int fd;

	if (o->name[0] != '/' || strlen(o->name) >= sizeof(dir))
		return cor_fail(err, -EPROTO, "shared memory object %u has the odd path '%s'", o->id,
				o->name);
	if (!o->unlinked) {
		fd = open_in_shm(o->name, mode);
		if (fd >= 0) {
			fchmod(fd, mode);       /* whatever our umask is */
			return fd;
		}
		if (fd != -EEXIST && fd != -EXDEV && fd != -ELOOP)
			return cor_fail_code(err, fd, "cannot make %s", o->name);
	}
	strcpy(dir, o->name);
	slash = strrchr(dir, '/');
	slash[slash == dir] = 0;
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	if (fd < 0)
		return cor_fail_errno(err, "cannot make a nameless file in %s for %s", dir, o->name);
	return fd;
}

/* As mmap(2) makes it, so that maps shows what it showed: reached through
 * /proc/self/map_files, which needs CAP_CHECKPOINT_RESTORE (proc(5)). */
static int open_anon(const Cor__Task__Object *o, struct cor_error *err)
{
	size_t len = ((size_t)o->size + COR_PAGE_SIZE - 1) & ~(size_t)(COR_PAGE_SIZE - 1);
	char path[64];
	void *at;
	int fd;

	at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return cor_fail_errno(err, "cannot make shared memory for object %u", o->id);
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)at,
		 (unsigned long)at + len);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		cor_fail_errno(err, "cannot open shared memory object %u", o->id);
	munmap(at, len);
	return fd < 0 ? err ? err->code : -EACCES : fd;
}

static int open_memfd(const Cor__Task__Object *o, struct cor_error *err)
{
	bool sealable = o->kind == COR__TASK__OBJECT_KIND__OBJECT_MEMFD && !(o->seals & F_SEAL_SEAL);
	const char *name = o->name[0] ? o->name : "cor";
	int fd;

	/* a seal can be set only where sealing is allowed, F_SEAL_SEAL itself too */
	if (o->seals & ~(uint32_t)F_SEAL_SEAL)
		sealable = true;
	fd = memfd_create(name, MFD_CLOEXEC | (sealable ? MFD_ALLOW_SEALING : 0));
	if (fd < 0)
		return cor_fail_errno(err, "cannot make shared memory for object %u (%s)", o->id, name);
	if (o->mode)
		fchmod(fd, o->mode & 0777);
	return fd;
}

int cor_rebuild_make_object(const Cor__Task__Object *o, struct cor_error *err)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (o->kind == COR__TASK__OBJECT_KIND__OBJECT_ANON && o->size)
		return open_anon(o, err);
	r = o->kind == COR__TASK__OBJECT_KIND__OBJECT_TMPFS ? open_tmpfs(o, err) : open_memfd(o, err);
	if (r < 0)
		return r;
	fd = r;
	if (ftruncate(fd, (off_t)o->size) < 0)
		return cor_fail_errno(err, "cannot give shared memory object %u (%s) its %llu bytes",
				      o->id, o->name, (unsigned long long)o->size);
	return take_fd(&fd);
}

int cor_rebuild_seal_object(const Cor__Task__Object *o, int fd, struct cor_error *err)
{
	if (o->kind != COR__TASK__OBJECT_KIND__OBJECT_MEMFD)
		return 0;
	/* made without MFD_ALLOW_SEALING it is sealed against sealing already */
	if (!(o->seals & ~(uint32_t)F_SEAL_SEAL))
		return 0;
	if (fcntl(fd, F_ADD_SEALS, (int)o->seals) < 0)
		return cor_fail_errno(err, "cannot seal shared memory object %u (%s)", o->id, o->name);
	return 0;
}
