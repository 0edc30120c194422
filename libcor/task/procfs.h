/* Parsers of /proc's texts (proc(5)), as pure functions: no file is opened, so
 * that they can be tested and fuzzed on any text. All take NUL-terminated text,
 * return 0 (or what is said) or -EINVAL, and do not change the text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- maps, smaps --------------------------------------------------------- */

struct cor_map_line {
	uint64_t start, end;
	uint32_t prot;          /* PROT_* */
	bool     shared;
	uint64_t offset;        /* bytes */
	uint64_t dev;           /* makedev() */
	uint64_t ino;
	const char *name;       /* in the text, not terminated; may be empty */
	size_t   name_len;
};

/* Reads the line at *cursor and moves *cursor behind it: 1; 0 at the end;
 * -EINVAL. */
int cor_parse_map_line(const char **cursor, struct cor_map_line *out);

/* Is its name this one, all of it? As "[heap]". */
bool cor_map_line_named(const struct cor_map_line *m, const char *name);

/* What smaps adds to a mapping. */
struct cor_smap {
	uint64_t start, end;
	uint32_t flags;         /* VmaFlag bits of task.proto */
	uint32_t key;           /* protection key */
	bool hugetlb, device, shadow_stack, droppable;
};

/* Reads the next mapping of smaps at *cursor: 1; 0 at the end; -EINVAL. */
int cor_parse_smap(const char **cursor, struct cor_smap *out);

/* ---- status, stat ----------------------------------------------------------- */

struct cor_proc_status {
	char     name[64];
	char     state;
	pid_t    tgid, pid, ppid, tracer;
	pid_t    ns_tgid, ns_pid, ns_pgid, ns_sid;  /* innermost */
	unsigned ns_depth;      /* PID namespaces it is seen in, from the reader's down */
	uint32_t uid[4], gid[4];                    /* real, effective, saved, file system */
	uint32_t groups[64];
	unsigned ngroups;       /* all of them; only the first 64 are stored */
	uint32_t umask;
	unsigned threads;
	bool     kthread;
	bool     shadow_stack;
	uint64_t rss_kb;
	uint64_t sig_pending, shared_pending, sig_blocked, sig_ignored, sig_caught;
	uint64_t cap_inh, cap_prm, cap_eff, cap_bnd, cap_amb;
	bool     no_new_privs;
	unsigned seccomp;
};

int cor_parse_status(const char *text, struct cor_proc_status *out);

struct cor_proc_stat {
	pid_t    pid, ppid, pgrp, session;
	unsigned tty;           /* device number of the controlling terminal; 0: none */
	pid_t    tpgid;         /* the process group that has it; -1: none */
	char     comm[64];
	char     state;
	int      nice;
	int      processor;
	uint64_t starttime;     /* clock ticks since boot */
	uint64_t rss_pages;
	uint64_t start_code, end_code, start_stack;
	uint64_t start_data, end_data, start_brk;
	uint64_t arg_start, arg_end, env_start, env_end;
};

int cor_parse_stat(const char *text, struct cor_proc_stat *out);

/* ---- the small ones ------------------------------------------------------------ */

struct cor_proc_timer {
	int      id;
	int      signo;
	uint64_t value;         /* sigval */
	int      notify;        /* SIGEV_*, SIGEV_THREAD_ID included */
	pid_t    target;        /* process or thread, as the reader of the file sees it */
	int      clock;
};

/* Reads the timer at *cursor of /proc/PID/timers: 1; 0 at the end; -EINVAL. */
int cor_parse_timer(const char **cursor, struct cor_proc_timer *out);

/* Reads the next number of a list like /proc/PID/task/TID/children: 1; 0; -EINVAL. */
int cor_parse_pid_list(const char **cursor, pid_t *out);

/* /proc/PID/timens_offsets, in nanoseconds. */
int cor_parse_timens(const char *text, int64_t *monotonic, int64_t *boottime);

/* /proc/PID/task/TID/sched. migrations: how often it changed CPUs; as long as
 * that stays the same, ran_at_ns is on one clock. -EINVAL. */
struct cor_proc_sched {
	uint64_t ran_at_ns;     /* when it last ran, on its CPU's own clock */
	uint64_t switches;      /* context switches */
	uint64_t migrations;
};
int cor_parse_sched(const char *text, struct cor_proc_sched *out);

/* /proc/PID/task/TID/schedstat: how often it has begun to run. -EINVAL, also where the kernel
 * does not count that (without CONFIG_SCHED_INFO all numbers are 0). */
int cor_parse_schedstat(const char *text, uint64_t *runs);

/* /proc/PID/task/TID/syscall of a thread that is blocked. -EAGAIN: it runs, or is on a page, that
 * is, in no call. -EINVAL. */
struct cor_proc_syscall {
	int64_t  nr;
	uint64_t arg[6];
	uint64_t sp, pc;        /* behind the instruction */
};
int cor_parse_syscall(const char *text, struct cor_proc_syscall *out);
