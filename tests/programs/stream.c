/* stream [-p FILE] give|pass|take: a pipeline of three processes whose bytes are known
 * by their place. `give` writes until SIGTERM, `pass` copies, `take` reads to the end;
 * the latter two check each byte. Each says its verdict on standard error, with the
 * number of bytes: they must be the same. */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_MAX 65536u
#define BEAT_BYTES (1u << 18)

static unsigned char g_chunk[CHUNK_MAX + 8];
static int g_out;
static uint64_t g_bytes;

/* The bytes at [at, at + len), of a sequence that repeats nowhere. */
static void expect(unsigned char *to, uint64_t at, size_t len)
{
	for (size_t i = 0; i < len; i++, at++) {
		uint64_t word = check_mix(at / 8);

		to[i] = (unsigned char)(word >> 8 * (at % 8));
	}
}

static size_t write_some(const unsigned char *from, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(g_out, from + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			check_fail("writing byte %llu: %s", (unsigned long long)(g_bytes + done),
				   strerror(errno));
			break;
		}
		done += (size_t)n;
	}
	return done;
}

static void give(void)
{
	for (uint64_t i = 0; !check_stopping() && !check_failed(); i++) {
		size_t len = 1 + check_mix(i) % CHUNK_MAX;

		expect(g_chunk, g_bytes, len);
		g_bytes += write_some(g_chunk, len);
	}
}

/* False: at the end. */
static bool read_some(size_t *len)
{
	static unsigned char right[CHUNK_MAX];
	ssize_t n;

	do
		n = read(0, g_chunk, 1 + check_mix(g_bytes) % CHUNK_MAX);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		check_fail("reading byte %llu: %s", (unsigned long long)g_bytes, strerror(errno));
	if (n <= 0)
		return false;
	expect(right, g_bytes, (size_t)n);
	for (size_t i = 0; i < (size_t)n; i++) {
		if (g_chunk[i] == right[i])
			continue;
		check_fail("byte %llu is wrong", (unsigned long long)(g_bytes + i));
		break;
	}
	*len = (size_t)n;
	return !check_failed();
}

static void take(bool pass)
{
	uint64_t beat = 0;
	size_t len;

	while (read_some(&len)) {
		g_bytes += pass ? write_some(g_chunk, len) : len;
		if (g_bytes - beat >= BEAT_BYTES) {
			beat = g_bytes;
			check_beat();
		}
	}
}

int main(int argc, char **argv)
{
	int first = check_init(argc, argv, "stream");
	const char *role = first < argc ? argv[first] : "";

	/* standard output is the pipe: the verdict goes to standard error */
	g_out = dup(1);
	need(g_out >= 0 && dup2(2, 1) == 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(role, "give"))
		give();
	else if (!strcmp(role, "pass") || !strcmp(role, "take"))
		take(!strcmp(role, "pass"));
	else
		check_die("give, pass or take", __LINE__);
	check_done("%s %llu bytes", role, (unsigned long long)g_bytes);
}
