/* The source's: the files that the task maps shared. Which of them must be the very files where
 * the task goes, and can they be? */
#include "daemon/source/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/home/plan.h"
#include "libcor/task/mapped.h"

/* A lock of a part of it: what is in it is agreed upon with others, who will map it too. */
static bool has_record_lock(const Cor__Names__FileTable *table, const char *path)
{
	for (size_t i = 0; i < table->n_files; i++) {
		const Cor__Names__OpenFile *f = table->files[i];

		if (strcmp(f->path, path) != 0)
			continue;
		for (size_t k = 0; k < f->n_locks; k++)
			if (!f->locks[k]->flock)
				return true;
	}
	return false;
}

/* Does the task have it open for writing? Then that is to show in the mapping. */
static bool is_written(const Cor__Names__FileTable *table, const char *path)
{
	for (size_t i = 0; i < table->n_files; i++)
		if ((table->files[i]->flags & O_ACCMODE) != O_RDONLY &&
		    strcmp(table->files[i]->path, path) == 0)
			return true;
	return false;
}

/* Is what the path leads to there the same file? */
static bool is_the_same(const struct source *s, const char *path)
{
	const Cor__Names__Plan *plan = s->home.plan;
	int tree = plan ? cor_plan_find(plan, path) : -1;

	if (tree < 0)
		return plan != NULL;    /* an empty plan: everything is */
	return plan->trees[tree]->mode != COR__NAMES__TREE_MODE__TREE_LOCAL;
}

static bool can_follow(const struct source *s, const Cor__Task__File *f)
{
	return cor_mechanism_on(&s->mechanisms, COR_MECHANISM_MAPPED) && !f->deleted &&
	       is_the_same(s, f->path);
}

static int check_itself(const struct source *s, const Cor__Task__File *f, bool writable,
			struct cor_error *err)
{
	char what[512];
	int r;

	snprintf(what, sizeof(what), "the file %.400s, which process %d maps shared and %s,",
		 f->path, s->args->pid, writable ? "writable" : "has open for writing");
	r = cor_mechanism_require(&s->mechanisms, COR_MECHANISM_MAPPED, what, err);
	if (r == 0)
		r = cor_mechanism_require(&s->mechanisms, COR_MECHANISM_HOME, what, err);
	if (r < 0)
		return r;
	if (f->deleted)
		return cor_fail(err, -EOPNOTSUPP, "%s has no name to be found by", what);
	if (!is_the_same(s, f->path))
		return cor_fail(err, -EOPNOTSUPP, "%s is another file at %s", what, s->args->dest);
	if (writable && has_record_lock(s->files, f->path))
		return cor_fail(err, -EOPNOTSUPP, "%s has a part of it locked: what others may map as "
				"well cannot be mapped on two hosts", what);
	return 0;
}

int source_check_mapped(struct source *s, Cor__Task__Image *image, struct cor_error *err)
{
	const Cor__Task__Memory *m = image->memory;
	int r = 0;

	for (size_t i = 0; i < m->n_files && r == 0; i++) {
		Cor__Task__File *f = m->files[i];

		if (f->use == COR__TASK__FILE_USE__FILE_FOLLOWED && is_written(s->files, f->path))
			f->use = COR__TASK__FILE_USE__FILE_ITSELF;
		if (f->use == COR__TASK__FILE_USE__FILE_FOLLOWED && !can_follow(s, f))
			f->use = COR__TASK__FILE_USE__FILE_AS_IT_IS;
		if (f->use == COR__TASK__FILE_USE__FILE_ITSELF)
			r = check_itself(s, f, cor_mapped_writable(m, i), err);
	}
	return r;
}

/* ---- settling ------------------------------------------------------------------------- */

static bool has_open(pid_t pid, const char *name)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *e;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		char link[4200];
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

		if (n > 0 && (link[n] = 0, strcmp(link, name) == 0))
			return true;
	}
	return false;
}

/* The copy under its name would be another file than the one that is mapped. */
int source_check_settled(struct source *s, struct cor_error *err)
{
	const Cor__Task__Memory *m = s->skeleton->memory;

	for (size_t i = 0; i < m->n_files; i++) {
		const Cor__Task__File *f = m->files[i];

		if (f->use == COR__TASK__FILE_USE__FILE_ITSELF ||
		    (f->use == COR__TASK__FILE_USE__FILE_FOLLOWED && has_open(s->args->pid, f->path)))
			return cor_fail(err, -EOPNOTSUPP, "process %d maps the file %s shared%s: it needs "
					"the host where that is as long as it does", s->args->pid, f->path,
					f->use == COR__TASK__FILE_USE__FILE_ITSELF ? " and writable" : "");
	}
	return 0;
}
