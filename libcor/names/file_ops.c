/* The table of kinds, and what the kinds share. */
#include "libcor/names/file_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

const struct cor_file_ops *const cor_file_kinds[] = {
	&cor_file_memory,       /* before regular: its files have paths too */
	&cor_file_regular,
	&cor_file_pump,         /* before the kinds that it carries for */
	&cor_file_device,
	&cor_file_pipe,
	&cor_file_event, &cor_file_eventfd,
	&cor_file_epoll,
	&cor_file_inotify,
	&cor_file_tcp,          /* before inet: those that are or were connected */
	&cor_file_inet,
	&cor_file_socketpair,   /* before unix: connected ones */
	&cor_file_unix,
	&cor_file_socket,       /* after all sockets: refuses the others */
	NULL,
};

const struct cor_file_ops *cor_file_ops_of(Cor__Names__FileKind kind)
{
	if ((unsigned)kind >= 32)
		return NULL;
	for (unsigned i = 0; cor_file_kinds[i]; i++)
		if (cor_file_kinds[i]->kinds & (1u << kind))
			return cor_file_kinds[i];
	return NULL;
}

enum cor_mechanism cor_file_mechanism(const Cor__Names__OpenFile *file)
{
	const struct cor_file_ops *ops = cor_file_ops_of(file->kind);

	if (!ops)
		return COR_MECHANISM_DESCRIPTORS;
	return ops->mechanism_of ? ops->mechanism_of(file) : ops->mechanism;
}

int cor_file_require(const struct cor_mechanisms *m, const Cor__Names__OpenFile *file, int fd,
		     const char *what, struct cor_error *err)
{
	char text[COR_ERROR_TEXT / 2];

	snprintf(text, sizeof(text), "descriptor %d (%s)", fd, what);
	return cor_mechanism_require(m, cor_file_mechanism(file), text, err);
}

static int say_what_it_is(struct cor_error *err, int code, const struct cor_file_seen *seen,
			  const char *fmt, va_list ap)
{
	char text[COR_ERROR_TEXT];

	vsnprintf(text, sizeof(text), fmt, ap);
	return cor_fail(err, code, "descriptor %d is %s", seen->fd, text);
}

int cor_file_refuse(struct cor_error *err, const struct cor_file_seen *seen, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = say_what_it_is(err, -EOPNOTSUPP, seen, fmt, ap);
	va_end(ap);
	return r;
}

int cor_file_postpone(struct cor_error *err, const struct cor_file_seen *seen, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = say_what_it_is(err, -EAGAIN, seen, fmt, ap);
	va_end(ap);
	return r;
}

int cor_file_refuse_shared(struct cor_error *err, const struct cor_file_seen *seen,
			   const char *what)
{
	return cor_file_refuse(err, seen, "%s that process %d (%s) has open too: what is shared "
			       "with other processes is not carried yet", what,
			       (int)seen->holder.pid, seen->holder.comm);
}

const char *cor_fdinfo_find(const char *info, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = info; line && *line; ) {
		const char *end = strchr(line, '\n');

		if (strncmp(line, key, len) == 0) {
			line += len;
			return line + strspn(line, " \t");
		}
		line = end ? end + 1 : NULL;
	}
	return NULL;
}

void cor_fdinfo_line(const char *text, char *line, size_t size)
{
	size_t len = strcspn(text, "\n");

	len = COR_MIN(len, size - 1);
	memcpy(line, text, len);
	line[len] = 0;
}

int cor_fdinfo_u64(const char *info, const char *key, int base, uint64_t *out)
{
	const char *text = cor_fdinfo_find(info, key);
	unsigned long long value;
	char *end;

	if (!text)
		return -ENOENT;
	errno = 0;
	value = strtoull(text, &end, base);
	if (errno || end == text)
		return -EINVAL;
	*out = value;
	return 0;
}

static int order(const struct stat *st, uint64_t dev, uint64_t ino)
{
	if (st->st_dev != dev)
		return st->st_dev < dev ? -1 : 1;
	return st->st_ino == ino ? 0 : st->st_ino < ino ? -1 : 1;
}

unsigned cor_file_with_inode(const struct cor_file_capture *c, uint64_t dev, uint64_t ino,
			     const unsigned **indices)
{
	unsigned low = 0, high = c->nseen, end;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (order(&c->seen[c->by_inode[mid]].st, dev, ino) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (end = low; end < c->nseen; end++)
		if (order(&c->seen[c->by_inode[end]].st, dev, ino) != 0)
			break;
	*indices = c->by_inode + low;
	return end - low;
}

bool cor_file_link_is(const struct cor_file_seen *seen, const char *prefix)
{
	return strncmp(seen->link, prefix, strlen(prefix)) == 0;
}

void *cor_file_append(void *array, size_t *n, size_t size, void (*init)(void *))
{
	void ***list = array;
	void **bigger;
	void *element;

	/* grows at powers of two: n elements fill the room exactly there */
	if ((*n & (*n - 1)) == 0) {
		bigger = realloc(*list, (*n ? *n * 2 : 1) * sizeof(*bigger));
		if (!bigger)
			return NULL;
		*list = bigger;
	}
	element = malloc(size);
	if (!element)
		return NULL;
	init(element);
	(*list)[(*n)++] = element;
	return element;
}

int cor_file_bytes(ProtobufCBinaryData *out, const void *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	free(out->data);
	out->data = copy;
	out->len = len;
	return 0;
}

int cor_file_made(struct cor_file_restore *r, unsigned index, int fd, const char *what,
		  struct cor_error *err)
{
	int moved, code;

	if (fd < 0)
		return cor_fail_errno(err, "descriptor %d: %s cannot be made here",
				      cor_file_number(r->place.table, index), what);
	if (fd >= r->base) {
		r->fds[index] = fd;
		return 0;
	}
	moved = fcntl(fd, F_DUPFD_CLOEXEC, r->base);
	code = moved < 0 ? cor_fail_errno(err, "descriptor %d: no number at or above %d is free",
					  cor_file_number(r->place.table, index), r->base) : 0;
	close(fd);
	if (!code)
		r->fds[index] = moved;
	return code;
}

int cor_file_number(const Cor__Names__FileTable *table, unsigned index)
{
	/* files are numbered in the order of their lowest descriptors, so that of file
	 * index is in row index or, after duplicates, a later one */
	for (size_t i = index; i < table->n_descriptors; i++)
		if (table->descriptors[i]->file == index)
			return table->descriptors[i]->fd;
	return -1;
}

int cor_file_reopen(int fd, unsigned flags)
{
	char path[40];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, (int)(flags & ~(unsigned)O_NOFOLLOW) | O_CLOEXEC | O_NOCTTY);
	return again < 0 ? -errno : again;
}

unsigned cor_file_open_flags(unsigned flags)
{
	/* __O_TMPFILE without the O_DIRECTORY that O_TMPFILE also holds */
	unsigned tmpfile = (unsigned)O_TMPFILE & ~(unsigned)O_DIRECTORY;

	return flags & ~((unsigned)(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_CLOEXEC | O_ASYNC) |
			 tmpfile);
}
