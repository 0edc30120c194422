/* On the destination, before anything is made: can every file be had here? */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_handle.h"
#include "libcor/names/files_place.h"

#define FD_MAX (1 << 30)        /* no fs.nr_open is larger */

void cor_files_place_init(struct cor_file_place *place, const Cor__Names__FileTable *table)
{
	_cleanup_free_ char *id = NULL;
	struct stat st;

	place->table = table;
	place->same_boot = cor_slurp(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &id, NULL) == 0 &&
			   table->boot_id[0] && strcmp(id, table->boot_id) == 0;
	place->same_netns = place->same_boot && stat("/proc/self/ns/net", &st) == 0 &&
			    st.st_ino == table->netns;
}

bool cor_files_same_netns(const Cor__Names__FileTable *table)
{
	struct cor_file_place place;

	cor_files_place_init(&place, table);
	return place.same_netns;
}

int cor_files_table_valid(const Cor__Names__FileTable *table, struct cor_error *err)
{
	unsigned files = 0;
	int last = -1;

	/* ascending; files numbered in the order in which they first appear */
	for (size_t i = 0; i < table->n_descriptors; i++) {
		const Cor__Names__Descriptor *d = table->descriptors[i];

		if (d->fd <= last || d->fd > FD_MAX || d->file > files)
			return cor_fail(err, -EPROTO, "row %zu of the descriptor table is wrong", i);
		files += d->file == files;
		last = d->fd;
	}
	if (files != table->n_files)
		return cor_fail(err, -EPROTO, "the descriptor table has %u files, not %zu", files,
				table->n_files);
	for (size_t i = 0; i < table->n_files; i++) {
		const Cor__Names__OpenFile *f = table->files[i];

		if (!cor_file_ops_of(f->kind))
			return cor_fail(err, -EOPNOTSUPP, "descriptor %d is of kind %d, which this "
					"version cannot make", cor_file_number(table, (unsigned)i),
					(int)f->kind);
		if (f->peer >= table->n_files)
			return cor_fail(err, -EPROTO, "file %zu of the descriptor table is wrong", i);
	}
	return 0;
}

int cor_files_permitted(const Cor__Names__FileTable *table,
			const struct cor_mechanisms *mechanisms, struct cor_error *err)
{
	for (unsigned i = 0; i < table->n_files; i++) {
		const Cor__Names__OpenFile *f = table->files[i];
		int rc;

		if (cor_mechanism_on(mechanisms, cor_file_mechanism(f)))
			continue;
		rc = cor_file_require(mechanisms, cor_file_mechanism(f), cor_file_number(table, i),
				      f->path && f->path[0] ? f->path :
				      protobuf_c_enum_descriptor_get_value(
					      &cor__names__file_kind__descriptor, f->kind)->name, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int cor_files_check(const Cor__Names__FileTable *table, cor_files_doubt doubt, void *arg,
		    struct cor_error *err)
{
	struct cor_file_place place;
	int rc = cor_files_table_valid(table, err);

	if (rc < 0)
		return rc;
	cor_files_place_init(&place, table);
	for (unsigned i = 0; i < table->n_files; i++) {
		const struct cor_file_ops *ops = cor_file_ops_of(table->files[i]->kind);
		struct cor_error why = COR_ERROR_INIT;

		rc = ops->check ? ops->check(&place, i, doubt ? &why : err) : 0;
		if (rc < 0 && !doubt)
			return rc;
		if (rc < 0)
			doubt(arg, i, &why);
	}
	return 0;
}

/* A file that was removed may have left its inode to the next one of its name: a journal, say. */
static bool same_file(const Cor__Names__OpenFile *f, const char *path)
{
	uint8_t handle[COR_FILE_HANDLE];
	size_t len = f->handle.len ? cor_file_handle(-1, path, handle) : 0;

	return len == f->handle.len && memcmp(handle, f->handle.data, len) == 0;
}

bool cor_files_still(const Cor__Names__FileTable *table, pid_t pid, unsigned file)
{
	const Cor__Names__OpenFile *f = table->files[file];
	char path[48], link[PATH_MAX];
	struct stat st;
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, cor_file_number(table, file));
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0 || stat(path, &st) < 0)
		return false;
	link[len] = 0;
	/* a file that has lost its name has another link */
	return st.st_dev == f->dev && st.st_ino == f->ino && same_file(f, path) &&
	       (f->kind != COR__NAMES__FILE_KIND__REGULAR || f->synthetic ||
		strcmp(link, f->path) == 0);
}
