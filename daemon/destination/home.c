/* Files that stay at home: the destination's part; see daemon/session/home.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/keys.h"
#include "daemon/destination/destination.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/home/mount.h"
#include "libcor/names/home/plan.h"
#include "libcor/names/home/process.h"

int destination_home_agree(struct destination *d, struct cor_error *err)
{
	int r = control_expect_message(d->control, CONTROL_TREES, ANSWER_TIMEOUT_MS,
				       &cor__names__trees__descriptor, &d->home.trees, err);

	if (r < 0)
		return r;
	r = cor_trees_plan(&d->home.plan, d->home.trees, err);
	if (r == 0)
		r = control_send(d->control, CONTROL_PLAN, &d->home.plan->base, err);
	return r;
}

/* The plan is ours; what the source adds are the homes. */
static int take_homes(struct destination *d, Cor__Names__Plan *theirs, struct cor_error *err)
{
	Cor__Names__Plan *plan = d->home.plan;

	if (theirs->n_homes < d->home.trees->n_homes || theirs->n_homes > 64 || plan->n_homes)
		return cor_fail(err, -EPROTO, "the homes of the task's files cannot be understood");
	plan->homes = take_ptr(theirs->homes);
	plan->n_homes = theirs->n_homes;
	theirs->n_homes = 0;
	for (size_t i = 0; i < plan->n_trees; i++) {
		Cor__Names__Tree *t = plan->trees[i];

		if (t->mode == COR__NAMES__TREE_MODE__TREE_HOME && !t->home)
			t->home = (uint32_t)plan->n_homes;
		if (t->mode == COR__NAMES__TREE_MODE__TREE_HOME &&
		    (!t->home || t->home > plan->n_homes))
			return cor_fail(err, -EPROTO, "the home of %s is not told", t->prefix);
	}
	return 0;
}

/* ":PORT" is at the source's own address. */
static int complete_address(const struct destination *d, Cor__Names__Home *h)
{
	const char *colon = strrchr(d->args->peer, ':');
	char *full;

	if (h->address[0] != ':' || !colon)
		return 0;
	if (asprintf(&full, "%.*s%s", (int)(colon - d->args->peer), d->args->peer, h->address) < 0)
		return -ENOMEM;
	free(h->address);
	h->address = full;
	return 0;
}

static int mount_one(struct destination *d, unsigned i, struct cor_error *err)
{
	const struct cord_config *c = d->args->config;
	struct cor_home_mount_options o = {
		.home = d->home.plan->homes[i], .connect_s = c->timeouts.connect_s,
		.silence_s = c->timeouts.silence_s, .reconnect_s = c->timeouts.reconnect_s,
		.dir = d->home.staging, .encrypted = cord_keys_set(c),
	};
	char path[40];
	int fd, r;

	if (complete_address(d, d->home.plan->homes[i]) < 0)
		return cor_fail(err, -ENOMEM, "out of memory");
	fd = cor_home_mount(&o, err);
	if (fd < 0)
		return fd;
	d->home.mounts[i] = fd;
	r = cor_home_attach(fd, d->home.staging, i, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	d->home.sync[i] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return d->home.sync[i] < 0 ? cor_fail_errno(err, "the files of %s",
						    d->home.plan->homes[i]->host) : 0;
}

static int mount_all(struct destination *d, struct cor_error *err)
{
	unsigned n = (unsigned)d->home.plan->n_homes;
	int r = session_home_dir(d->args->config, d->home.staging, sizeof(d->home.staging), err);

	d->home.mounts = calloc(n + 1, sizeof(int));
	d->home.sync = calloc(n + 1, sizeof(int));
	if (!d->home.mounts || !d->home.sync)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < n; i++)
		d->home.mounts[i] = d->home.sync[i] = -1;
	if (r == 0)
		r = cor_home_own_mounts(err);
	for (unsigned i = 0; i < n && r == 0; i++)
		if (cor_plan_uses(d->home.plan, i))
			r = mount_one(d, i, err);
	return r;
}

int destination_home_mount(struct destination *d, const ProtobufCBinaryData *packed,
			   struct cor_error *err)
{
	Cor__Names__Plan *theirs;
	int r;

	if (!d->home.plan)
		return packed->len ? cor_fail(err, -EPROTO, "the source has a plan for files that was "
					      "not made here") : 0;
	theirs = cor__names__plan__unpack(NULL, packed->len, packed->data);
	if (!theirs)
		return cor_fail(err, -EPROTO, "the plan for files cannot be read");
	r = take_homes(d, theirs, err);
	cor__names__plan__free_unpacked(theirs, NULL);
	if (r == 0 && d->home.plan->n_trees)
		r = mount_all(d, err);
	return r;
}

int destination_home_view(void *arg, struct cor_error *err)
{
	struct destination *d = arg;

	const struct cord_config *c = d->args->config;

	return cor_home_assemble(d->home.plan, d->home.staging, c->uniform ? c->name : NULL, err);
}

/* A file server has few lines: one for all files. 0: there is none yet. */
static unsigned line_of(const struct destination *d, const Cor__Names__OpenFile *file)
{
	for (size_t i = 0; d->files->files[i] != file; i++)
		if (d->files->files[i]->home == file->home && d->files->files[i]->lock_line)
			return d->files->files[i]->lock_line;
	return 0;
}

static int fetch_one(struct destination *d, Cor__Names__OpenFile *f, struct cor_error *err)
{
	const Cor__Names__Home *h;
	_cleanup_close_ int line = -1;
	char dir[280];
	int *more, fd, r;

	if (!d->home.plan || f->home > d->home.plan->n_homes)
		return cor_fail(err, -EPROTO, "%s is at a home that was not told", f->path);
	h = d->home.plan->homes[f->home - 1];
	r = session_home_dir(d->args->config, dir, sizeof(dir), err);
	if (r < 0)
		return r;
	if (h->id.len != 16 || h->secret.len != 32)
		return cor_fail(err, -EPROTO, "%s is at a home that cannot be found", f->path);
	line = cor_home_find(dir, h->id.data, h->secret.data);
	fd = line < 0 ? line : cor_home_fetch(line, f->home_handle);
	if (fd < 0)
		return cor_fail_code(err, fd, "%s, which this host serves, cannot be had back", f->path);
	more = reallocarray(d->objects, d->nobjects + 3, sizeof(*more));
	if (!more) {
		close(fd);
		return cor_fail(err, -ENOMEM, "out of memory");
	}
	d->objects = more;
	d->objects[d->nobjects++] = fd;
	f->object = d->nobjects;
	if (f->n_locks)
		f->lock_line = line_of(d, f);
	if (f->n_locks && !f->lock_line) {
		d->objects[d->nobjects++] = take_fd(&line);
		f->lock_line = d->nobjects;
	}
	return 0;
}

int destination_home_fetch(struct destination *d, struct cor_error *err)
{
	int r = 0;

	for (size_t i = 0; i < d->files->n_files && r == 0; i++) {
		Cor__Names__OpenFile *f = d->files->files[i];

		f->lock_line = 0;       /* ours to say */
		if (f->home && !f->home_at[0])
			r = fetch_one(d, f, err);
	}
	return r;
}

int destination_home_sync(struct destination *d, struct cor_error *err)
{
	for (unsigned i = 0; d->home.sync && i < d->home.plan->n_homes; i++) {
		int r = d->home.sync[i] < 0 ? 0 : cor_home_sync(d->home.sync[i]);

		if (r < 0)
			return cor_fail_code(err, r, "the files of %s", d->home.plan->homes[i]->host);
	}
	return 0;
}

void destination_home_arrived(struct destination *d)
{
	for (unsigned i = 0; d->home.mounts && i < d->home.plan->n_homes; i++) {
		if (d->home.mounts[i] >= 0)
			cor_home_detach(d->home.staging, i);
		cor_closep(&d->home.mounts[i]);
		cor_closep(&d->home.sync[i]);
		d->home.mounts[i] = d->home.sync[i] = -1;
	}
}

void destination_home_end(struct destination *d)
{
	destination_home_arrived(d);
	free(d->home.mounts);
	free(d->home.sync);
	if (d->home.trees)
		cor__names__trees__free_unpacked(d->home.trees, NULL);
	if (d->home.plan)
		cor__names__plan__free_unpacked(d->home.plan, NULL);
}
