/* Descriptors that were made ahead of the freeze, brought up to date: only the
 * offsets of regular files may have moved on. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"

/* Kinds that nothing but the task itself can change, or notice. */
#define EARLY_KINDS (1u << COR__NAMES__FILE_KIND__REGULAR | 1u << COR__NAMES__FILE_KIND__DIRECTORY | \
		     1u << COR__NAMES__FILE_KIND__DEVICE | 1u << COR__NAMES__FILE_KIND__PIPE | \
		     1u << COR__NAMES__FILE_KIND__SOCKETPAIR | 1u << COR__NAMES__FILE_KIND__EVENTFD | \
		     1u << COR__NAMES__FILE_KIND__SIGNALFD | 1u << COR__NAMES__FILE_KIND__EPOLL | \
		     1u << COR__NAMES__FILE_KIND__PATH | 1u << COR__NAMES__FILE_KIND__INET | \
		     1u << COR__NAMES__FILE_KIND__TCP | \
		     1u << COR__NAMES__FILE_KIND__PUMPED)

bool cor_files_early(const Cor__Names__FileTable *table)
{
	for (size_t i = 0; i < table->n_files; i++) {
		const Cor__Names__OpenFile *f = table->files[i];

		if (f->kind >= 32 || !(EARLY_KINDS & 1u << f->kind) || f->deleted || f->n_locks)
			return false;
	}
	return true;
}

static bool same_message(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	size_t n = protobuf_c_message_get_packed_size(a);
	_cleanup_free_ uint8_t *x = malloc(n + 1), *y = malloc(n + 1);

	if (!x || !y || protobuf_c_message_get_packed_size(b) != n)
		return false;
	protobuf_c_message_pack(a, x);
	protobuf_c_message_pack(b, y);
	return memcmp(x, y, n) == 0;
}

/* The socket that stands for a connection is any one of its kind (net/arrival.h); what is
 * left of one that has ended stands for itself. */
static void forget_connection(const Cor__Names__OpenFile *a, Cor__Names__OpenFile *like)
{
	if (a->connection->state == TCP_CLOSE || like->connection->state == TCP_CLOSE)
		return;
	like->dev = a->dev;
	like->ino = a->ino;
	like->address = a->address;
	like->peer_address = a->peer_address;
	like->connection = a->connection;
}

/* But for what a running task changes in a file by reading and writing it. */
static bool same_file(const Cor__Names__OpenFile *a, const Cor__Names__OpenFile *b)
{
	Cor__Names__OpenFile like = *b;

	if (a->kind == COR__NAMES__FILE_KIND__REGULAR && !a->deleted) {
		like.offset = a->offset;
		like.size = a->size;
		like.mtime_ns = a->mtime_ns;
	}
	/* that which was fetched for it is this host's own number */
	if (a->home)
		like.object = a->object;
	if (a->kind == COR__NAMES__FILE_KIND__TCP && b->kind == a->kind && a->connection &&
	    b->connection)
		forget_connection(a, &like);
	if (a->kind == COR__NAMES__FILE_KIND__PUMPED) {
		like.unread = a->unread;        /* the pump's own affair */
		like.n_unread = a->n_unread;
		like.adapted_room = a->adapted_room;    /* near enough */
	}
	return same_message(&a->base, &like.base);
}

bool cor_pump_channels_same(const Cor__Names__FileTable *a, const Cor__Names__FileTable *b)
{
	if (a->n_links != b->n_links)
		return false;
	for (size_t i = 0; i < a->n_links; i++) {
		const Cor__Names__PumpLink *x = a->links[i], *y = b->links[i];

		if (x->n_channels != y->n_channels)
			return false;
		for (size_t k = 0; k < x->n_channels; k++) {
			Cor__Names__PumpChannel like = *y->channels[k];

			/* what is brought up to date */
			like.state = x->channels[k]->state;
			like.termios = x->channels[k]->termios;
			like.winsize = x->channels[k]->winsize;
			like.foreground = x->channels[k]->foreground;
			like.identity = x->channels[k]->identity;
			/* what the capture alone is to know */
			like.arrived = x->channels[k]->arrived;
			if (!same_message(&x->channels[k]->base, &like.base))
				return false;
		}
	}
	return true;
}

static bool same_table(const Cor__Names__FileTable *a, const Cor__Names__FileTable *b)
{
	if (a->n_descriptors != b->n_descriptors || a->n_files != b->n_files ||
	    !cor_pump_channels_same(a, b))
		return false;
	for (size_t i = 0; i < a->n_descriptors; i++)
		if (!same_message(&a->descriptors[i]->base, &b->descriptors[i]->base))
			return false;
	for (size_t i = 0; i < a->n_files; i++)
		if (!same_file(a->files[i], b->files[i]))
			return false;
	return true;
}

static int move_on(pid_t pid, int fd, const Cor__Names__OpenFile *f, struct cor_error *err)
{
	_cleanup_close_ int dup = cor_files_duplicate(pid, fd, err);
	struct stat st;

	if (dup < 0)
		return dup;
	if (fstat(dup, &st) < 0)
		return cor_fail_errno(err, "descriptor %d: %s", fd, f->path);
	/* at home it is what it is */
	if (f->home)
		st = (struct stat){ .st_size = (off_t)f->size,
				    .st_mtim = { (time_t)(f->mtime_ns / 1000000000u),
						 (long)(f->mtime_ns % 1000000000u) } };
	if ((uint64_t)st.st_size != f->size ||
	    (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec != f->mtime_ns)
		return cor_fail(err, -ESTALE, "descriptor %d: %s is not the same file here (size, "
				"time of change)", fd, f->path);
	if (lseek(dup, (off_t)f->offset, SEEK_SET) < 0)
		return cor_fail_errno(err, "descriptor %d: %s: offset %llu", fd, f->path,
				      (unsigned long long)f->offset);
	return 0;
}

int cor_files_update(pid_t pid, const Cor__Names__FileTable *built,
		     const Cor__Names__FileTable *now, struct cor_error *err)
{
	int r = 0;

	if (!same_table(built, now))
		return cor_fail(err, -ESTALE, "the task's descriptors have changed");
	for (unsigned i = 0; i < now->n_files && r == 0; i++) {
		const Cor__Names__OpenFile *a = built->files[i], *b = now->files[i];

		if (a->offset != b->offset || a->size != b->size || a->mtime_ns != b->mtime_ns)
			r = move_on(pid, cor_file_number(now, i), b, err);
	}
	return r;
}
