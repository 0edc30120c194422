/* A program for test_preload: says on stdout what it sees and what its hooks
 * are told. Arguments: "fds" lists its descriptors and ends; "hooks" registers
 * hooks and lives until its stdin ends, "stay" does so and lives on. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cor/migrate.h>

static void before(void *arg)
{
	printf("before %s\n", (char *)arg);
}

static void after(void *arg, int moved)
{
	printf("after %s %d %u\n", (char *)arg, moved, cor_migrations());
}

static int list_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d))
			printf("fd %s\n", e->d_name);
	if (d)
		closedir(d);
	return 0;
}

int main(int argc, char **argv)
{
	static char first[] = "first", second[] = "second";
	char c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[1], "fds"))
		return list_fds();
	printf("registered %d\n", cor_on_migrate(before, after, first));
	cor_on_migrate(before, after, second);
	printf("ready\n");
	while (argc > 1 && !strcmp(argv[1], "stay"))
		pause();
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
