/* See net/arrival.h. */
#include "libcor/names/net/arrival.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/base/parallel.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/net/tcp_repair.h"

#define AT_LEAST 16             /* connections for a thread */

struct built {
	int fd;                 /* a duplicate of the stub's */
	int number;
	const Cor__Names__OpenFile *file;
};

struct cor_arrival {
	struct cor_address addresses[COR_ADDRESSES_MAX];
	unsigned naddresses;
	int rtnl, announcer;
	unsigned announced;     /* times */
	struct built *built;
	unsigned nbuilt;
};

static bool is_connection(const Cor__Names__OpenFile *file)
{
	return file->kind == COR__NAMES__FILE_KIND__TCP && file->connection &&
	       file->connection->state != TCP_CLOSE;
}

static unsigned count(const Cor__Names__FileTable *table)
{
	unsigned n = 0;

	for (size_t i = 0; i < table->n_files; i++)
		n += is_connection(table->files[i]);
	return n;
}

bool cor_arrival_needed(const Cor__Names__FileTable *table)
{
	for (size_t i = 0; i < table->n_files; i++)
		if (is_connection(table->files[i]))
			return true;
	return false;
}

static int unpack_address(const Cor__Names__MovingAddress *m, struct cor_address *a,
			  struct cor_error *err)
{
	if ((m->host.len != 4 && m->host.len != 16) || m->prefix == 0 || m->prefix > m->host.len * 8 ||
	    strlen(m->interface) >= sizeof(a->ifname) || m->scope > UINT8_MAX)
		return cor_fail(err, -EPROTO, "an address that moves along is wrong");
	*a = (struct cor_address){ .prefix = m->prefix, .flags = m->flags,
				   .scope = (uint8_t)m->scope };
	a->host.family = m->host.len == 4 ? AF_INET : AF_INET6;
	a->host.len = (unsigned)m->host.len;
	memcpy(a->host.bytes, m->host.data, m->host.len);
	strcpy(a->ifname, m->interface);
	return 0;
}

static int place_all(struct cor_arrival *a, const Cor__Names__FileTable *table,
		     const struct cor_inet_addr *via, struct cor_error *err)
{
	if (table->n_addresses > COR_ADDRESSES_MAX)
		return cor_fail(err, -E2BIG, "more than %d addresses", COR_ADDRESSES_MAX);
	if (table->n_addresses == 0)
		return 0;
	a->rtnl = cor_rtnl_open();
	if (a->rtnl < 0)
		return cor_fail_code(err, a->rtnl, "a NETLINK_ROUTE socket");
	a->announcer = cor_address_announcer();
	if (a->announcer < 0)
		return cor_fail_code(err, a->announcer, "a packet socket");
	for (; a->naddresses < table->n_addresses; a->naddresses++) {
		struct cor_address *to = &a->addresses[a->naddresses];
		int r = unpack_address(table->addresses[a->naddresses], to, err);

		if (r == 0)
			r = cor_address_place(to, a->rtnl, via, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int cor_arrival_new(struct cor_arrival **out, const Cor__Names__FileTable *table,
		    const struct cor_inet_addr *via, struct cor_error *err)
{
	struct cor_arrival *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return cor_fail(err, -ENOMEM, "out of memory");
	a->rtnl = a->announcer = -1;
	/* some more may come until the freeze */
	if (cor_arrival_needed(table))
		cor_reserve_descriptors(count(table) * 5 / 4 + 64);
	r = place_all(a, table, via, err);
	if (r < 0)
		cor_arrival_free(a);
	else
		*out = a;
	return r;
}

void cor_arrival_drop(struct cor_arrival *a)
{
	for (unsigned i = 0; i < a->nbuilt; i++)
		cor_closep(&a->built[i].fd);
	free(a->built);
	a->built = NULL;
	a->nbuilt = 0;
}

void cor_arrival_free(struct cor_arrival *a)
{
	if (!a)
		return;
	cor_arrival_drop(a);
	cor_closep(&a->rtnl);
	cor_closep(&a->announcer);
	free(a);
}

/* The lowest number of each file, in one pass. */
static int number_all(const Cor__Names__FileTable *table, int *numbers)
{
	for (size_t i = 0; i < table->n_files; i++)
		numbers[i] = -1;
	for (size_t i = 0; i < table->n_descriptors; i++) {
		const Cor__Names__Descriptor *d = table->descriptors[i];

		if (d->file >= table->n_files)
			return -EPROTO;
		if (numbers[d->file] < 0)
			numbers[d->file] = d->fd;
	}
	return 0;
}

/* The connections, side by side. */
struct building {
	struct cor_arrival *a;
	int pidfd;
	struct cor_first_error first;
};

static int build_one(struct built *b, int pidfd, struct cor_error *err)
{
	b->fd = (int)syscall(SYS_pidfd_getfd, pidfd, b->number, 0);
	if (b->fd < 0)
		return cor_fail_errno(err, "descriptor %d: the socket of its connection", b->number);
	return cor_tcp_build(b->fd, b->number, b->file, err);
}

static void build_some(void *arg, unsigned from, unsigned to)
{
	struct building *job = arg;

	for (unsigned i = from; i < to; i++) {
		struct cor_error err = COR_ERROR_INIT;
		int r = build_one(&job->a->built[i], job->pidfd, &err);

		cor_first_error_note(&job->first, i, r, &err);
		if (r < 0)
			return;
	}
}

static void list_all(struct cor_arrival *a, const Cor__Names__FileTable *table, const int *numbers)
{
	for (size_t i = 0; i < table->n_files; i++)
		if (is_connection(table->files[i]))
			a->built[a->nbuilt++] = (struct built){ -1, numbers[i], table->files[i] };
}

int cor_arrival_build(struct cor_arrival *a, pid_t pid, const Cor__Names__FileTable *table,
		      struct cor_error *err)
{
	_cleanup_free_ int *numbers = calloc(table->n_files + 1, sizeof(int));
	struct building job = { .a = a, .first = COR_FIRST_ERROR_INIT };
	_cleanup_close_ int pidfd = -1;
	unsigned n = count(table);
	int r;

	cor_arrival_drop(a);
	if (n == 0)
		return 0;
	a->built = calloc(n, sizeof(*a->built));
	if (!a->built || !numbers)
		return cor_fail(err, -ENOMEM, "out of memory");
	if (number_all(table, numbers) < 0)
		return cor_fail(err, -EPROTO, "the table of descriptors is wrong");
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return cor_fail_errno(err, "process %d", (int)pid);
	list_all(a, table, numbers);
	job.pidfd = pidfd;
	cor_parallel(n, AT_LEAST, build_some, &job);
	r = cor_first_error_take(&job.first, err);
	if (r < 0)
		cor_arrival_drop(a);
	return r;
}

static void wake_some(void *arg, unsigned from, unsigned to)
{
	struct building *job = arg;

	for (unsigned i = from; i < to; i++) {
		const struct built *b = &job->a->built[i];
		struct cor_error err = COR_ERROR_INIT;

		cor_first_error_note(&job->first, i, cor_tcp_wake(b->fd, b->number, b->file, &err),
				     &err);
	}
}

int cor_arrival_take(struct cor_arrival *a, struct cor_error *err)
{
	struct building job = { .a = a, .first = COR_FIRST_ERROR_INIT };
	int first = 0, r;

	for (unsigned i = 0; i < a->naddresses; i++) {
		r = cor_address_add(&a->addresses[i], a->rtnl, first ? NULL : err);
		if (first == 0)
			first = r;
	}
	cor_parallel(a->nbuilt, AT_LEAST, wake_some, &job);
	r = cor_first_error_take(&job.first, first ? NULL : err);
	cor_arrival_drop(a);
	return first ? first : r;
}

/* It may have moved on. */
static bool is_here(const struct cor_arrival *a, unsigned i)
{
	struct cor_address now = a->addresses[i];

	return cor_address_locate(&now, a->rtnl, NULL) != -EADDRNOTAVAIL &&
	       now.ifindex == a->addresses[i].ifindex;
}

int cor_arrival_announce(struct cor_arrival *a)
{
	static const int pause_ms[] = { 100, 200, 400, 800, 1600 };
	bool some = false;

	for (unsigned i = 0; i < a->naddresses; i++) {
		/* the first time they have just been added, and the task's pages wait */
		if (a->announced && !is_here(a, i))
			continue;
		cor_address_announce(&a->addresses[i], a->announcer, NULL);
		some = true;
	}
	return some && a->announced < ARRAY_SIZE(pause_ms) ? pause_ms[a->announced++] : -1;
}

const uint8_t *cor_arrival_hwaddr(const struct cor_arrival *a, unsigned i)
{
	return i < a->naddresses ? a->addresses[i].hwaddr : NULL;
}
