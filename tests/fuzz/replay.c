/* main() of a fuzz target without a fuzzer: runs it on every file that is named,
 * and on every file of every directory that is. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "libcor/base/cleanup.h"
#include "tests/fuzz/fuzz.h"

static unsigned files;

static void run_file(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ uint8_t *data = NULL;
	size_t size = 0, room = 0, n;

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(2);
	}
	do {
		room = room ? room * 2 : 65536;
		data = realloc(data, room);
		FUZZ_CHECK(data);
		n = fread(data + size, 1, room - size, f);
		size += n;
	} while (n);
	LLVMFuzzerTestOneInput(data, size);
	files++;
}

static void run_directory(const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	char name[4096];
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, d->d_name);
		run_file(name);
	}
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			run_directory(argv[i]);
		else
			run_file(argv[i]);
	}
	printf("%s: %u inputs\n", argv[0], files);
	return 0;
}
