/* epoll(7): the interest list stands in fdinfo. An item names its file by the
 * number it was added under; that it still is that file is asked with
 * KCMP_EPOLL_TFD (kcmp(2)). Readiness needs no carrying: adding an item looks. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	return cor_file_link_is(seen, "anon_inode:[eventpoll]") ?
	       COR__NAMES__FILE_KIND__EPOLL : -1;
}

/* A task that runs may have closed and opened it while we read: so look again. */
static int refuse_item(const struct cor_file_seen *seen, int fd, struct cor_error *err)
{
	return cor_file_postpone(err, seen, "an epoll set that still waits for the file which was "
				 "descriptor %d when it was added: it no longer is", fd);
}

/* The file that descriptor fd of the task is now, or NULL. */
static const struct cor_file_seen *file_of(const struct cor_file_capture *c, int fd)
{
	size_t low = 0, high = c->table->n_descriptors;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const Cor__Names__Descriptor *d = c->table->descriptors[mid];

		if (d->fd == fd)
			return &c->seen[d->file];
		if (d->fd < fd)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* Is the item's file still descriptor fd of the task? A socket is known by its inode,
 * which no other file has; kcmp(2) walks the whole set for each item. */
static int check_item(struct cor_file_capture *c, const struct cor_file_seen *seen, int fd,
		      uint64_t ino, struct cor_error *err)
{
	const struct cor_file_seen *now = file_of(c, fd);
	struct kcmp_epoll_slot slot = { .efd = (uint32_t)seen->fd, .tfd = (uint32_t)fd };
	long rc;

	if (now && S_ISSOCK(now->st.st_mode) && ino && now->st.st_ino == ino)
		return 0;
	rc = syscall(SYS_kcmp, c->pid, c->pid, KCMP_EPOLL_TFD, (long)fd, &slot);
	if (rc == 0)
		return 0;
	if (rc > 0 || errno == EBADF || errno == ENOENT)
		return refuse_item(seen, fd, err);
	return cor_fail_errno(err, "descriptor %d: comparing its item %d", seen->fd, fd);
}

static int by_fd(const void *a, const void *b)
{
	const Cor__Names__EpollItem *x = *(Cor__Names__EpollItem *const *)a;
	const Cor__Names__EpollItem *y = *(Cor__Names__EpollItem *const *)b;

	return x->fd < y->fd ? -1 : x->fd > y->fd;
}

/* Two items of one number: one of them is of a file closed since. */
static int check_numbers(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
			 struct cor_error *err)
{
	for (size_t i = 1; i < out->n_epoll; i++)
		if (out->epoll[i]->fd == out->epoll[i - 1]->fd)
			return refuse_item(seen, out->epoll[i]->fd, err);
	return 0;
}

/* "tfd: 5 events: 19 data: 5  pos:0 ino:2a sdev:8"; ino 0: not told. */
static int parse_item(const char *text, Cor__Names__EpollItem *item, uint64_t *ino)
{
	const char *at = strstr(text, " ino:");
	unsigned long long data;

	if (sscanf(text, "%d events: %x data: %llx", &item->fd, &item->events, &data) != 3)
		return -EOPNOTSUPP;
	item->data = data;
	*ino = at ? strtoull(at + 5, NULL, 16) : 0;
	return 0;
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	const char *line = cor_fdinfo_find(seen->info, "tfd:");

	while (line) {
		Cor__Names__EpollItem *item = COR_FILE_APPEND(out->epoll, out->n_epoll,
							      Cor__Names__EpollItem,
							      cor__names__epoll_item__init);
		char text[128];
		uint64_t ino;
		int rc;

		if (!item)
			return -ENOMEM;
		cor_fdinfo_line(line, text, sizeof(text));
		if (parse_item(text, item, &ino) < 0)
			return cor_fail(err, -EOPNOTSUPP, "descriptor %d: its epoll item is not "
					"understood: %.60s", seen->fd, text);
		rc = check_item(c, seen, item->fd, ino, err);
		if (rc < 0)
			return rc;
		line = strchr(line, '\n');
		line = line ? cor_fdinfo_find(line + 1, "tfd:") : NULL;
	}
	if (out->n_epoll)
		qsort(out->epoll, out->n_epoll, sizeof(*out->epoll), by_fd);
	return check_numbers(seen, out, err);
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	return cor_file_made(r, index, epoll_create1(EPOLL_CLOEXEC), "the epoll set", err);
}

static int settle(struct cor_file_restore *r, unsigned index, int fd, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);

	for (size_t i = 0; i < file->n_epoll; i++) {
		const Cor__Names__EpollItem *item = file->epoll[i];
		struct epoll_event event = { .events = item->events, .data.u64 = item->data };

		if (epoll_ctl(fd, EPOLL_CTL_ADD, item->fd, &event) < 0)
			return cor_fail_errno(err, "descriptor %d: adding %d to the epoll set", fd,
					      item->fd);
	}
	return 0;
}

const struct cor_file_ops cor_file_epoll = {
	.recognise = recognise,
	.capture   = capture,
	.restore   = restore,
	.settle    = settle,
	.mechanism = COR_MECHANISM_EVENTS,
	.kinds     = 1u << COR__NAMES__FILE_KIND__EPOLL,
};
