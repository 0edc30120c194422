/* A task's address space: mappings, and the mm's own numbers. */
#include "libcor/task/capture_base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/mapped.h"
#include "libcor/task/pb.h"

/* smaps walks page tables: with little memory it may be read in the freeze. */
#define SMAPS_RSS_PAGES 8192u

static bool name_begins(const struct cor_map_line *m, const char *with)
{
	return m->name_len >= strlen(with) && !memcmp(m->name, with, strlen(with));
}

static int set_kind(struct cor_capture *c, const struct cor_map_line *m, Cor__Task__Vma *v,
		    struct cor_error *err)
{
	struct cor_backing b;
	int r;

	if (cor_map_line_named(m, "[vdso]")) {
		v->kind = COR__TASK__VMA_KIND__VDSO;
		return 0;
	}
	if (name_begins(m, "[vvar")) {
		v->kind = COR__TASK__VMA_KIND__VVAR;
		return 0;
	}
	v->kind = COR__TASK__VMA_KIND__ANON;
	/* private (cor_refuse_mapping()): there is no pool where the task goes, perhaps, but
	 * there are transparent huge pages, which hold the same and can do more */
	if (name_begins(m, "/anon_hugepage")) {
		v->flags |= COR__TASK__VMA_FLAG__HUGEPAGE;
		return 0;
	}
	if (!m->ino)
		return 0;
	r = cor_capture_backing(c, m, &b, err);
	if (r < 0)
		return r;
	v->pgoff = m->offset;
	if (b.anonymous)
		return 0;
	if (b.object) {
		v->kind = m->shared ? COR__TASK__VMA_KIND__SHMEM : COR__TASK__VMA_KIND__SHMEM_PRIVATE;
		v->object = b.object;
		return 0;
	}
	if (m->shared)
		cor_mapped_note(c->image->memory->files[b.file], m->prot);
	v->kind = m->shared ? COR__TASK__VMA_KIND__FILE_SHARED : COR__TASK__VMA_KIND__FILE_PRIVATE;
	v->file = (uint32_t)b.file;
	return 0;
}

static int add_vma(struct cor_capture *c, const struct cor_map_line *m, struct cor_error *err)
{
	Cor__Task__Memory *mem = c->image->memory;
	Cor__Task__Vma *v;
	int r;

	if (cor_map_line_named(m, "[vsyscall]"))
		return 0;
	r = cor_refuse_mapping(c, m, err);
	if (r < 0)
		return r;
	v = pb_add(&mem->vmas, &mem->n_vmas, Cor__Task__Vma, cor__task__vma__init);
	if (!v)
		return cor_capture_no_memory(c, err);
	v->start = m->start;
	v->end = m->end;
	v->prot = m->prot;
	if (cor_map_line_named(m, "[stack]"))
		v->flags = COR__TASK__VMA_FLAG__GROWSDOWN;
	/* a path is in files or objects already */
	if (m->name_len && m->name[0] == '[' && pb_text(&v->name, m->name, m->name_len) < 0)
		return cor_capture_no_memory(c, err);
	return set_kind(c, m, v, err);
}

static int read_maps(struct cor_capture *c, struct cor_error *err)
{
	_cleanup_free_ char *text = NULL;
	struct cor_map_line m;
	const char *p;
	int r = cor_capture_slurp(c, "maps", &text, NULL, err);

	if (r < 0)
		return r;
	p = text;
	while ((r = cor_parse_map_line(&p, &m)) == 1) {
		r = add_vma(c, &m, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return cor_fail(err, r, "/proc/%d/maps has a line that cannot be understood: %.60s",
				c->pid, p);
	if (!c->image->memory->n_vmas)
		return cor_fail(err, -EOPNOTSUPP,
				"process %d (%s) has no memory: a kernel thread, or ending",
				c->pid, c->stat.comm);
	return 0;
}

/* ---- flags of mappings -------------------------------------------------------- */

/* Maps were read before, and meanwhile the mapping may have grown at one end. */
static Cor__Task__Vma *vma_of_smap(const Cor__Task__Image *image, const struct cor_smap *s)
{
	Cor__Task__Vma *v = cor_capture_find_vma(image, s->end - 1);

	return v ? v : cor_capture_find_vma(image, s->start);
}

static int read_smaps(struct cor_capture *c, struct cor_error *err)
{
	_cleanup_free_ char *text = NULL;
	struct cor_smap s;
	const char *p;
	int r = cor_capture_slurp(c, "smaps", &text, NULL, err);

	if (r < 0)
		return r;
	p = text;
	while ((r = cor_parse_smap(&p, &s)) == 1) {
		Cor__Task__Vma *v = vma_of_smap(c->image, &s);

		if (!v)
			continue;
		v->flags |= s.flags;
		r = cor_refuse_smap(c, &s, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? cor_fail(err, r, "/proc/%d/smaps cannot be understood", c->pid) : 0;
}

/* A mapping that has grown, shrunk or been split keeps its flags. True when all
 * were known before. */
static bool lend_flags(struct cor_capture *c)
{
	bool all = true;

	for (size_t i = 0; i < c->image->memory->n_vmas; i++) {
		Cor__Task__Vma *v = c->image->memory->vmas[i];
		const Cor__Task__Vma *s = cor_capture_find_vma(c->skeleton, v->end - 1);

		if (!s)
			s = cor_capture_find_vma(c->skeleton, v->start);
		if (s && s->kind == v->kind)
			v->flags |= s->flags;
		else
			all = false;
	}
	return all;
}

static int read_flags(struct cor_capture *c, struct cor_error *err)
{
	if (c->skeleton && (lend_flags(c) || c->stat.rss_pages > SMAPS_RSS_PAGES))
		return 0;
	return read_smaps(c, err);
}

/* ---- the mm ---------------------------------------------------------------------- */

static void set_numbers(struct cor_capture *c)
{
	Cor__Task__Memory *m = c->image->memory;

	m->start_code = c->stat.start_code;
	m->end_code = c->stat.end_code;
	m->start_data = c->stat.start_data;
	m->end_data = c->stat.end_data;
	m->start_brk = c->stat.start_brk;
	m->start_stack = c->stat.start_stack;
	m->arg_start = c->stat.arg_start;
	m->arg_end = c->stat.arg_end;
	m->env_start = c->stat.env_start;
	m->env_end = c->stat.env_end;
	m->resident = c->stat.rss_pages * 4096;
}

static int read_auxv(struct cor_capture *c, struct cor_error *err)
{
	_cleanup_free_ char *data = NULL;
	size_t len;
	int r;

	if (c->skeleton) {
		const ProtobufCBinaryData *a = &c->skeleton->memory->auxv;

		r = pb_bytes(&c->image->memory->auxv, a->data, a->len);
		return r < 0 ? cor_capture_no_memory(c, err) : 0;
	}
	r = cor_capture_slurp(c, "auxv", &data, &len, err);
	if (!r && pb_bytes(&c->image->memory->auxv, data, len) < 0)
		r = cor_capture_no_memory(c, err);
	return r;
}

static int read_vdso(struct cor_capture *c, struct cor_error *err)
{
	Cor__Task__Memory *m = c->image->memory;
	_cleanup_free_ void *copy = NULL;
	Cor__Task__Vma *v = NULL;
	int r;

	if (c->skeleton)
		return 0;       /* its reader has it: see cor_capture_complete() */
	for (size_t i = 0; i < m->n_vmas; i++)
		if (m->vmas[i]->kind == COR__TASK__VMA_KIND__VDSO)
			v = m->vmas[i];
	if (!v)
		return 0;
	copy = malloc(v->end - v->start);
	if (!copy)
		return cor_capture_no_memory(c, err);
	r = cor_capture_read(c, v->start, copy, v->end - v->start);
	if (r < 0)
		return cor_fail_code(err, r, "process %d: cannot read its vDSO", c->pid);
	return pb_bytes(&m->vdso, copy, v->end - v->start) < 0 ? cor_capture_no_memory(c, err) : 0;
}

int cor_capture_memory(struct cor_capture *c, struct cor_error *err)
{
	int r;

	if (!pb_sub(c->image->memory, Cor__Task__Memory, cor__task__memory__init))
		return cor_capture_no_memory(c, err);
	set_numbers(c);
	r = cor_capture_lend_files(c, err);
	if (!r)
		r = read_maps(c, err);
	if (!r)
		r = read_flags(c, err);
	if (!r)
		r = cor_capture_exe(c, err);
	if (!r)
		r = cor_capture_object_descriptors(c, err);
	if (!r)
		r = read_auxv(c, err);
	if (!r)
		r = read_vdso(c, err);
	return r;
}
