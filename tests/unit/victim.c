#include "tests/unit/victim.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

void victim_start(struct victim *v, int (*body)(struct victim *v, void *arg), void *arg)
{
	int up[2], down[2];
	char c;

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	v->shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(v->shared != MAP_FAILED);
	v->pid = fork();
	assert_true(v->pid >= 0);
	if (!v->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(up[0]);
		close(down[1]);
		v->from = up[1];
		v->to = down[0];
		_exit(body(v, arg));
	}
	close(up[1]);
	close(down[0]);
	v->from = up[0];
	v->to = down[1];
	assert_int_equal(read(v->from, &c, 1), 1);
}

void victim_ready(struct victim *v)
{
	if (write(v->from, "r", 1) != 1)
		_exit(99);
}

void victim_end(struct victim *v)
{
	if (v->pid > 0) {
		int st;

		kill(v->pid, SIGKILL);
		while (waitpid(v->pid, &st, __WALL) == v->pid && !WIFEXITED(st) && !WIFSIGNALED(st))
			;
		close(v->from);
		close(v->to);
		munmap(v->shared, 4096);
	}
	v->pid = 0;
}

static bool sleeps(pid_t pid, const char *tid)
{
	char path[320], text[512], *p;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, tid);
	f = fopen(path, "r");
	if (!f)
		return true;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	p = strrchr(text, ')');
	return p && p[2] == 'S';
}

void victim_await_sleep(pid_t pid)
{
	struct timespec ts = { .tv_nsec = 1000000 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	for (;;) {
		DIR *d = opendir(path);
		struct dirent *e;
		bool all = true;

		assert_non_null(d);
		while ((e = readdir(d)))
			if (e->d_name[0] != '.' && !sleeps(pid, e->d_name))
				all = false;
		closedir(d);
		if (all)
			return;
		nanosleep(&ts, NULL);
	}
}

void victim_seize(pid_t tid)
{
	int st;

	assert_int_equal(ptrace(PTRACE_SEIZE, tid, NULL, NULL), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), 0);
	assert_int_equal(waitpid(tid, &st, __WALL), tid);
	assert_true(WIFSTOPPED(st));
}

int victim_finish(struct victim *v)
{
	int st;

	assert_int_equal(write(v->to, "x", 1), 1);
	assert_int_equal(waitpid(v->pid, &st, __WALL), v->pid);
	close(v->from);
	close(v->to);
	munmap(v->shared, 4096);
	v->pid = 0;
	return WIFEXITED(st) ? WEXITSTATUS(st) : -WTERMSIG(st);
}
