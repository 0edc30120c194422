/* The source's: may the files that the task maps shared and writable be mapped elsewhere? */
#include "daemon/source/source.h"

#include <errno.h>
#include <string.h>

#include "libcor/base/error.h"
#include "libcor/names/home/plan.h"

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

/* Is what the path leads to there the same file? */
static bool is_the_same(const Cor__Names__Plan *plan, const char *path)
{
	int tree = plan ? cor_plan_find(plan, path) : -1;

	if (tree < 0)
		return plan != NULL;    /* an empty plan: everything is */
	return plan->trees[tree]->mode != COR__NAMES__TREE_MODE__TREE_LOCAL;
}

static int check(struct source *s, const Cor__Task__File *f, struct cor_error *err)
{
	char what[512];
	int r;

	snprintf(what, sizeof(what), "the file %.400s, which process %d maps shared and writable,",
		 f->path, s->args->pid);
	r = cor_mechanism_require(&s->mechanisms, COR_MECHANISM_MAPPED, what, err);
	if (r == 0)
		r = cor_mechanism_require(&s->mechanisms, COR_MECHANISM_HOME, what, err);
	if (r < 0)
		return r;
	if (f->deleted)
		return cor_fail(err, -EOPNOTSUPP, "%s has no name to be found by", what);
	if (!is_the_same(s->home.plan, f->path))
		return cor_fail(err, -EOPNOTSUPP, "%s is another file at %s", what, s->args->dest);
	if (has_record_lock(s->files, f->path))
		return cor_fail(err, -EOPNOTSUPP, "%s has a part of it locked: what others may map as "
				"well cannot be mapped on two hosts", what);
	return 0;
}

/* A copy under its name would be another file than the one that is mapped. */
int source_check_settled(struct source *s, struct cor_error *err)
{
	const Cor__Task__Memory *m = s->skeleton->memory;

	for (size_t i = 0; i < m->n_files; i++)
		if (m->files[i]->shared)
			return cor_fail(err, -EOPNOTSUPP, "process %d maps the file %s shared and "
					"writable: it needs the host where that is as long as it does",
					s->args->pid, m->files[i]->path);
	return 0;
}

int source_check_mapped(struct source *s, const Cor__Task__Image *image, struct cor_error *err)
{
	int r = 0;

	for (size_t i = 0; i < image->memory->n_files && r == 0; i++)
		if (image->memory->files[i]->shared)
			r = check(s, image->memory->files[i], err);
	return r;
}
