/* /proc/PID/fdinfo/FD, as the kinds of descriptors read it. */
#include <errno.h>
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

static void capture(const char *info, Cor__Names__FileKind kind, capture_fn *fn)
{
	struct cor_file_capture c = { .pid = getpid() };
	struct cor_file_seen seen = { .fd = 3, .dup = -1, .link = "/some/file", .info = info };
	Cor__Names__OpenFile *file = malloc(sizeof(*file));
	struct cor_error err = COR_ERROR_INIT;

	FUZZ_CHECK(file);
	cor__names__open_file__init(file);
	file->kind = kind;
	FUZZ_CHECK(fn(&c, &seen, file, &err) <= 0);
	cor__names__open_file__free_unpacked(file, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *info = fuzz_text(data, size);
	uint64_t flags;

	(void)cor_fdinfo_u64(info, "flags:", 8, &flags);
	capture(info, COR__NAMES__FILE_KIND__EVENTFD, cor_file_event.capture);
	capture(info, COR__NAMES__FILE_KIND__SIGNALFD, cor_file_event.capture);
	capture(info, COR__NAMES__FILE_KIND__PIDFD_SELF, cor_file_event.capture);
	capture(info, COR__NAMES__FILE_KIND__EPOLL, cor_file_epoll.capture);
	capture(info, COR__NAMES__FILE_KIND__REGULAR, capture_locks);
	free(info);
	return 0;
}
