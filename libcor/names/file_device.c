/* Character devices that are the same everywhere: null, zero, full, random,
 * urandom (the kernel's Documentation/admin-guide/devices.txt). */
#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <string.h>
#include <stdlib.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"

static const struct device {
	unsigned minor;
	const char *path;
} devices[] = {
	{ 3, "/dev/null" }, { 5, "/dev/zero" }, { 7, "/dev/full" },
	{ 8, "/dev/random" }, { 9, "/dev/urandom" },
};

static const struct device *known(uint64_t rdev)
{
	if (major(rdev) != 1)
		return NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(devices); i++)
		if (devices[i].minor == minor(rdev))
			return &devices[i];
	return NULL;
}

static bool is_terminal(uint64_t rdev)
{
	unsigned m = major(rdev);

	/* virtual consoles and serial lines, /dev/tty and its kind, pseudo-terminals */
	return m == 4 || m == 5 || (m >= 128 && m <= 143);
}

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	return S_ISCHR(seen->st.st_mode) || S_ISBLK(seen->st.st_mode) ?
	       COR__NAMES__FILE_KIND__DEVICE : -1;
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	if (S_ISBLK(seen->st.st_mode))
		return cor_file_refuse(err, seen, "the block device %s: block devices are not "
				       "carried", seen->link);
	if (is_terminal(seen->st.st_rdev))
		return cor_file_refuse(err, seen, "the terminal %s: terminals are not carried yet",
				       seen->link);
	if (!known(seen->st.st_rdev))
		return cor_file_refuse(err, seen, "the device %s (%u:%u): only null, zero, full, "
				       "random and urandom are carried", seen->link,
				       major(seen->st.st_rdev), minor(seen->st.st_rdev));
	out->path = strdup(seen->link);
	out->rdev = seen->st.st_rdev;
	return out->path ? 0 : -ENOMEM;
}

/* Where the device is here: its path on the source, else its usual name; NULL. */
static const char *find(const Cor__Names__OpenFile *file)
{
	const struct device *d = known(file->rdev);
	const char *paths[] = { file->path, d ? d->path : NULL };
	struct stat st;

	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++)
		if (paths[i] && stat(paths[i], &st) == 0 && S_ISCHR(st.st_mode) &&
		    st.st_rdev == file->rdev)
			return paths[i];
	return NULL;
}

static int check(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);

	if (known(file->rdev) && find(file))
		return 0;
	return cor_fail(err, -ENXIO, "descriptor %d: the device %s (%u:%u) is not here",
			cor_file_number(place->table, index), file->path,
			major(file->rdev), minor(file->rdev));
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	int rc = check(&r->place, index, err);

	if (rc < 0)
		return rc;
	return cor_file_made(r, index, open(find(file), (int)cor_file_open_flags(file->flags) |
					    O_CLOEXEC | O_NOCTTY), file->path, err);
}

const struct cor_file_ops cor_file_device = {
	.recognise = recognise,
	.capture   = capture,
	.check     = check,
	.restore   = restore,
	.mechanism = COR_MECHANISM_DESCRIPTORS,
	.kinds     = 1u << COR__NAMES__FILE_KIND__DEVICE,
};
