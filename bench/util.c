/* What the measurements of cor-bench have in common: children, sockets, medians. */
#include <err.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libcor/base/io.h"

extern char **environ;

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
	struct bench_common *c = state->input;

	switch (key) {
	case 'j':
		c->json = true;
		return 0;
	case 'p':
		c->plot = arg;
		return 0;
	case 'r':
		c->runs = parse_count(state, arg, BENCH_MAX_RUNS);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option common_options[] = {
	{ "json", 'j', NULL, 0, "Print one JSON object", 0 },
	{ "plot", 'p', "FILE.svg", 0, "Draw the result with gnuplot", 0 },
	{ "runs", 'r', "N", 0, "Medians over N runs", 0 },
	{ 0 }
};

const struct argp bench_common_argp = { .options = common_options, .parser = parse_common };

error_t parse_sized(int key, char *arg, struct argp_state *state)
{
	struct bench_sized *o = state->input;

	switch (key) {
	case 's':
		o->size = parse_size(state, arg);
		return 0;
	case 'n':
		o->count = parse_count(state, arg, 1000000);
		return 0;
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->common;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void samples_add(struct samples *s, double v)
{
	if (s->n < BENCH_MAX_RUNS)
		s->v[s->n++] = v;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double samples_median(const struct samples *s)
{
	double v[BENCH_MAX_RUNS];

	if (!s->n)
		return NAN;
	memcpy(v, s->v, s->n * sizeof(*v));
	qsort(v, s->n, sizeof(*v), by_value);
	return s->n % 2 ? v[s->n / 2] : (v[s->n / 2 - 1] + v[s->n / 2]) / 2;
}

size_t parse_size(const struct argp_state *state, const char *text)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);
	unsigned shift = 0;

	switch (*end) {
	case 'k': case 'K': shift = 10; end++; break;
	case 'm': case 'M': shift = 20; end++; break;
	case 'g': case 'G': shift = 30; end++; break;
	}
	if (end == text || *end || !v || v > (1ull << 46) >> shift || ((v << shift) & 4095))
		argp_error(state, "%s is no size: a multiple of 4K such as 64M or 2G is wanted", text);
	return (size_t)(v << shift);
}

unsigned parse_sizes(const struct argp_state *state, char *text, size_t *sizes, unsigned max)
{
	unsigned n = 0;

	for (char *save, *one = strtok_r(text, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
		if (n == max)
			argp_error(state, "no more than %u sizes can be given", max);
		sizes[n++] = parse_size(state, one);
	}
	if (!n)
		argp_error(state, "a size is wanted");
	return n;
}

unsigned parse_count(const struct argp_state *state, const char *text, unsigned max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (end == text || *end || !v || v > max)
		argp_error(state, "%s is no number from 1 to %u", text, max);
	return (unsigned)v;
}

const char *size_text(char buf[24], size_t bytes)
{
	if (bytes >= 1ull << 30 && !(bytes & ((1ull << 30) - 1)))
		snprintf(buf, 24, "%zu GiB", bytes >> 30);
	else if (bytes >= 1ull << 20 && !(bytes & ((1ull << 20) - 1)))
		snprintf(buf, 24, "%zu MiB", bytes >> 20);
	else
		snprintf(buf, 24, "%zu KiB", bytes >> 10);
	return buf;
}

uint64_t spawn_true_ns(void)
{
	static char path[] = "/bin/true";
	char *argv[] = { path, NULL };
	uint64_t start = cor_now_ns();
	pid_t pid;
	int e, status;

	e = posix_spawn(&pid, path, NULL, NULL, argv, environ);
	if (e) {
		errno = e;
		err(1, "%s", path);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			err(1, "wait for %s", path);
	return cor_now_ns() - start;
}

void tcp_pair(int fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int one = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&a, &len))
		err(1, "loopback socket");
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fds[0] < 0 || connect(fds[0], (struct sockaddr *)&a, sizeof(a)))
		err(1, "loopback connection");
	fds[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (fds[1] < 0)
		err(1, "accept on loopback");
	close(l);
	for (int i = 0; i < 2; i++)
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

pid_t fork_child(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	}
	return pid;
}

void end_child(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void in_child(void (*fn)(void *arg), void *arg)
{
	pid_t pid = fork_child();
	int status;

	if (!pid) {
		fn(arg);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			err(1, "waitpid");
	if (WIFSIGNALED(status))
		errx(1, "a child was ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		exit(WEXITSTATUS(status));      /* it has said why */
}

void *shared_memory(size_t size)
{
	void *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED)
		err(1, "memory");
	return m;
}

uint64_t cpu_ns(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void compute(uint64_t ns)
{
	uint64_t end;

	if (!ns)
		return;
	end = cor_now_ns() + ns;
	while (cor_now_ns() < end)
		__builtin_ia32_pause();
}
