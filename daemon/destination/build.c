/* How the destination makes the task's descriptors and memory in a stub: ahead of the freeze
 * as far as that can be, and what has changed since in it. */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/destination/destination.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/paging/fetch.h"
#include "libcor/task/mapped.h"

enum stub_op { STUB_FILES = 1 };

#define STUB_DESCRIPTORS 64u    /* of the stub and its supervisor, at the most */
#define STUB_ROOM        512u

/* ---- the stub ------------------------------------------------------------------------------- */

/* Runs inside the stub. */
static int stub_call(void *arg, uint32_t op, const void *buf, size_t len, const int *fds,
		     unsigned nfds, struct cor_error *err)
{
	struct destination *d = arg;
	Cor__Names__FileTable *table;
	int r;

	if (op != STUB_FILES)
		return cor_fail(err, -ENOSYS, "the stub knows no request %u", op);
	table = cor__names__file_table__unpack(NULL, len, buf);
	if (!table)
		return cor_fail(err, -EPROTO, "the descriptor table cannot be read");
	r = cor_files_restore(table, fds, nfds, d->stub_keep_from, err);
	cor__names__file_table__free_unpacked(table, NULL);
	return r;
}

static void share_rebuild(struct destination *d)
{
	struct cor_rebuild_kept kept;

	cor_rebuild_keep(d->rebuild, &kept);
	d->shared->ctl = kept.ctl;
	d->shared->pidfd = kept.pidfd;
	d->shared->pid = kept.pid;
	d->shared->supervisor = kept.supervisor;
}

/* Above the task's own, with room for what it opens before the freeze. */
static int choose_keep_from(struct destination *d, struct cor_error *err)
{
	rlim_t above = (rlim_t)COR_MAX(cor_files_max_fd(d->files) + 1, 0);
	/* each is made under a number of its own first */
	rlim_t least = above + d->files->n_files + STUB_DESCRIPTORS, most = least + STUB_ROOM;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return cor_fail_errno(err, "getrlimit");
	if (limit.rlim_max < most) {
		/* as it may: the task gets its own limits later */
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){ most, most });
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_max < least)
		return cor_fail(err, -EMFILE, "descriptor %d of the task is too near the limit of this "
				"host's cord: it has %llu (RLIMIT_NOFILE) and needs %llu",
				cor_files_max_fd(d->files), (unsigned long long)limit.rlim_max,
				(unsigned long long)least);
	d->stub_keep_from = (int)(above + COR_MIN(limit.rlim_max - least, STUB_ROOM));
	return 0;
}

int destination_build_begin(struct destination *d, struct cor_error *err)
{
	struct cor_rebuild_plan plan = {
		.skeleton = d->image, .call = stub_call, .arg = d, .report = -1, .watch = d->pumps.watch[1],
		.keep_host_name = cor_mechanism_on(&d->mechanisms, COR_MECHANISM_HOST_NAME),
		.time_ns = d->time_ns,
		.monotonic_offset_ns = d->offsets.monotonic_ns,
		.boottime_offset_ns = d->offsets.boottime_ns,
		.force_pid_ns = d->args->config->task.force_pid_ns,
		.force_foreign_vdso = d->args->config->task.force_foreign_vdso,
		/* in a user namespace of its own the stub could not tell */
		.as = d->limited && !cor_as_user_is_us(&d->as) ? &d->as : NULL,
		.view = d->home.mounts ? destination_home_view : NULL,
		.view_arg = d,
	};
	int report[2] = { -1, -1 }, r;

	r = choose_keep_from(d, err);
	if (r < 0)
		return r;
	plan.max_fd = d->stub_keep_from;
	/* the supervisor may lead the session that has the terminal */
	r = destination_pumps_make(&d->pumps, d->files, err);
	plan.tty = destination_pumps_terminal(&d->pumps, d->files, &plan.foreground);
	if (r == 0)
		r = destination_task_begin(d, &plan, report, err);
	if (r == 0)
		r = cor_rebuild_begin(&d->rebuild, &plan, err);
	cor_closep(&report[1]);
	if (r == 0)
		share_rebuild(d);
	cor_closep(&d->report);
	d->report = report[0];
	return r;
}

static int begin_again(struct destination *d, struct cor_error *err)
{
	d->shared->ctl = d->shared->pidfd = -1;
	destination_disconnect(d);
	cor_rebuild_abort(d->rebuild);
	d->rebuild = NULL;
	d->ahead = false;
	return destination_build_begin(d, err);
}

/* ---- descriptors and memory ----------------------------------------------------------------- */

static int store_pages(void *arg, uint64_t offset, const void *data, uint32_t npages)
{
	int fd = *(int *)arg;
	const char *p = data;
	size_t len = (size_t)npages * COR_PAGE_SIZE, done = 0;

	while (p && done < len) {
		ssize_t n = pwrite(fd, p + done, len - done, (off_t)(offset + done));

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

/* The shared memory objects: those that descriptors reach get their bytes now,
 * since read(2) of a hole asks nobody; the others are paged like the rest. */
static int make_objects(struct destination *d, struct cor_error *err)
{
	const Cor__Task__Memory *mem = d->image->memory;

	for (unsigned i = 0; i < d->nobjects; i++)
		close(d->objects[i]);
	free(d->objects);
	d->nobjects = 0;
	d->objects = calloc(mem->n_objects + 1, sizeof(int));
	if (!d->objects)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < mem->n_objects; i++) {
		const Cor__Task__Object *o = mem->objects[i];
		uint64_t pages = (o->size + COR_PAGE_SIZE - 1) / COR_PAGE_SIZE;
		int r = 0;

		if (o->id != i + 1)
			return cor_fail(err, -EPROTO, "shared memory objects are not in order");
		d->objects[i] = cor_rebuild_make_object(o, err);
		if (d->objects[i] < 0)
			return d->objects[i];
		d->nobjects++;
		if (o->has_descriptor && pages && !d->bulk)
			return cor_fail(err, -EAGAIN, "shared memory %s was made while the "
					"migration was prepared; try again", o->name);
		if (o->has_descriptor && pages)
			r = cor_fetch(d->bulk, (uint16_t)o->id, 0, pages, d->check, store_pages,
				      &d->objects[i], err);
		/* the last page may reach beyond the end */
		if (r == 0 && o->has_descriptor && ftruncate(d->objects[i], (off_t)o->size) < 0)
			r = cor_fail_errno(err, "shared memory %s", o->name);
		if (r == 0 && o->has_descriptor)
			r = cor_rebuild_seal_object(o, d->objects[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int rebuild_files(struct destination *d, struct cor_error *err)
{
	size_t len = cor__names__file_table__get_packed_size(d->files);
	_cleanup_free_ uint8_t *buf = malloc(len + 1);
	_cleanup_free_ int *fds = NULL;
	unsigned nfds = 0;
	int r;

	fds = calloc(d->nobjects + d->pumps.nfds + 1, sizeof(*fds));
	if (!buf || !fds)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < d->nobjects; i++)
		fds[nfds++] = d->objects[i];
	for (unsigned i = 0; i < d->pumps.nfds; i++)
		fds[nfds++] = d->pumps.fds[i];
	if (cor_files_max_fd(d->files) >= d->stub_keep_from)
		return cor_fail(err, -EMFILE, "the task opened descriptor %d while its "
				"migration was prepared for those below %d; try again",
				cor_files_max_fd(d->files), d->stub_keep_from);
	cor__names__file_table__pack(d->files, buf);
	r = cor_rebuild_call(d->rebuild, STUB_FILES, buf, len, fds, nfds, err);
	destination_pumps_handed(&d->pumps);
	return r;
}

/* The descriptors, then the memory of d->image, in a fresh stub. */
static int build(struct destination *d, struct cor_error *err)
{
	struct cor_as_user_saved saved;
	int r = destination_as_user(d, &saved, err);

	if (r < 0)
		return r;
	r = make_objects(d, err);
	cor_as_user_end(&saved);
	if (r == 0)
		r = destination_home_fetch(d, err);
	free(d->file_ok);
	free(d->regions);
	d->regions = NULL;
	d->file_ok = calloc(d->image->memory->n_files + 1, sizeof(bool));
	if (r == 0 && !d->file_ok)
		r = cor_fail(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = rebuild_files(d, err);
	if (r == 0 && d->skeleton)
		destination_connect(d);
	if (r == 0)
		r = destination_as_user(d, &saved, err);
	if (r == 0) {
		r = cor_rebuild_check_files(d->image->memory, d->file_ok, err);
		cor_as_user_end(&saved);
	}
	if (r == 0)
		/* not the fetched files: held in the stub, they would end its locks */
		r = cor_rebuild_memory(d->rebuild, d->image, d->file_ok, d->objects,
				       (unsigned)d->image->memory->n_objects,
				       &d->regions, &d->nregions, err);
	return r;
}

int destination_build_ahead(struct destination *d, struct cor_error *err)
{
	int r;

	if (d->image->memory->n_objects || !cor_files_early(d->files))
		return 0;
	/* where files must be the very ones the reason is worth more than another try */
	r = build(d, cor_mapped_any(d->image->memory) ? err : NULL);
	if (r < 0 && cor_mapped_any(d->image->memory))
		return r;
	if (r < 0 || cor_rebuild_threads_ahead(d->rebuild, d->image, NULL) < 0)
		return begin_again(d, err);
	d->ahead = true;
	return 0;
}

int destination_build_sleepers(struct destination *d, uint64_t from_ns, struct cor_error *err)
{
	if (!d->ahead || cor_rebuild_threads_asleep(d->rebuild, d->image, d->sleepers, from_ns,
						    NULL) == 0)
		return 0;
	return begin_again(d, err);
}

int destination_build_in_freeze(struct destination *d, struct cor_error *err)
{
	bool numbers = cor_rebuild_numbers_fit(d->rebuild, d->image, NULL) == 0;
	int r;

	if (d->ahead && numbers && cor_rebuild_threads_fit(d->rebuild, d->image, NULL) == 0 &&
	    cor_files_update(cor_rebuild_pid(d->rebuild), d->skeleton_files, d->files,
					 NULL) == 0) {
		destination_connect(d);
		if (cor_rebuild_memory_update(d->rebuild, d->skeleton, d->image, d->file_ok,
					      &d->regions, &d->nregions, NULL) == 0)
			return 0;
	}
	r = cor_capture_complete(d->image, d->skeleton, err);
	if (r == 0 && (d->ahead || !numbers || !cor_pump_channels_same(d->skeleton_files, d->files)))
		r = begin_again(d, err);
	return r < 0 ? r : build(d, err);
}
