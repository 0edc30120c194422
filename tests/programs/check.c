/* What every self-checking workload shares: see check.h. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

static const char *g_name = "?";
static const char *g_progress, *g_witness;
#define TESTIMONY 128
static char g_testimony[TESTIMONY];           /* the last line that we wrote */
static bool g_list;
static uint64_t g_rounds;
static volatile sig_atomic_t g_stop;
static atomic_flag g_noted = ATOMIC_FLAG_INIT;
static atomic_bool g_failed;
static char g_why[400];

static void on_stop(int sig)
{
	g_stop = 1;
}

int check_init(int argc, char **argv, const char *name)
{
	struct sigaction sa = { .sa_handler = on_stop, .sa_flags = SA_RESTART };
	int opt;

	g_name = name;
	while ((opt = getopt(argc, argv, "+p:w:l")) != -1) {
		if (opt == 'p')
			g_progress = optarg;
		else if (opt == 'w')
			g_witness = optarg;
		else if (opt == 'l')
			g_list = true;
		else
			exit(2);
	}
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	return optind;
}

bool check_stopping(void)
{
	return g_stop;
}

/* The last line of an open file; "" when there is none. */
static void last_line(int fd, char line[TESTIMONY])
{
	off_t end = lseek(fd, 0, SEEK_END), from = end > TESTIMONY - 1 ? end - (TESTIMONY - 1) : 0;
	ssize_t n = pread(fd, line, TESTIMONY - 1, from);
	char *at;

	line[n > 0 ? n : 0] = 0;
	if (n > 0 && line[n - 1] == '\n')
		line[n - 1] = 0;
	at = strrchr(line, '\n');
	if (at)
		memmove(line, at + 1, strlen(at));
}

static void testify(void)
{
	char found[TESTIMONY], mine[TESTIMONY], host[64] = "?";
	int fd = open(g_witness, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	uint64_t nonce = 0;

	if (fd < 0 || flock(fd, LOCK_EX) < 0) {
		check_fail("the witness %s: %s", g_witness, strerror(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	last_line(fd, found);
	gethostname(host, sizeof(host) - 1);
	if (strcmp(found, g_testimony)) {
		check_fail("it has run twice: the last line is \"%s\" and not \"%s\"", found,
			   g_testimony);
		dprintf(fd, "TWICE %s round %llu\n", host, (unsigned long long)g_rounds);
	}
	need(getrandom(&nonce, sizeof(nonce), 0) == sizeof(nonce));
	snprintf(mine, sizeof(mine), "%llu %016llx %s", (unsigned long long)g_rounds,
		 (unsigned long long)nonce, host);
	dprintf(fd, "%s\n", mine);
	strcpy(g_testimony, mine);
	close(fd);
}

void check_beat(void)
{
	char text[32];
	int fd, n;

	g_rounds++;
	if (g_witness)
		testify();
	if (!g_progress)
		return;
	n = snprintf(text, sizeof(text), "%020llu\n", (unsigned long long)g_rounds);
	fd = open(g_progress, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		check_fail("cannot write %s: %s", g_progress, strerror(errno));
	if (fd >= 0)
		close(fd);
}

void check_fail(const char *fmt, ...)
{
	va_list ap;

	if (atomic_flag_test_and_set(&g_noted))
		return;
	va_start(ap, fmt);
	vsnprintf(g_why, sizeof(g_why), fmt, ap);
	va_end(ap);
	atomic_store(&g_failed, true);
	fprintf(stderr, "%s: round %llu: %s\n", g_name, (unsigned long long)g_rounds, g_why);
}

bool check_failed(void)
{
	return atomic_load(&g_failed);
}

void check_die(const char *what, int line)
{
	fprintf(stderr, "%s: line %d: %s: %s\n", g_name, line, what, strerror(errno));
	exit(2);
}

void check_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("skip: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	exit(77);
}

void check_done(const char *fmt, ...)
{
	va_list ap;

	if (check_failed()) {
		printf("FAIL %s: %s\n", g_name, g_why);
		exit(1);
	}
	va_start(ap, fmt);
	printf("ok %s: ", g_name);
	vprintf(fmt, ap);
	printf(" (%llu rounds)\n", (unsigned long long)g_rounds);
	va_end(ap);
	exit(0);
}

static bool wanted(int argc, char **argv, int first, const char *kind)
{
	for (int i = first; i < argc; i++) {
		if (!strcmp(argv[i], kind))
			return true;
	}
	return first >= argc;
}

void check_kinds(int argc, char **argv, const char *name, const struct check_kind *kinds,
		 unsigned n)
{
	int first = check_init(argc, argv, name);
	const struct check_kind *run[n];
	unsigned nrun = 0;

	for (unsigned i = 0; i < n; i++) {
		if (g_list)
			puts(kinds[i].name);
		else if (wanted(argc, argv, first, kinds[i].name))
			run[nrun++] = &kinds[i];
	}
	if (g_list)
		exit(0);
	if (!nrun || (first < argc && nrun != (unsigned)(argc - first))) {
		fprintf(stderr, "%s: unknown kind\n", name);
		exit(2);
	}
	for (unsigned i = 0; i < nrun; i++)
		run[i]->setup();
	while (!check_stopping()) {
		for (unsigned i = 0; i < nrun; i++)
			run[i]->verify();
		check_beat();
		check_sleep_ms(10);
	}
	for (unsigned i = 0; i < nrun; i++)
		run[i]->verify();
	for (unsigned i = 0; i < nrun; i++) {
		if (run[i]->finish)
			run[i]->finish();
	}
	check_done("%u kinds from %s on", nrun, run[0]->name);
}

uint64_t check_now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void check_sleep_ms(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	if (!check_stopping() && nanosleep(&ts, NULL) && errno == EINTR && !check_stopping()) {
		/* Only the kinds that use signals of their own come here. */
		return;
	}
}

uint64_t check_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

void check_fill(void *at, size_t len, uint64_t seed)
{
	unsigned char *to = at;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = check_mix(seed + i);

		memcpy(to + i, &word, len - i < 8 ? len - i : 8);
	}
}

ssize_t check_differs(const void *at, size_t len, uint64_t seed)
{
	const unsigned char *from = at;

	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = check_mix(seed + i);

		if (memcmp(from + i, &word, len - i < 8 ? len - i : 8))
			return (ssize_t)i;
	}
	return -1;
}

ssize_t check_read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	buf[len] = '\0';
	return n < 0 ? -1 : (ssize_t)len;
}
