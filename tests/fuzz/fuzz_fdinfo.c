/* /proc/PID/fdinfo/FD, as the kinds of descriptors read it, and mountinfo, where
 * they look for an inode. Any file that is read holds the input. */
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "libcor/names/file_locks.h"
#include "libcor/names/file_ops.h"
#include "tests/fuzz/fuzz.h"

typedef int capture_fn(struct cor_file_capture *c, const struct cor_file_seen *seen,
		       Cor__Names__OpenFile *out, struct cor_error *err);

static int capture_locks(struct cor_file_capture *c, const struct cor_file_seen *seen,
			 Cor__Names__OpenFile *out, struct cor_error *err)
{
	return cor_file_locks_capture(seen, out, err);
}

static const char *text;

int __wrap_cor_slurp(int dirfd, const char *path, char **out, size_t *len);
int __wrap_cor_slurp(int dirfd, const char *path, char **out, size_t *len)
{
	*out = fuzz_text(text, strlen(text));
	if (len)
		*len = strlen(text);
	return 0;
}

int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	FUZZ_CHECK((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT));
	return dup(0);
}

int __wrap_open_by_handle_at(int mount, struct file_handle *handle, int flags);
int __wrap_open_by_handle_at(int mount, struct file_handle *handle, int flags)
{
	FUZZ_CHECK(handle->handle_bytes <= MAX_HANDLE_SZ);
	free(fuzz_copy(handle->f_handle, handle->handle_bytes));
	return dup(0);
}

static void capture(const char *info, Cor__Names__FileKind kind, int dup, capture_fn *fn)
{
	/* 3 is a socket of the seeds' inode, 5 is what kcmp(2) must be asked about */
	struct cor_file_seen files[] = { { .fd = 3, .st = { .st_mode = S_IFSOCK, .st_ino = 0x40e } },
					 { .fd = 5 } };
	Cor__Names__Descriptor fds[] = { COR__NAMES__DESCRIPTOR__INIT, COR__NAMES__DESCRIPTOR__INIT };
	Cor__Names__Descriptor *list[] = { &fds[0], &fds[1] };
	Cor__Names__FileTable table = COR__NAMES__FILE_TABLE__INIT;
	struct cor_file_capture c = { .pid = getpid(), .table = &table, .seen = files, .nseen = 2 };
	struct cor_file_seen seen = { .fd = 3, .dup = dup, .link = "/some/file", .info = info };
	Cor__Names__OpenFile *file = malloc(sizeof(*file));
	struct cor_error err = COR_ERROR_INIT;

	FUZZ_CHECK(file);
	fds[0].fd = 3;
	fds[1].fd = 5;
	fds[1].file = 1;
	table.descriptors = list;
	table.n_descriptors = 2;
	cor__names__open_file__init(file);
	file->kind = kind;
	FUZZ_CHECK(fn(&c, &seen, file, &err) <= 0);
	cor__names__open_file__free_unpacked(file, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int inotify, timer;
	char *info = fuzz_text(data, size);
	uint64_t flags;

	if (!inotify) {
		inotify = inotify_init1(IN_CLOEXEC);
		timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	}
	text = info;
	(void)cor_fdinfo_u64(info, "flags:", 8, &flags);
	capture(info, COR__NAMES__FILE_KIND__EVENTFD, -1, cor_file_event.capture);
	capture(info, COR__NAMES__FILE_KIND__SIGNALFD, -1, cor_file_event.capture);
	capture(info, COR__NAMES__FILE_KIND__PIDFD_SELF, -1, cor_file_event.capture);
	capture(info, COR__NAMES__FILE_KIND__TIMERFD, timer, cor_file_event.capture);
	capture(info, COR__NAMES__FILE_KIND__EPOLL, -1, cor_file_epoll.capture);
	capture(info, COR__NAMES__FILE_KIND__INOTIFY, inotify, cor_file_inotify.capture);
	capture(info, COR__NAMES__FILE_KIND__REGULAR, -1, capture_locks);
	free(info);
	return 0;
}
