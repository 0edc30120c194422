/* Parking: a stopped task on its way gives its addresses up, and gets them back
 * when it stays after all. */
#include <errno.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"

static int park_one(pid_t pid, const Cor__Names__FileTable *table, unsigned index,
		    enum cor_file_parking what, struct cor_error *err)
{
	const struct cor_file_ops *ops = cor_file_ops_of(table->files[index]->kind);
	int number = cor_file_number(table, index);
	_cleanup_close_ int dup = -1;
	int rc;

	if (!ops || !ops->park)
		return 0;
	dup = cor_files_duplicate(pid, number, err);
	if (dup < 0)
		return dup;
	rc = ops->park(dup, table->files[index], what);
	return rc < 0 ? cor_fail_code(err, rc, "descriptor %d: its address cannot be %s", number,
				      what == COR_FILE_UNPARK ? "had back" : "given up") : 0;
}

/* Files 0 to n - 1, all of them. The first error. */
static int unpark_first(pid_t pid, const Cor__Names__FileTable *table, unsigned n,
			struct cor_error *err)
{
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		int rc = park_one(pid, table, i, COR_FILE_UNPARK, first ? NULL : err);

		if (first == 0)
			first = rc;
	}
	return first;
}

int cor_files_park(pid_t pid, const Cor__Names__FileTable *table, bool same_netns,
		   struct cor_error *err)
{
	for (unsigned i = 0; i < table->n_files; i++) {
		int rc = park_one(pid, table, i, COR_FILE_PARK, err);

		if (rc == 0 && same_netns)
			rc = park_one(pid, table, i, COR_FILE_PARK_NETNS, err);

		if (rc < 0) {
			unpark_first(pid, table, i, NULL);
			return rc;
		}
	}
	return 0;
}

int cor_files_unpark(pid_t pid, const Cor__Names__FileTable *table, struct cor_error *err)
{
	return unpark_first(pid, table, (unsigned)table->n_files, err);
}

void cor_files_bury(pid_t pid, const Cor__Names__FileTable *table)
{
	for (unsigned i = 0; i < table->n_files; i++)
		park_one(pid, table, i, COR_FILE_BURY, NULL);
}
