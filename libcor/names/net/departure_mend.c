/* Undoing the departure of another process, which has died amid it. Which sockets it had come to
 * is not known: each is looked at. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/files_duplicate.h"
#include "libcor/names/files_table.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/net/departure_private.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/tcp_repair.h"

const struct cor_address *cor_departure_addresses(const struct cor_departure *d, unsigned *n)
{
	*n = d ? d->naddresses : 0;
	return d ? d->addresses : NULL;
}

/* What of them is not here. The first error. */
static int put_back(const struct cor_address *addresses, unsigned n, struct cor_error *err)
{
	_cleanup_close_ int rtnl = n ? cor_rtnl_open() : -1, announcer = n ? cor_address_announcer() : -1;
	int first = 0;

	if (n && rtnl < 0)
		return cor_fail_code(err, rtnl, "a NETLINK_ROUTE socket");
	for (unsigned i = 0; i < n; i++) {
		int r = cor_address_put_back(&addresses[i], rtnl, first ? NULL : err);

		if (r == 0 && announcer >= 0)
			cor_address_announce(&addresses[i], announcer, NULL);
		if (first == 0 && r != -EEXIST)
			first = r;
	}
	return first;
}

static const Cor__Names__OpenFile *find(const Cor__Names__FileTable *table, const struct stat *st)
{
	for (size_t i = 0; i < table->n_files; i++)
		if (table->files[i]->ino == st->st_ino && table->files[i]->dev == st->st_dev)
			return table->files[i];
	return NULL;
}

/* One with a filter of its user's would not have been let go. */
static void unsilence(int dup, const Cor__Names__OpenFile *file)
{
	struct cor_socket kind;
	int repair = 0;
	socklen_t len = sizeof(repair);

	if (cor_socket_query(dup, &kind) < 0 || kind.type != SOCK_STREAM ||
	    kind.protocol != IPPROTO_TCP)
		return;
	if (kind.listening)
		cor_tcp_ungate(dup);
	else if (getsockopt(dup, IPPROTO_TCP, TCP_REPAIR, &repair, &len) == 0 && repair)
		cor_tcp_unsilence(dup, file && cor_socket_has_option(file, SOL_SOCKET, SO_REUSEADDR));
}

int cor_departure_mend(pid_t pid, const Cor__Names__FileTable *table,
		       const struct cor_address *addresses, unsigned n, struct cor_error *err)
{
	_cleanup_(cor_files_table_free) struct cor_files_table t = { 0 };
	_cleanup_close_ int pidfd = cor_files_pidfd(pid, err);
	int r = pidfd < 0 ? pidfd : put_back(addresses, n, err);

	if (r == 0)
		r = cor_files_table_read(pid, &t, err);
	for (unsigned i = 0; r == 0 && i < t.nrows; i++) {
		const struct cor_files_row *row = &t.rows[i];
		_cleanup_close_ int dup = -1;

		if (!S_ISSOCK(row->st.st_mode) || (row->flags & O_PATH))
			continue;
		dup = cor_files_duplicate_by(pidfd, pid, row->fd, NULL);
		if (dup >= 0)
			unsilence(dup, find(table, &row->st));
	}
	return r;
}
