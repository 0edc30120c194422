/* Open files that stay at home. On the home itself the task's own open file is handed to
 * the file server, with its locks; elsewhere it is asked which of the home's it is. */
#include "libcor/names/file_home.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/home/home.h"
#include "libcor/names/home/plan.h"

/* The file system's own word. 0: it is no home's file. */
static int ask_file(const struct cor_file_seen *seen, struct cor_home_file *file,
		    struct cor_home_info *info)
{
	struct statfs fs;

	if (fstatfs(seen->dup, &fs) < 0)
		return -errno;
	if ((unsigned long)fs.f_type != FUSE_SUPER_MAGIC ||
	    ioctl(seen->dup, COR_HOME_INFO, info) < 0)
		return 0;       /* not FUSE, or another's FUSE */
	return ioctl(seen->dup, COR_HOME_FILE, file) < 0 ? -errno : 1;
}

static int find_home(const Cor__Names__Plan *plan, const uint8_t id[16])
{
	for (size_t i = 0; plan && i < plan->n_homes; i++)
		if (plan->homes[i]->id.len == 16 && memcmp(plan->homes[i]->id.data, id, 16) == 0)
			return (int)i + 1;
	return 0;
}

/* The link's path, without what the kernel adds to a deleted file's. */
static int set_path(const struct cor_file_seen *seen, Cor__Names__OpenFile *out)
{
	static const char suffix[] = " (deleted)";
	size_t len = strlen(seen->link), cut = sizeof(suffix) - 1;

	if (seen->st.st_nlink == 0 && len > cut && strcmp(seen->link + len - cut, suffix) == 0)
		len -= cut;
	out->path = strndup(seen->link, len);
	return out->path ? 0 : -ENOMEM;
}

/* own: also those that stay with the open file, which does not go along. */
static int take_locks(const struct cor_home_file *file, bool own, Cor__Names__OpenFile *out)
{
	for (unsigned i = 0; i < file->nlocks && i < COR_HOME_LOCKS; i++) {
		Cor__Names__LockRecord *lock;

		if (file->locks[i].kind != HOME_LOCK_POSIX && !own)
			continue;
		lock = COR_FILE_APPEND(out->locks, out->n_locks, Cor__Names__LockRecord,
				       cor__names__lock_record__init);
		if (!lock)
			return -ENOMEM;
		lock->type = file->locks[i].type;
		lock->flock = file->locks[i].kind != HOME_LOCK_POSIX;
		lock->start = file->locks[i].start;
		lock->len = file->locks[i].length;
	}
	return 0;
}

/* The open file keeps its own: flock(2)'s and F_OFD_SETLK's. */
static void keep_posix_locks(Cor__Names__OpenFile *out)
{
	size_t n = 0;

	for (size_t i = 0; i < out->n_locks; i++) {
		if (!cor_lock_is_posix(out->locks[i]))
			cor__names__lock_record__free_unpacked(out->locks[i], NULL);
		else
			out->locks[n++] = out->locks[i];
	}
	out->n_locks = n;
}

static int adopt(struct cor_file_capture *c, const struct cor_file_seen *seen,
		 Cor__Names__OpenFile *out, struct cor_error *err)
{
	const struct cor_files_options *o = c->options;

	if (!o->adopt)
		return cor_file_refuse(err, seen, "%s, which is to stay on this host, where nothing "
				       "serves it", seen->link);
	keep_posix_locks(out);
	return o->adopt(o->arg, seen->fd, seen->dup, &out->home_handle, err);
}

int cor_file_home_capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
			  Cor__Names__OpenFile *out, struct cor_error *err)
{
	const Cor__Names__Plan *plan = c->options->plan;
	struct cor_home_file file = { 0 };
	struct cor_home_info info;
	int tree, r;

	r = ask_file(seen, &file, &info);
	if (r < 0)
		return cor_fail_code(err, r, "descriptor %d: the home of %s", seen->fd, seen->link);
	/* carried as any other file; but its locks are not shown by the kernel */
	if (!cor_mechanism_on(c->mechanisms, COR_MECHANISM_HOME))
		return r && take_locks(&file, true, out) < 0 ? -ENOMEM : 0;
	free(out->path);
	out->path = NULL;
	if (set_path(seen, out) < 0)
		return -ENOMEM;
	tree = cor_plan_find(plan, out->path);
	if (r == 0 && (tree < 0 || plan->trees[tree]->mode != COR__NAMES__TREE_MODE__TREE_HOME))
		return 0;
	out->home = r ? (uint32_t)find_home(plan, info.id) : plan->trees[tree]->home;
	if (!out->home)
		return cor_file_refuse(err, seen, "%s, whose home %s is not known where the task goes",
				       seen->link, r ? info.host : "");
	if (tree >= 0 && plan->trees[tree]->mode == COR__NAMES__TREE_MODE__TREE_HOME) {
		out->home_at = strdup(plan->trees[tree]->prefix);
		if (!out->home_at)
			return -ENOMEM;
	}
	if (r == 0) {
		r = adopt(c, seen, out, err);
		return r < 0 ? r : 1;
	}
	out->home_handle = file.handle;
	out->dev = file.dev;
	out->ino = file.ino;
	return take_locks(&file, false, out) < 0 ? -ENOMEM : 1;
}

/* The next open of the path is the handle's. */
static int expect(const Cor__Names__OpenFile *file)
{
	_cleanup_free_ struct cor_home_expect *e = calloc(1, sizeof(*e));
	_cleanup_close_ int at = -1;

	if (!e)
		return -ENOMEM;
	if (strlen(file->path) >= sizeof(e->path))
		return -ENAMETOOLONG;
	at = open(file->home_at, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (at < 0)
		return -errno;
	e->handle = file->home_handle;
	strcpy(e->path, file->path);
	return ioctl(at, COR_HOME_EXPECT, e) < 0 ? -errno : 0;
}

int cor_file_home_open(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	int fd, rc = 0;

	if (!file->home_at[0]) {
		/* this is the home: the open file itself was fetched */
		if (!file->object || file->object > r->nobjects)
			return cor_fail(err, -EPROTO, "descriptor %d: %s was not fetched",
					cor_file_number(r->place.table, index), file->path);
		fd = fcntl(r->objects[file->object - 1], F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? cor_fail_errno(err, "descriptor %d: %s",
					       cor_file_number(r->place.table, index), file->path) : fd;
	}
	rc = expect(file);
	fd = rc < 0 ? rc : open(file->path, (int)cor_file_open_flags(file->flags) | O_CLOEXEC |
				O_NOCTTY | O_NONBLOCK);
	if (fd == -1)
		fd = -errno;
	/* O_NONBLOCK is for what a home may have put there instead */
	if (fd >= 0 && !(file->flags & O_NONBLOCK) &&
	    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) < 0)
		rc = -errno;
	if (fd == -EBADF)
		return cor_fail(err, -EAGAIN, "descriptor %d: the task has closed %s since it was looked "
				"at; try again", cor_file_number(r->place.table, index), file->path);
	if (fd < 0 || rc < 0)
		return cor_fail_code(err, fd < 0 ? fd : rc, "descriptor %d: %s cannot be opened at "
				     "its home", cor_file_number(r->place.table, index), file->path);
	return fd;
}
