/* cor-bench: measures what cor does, each figure beside the floor that this
 * machine sets, taken in the same run. One file per subcommand. */
#include <stdio.h>
#include <string.h>

#include <cor/cor.h>

#include "bench/bench.h"

static const struct {
	const char *name;
	int       (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "floor",  cmd_floor,  "what this machine can do at best: userfaultfd, TCP, copies, spawn" },
	{ "fault",  cmd_fault,  "latency of a demand fault beside the bare fault loop" },
	{ "drain",  cmd_drain,  "rate at which all pages move beside the bare drain" },
	{ "cpu",    cmd_cpu,    "CPU seconds per GiB moved, on each side" },
	{ "tls",    cmd_tls,    "what encryption and checks cost a drain and a fault" },
	{ "freeze", cmd_freeze, "freeze time of a migration beside posix_spawn + wait" },
	{ "after",  cmd_after,  "speed of a task that was moved beside one that never was" },
	{ "redis",  cmd_redis,  "throughput of a redis-server that moves under load" },
	{ "import", cmd_import, "time to the first byte of cor_import" },
	{ "pin",    cmd_pin,    "one-sided reads: how soon, and how much is registered for them" },
	{ "files",  cmd_files,  "files that stay at home: reads and names from afar" },
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *f)
{
	fprintf(f, "Usage: cor-bench COMMAND [--json] [--plot FILE.svg] [--runs N] [OPTION...]\n\n");
	for (size_t i = 0; i < NCOMMANDS; i++)
		fprintf(f, "  %-8s %s\n", commands[i].name, commands[i].what);
	fprintf(f, "\nSee cor-bench(1), and cor-bench COMMAND --help.\n");
}

int main(int argc, char **argv)
{
	char name[64];

	argp_err_exit_status = 2;
	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-?")) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("cor-bench (cor) %s\n", cor_version());
		return 0;
	}
	for (size_t i = 0; i < NCOMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name)) {
			snprintf(name, sizeof(name), "cor-bench %s", argv[1]);
			argv[1] = name;
			return commands[i].run(argc - 1, argv + 1);
		}
	fprintf(stderr, "cor-bench: no command %s\n", argv[1]);
	usage(stderr);
	return 2;
}
