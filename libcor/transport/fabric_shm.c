/* The provider "shm": endpoints of one host reach each other through files in /dev/shm, by
 * whose names they go. It knows no hosts, makes names of PIDs, which are not unique among PID
 * namespaces, and leaves its files behind when a process is killed. */
#include "libcor/transport/fabric_base.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"

#define DIRECTORY "/dev/shm"

static unsigned long own_pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) < 0 ? 0 : (unsigned long)st.st_ino;
}

/* A file of ours, of a process that has ended. */
static bool left_behind(const char *file, unsigned long namespace)
{
	unsigned long theirs;
	int pid;

	return sscanf(file, "cor-%lx-%d-", &theirs, &pid) == 2 && theirs == namespace && pid > 0 &&
	       kill(pid, 0) < 0 && errno == ESRCH;
}

void fabric_shm_sweep(void)
{
	unsigned long namespace = own_pid_namespace();
	_cleanup_closedir_ DIR *d = namespace ? opendir(DIRECTORY) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (left_behind(e->d_name, namespace))
			unlinkat(dirfd(d), e->d_name, 0);
}

bool fabric_shm_name(const char *provider, char *name, size_t size)
{
	uint64_t random;

	if (strcmp(provider, "shm") != 0 || getrandom(&random, sizeof(random), 0) != sizeof(random))
		return false;
	snprintf(name, size, "cor-%lx-%d-%016llx", own_pid_namespace(), (int)getpid(),
		 (unsigned long long)random);
	return true;
}

bool fabric_shm_out_of_reach(const char *name)
{
	static const char prefix[] = "fi_shm://";
	char path[160];

	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return false;
	snprintf(path, sizeof(path), DIRECTORY "/%s", name + sizeof(prefix) - 1);
	return access(path, F_OK) < 0;
}
