/* timers, children, timens_offsets, and what is told of single threads; see procfs.h. */
#include "libcor/task/procfs.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_notify(const char *kind, const char *who, struct cor_proc_timer *t)
{
	if (!strcmp(kind, "signal"))
		t->notify = SIGEV_SIGNAL;
	else if (!strcmp(kind, "none"))
		t->notify = SIGEV_NONE;
	else if (!strcmp(kind, "thread"))
		t->notify = SIGEV_THREAD;
	else
		return false;
	if (!strcmp(who, "tid"))
		t->notify |= SIGEV_THREAD_ID;
	else if (strcmp(who, "pid"))
		return false;
	return true;
}

int cor_parse_timer(const char **cursor, struct cor_proc_timer *out)
{
	struct cor_proc_timer t = { 0 };
	char kind[8], who[4];
	unsigned long value;
	int used = 0;

	if (!**cursor)
		return 0;
	if (sscanf(*cursor, "ID: %d signal: %d/%lx notify: %7[a-z]/%3[a-z].%d ClockID: %d%n",
		   &t.id, &t.signo, &value, kind, who, &t.target, &t.clock, &used) != 7 || !used)
		return -EINVAL;
	if (!parse_notify(kind, who, &t))
		return -EINVAL;
	t.value = value;
	*cursor += used;
	*cursor += strspn(*cursor, "\n");
	*out = t;
	return 1;
}

int cor_parse_pid_list(const char **cursor, pid_t *out)
{
	const char *p = *cursor + strspn(*cursor, " \n");
	char *end;
	long v;

	if (!*p) {
		*cursor = p;
		return 0;
	}
	v = strtol(p, &end, 10);
	if (end == p || v <= 0 || v > INT32_MAX)
		return -EINVAL;
	*cursor = end;
	*out = (pid_t)v;
	return 1;
}

static bool offset_of(const char *text, const char *clock, int64_t *ns)
{
	const char *p = strstr(text, clock);
	long long sec;
	long nsec;

	if (!p || sscanf(p + strlen(clock), " %lld %ld", &sec, &nsec) != 2)
		return false;
	if (nsec < 0 || nsec >= 1000000000 || sec > INT64_MAX / 1000000000 - 1 ||
	    sec < INT64_MIN / 1000000000 + 1)
		return false;
	*ns = (int64_t)sec * 1000000000 + nsec;
	return true;
}

int cor_parse_timens(const char *text, int64_t *monotonic, int64_t *boottime)
{
	int64_t m, b;

	if (!offset_of(text, "monotonic", &m) || !offset_of(text, "boottime", &b))
		return -EINVAL;
	*monotonic = m;
	*boottime = b;
	return 0;
}

/* "name    :   123.456789": the value, without its point. */
static bool sched_value(const char *text, const char *name, uint64_t *out)
{
	const char *p = strstr(text, name);
	uint64_t v = 0;

	if (!p)
		return false;
	p += strlen(name);
	p += strspn(p, " :");
	if (*p < '0' || *p > '9')
		return false;
	for (; (*p >= '0' && *p <= '9') || *p == '.'; p++)
		if (*p != '.')
			v = v * 10 + (uint64_t)(*p - '0');
	*out = v;
	return true;
}

int cor_parse_sched(const char *text, struct cor_proc_sched *out)
{
	const char *body = strchr(text, '\n');  /* the first line holds the thread's name */
	struct cor_proc_sched s;

	if (!body || !sched_value(body, "\nse.exec_start ", &s.ran_at_ns) ||
	    !sched_value(body, "\nse.nr_migrations ", &s.migrations) ||
	    !sched_value(body, "\nnr_switches ", &s.switches))
		return -EINVAL;
	*out = s;
	return 0;
}

int cor_parse_schedstat(const char *text, uint64_t *runs)
{
	uint64_t n;

	if (sscanf(text, "%*u %*u %" SCNu64, &n) != 1 || !n)
		return -EINVAL;
	*runs = n;
	return 0;
}

int cor_parse_syscall(const char *text, struct cor_proc_syscall *out)
{
	struct cor_proc_syscall s;
	uint64_t *a = s.arg;

	if (strncmp(text, "running", 7) == 0 || strncmp(text, "-1 ", 3) == 0)
		return -EAGAIN;
	if (sscanf(text, "%" SCNd64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
		   " %" SCNx64 " %" SCNx64 " %" SCNx64, &s.nr, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5],
		   &s.sp, &s.pc) != 9 || s.nr < 0)
		return -EINVAL;
	*out = s;
	return 0;
}
