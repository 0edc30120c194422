/* See label.h. */
#include "libcor/task/label.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"

void cor_label_read(int proc, char *out, size_t size)
{
	_cleanup_close_ int fd = openat(proc, "attr/current", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

	out[n > 0 ? n : 0] = 0;
	out[strcspn(out, "\n")] = 0;
}

bool cor_label_confines(const char *label, const char *ours)
{
	static const char complain[] = " (complain)";
	size_t len = strlen(label), end = sizeof(complain) - 1;

	if (!*label || strcmp(label, ours) == 0)
		return false;
	/* "unconfined", "NAME (unconfined)"; "unconfined_t", "unconfined_service_t" */
	if (strstr(label, "unconfined"))
		return false;
	return len < end || strcmp(label + len - end, complain) != 0;
}
