/* status and stat; see procfs.h. */
#include "libcor/task/procfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"

/* A text with lines "Name:<tab>value", looked through in about its own order. */
struct fields {
	const char *text;
	const char *at;         /* the line behind the last one found */
};

static const char *next_line(const char *p)
{
	p = strchr(p, '\n');
	return p ? p + 1 : NULL;
}

/* The value of the line with that name in [from, to), to NULL: up to the end. */
static const char *find(const char *from, const char *to, const char *name, size_t n)
{
	for (const char *p = from; p && *p && p != to; p = next_line(p))
		if (!strncmp(p, name, n) && p[n] == ':')
			return p + n + 1;
	return NULL;
}

/* The value behind "Name:\t", or NULL. The name may not be found inside the value of
 * Name:, since the kernel escapes newlines there. Going on from the last line found,
 * a text is read once when it is asked in its order. */
static const char *field(struct fields *f, const char *name)
{
	size_t n = strlen(name);
	const char *p = find(f->at, NULL, name, n) ?: find(f->text, f->at, name, n);

	if (!p)
		return NULL;
	f->at = next_line(p);
	return p + strspn(p, " \t");
}

static uint64_t number(struct fields *f, const char *name, int base)
{
	const char *p = field(f, name);

	return p ? strtoull(p, NULL, base) : 0;
}

/* The numbers of a line; returns how many there are, stores up to max. */
static unsigned numbers(const char *p, uint32_t *out, unsigned max)
{
	unsigned n = 0;

	while (p && *p && *p != '\n') {
		char *end;
		unsigned long v;

		if (*p == ' ' || *p == '\t') {
			p++;
			continue;
		}
		v = strtoul(p, &end, 10);
		if (end == p)
			break;
		if (n < max)
			out[n] = (uint32_t)v;
		n++;
		p = end;
	}
	return n;
}

/* The last number of an NS* line: the innermost namespace's. */
static pid_t innermost(struct fields *f, const char *name, unsigned *depth)
{
	uint32_t v[40];
	unsigned n = numbers(field(f, name), v, ARRAY_SIZE(v));

	if (!n || n > ARRAY_SIZE(v))
		return 0;
	if (depth)
		*depth = n;
	return (pid_t)v[n - 1];
}

static void copy_line(char *out, size_t room, const char *p)
{
	size_t n = strcspn(p, "\n");

	n = COR_MIN(n, room - 1);
	memcpy(out, p, n);
	out[n] = 0;
}

static bool has_word(const char *line, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = line; p && *p && *p != '\n'; p++)
		if (!strncmp(p, word, n))
			return true;
	return false;
}

static void parse_signals(struct fields *f, struct cor_proc_status *s)
{
	s->sig_pending = number(f, "SigPnd", 16);
	s->shared_pending = number(f, "ShdPnd", 16);
	s->sig_blocked = number(f, "SigBlk", 16);
	s->sig_ignored = number(f, "SigIgn", 16);
	s->sig_caught = number(f, "SigCgt", 16);
}

static void parse_capabilities(struct fields *f, struct cor_proc_status *s)
{
	s->cap_inh = number(f, "CapInh", 16);
	s->cap_prm = number(f, "CapPrm", 16);
	s->cap_eff = number(f, "CapEff", 16);
	s->cap_bnd = number(f, "CapBnd", 16);
	s->cap_amb = number(f, "CapAmb", 16);
	s->no_new_privs = number(f, "NoNewPrivs", 10);
	s->seccomp = (unsigned)number(f, "Seccomp", 10);
}

/* In the order of the kernel's own lines (proc_pid_status()). */
int cor_parse_status(const char *text, struct cor_proc_status *out)
{
	struct fields f = { text, text };
	struct cor_proc_status s = { 0 };
	const char *name = field(&f, "Name"), *state, *tgid, *pid;

	s.umask = (uint32_t)number(&f, "Umask", 8);
	state = field(&f, "State");
	tgid = field(&f, "Tgid");
	pid = field(&f, "Pid");
	if (!name || !state || !tgid || !pid)
		return -EINVAL;
	copy_line(s.name, sizeof(s.name), name);
	s.state = *state;
	s.tgid = (pid_t)strtoull(tgid, NULL, 10);
	s.pid = (pid_t)strtoull(pid, NULL, 10);
	s.ppid = (pid_t)number(&f, "PPid", 10);
	s.tracer = (pid_t)number(&f, "TracerPid", 10);
	if (numbers(field(&f, "Uid"), s.uid, 4) != 4 || numbers(field(&f, "Gid"), s.gid, 4) != 4)
		return -EINVAL;
	s.ngroups = numbers(field(&f, "Groups"), s.groups, ARRAY_SIZE(s.groups));
	s.ns_tgid = innermost(&f, "NStgid", NULL);
	s.ns_pid = innermost(&f, "NSpid", &s.ns_depth);
	s.ns_pgid = innermost(&f, "NSpgid", NULL);
	s.ns_sid = innermost(&f, "NSsid", NULL);
	s.kthread = number(&f, "Kthread", 10);
	s.rss_kb = number(&f, "VmRSS", 10);
	s.threads = (unsigned)number(&f, "Threads", 10);
	parse_signals(&f, &s);
	parse_capabilities(&f, &s);
	s.shadow_stack = has_word(field(&f, "x86_Thread_features"), "shstk");
	*out = s;
	return 0;
}

/* Where stat's numbers (proc_pid_stat(5)) behind the state go; the first is
 * field 4. */
struct stat_field {
	int    number;
	size_t offset;
	char   kind;            /* i: int, u: uint64_t */
};

#define I(n, f) { n, offsetof(struct cor_proc_stat, f), 'i' }
#define U(n, f) { n, offsetof(struct cor_proc_stat, f), 'u' }

static const struct stat_field stat_fields[] = {
	I(4, ppid), I(5, pgrp), I(6, session), I(7, tty), I(8, tpgid), I(19, nice), U(22, starttime), U(24, rss_pages),
	U(26, start_code), U(27, end_code), U(28, start_stack), I(39, processor),
	U(45, start_data), U(46, end_data), U(47, start_brk), U(48, arg_start),
	U(49, arg_end), U(50, env_start), U(51, env_end),
};

static void store(struct cor_proc_stat *s, int at, const char *p)
{
	for (unsigned i = 0; i < ARRAY_SIZE(stat_fields); i++) {
		char *to = (char *)s + stat_fields[i].offset;

		if (stat_fields[i].number != at)
			continue;
		if (stat_fields[i].kind == 'i') {
			int v = (int)strtol(p, NULL, 10);

			memcpy(to, &v, sizeof(v));
		} else {
			uint64_t v = strtoull(p, NULL, 10);

			memcpy(to, &v, sizeof(v));
		}
	}
}

int cor_parse_stat(const char *text, struct cor_proc_stat *out)
{
	struct cor_proc_stat s = { 0 };
	const char *open = strchr(text, '('), *close = strrchr(text, ')'), *p;
	size_t n;
	int at = 4;

	/* the name may hold blanks and parentheses: it ends at the last one */
	if (!open || !close || close < open || close[1] != ' ' || !close[2] || close[3] != ' ')
		return -EINVAL;
	s.pid = (pid_t)strtol(text, NULL, 10);
	n = COR_MIN((size_t)(close - open - 1), sizeof(s.comm) - 1);
	memcpy(s.comm, open + 1, n);
	s.state = close[2];
	for (p = close + 3; *p && *p != '\n'; at++) {
		p += strspn(p, " ");
		if (!*p || *p == '\n')
			break;
		store(&s, at, p);
		p += strcspn(p, " \n");
	}
	if (at <= 51)
		return -EINVAL;
	*out = s;
	return 0;
}
