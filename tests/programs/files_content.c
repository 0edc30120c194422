/* Files that must hold, on each host, what the program has put into them; see files.h. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "check.h"

#define KIB 1024ul

/* ---- a file without a name ---------------------------------------------------------- */

struct nameless { int fd; unsigned at; };

static struct nameless g_deleted, g_tmpfile;

static void nameless_setup(struct nameless *n, int fd)
{
	char data[4 * KIB];

	check_fill(data, sizeof(data), 13);
	need((n->fd = fd) >= 0);
	need(write(fd, data, sizeof(data)) == (ssize_t)sizeof(data));
}

/* All of it is there, and a byte of it changes each round. */
static void nameless_verify(struct nameless *n)
{
	char data[4 * KIB], got[4 * KIB], name[64], link[300] = "";
	struct stat st;

	check_fill(data, sizeof(data), 13);
	for (unsigned i = 0; i < n->at; i++)
		data[i] ^= 1;
	check(pread(n->fd, got, sizeof(got), 0) == (ssize_t)sizeof(got) &&
	      !memcmp(data, got, sizeof(got)), "nameless file: its content is another");
	check(!fstat(n->fd, &st) && st.st_nlink == 0, "nameless file: it has a name");
	snprintf(name, sizeof(name), "/proc/self/fd/%d", n->fd);
	check(readlink(name, link, sizeof(link) - 1) > 10 && strstr(link, " (deleted)"),
	      "nameless file: it is shown as %s", link);
	if (n->at == sizeof(data))
		return;
	got[0] = data[n->at] ^ 1;
	check(pwrite(n->fd, got, 1, n->at) == 1, "nameless file: %s", strerror(errno));
	n->at++;
}

void files_deleted_setup(void)
{
	char path[] = "./files-deleted.XXXXXX";

	nameless_setup(&g_deleted, mkstemp(path));
	need(!unlink(path));
}

void files_deleted_verify(void)
{
	nameless_verify(&g_deleted);
}

/* One that never had a name, where the file system can make such files. */
void files_tmpfile_setup(void)
{
	char path[] = "./files-tmpfile.XXXXXX";
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);

	if (fd < 0 && errno == EOPNOTSUPP)
		need((fd = mkstemp(path)) >= 0 && !unlink(path));
	nameless_setup(&g_tmpfile, fd);
}

void files_tmpfile_verify(void)
{
	nameless_verify(&g_tmpfile);
}

/* ---- a file that is mapped shared and writable ------------------------------------------ */

#define MAPPED_WORDS (256 * KIB / 8)

static struct { char path[64]; uint64_t *at; uint64_t round; } g_mapped;

void files_mapped_setup(void)
{
	int fd;

	snprintf(g_mapped.path, sizeof(g_mapped.path), "%s", "./files-mapped.XXXXXX");
	need((fd = mkstemp(g_mapped.path)) >= 0 && !ftruncate(fd, 8 * MAPPED_WORDS));
	g_mapped.at = mmap(NULL, 8 * MAPPED_WORDS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(g_mapped.at != MAP_FAILED && !close(fd));
	for (size_t i = 0; i < MAPPED_WORDS; i++)
		g_mapped.at[i] = check_mix(i);
}

/* What is stored is what the file holds, for who reads it here. */
void files_mapped_verify(void)
{
	static uint64_t got[MAPPED_WORDS];
	int fd = open(g_mapped.path, O_RDONLY | O_CLOEXEC);

	check(fd >= 0 && pread(fd, got, sizeof(got), 0) == (ssize_t)sizeof(got),
	      "mapped: reading %s: %s", g_mapped.path, strerror(errno));
	if (fd >= 0)
		close(fd);
	check(!memcmp(got, g_mapped.at, sizeof(got)), "mapped: the file holds something else");
	for (size_t i = 0; i < MAPPED_WORDS; i++) {
		if (g_mapped.at[i] != check_mix(i) + g_mapped.round) {
			check_fail("mapped: word %zu in round %lu", i, g_mapped.round);
			break;
		}
		g_mapped.at[i]++;
	}
	g_mapped.round++;
}

void files_mapped_finish(void)
{
	unlink(g_mapped.path);
}

/* ---- one that is written by write(2) and read through a mapping -------------------------- */

static struct { char path[64]; int fd; const uint64_t *at; uint64_t round; } g_followed;

void files_followed_setup(void)
{
	snprintf(g_followed.path, sizeof(g_followed.path), "%s", "./files-followed.XXXXXX");
	need((g_followed.fd = mkstemp(g_followed.path)) >= 0);
	need(!ftruncate(g_followed.fd, 64 * KIB));
	g_followed.at = mmap(NULL, 64 * KIB, PROT_READ, MAP_SHARED, g_followed.fd, 0);
	need(g_followed.at != MAP_FAILED && g_followed.at[0] == 0);
}

void files_followed_verify(void)
{
	size_t last = g_followed.round % 8192, next = (g_followed.round + 1) % 8192;
	uint64_t word = check_mix(g_followed.round + 1);

	check(!g_followed.round || g_followed.at[last] == check_mix(g_followed.round),
	      "followed: what was written before is not there");
	check(pwrite(g_followed.fd, &word, 8, (off_t)(8 * next)) == 8, "followed: %s", strerror(errno));
	check(g_followed.at[next] == word, "followed: the mapping does not show what is written");
	g_followed.round++;
}

void files_followed_finish(void)
{
	unlink(g_followed.path);
}
