/* maps and smaps; see procfs.h. */
#include "libcor/task/procfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "libcor/base/cleanup.h"
#include "libcor/task/task.pb-c.h"

/* strtoull would skip blanks and take signs; these texts have neither. */
static bool hex(const char **p, uint64_t *out)
{
	const char *s = *p;
	uint64_t v = 0;

	for (;; s++) {
		unsigned d;

		if (*s >= '0' && *s <= '9')
			d = (unsigned)(*s - '0');
		else if (*s >= 'a' && *s <= 'f')
			d = (unsigned)(*s - 'a' + 10);
		else
			break;
		if (v >> 60)
			return false;
		v = v << 4 | d;
	}
	if (s == *p)
		return false;
	*p = s;
	*out = v;
	return true;
}

static bool lit(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

static bool flag(const char **p, char yes, bool *out)
{
	if (**p != yes && **p != '-')
		return false;
	*out = **p == yes;
	(*p)++;
	return true;
}

static bool range(const char **p, uint64_t *start, uint64_t *end)
{
	return hex(p, start) && lit(p, '-') && hex(p, end) && *start < *end;
}

static bool permissions(const char **p, struct cor_map_line *m)
{
	bool r, w, x;

	if (!flag(p, 'r', &r) || !flag(p, 'w', &w) || !flag(p, 'x', &x))
		return false;
	if (**p != 's' && **p != 'p')
		return false;
	m->shared = **p == 's';
	(*p)++;
	m->prot = (r ? PROT_READ : 0u) | (w ? PROT_WRITE : 0u) | (x ? PROT_EXEC : 0u);
	return true;
}

static bool decimal(const char **p, uint64_t *out)
{
	char *end;

	if (**p < '0' || **p > '9')
		return false;
	errno = 0;
	*out = strtoull(*p, &end, 10);
	*p = end;
	return errno == 0;
}

int cor_parse_map_line(const char **cursor, struct cor_map_line *out)
{
	struct cor_map_line m = { 0 };
	const char *p = *cursor;
	uint64_t major, minor;

	if (!*p)
		return 0;
	if (!range(&p, &m.start, &m.end) || !lit(&p, ' ') || !permissions(&p, &m) ||
	    !lit(&p, ' ') || !hex(&p, &m.offset) || !lit(&p, ' ') || !hex(&p, &major) ||
	    !lit(&p, ':') || !hex(&p, &minor) || !lit(&p, ' ') || !decimal(&p, &m.ino))
		return -EINVAL;
	m.dev = makedev((unsigned)major, (unsigned)minor);
	while (*p == ' ')
		p++;
	m.name = p;
	m.name_len = strcspn(p, "\n");
	p += m.name_len;
	if (*p == '\n')
		p++;
	*cursor = p;
	*out = m;
	return 1;
}

bool cor_map_line_named(const struct cor_map_line *m, const char *name)
{
	return m->name_len == strlen(name) && !memcmp(m->name, name, m->name_len);
}

/* Two-letter VmFlags (proc_pid_smaps(5)) that mean something elsewhere. */
static const struct { char name[3]; uint32_t flag; } vm_flags[] = {
	{ "gd", COR__TASK__VMA_FLAG__GROWSDOWN },
	{ "lo", COR__TASK__VMA_FLAG__LOCKED },
	{ "nr", COR__TASK__VMA_FLAG__NORESERVE },
	{ "dc", COR__TASK__VMA_FLAG__DONTFORK },
	{ "wf", COR__TASK__VMA_FLAG__WIPEONFORK },
	{ "dd", COR__TASK__VMA_FLAG__DONTDUMP },
	{ "hg", COR__TASK__VMA_FLAG__HUGEPAGE },
	{ "nh", COR__TASK__VMA_FLAG__NOHUGEPAGE },
	{ "sr", COR__TASK__VMA_FLAG__SEQ_READ },
	{ "rr", COR__TASK__VMA_FLAG__RAND_READ },
	{ "mg", COR__TASK__VMA_FLAG__MERGEABLE },
};

static void parse_vm_flags(const char *p, struct cor_smap *s)
{
	while (*p && *p != '\n') {
		if (*p == ' ' || *p == '\t') {
			p++;
			continue;
		}
		if (!p[1] || p[1] == '\n')
			break;
		for (unsigned i = 0; i < ARRAY_SIZE(vm_flags); i++)
			if (!strncmp(p, vm_flags[i].name, 2))
				s->flags |= vm_flags[i].flag;
		if (!strncmp(p, "ht", 2))
			s->hugetlb = true;
		if (!strncmp(p, "io", 2) || !strncmp(p, "pf", 2))
			s->device = true;
		if (!strncmp(p, "ss", 2))
			s->shadow_stack = true;
		if (!strncmp(p, "dp", 2))
			s->droppable = true;
		p += 2;
	}
}

static const char *next_line(const char *p)
{
	p += strcspn(p, "\n");
	return *p ? p + 1 : p;
}

int cor_parse_smap(const char **cursor, struct cor_smap *out)
{
	struct cor_smap s = { 0 };
	const char *p = *cursor;

	if (!*p)
		return 0;
	if (!range(&p, &s.start, &s.end) || *p != ' ')
		return -EINVAL;
	/* "Name:   value" lines follow, until the next mapping's line */
	for (p = next_line(p); *p >= 'A' && *p <= 'Z'; p = next_line(p)) {
		if (!strncmp(p, "VmFlags:", 8))
			parse_vm_flags(p + 8, &s);
		else if (!strncmp(p, "ProtectionKey:", 14))
			s.key = (uint32_t)strtoul(p + 14, NULL, 10);
	}
	*cursor = p;
	*out = s;
	return 1;
}
