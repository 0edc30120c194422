/* See file_handle.h. */
#include "libcor/names/file_handle.h"

#include <fcntl.h>
#include <string.h>

size_t cor_file_handle(int fd, const char *path, uint8_t out[COR_FILE_HANDLE])
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = { .h.handle_bytes = MAX_HANDLE_SZ };
	int mount, r;

	r = fd >= 0 ? name_to_handle_at(fd, "", &u.h, &mount, AT_EMPTY_PATH) :
		      name_to_handle_at(AT_FDCWD, path, &u.h, &mount, AT_SYMLINK_FOLLOW);
	if (r < 0)
		return 0;
	memcpy(out, &u.h.handle_type, 4);
	memcpy(out + 4, u.h.f_handle, u.h.handle_bytes);
	return 4 + u.h.handle_bytes;
}
