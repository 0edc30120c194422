/* The table of an arriving task's descriptors: checked in the daemon, then made in
 * the stub, which here is this process below KEEP_FROM. Nothing by a name is
 * opened, made, bound or removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/names/files.h"
#include "tests/fuzz/fuzz.h"

#define KEEP_FROM 100   /* a fuzzer's own descriptors are moved above */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	/* again what is open already, and memory without a name */
	if (strncmp(path, "/proc/self/fd/", 14) == 0)
		return __real_open(path, flags & ~O_TRUNC);
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return __real_open("/dev/shm", flags, 0600);
	errno = ENOENT;
	return -1;
}

/* boot_id only */
int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	FUZZ_CHECK(strncmp(path, "/proc/", 6) == 0 && (flags & O_ACCMODE) == O_RDONLY);
	return __real_openat(dir, path, flags);
}

#define REFUSE(name, ...) \
	int __wrap_##name(__VA_ARGS__); \
	int __wrap_##name(__VA_ARGS__) \
	{ \
		errno = EACCES; \
		return -1; \
	}
REFUSE(unlink, const char *path)
REFUSE(rename, const char *from, const char *to)
REFUSE(chmod, const char *path, mode_t mode)
REFUSE(lchown, const char *path, uid_t uid, gid_t gid)
REFUSE(access, const char *path, int mode)
REFUSE(lstat, const char *path, struct stat *st)
REFUSE(connect, int fd, const struct sockaddr *sa, socklen_t len)
REFUSE(inotify_add_watch, int fd, const char *path, uint32_t mask)

int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	return 0;
}

int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog)
{
	return 0;
}

/* A peer chooses among what is carried, not among all that the kernel has. */
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
	int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (domain == AF_NETLINK)
		return errno = EACCES, -1;      /* our own question about UNIX sockets */
	FUZZ_CHECK(domain == AF_UNIX || domain == AF_INET || domain == AF_INET6);
	FUZZ_CHECK(kind == SOCK_STREAM || kind == SOCK_DGRAM || kind == SOCK_SEQPACKET);
	return __real_socket(domain, type, protocol);
}

/* Signals for input and output would come to the fuzzer. */
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
	va_list ap;
	long arg;

	va_start(ap, command);
	arg = va_arg(ap, long);
	va_end(ap);
	if (command == F_SETSIG || command == F_SETOWN_EX)
		return 0;
	if (command == F_SETFL)
		arg &= ~(long)O_ASYNC;
	return __real_fcntl(fd, command, arg);
}

static int standard[3];

/* Of a sanitizer's run time, where there is one. */
void __sanitizer_set_report_fd(void *fd) __attribute__((weak));

static void keep_standard(void)
{
	if (standard[0])
		return;
	for (int i = 0; i < 3; i++) {
		standard[i] = __real_fcntl(i, F_DUPFD_CLOEXEC, KEEP_FROM);
		FUZZ_CHECK(standard[i] >= 0);
	}
	/* what is found while descriptor 2 is the task's is said here */
	stderr = fdopen(standard[2], "w");
	FUZZ_CHECK(stderr && setvbuf(stderr, NULL, _IONBF, 0) == 0);
	if (__sanitizer_set_report_fd)
		__sanitizer_set_report_fd((void *)(intptr_t)standard[2]);
}

static void put_standard(void)
{
	for (int i = 0; i < 3; i++)
		FUZZ_CHECK(dup2(standard[i], i) == i);
	FUZZ_CHECK(close_range(3, KEEP_FROM - 1, 0) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Cor__Names__FileTable *table = cor__names__file_table__unpack(NULL, size, data);
	struct cor_error err = COR_ERROR_INIT;
	int objects[2], r;

	if (!table)
		return 0;
	keep_standard();
	r = cor_files_check(table, NULL, NULL, &err);
	FUZZ_CHECK(r == 0 || (r < 0 && err.code == r && err.text[0]));
	if (r == 0 && cor_files_early(table))
		FUZZ_CHECK(cor_files_update(getpid(), table, table, &err) == 0);
	if (cor_files_max_fd(table) < KEEP_FROM) {
		for (int i = 0; i < 2; i++)
			objects[i] = __real_open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		r = cor_files_restore(table, objects, 2, KEEP_FROM, &err);
		put_standard();
		FUZZ_CHECK(r == 0 || (r < 0 && err.code == r && err.text[0]));
		/* what it needed on the way is closed */
		FUZZ_CHECK(__real_fcntl(standard[2] + 1, F_GETFD) < 0);
	}
	cor__names__file_table__free_unpacked(table, NULL);
	return 0;
}
