/* What the kinds share. */
#include "libcor/names/file_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

int cor_file_require(const struct cor_mechanisms *m, enum cor_mechanism needed, int fd,
		     const char *what, struct cor_error *err)
{
	char text[COR_ERROR_TEXT / 2];

	snprintf(text, sizeof(text), "descriptor %d (%s)", fd, what);
	return cor_mechanism_require(m, needed, text, err);
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

void cor_file_forget_unread(Cor__Names__OpenFile *out)
{
	for (size_t i = 0; i < out->n_unread; i++)
		cor__names__message__free_unpacked(out->unread[i], NULL);
	free(out->unread);
	out->unread = NULL;
	out->n_unread = 0;
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

bool cor_file_moves(const Cor__Names__FileTable *table, const struct cor_inet_addr *host)
{
	for (size_t i = 0; i < table->n_addresses; i++)
		if (table->addresses[i]->host.len == host->len &&
		    memcmp(table->addresses[i]->host.data, host->bytes, host->len) == 0)
			return true;
	return false;
}

bool cor_file_is_source(const struct cor_file_place *place, unsigned index)
{
	char path[48], link[64], expected[64];
	ssize_t len;

	if (!place->same_netns)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", place->table->pid,
		 cor_file_number(place->table, index));
	snprintf(expected, sizeof(expected), "socket:[%llu]",
		 (unsigned long long)cor_file_at(place, index)->ino);
	len = readlink(path, link, sizeof(link) - 1);
	link[len > 0 ? len : 0] = 0;
	return strcmp(link, expected) == 0;
}

unsigned cor_file_open_flags(unsigned flags)
{
	unsigned not_again = (unsigned)(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_CLOEXEC | O_ASYNC);

	/* which holds O_DIRECTORY too */
	if ((flags & (unsigned)O_TMPFILE) == (unsigned)O_TMPFILE)
		not_again |= (unsigned)O_TMPFILE;
	return flags & ~not_again;
}
