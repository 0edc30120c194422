/* cor-bench files: files that stay at home, from afar and at home, in turn. */
#include <err.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/home_rig.h"
#include "bench/report.h"
#include "libcor/base/io.h"

#define CHUNK (1u << 20)

struct options {
	struct bench_sized sized;
	const char *dir;
};

static const struct argp_option options[] = {
	{ "size",  's', "BYTES", 0, "File to be read (default 512M)", 0 },
	{ "count", 'n', "N",     0, "Operations of each kind (default 2000)", 0 },
	{ "dir",   'd', "DIR",   0, "Where the home's files are (default /var/tmp)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	if (key != 'd')
		return parse_sized(key, arg, state);
	o->dir = arg;
	return 0;
}

/* ---- reading ------------------------------------------------------------------ */

static void make_file(const char *path, size_t size)
{
	char *buf = malloc(CHUNK);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (!buf || fd < 0)
		err(1, "%s", path);
	for (size_t i = 0; i < CHUNK; i++)
		buf[i] = (char)(i * 2654435761u >> 13);
	for (size_t done = 0; done < size; done += CHUNK)
		if (write(fd, buf, CHUNK) != CHUNK)
			err(1, "%s", path);
	if (fsync(fd) < 0)
		err(1, "%s", path);
	close(fd);
	free(buf);
}

/* Not in this kernel's memory any more (as far as it lets go). */
static void evict(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		err(1, "%s", path);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

static double read_gb_per_s(const char *path)
{
	static char buf[CHUNK];
	int fd = open(path, O_RDONLY);
	uint64_t from = cor_now_ns();
	size_t total = 0;
	ssize_t n;

	if (fd < 0)
		err(1, "%s", path);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		total += (size_t)n;
	if (n < 0)
		err(1, "%s", path);
	close(fd);
	return (double)total / (double)(cor_now_ns() - from);
}

static const struct report_column read_columns[] = {
	{ "local_gb_per_s", "local GB/s", 2 }, { "home_gb_per_s", "home GB/s", 2 },
	{ "ratio", "ratio", 2 },
};

static void both(struct samples s[3], double local, double home)
{
	samples_add(&s[0], local);
	samples_add(&s[1], home);
	samples_add(&s[2], home / local);
}

static void reads(struct report *r, const struct options *o, const char *path, const char *far)
{
	struct samples disk[3] = { 0 }, warm[3] = { 0 }, again[3] = { 0 };
	char at[300], from[300];

	snprintf(at, sizeof(at), "%s/data", path);
	snprintf(from, sizeof(from), "%s/data", far);
	make_file(at, o->sized.size);
	for (unsigned i = 0; i < o->sized.common.runs; i++) {
		double local, home;

		evict(at);
		local = read_gb_per_s(at);
		evict(from);
		evict(at);
		home = read_gb_per_s(from);
		both(disk, local, home);
		local = read_gb_per_s(at);
		evict(from);
		home = read_gb_per_s(from);
		both(warm, local, home);
		local = read_gb_per_s(at);
		home = read_gb_per_s(from);
		both(again, local, home);
	}
	report_table(r, "read", "sequential reads", read_columns, 3);
	report_row_medians(r, "from the disk", disk);
	report_row_medians(r, "from the home's memory", warm);
	report_row_medians(r, "read again", again);
	report_finding_least(r, "home_over_local", "sequential home reads over local ones, from the disk",
		       samples_median(&disk[2]), 0.5);
	unlink(at);
}

/* ---- names --------------------------------------------------------------------------- */

static void name(char out[320], const char *dir, unsigned i)
{
	snprintf(out, 320, "%s/name-%u", dir, i);
}

static void create(const char *dir, unsigned i)
{
	char path[320];
	int fd;

	name(path, dir, i);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		err(1, "%s", path);
	close(fd);
}

static void look(const char *dir, unsigned i)
{
	struct stat st;
	char path[320];

	name(path, dir, i);
	if (stat(path, &st) < 0)
		err(1, "%s", path);
}

static void open_close(const char *dir, unsigned i)
{
	char path[320];
	int fd;

	name(path, dir, i);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		err(1, "%s", path);
	close(fd);
}

static void rename_it(const char *dir, unsigned i)
{
	char path[320], to[330];

	name(path, dir, i);
	snprintf(to, sizeof(to), "%s.new", path);
	if (rename(path, to) < 0 || rename(to, path) < 0)
		err(1, "%s", path);
}

static void remove_it(const char *dir, unsigned i)
{
	char path[320];

	name(path, dir, i);
	if (unlink(path) < 0)
		err(1, "%s", path);
}

static const struct {
	const char *what;
	void (*run)(const char *dir, unsigned i);
	unsigned each;
} kinds[] = {
	{ "create", create, 1 }, { "stat", look, 1 }, { "open and close", open_close, 1 },
	{ "rename", rename_it, 2 }, { "unlink", remove_it, 1 },
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct report_column name_columns[] = {
	{ "local_per_s", "local /s", 0 }, { "home_per_s", "home /s", 0 },
};

static void names(struct report *r, const struct options *o, const char *path, const char *far)
{
	struct samples s[NKINDS][2] = { 0 };
	double all = 0, seconds = 0;

	for (unsigned run = 0; run < o->sized.common.runs; run++)
		for (unsigned side = 0; side < 2; side++)
			for (unsigned k = 0; k < NKINDS; k++) {
				uint64_t from = cor_now_ns(), took;

				for (unsigned i = 0; i < o->sized.count; i++)
					kinds[k].run(side ? far : path, i);
				took = cor_now_ns() - from;
				samples_add(&s[k][side], o->sized.count * kinds[k].each * 1e9 / (double)took);
				if (side) {
					all += o->sized.count * kinds[k].each;
					seconds += (double)took / 1e9;
				}
			}
	report_table(r, "names", "operations on names", name_columns, 2);
	for (unsigned k = 0; k < NKINDS; k++)
		report_row_medians(r, kinds[k].what, s[k]);
	report_finding(r, "metadata_per_s", "metadata operations at home, per second", all / seconds,
		       (double)NAN);
}

int cmd_files(int argc, char **argv)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	struct argp argp = { options, parse, NULL,
		"Files that stay at home: read and named from afar over loopback TCP, beside the "
		"same at home.", children, NULL, NULL };
	struct options o = { .sized = { .common.runs = 3, .size = 512u << 20, .count = 2000 }, .dir = "/var/tmp" };
	char path[256], far[256];
	struct home_rig *rig;
	struct report *r;

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	rig = home_rig_start(o.dir, path, far);
	r = report_new("files");
	reads(r, &o, path, far);
	names(r, &o, path, far);
	home_rig_end(rig);
	return report_end(r, &o.sized.common);
}
