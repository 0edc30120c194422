/* Who the task is: each property is written down as text at the start, and is
 * the same text in every round. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define TEXT 8192

extern char **environ;

static void file_text(const char *path, char *out)
{
	ssize_t n = check_read_file(path, out, TEXT);

	for (ssize_t i = 0; i < n; i++) {
		if (!out[i])
			out[i] = ' ';
	}
	if (n < 0)
		snprintf(out, TEXT, "%s: %s", path, strerror(errno));
}

static void link_text(const char *path, char *out)
{
	ssize_t n = readlink(path, out, TEXT - 1);

	if (n < 0)
		snprintf(out, TEXT, "%s: %s", path, strerror(errno));
	else
		out[n] = '\0';
}

static void get_ids(char *out)
{
	snprintf(out, TEXT, "pid %d pgid %d sid %d tid %d", (int)syscall(SYS_getpid), getpgid(0),
		 getsid(0), check_gettid());
}

static void get_cwd(char *out)
{
	if (!getcwd(out, TEXT))
		snprintf(out, TEXT, "%s", strerror(errno));
}

static void get_umask(char *out)
{
	mode_t mask = umask(0);

	umask(mask);
	snprintf(out, TEXT, "%04o", mask);
}

static void get_exe(char *out) { link_text("/proc/self/exe", out); }
static void get_cmdline(char *out) { file_text("/proc/self/cmdline", out); }
static void get_environ(char *out) { file_text("/proc/self/environ", out); }
static void get_comm(char *out) { file_text("/proc/self/comm", out); }
static void get_kernel_host(char *out) { file_text("/proc/sys/kernel/hostname", out); }

static void get_host(char *out)
{
	struct utsname u;

	uname(&u);
	snprintf(out, TEXT, "%s %s", u.nodename, u.domainname);
}

static void get_oom(char *out) { file_text("/proc/self/oom_score_adj", out); }

/* The environment as libc sees it. */
static void get_getenv(char *out)
{
	snprintf(out, TEXT, "%s %s", getenv("CHECK_ONE") ? getenv("CHECK_ONE") : "-",
		 getenv("PATH") ? getenv("PATH") : "-");
}

static void get_auxv(char *out)
{
	unsigned long aux[200] = { 0 };
	int fd = open("/proc/self/auxv", O_RDONLY | O_CLOEXEC), at = 0;
	ssize_t n = read(fd, aux, sizeof(aux));

	for (ssize_t i = 0; i < n / 8 && at < TEXT - 40; i += 2)
		at += snprintf(out + at, (size_t)(TEXT - at), "%lu=%lx ", aux[i], aux[i + 1]);
	close(fd);
}

static void get_nice(char *out)
{
	snprintf(out, TEXT, "%d", getpriority(PRIO_PROCESS, 0));
}

static void get_sched(char *out)
{
	struct sched_param param;

	sched_getparam(0, &param);
	snprintf(out, TEXT, "policy %#x priority %d", sched_getscheduler(0), param.sched_priority);
}

static void get_affinity(char *out)
{
	cpu_set_t set;
	int at = 0;

	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	out[0] = '\0';
	for (int i = 0; i < CPU_SETSIZE && at < TEXT - 10; i++) {
		if (CPU_ISSET(i, &set))
			at += snprintf(out + at, (size_t)(TEXT - at), "%d ", i);
	}
}

static void get_creds(char *out)
{
	uid_t r, e, s;
	gid_t groups[64];
	int at, n;

	getresuid(&r, &e, &s);
	at = snprintf(out, TEXT, "uid %d %d %d ", (int)r, (int)e, (int)s);
	getresgid(&r, &e, &s);
	at += snprintf(out + at, (size_t)(TEXT - at), "gid %d %d %d groups", (int)r, (int)e, (int)s);
	n = getgroups(64, groups);
	for (int i = 0; i < n; i++)
		at += snprintf(out + at, (size_t)(TEXT - at), " %d", (int)groups[i]);
}

static void get_status(char *out)
{
	static const char *const LINES[] = { "Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:",
					     "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:",
					     "Seccomp:", "Threads:", "Umask:", "Cpus_allowed:" };
	char status[TEXT];
	int at = 0;

	file_text("/proc/self/status", status);
	for (char *line = strtok(status, "\n"); line; line = strtok(NULL, "\n")) {
		for (size_t i = 0; i < sizeof(LINES) / sizeof(*LINES); i++) {
			if (!strncmp(line, LINES[i], strlen(LINES[i])))
				at += snprintf(out + at, (size_t)(TEXT - at), "%s ", line);
		}
	}
}

static void get_prctl(char *out)
{
	int subreaper = -1, deathsig = -1;

	prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
	prctl(PR_GET_PDEATHSIG, &deathsig);
	snprintf(out, TEXT, "dumpable %d no_new_privs %d keepcaps %d securebits %d timerslack %d "
		 "subreaper %d deathsig %d thp %d", prctl(PR_GET_DUMPABLE),
		 prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_KEEPCAPS),
		 prctl(PR_GET_SECUREBITS), prctl(PR_GET_TIMERSLACK), subreaper, deathsig,
		 prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
}

static void get_limits(char *out)
{
	struct rlimit rl;
	int at = 0;

	for (int i = 0; i < RLIM_NLIMITS; i++) {
		getrlimit(i, &rl);
		at += snprintf(out + at, (size_t)(TEXT - at), "%d:%lx/%lx ", i,
			       (unsigned long)rl.rlim_cur, (unsigned long)rl.rlim_max);
	}
}

static void get_personality(char *out)
{
	snprintf(out, TEXT, "%#x", personality(0xffffffff));
}

/* The task sees itself in /proc under the PID that it knows. */
static void get_proc(char *out)
{
	char self[40], own[TEXT];

	link_text("/proc/self", own);
	snprintf(self, sizeof(self), "%d", getpid());
	snprintf(out, TEXT, "/proc/self is %.40s", strcmp(self, own) ? own : "ours");
}

static const struct property {
	const char *name;
	void (*get)(char *out);
} PROPERTIES[] = {
	{ "ids", get_ids }, { "cwd", get_cwd }, { "umask", get_umask }, { "exe", get_exe },
	{ "cmdline", get_cmdline }, { "environ", get_environ }, { "getenv", get_getenv },
	{ "auxv", get_auxv }, { "comm", get_comm }, { "nice", get_nice }, { "sched", get_sched },
	{ "affinity", get_affinity }, { "creds", get_creds }, { "status", get_status },
	{ "prctl", get_prctl }, { "limits", get_limits }, { "personality", get_personality },
	{ "oom", get_oom }, { "proc", get_proc }, { "host", get_host },
	{ "kernel host", get_kernel_host },
};
#define NPROPERTIES (sizeof(PROPERTIES) / sizeof(*PROPERTIES))

static char g_before[NPROPERTIES][TEXT];

/* Everything other than the default, as far as it can be had. */
static void become_special(void)
{
	struct rlimit rl = { 512, 1024 };
	struct sched_param param = { 0 };
	cpu_set_t set;

	umask(037);
	need(!setpriority(PRIO_PROCESS, 0, 5));
	need(!sched_setscheduler(0, SCHED_BATCH, &param));
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	need(!sched_setaffinity(0, sizeof(set), &set));
	need(!setrlimit(RLIMIT_NOFILE, &rl));
	need(!prctl(PR_SET_TIMERSLACK, 123456));
	need(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	need(!prctl(PR_SET_NAME, "who am (i)"));
	need(personality(ADDR_NO_RANDOMIZE) >= 0);
}

static void drop_privileges(void)
{
	struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2] = { 0 };
	gid_t groups[] = { 7, 33, 1234 };

	need(!prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0));
	need(!prctl(PR_SET_KEEPCAPS, 1));
	need(!setgroups(3, groups));
	need(!setresgid(1001, 1002, 1003) && !setresuid(1004, 1005, 1006));
	caps[0].permitted = 1u << CAP_NET_BIND_SERVICE | 1u << CAP_NET_RAW;
	caps[0].effective = 1u << CAP_NET_BIND_SERVICE;
	caps[0].inheritable = 1u << CAP_NET_BIND_SERVICE;
	need(!syscall(SYS_capset, &hdr, caps));
	need(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0));
	need(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	/* Becoming another user has made it 0; a service may set it again. */
	need(!prctl(PR_SET_DUMPABLE, 1));
}

static bool wanted(int argc, char **argv, int first, const char *name)
{
	for (int i = first; i < argc; i++) {
		if (!strcmp(argv[i], name))
			return true;
	}
	return first >= argc;
}

/* identity [-p FILE] [--drop|--plain] [PROPERTY...] */
int main(int argc, char **argv)
{
	int first = check_init(argc, argv, "identity");
	static char now[TEXT];

	/* The progress file must be writable for whoever we become. */
	check_beat();
	for (int i = 0; i < argc - 1; i++) {
		if (!strcmp(argv[i], "-p"))
			chmod(argv[i + 1], 0666);
	}
	if (first < argc && !strcmp(argv[first], "plain")) {
		first++;
	} else {
		become_special();
		if (first < argc && !strcmp(argv[first], "drop")) {
			drop_privileges();
			first++;
		}
	}
	for (size_t i = 0; i < NPROPERTIES; i++)
		PROPERTIES[i].get(g_before[i]);
	while (!check_stopping()) {
		for (size_t i = 0; i < NPROPERTIES; i++) {
			if (!wanted(argc, argv, first, PROPERTIES[i].name))
				continue;
			memset(now, 0, sizeof(now));
			PROPERTIES[i].get(now);
			check(!strcmp(now, g_before[i]), "%s: '%s' became '%s'",
			      PROPERTIES[i].name, g_before[i], now);
		}
		check_beat();
		check_sleep_ms(10);
	}
	check_done("%zu properties", NPROPERTIES);
}
