/* Files that stay at home: the source's part; see daemon/session/home.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/source/source.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/home/plan.h"
#include "libcor/names/home/process.h"
#include "libcor/names/home/settle.h"
#include "libcor/transport/tcp.h"

int session_home_dir(const struct cord_config *c, char *out, size_t size, struct cor_error *err)
{
	snprintf(out, size, "%s/home", c->state_dir);
	if (mkdir(out, 0700) < 0 && errno != EEXIST)
		return cor_fail_errno(err, "%s", out);
	return 0;
}

/* Where our cord is reached: as it listens, or at the address that the other side sees. */
static int own_address(const struct cord_config *c, char **out)
{
	struct cor_addrport a;
	int r = cor_addrport_parse(c->listen, &a, NULL);

	if (r < 0)
		return r;
	if (!a.host[0] || strcmp(a.host, "0.0.0.0") == 0 || strcmp(a.host, "::") == 0)
		return asprintf(out, ":%s", a.port) < 0 ? -ENOMEM : 0;
	*out = strdup(c->listen);
	return *out ? 0 : -ENOMEM;
}

/* We become the last of the homes. */
static int add_home(struct source *s, const struct cor_home_serve *serve, struct cor_error *err)
{
	Cor__Names__Plan *plan = s->home.plan;
	Cor__Names__Home *h = COR_FILE_APPEND(plan->homes, plan->n_homes, Cor__Names__Home,
					      cor__names__home__init);

	if (!h)
		return cor_fail(err, -ENOMEM, "out of memory");
	h->address = NULL;
	h->host = strdup(s->args->config->name);
	if (!h->host || own_address(s->args->config, &h->address) < 0 ||
	    cor_file_bytes(&h->id, serve->id, sizeof(serve->id)) < 0 ||
	    cor_file_bytes(&h->secret, serve->secret, sizeof(serve->secret)) < 0 ||
	    cor_slurp(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &h->boot_id, NULL) < 0)
		return cor_fail(err, -ENOMEM, "this host cannot be named as a home");
	return 0;
}

static int start_server(struct source *s, struct cor_error *err)
{
	struct cor_home_serve serve = {
		.pid = s->args->pid, .orphan_s = s->args->config->timeouts.reconnect_s,
	};
	char dir[280];
	int r = session_home_dir(s->args->config, dir, sizeof(dir), err);

	if (r == 0)
		r = cor_secret_make(serve.id, sizeof(serve.id), err);
	if (r == 0)
		r = cor_secret_make(serve.secret, sizeof(serve.secret), err);
	serve.dir = dir;
	if (r == 0)
		r = cor_home_serve(&serve, &s->home.control, err);
	if (r == 0)
		r = add_home(s, &serve, err);
	explicit_bzero(serve.secret, sizeof(serve.secret));
	return r;
}

static int copy_home(Cor__Names__Plan *plan, const Cor__Names__Home *from)
{
	Cor__Names__Home *h = COR_FILE_APPEND(plan->homes, plan->n_homes, Cor__Names__Home,
					      cor__names__home__init);

	if (!h)
		return -ENOMEM;
	h->boot_id = strdup(from->boot_id);
	h->host = strdup(from->host);
	h->address = strdup(from->address);
	if (!h->boot_id || !h->host || !h->address ||
	    cor_file_bytes(&h->id, from->id.data, from->id.len) < 0)
		return -ENOMEM;
	return cor_file_bytes(&h->secret, from->secret.data, from->secret.len);
}

/* The destination's plan names homes by number: those that were told, or us. */
static int settle_homes(struct source *s, const Cor__Names__Trees *trees, struct cor_error *err)
{
	Cor__Names__Plan *plan = s->home.plan;
	bool ours = false;
	int r = 0;

	if (plan->n_homes)
		return cor_fail(err, -EPROTO, "the destination names homes by itself");
	for (size_t i = 0; i < trees->n_homes && r == 0; i++)
		r = copy_home(plan, trees->homes[i]);
	if (r < 0)
		return cor_fail_code(err, r, "the homes of the task's files");
	for (size_t i = 0; i < plan->n_trees; i++) {
		Cor__Names__Tree *t = plan->trees[i];

		if (t->mode != COR__NAMES__TREE_MODE__TREE_HOME)
			continue;
		if (t->home > trees->n_homes || t->prefix[0] != '/')
			return cor_fail(err, -EPROTO, "the destination's plan for files makes no sense");
		if (t->home)
			continue;
		t->home = (uint32_t)trees->n_homes + 1;
		ours = true;
	}
	return ours ? start_server(s, err) : 0;
}

static int exchange(struct source *s, const Cor__Names__Trees *trees, struct cor_error *err)
{
	int r = control_send(s->control, CONTROL_TREES, &trees->base, err);

	if (r == 0)
		r = control_expect_message(s->control, CONTROL_PLAN, ANSWER_TIMEOUT_MS,
					   &cor__names__plan__descriptor, &s->home.plan, err);
	if (r < 0)
		return cor_fail_prefix(err, r, "%s refuses", s->args->dest);
	return settle_homes(s, trees, err);
}

int source_home_agree(struct source *s, struct cor_error *err)
{
	const char *dest = json_string_value(json_object_get(s->session.figures, "destination"));
	_cleanup_free_ struct cor_tree_wish *wishes = NULL;
	Cor__Names__Trees *trees = NULL;
	unsigned n;
	int r;

	wishes = cord_config_files(s->args->config, dest ? dest : "", &n);
	r = cor_trees_read(&trees, s->args->pid, wishes, n, err);
	if (r == 0)
		r = exchange(s, trees, err);
	if (trees)
		cor__names__trees__free_unpacked(trees, NULL);
	return r;
}

int source_home_settle(struct source *s, struct cor_error *err)
{
	struct cor_home_settled done = { 0 };
	int r = cor_home_settle(s->args->pid, &done, err);

	json_object_set_new(s->session.figures, "files_copied", json_integer(done.files));
	json_object_set_new(s->session.figures, "bytes_copied", json_integer((json_int_t)done.bytes));
	return r;
}

static bool same_file(pid_t pid, int fd, int ours)
{
	return syscall(SYS_kcmp, getpid(), pid, KCMP_FILE, (long)ours, (long)fd) == 0;
}

int source_home_adopt(void *arg, int fd, int dup, uint64_t *handle, struct cor_error *err)
{
	struct source *s = arg;
	struct source_home *h = &s->home;
	struct home_adopted *more;
	int copy, r;

	for (unsigned i = 0; i < h->nadopted; i++)
		if (h->adopted[i].fd == fd && same_file(s->args->pid, fd, h->adopted[i].dup)) {
			*handle = h->adopted[i].handle;
			return 0;
		}
	if (h->control < 0)
		return cor_fail(err, -ENOTCONN, "descriptor %d: no file server was started here", fd);
	more = reallocarray(h->adopted, h->nadopted + 1, sizeof(*more));
	if (!more)
		return cor_fail(err, -ENOMEM, "out of memory");
	h->adopted = more;
	copy = fcntl(dup, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return cor_fail_errno(err, "descriptor %d", fd);
	r = cor_home_adopt(h->control, copy, handle);
	if (r < 0) {
		close(copy);
		return cor_fail_code(err, r, "descriptor %d: the file server does not take it", fd);
	}
	h->adopted[h->nadopted++] = (struct home_adopted){ fd, copy, *handle };
	return 0;
}

static int pass_locks(void *arg, const Cor__Names__OpenFile *f, int guard)
{
	const struct source *s = arg;

	return cor_home_pass(s->home.control, f->home_handle, guard);
}

int source_home_pass(struct source *s, struct cor_error *err)
{
	struct cor_lock_passing *p = &s->home.passing;
	int r;

	p->pass = s->home.control >= 0 ? pass_locks : NULL;
	p->arg = s;
	r = cor_files_park_locks(s->tracee, s->files, p, err);
	if (r < 0 && s->home.control >= 0)
		cor_home_passed(s->home.control);
	return r;
}

void source_home_keep(struct source *s)
{
	struct cor_error err = COR_ERROR_INIT;

	if (cor_files_unpark_locks(s->tracee, s->files, &s->home.passing, &err) < 0)
		session_warn(&s->session, "%s", err.text);
	if (s->home.control >= 0)
		cor_home_passed(s->home.control);
}

/* Elsewhere than at home they are given up here and taken again there. */
static void tell_of_gaps(struct source *s)
{
	for (size_t i = 0; i < s->files->n_files; i++) {
		const Cor__Names__OpenFile *f = s->files->files[i];

		for (size_t k = 0; k < f->n_locks && !f->home; k++) {
			if (!cor_lock_is_posix(f->locks[k]))
				continue;
			session_warn(&s->session, "the POSIX locks on %s were nobody's for a moment: a process "
				     "that had them in between was not noticed", f->path);
			return;
		}
	}
}

void source_home_passed(struct source *s)
{
	tell_of_gaps(s);
	cor_files_bury_locks(s->args->pid, s->files, &s->home.passing);
	if (s->home.control >= 0)
		cor_home_passed(s->home.control);
}

void source_home_released(struct source *s)
{
	if (s->home.control >= 0)
		cor_home_unpin(s->home.control);
}

void source_home_end(struct source *s)
{
	struct source_home *h = &s->home;

	cor_closep(&h->control);
	cor_lock_guards_close(&h->passing);
	for (unsigned i = 0; i < h->nadopted; i++)
		close(h->adopted[i].dup);
	free(h->adopted);
	if (h->plan)
		cor__names__plan__free_unpacked(h->plan, NULL);
}
