/* file_ops: the contract between the drivers (files_capture.c, files_check.c,
 * files_restore.c) and the kinds of files, one file_KIND.c each.
 *
 * The unit is the open file description ("file" below), not the descriptor:
 * descriptors that share one are found by the driver with kcmp(2), and are one
 * entry of FileTable.files.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "libcor/names/files.h"
#include "libcor/names/files.pb-c.h"
#include "libcor/names/net/inet_addr.h"

/* A process that holds something too; pid 0: nobody. */
struct cor_holder {
	pid_t pid;
	char  comm[16];
	pid_t reader;           /* one that can read it too and is no ancestor of the task */
	char  reader_comm[16];
	bool  above;            /* an ancestor can */
	bool  packets;          /* one writes packets into the pipe (O_DIRECT) */
};

/* One file of the task as the capture sees it. Everything is the driver's and
 * lives until the capture ends, but dup and info: during the callback (dup: capture and
 * capture_late) only. */
struct cor_file_seen {
	int         fd;         /* the lowest of its numbers in the task: its name in errors */
	int         dup;        /* a duplicate here (pidfd_getfd) */
	unsigned    held;       /* for cor_departure_silence() */
	const char *link;       /* what /proc/PID/fd/FD links to */
	const char *info;       /* the text of /proc/PID/fdinfo/FD */
	struct stat st;
	unsigned    flags;      /* as F_GETFL */
	bool        ahead;      /* of the freeze (files.h) */
	struct cor_holder holder;   /* another process that holds the same inode: pipes,
				       sockets, FIFOs, deleted files */
};

/* A capture under way. */
struct cor_file_capture {
	pid_t pid;
	bool  with_content;
	bool  same_netns;       /* the task's network namespace is ours */
	const struct cor_files_options *options;
	struct cor_departure *departure;    /* NULL: no connection moves (net/departure.h) */
	unsigned index;         /* in table->files, of the file being captured */
	struct cor_socket_usual *usual;     /* found out so far (net/socket_options.h) */
	const struct cor_mechanisms *mechanisms;    /* of the session; NULL: all are on */
	const struct cor_files_pumps *pumps;        /* NULL: nothing is pumped */
	const Cor__Names__FileTable *before;        /* an earlier capture; NULL: none */
	uint64_t ahead_bytes;   /* of ended streams, that travel with the frozen task */
	uint64_t tty;           /* device number of the task's controlling terminal; 0: none */
	bool  foreground;       /* its process group has that */
	const struct cor_files_object *objects;
	unsigned nobjects;
	struct cor_files_object *extra;     /* objects given an id here */
	unsigned nextra;
	struct cor_file_seen *seen;         /* seen[i] is table->files[i] */
	unsigned nseen;
	unsigned *by_inode;     /* indices of seen, sorted by dev and ino */
	Cor__Names__FileTable *table;
};

/* The host where a table is to be restored. */
struct cor_file_place {
	const Cor__Names__FileTable *table;
	bool same_boot;         /* the host it was captured on, not booted since: equal dev
				   and ino are the very same file */
	bool same_netns;        /* and the same network namespace */
};

/* A restore under way. fds[i] is files[i], or -1: not made yet. All of them are
 * at or above base, the drivers close them. */
struct cor_file_restore {
	struct cor_file_place place;
	int *objects;           /* objects[i] is object i + 1, at or above base */
	unsigned nobjects;
	int *pumped;            /* by cor_pump_channel_index(), at or above base */
	unsigned npumped;
	int  base;
	int *fds;
};

enum cor_file_parking {
	COR_FILE_PARK,          /* give the address up, so that it can be taken again */
	COR_FILE_PARK_NETNS,    /* that too: the destination is in the same network namespace */
	COR_FILE_UNPARK,        /* undo that */
	COR_FILE_BURY,          /* the task is gone for good */
};

struct cor_file_ops {
	/* Is it this kind's? The FileKind it will be, or -1. Asked in the order of
	 * cor_file_kinds[]; the first that says so has it. Never NULL. */
	int (*recognise)(const struct cor_file_capture *c, const struct cor_file_seen *seen);

	/* Fills out, whose kind, flags, dev, ino, mode are set. -EOPNOTSUPP with
	 * the sentence when it cannot be carried. Consumes nothing, or, of a task that
	 * is stopped, puts back what it takes. Strings and
	 * arrays in out are malloc, freed with the table, on failure as well. */
	int (*capture)(struct cor_file_capture *c, const struct cor_file_seen *seen,
		       Cor__Names__OpenFile *out, struct cor_error *err);

	/* The rest of the capture of files that a task may have thousands of: when capture
	 * was called for all of them, side by side in several threads. seen->dup is there
	 * still; of c and the table it changes its own file only. NULL: capture did all. */
	int (*capture_late)(struct cor_file_capture *c, unsigned index, struct cor_error *err);

	/* When every file has been captured: finds the other files that this one
	 * refers to. index: in the table. NULL: it refers to none. */
	int (*relate)(struct cor_file_capture *c, unsigned index, struct cor_error *err);

	/* On the destination, in the daemon: can it be had? Leaves nothing behind.
	 * NULL: always. */
	int (*check)(const struct cor_file_place *place, unsigned index, struct cor_error *err);

	/* In the stub: makes file index and stores it by cor_file_made(); may make
	 * others of its kind along with it (pairs). Not called for one made already. */
	int (*restore)(struct cor_file_restore *r, unsigned index, struct cor_error *err);

	/* In the stub, when every descriptor is at its number and all temporary
	 * ones are closed: fd is the lowest number of file index. NULL: nothing. */
	int (*settle)(struct cor_file_restore *r, unsigned index, int fd, struct cor_error *err);

	/* On the source: what cor_files_park() and its likes do with this file, of which
	 * dup is a duplicate. -errno (of parking only). NULL: nothing. */
	int (*park)(int dup, const Cor__Names__OpenFile *file, enum cor_file_parking what);

	/* The mechanism that a file of this kind needs, where that is not the same for
	 * all of them. NULL: mechanism, below. */
	enum cor_mechanism (*mechanism_of)(const Cor__Names__OpenFile *file);

	enum cor_mechanism mechanism;
	uint32_t kinds;         /* 1 << FileKind of all that are this one's */
};

extern const struct cor_file_ops
	cor_file_memory, cor_file_regular, cor_file_pump, cor_file_device, cor_file_pipe,
	cor_file_event, cor_file_eventfd, cor_file_epoll, cor_file_inotify, cor_file_tcp,
	cor_file_inet,
	cor_file_socketpair, cor_file_unix, cor_file_socket;

/* --- the table of kinds: file_kinds.c -------------------------------------- */

/* All of them, NULL at the end. */
extern const struct cor_file_ops *const cor_file_kinds[];

/* The ops of a kind, NULL: a kind that this version does not know. */
const struct cor_file_ops *cor_file_ops_of(Cor__Names__FileKind kind);

/* What carries a captured file. */
enum cor_mechanism cor_file_mechanism(const Cor__Names__OpenFile *file);

/* --- for capturing kinds --------------------------------------------------- */

/* -EOPNOTSUPP with the descriptor, what it is and the mechanism, where the one that it
 * needs is off. */
int cor_file_require(const struct cor_mechanisms *m, enum cor_mechanism needed, int fd,
		     const char *what, struct cor_error *err);

/* -EOPNOTSUPP and "descriptor FD is ...". */
int cor_file_refuse(struct cor_error *err, const struct cor_file_seen *seen, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same of what may be over in a moment: -EAGAIN. */
int cor_file_postpone(struct cor_error *err, const struct cor_file_seen *seen, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The file's holder, if it has one, as a refusal: "... which process 12 (sh) holds too". */
int cor_file_refuse_shared(struct cor_error *err, const struct cor_file_seen *seen,
			   const char *what);

/* The value after "KEY" at the start of a line of fdinfo, NULL: no such line.
 * KEY includes its colon; blanks before the value are skipped. */
const char *cor_fdinfo_find(const char *info, const char *key);

/* Copies the rest of the line at text, cut to size - 1 bytes, for sscanf(3): that
 * measures what it is given to its very end, for each line of a long text anew. */
void cor_fdinfo_line(const char *text, char *line, size_t size);

/* The value of KEY as a number. -ENOENT, -EINVAL. */
int cor_fdinfo_u64(const char *info, const char *key, int base, uint64_t *out);

/* The files of the capture with that inode: their number, and where the slice of
 * c->by_inode with their indices begins. */
unsigned cor_file_with_inode(const struct cor_file_capture *c, uint64_t dev, uint64_t ino,
			     const unsigned **indices);

/* Does the link start with prefix? */
bool cor_file_link_is(const struct cor_file_seen *seen, const char *prefix);

/* Appends a fresh zeroed element of the protobuf array (*array, *n); init is the
 * message's own (cor__names__message__init). NULL: no memory. */
void *cor_file_append(void *array, size_t *n, size_t size, void (*init)(void *));
#define COR_FILE_APPEND(array, n, type, initialiser) \
	((type *)cor_file_append(&(array), &(n), sizeof(type), (void (*)(void *))(initialiser)))

/* The bytes that wait in the pipe seen->dup, copied to out->unread; out->capacity is set.
 * (file_pipe.c) */
int cor_file_pipe_unread(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			 struct cor_error *err);

/* out->unread is empty again. */
void cor_file_forget_unread(Cor__Names__OpenFile *out);

/* Copies len bytes. -ENOMEM. */
int cor_file_bytes(ProtobufCBinaryData *out, const void *data, size_t len);

/* The links of c->pumps, in the table. (file_pump.c) */
int cor_file_pump_links(struct cor_file_capture *c);

/* The task's controlling terminal, if no file of it is in the table. (file_pump.c) */
int cor_file_pump_terminal(struct cor_file_capture *c, struct cor_error *err);

/* Was it pumped in the earlier capture already? */
bool cor_file_was_pumped(const struct cor_file_capture *c, const struct cor_file_seen *seen);

/* --- for restoring kinds --------------------------------------------------- */

/* Takes fd over and stores it as file index, moved to where it is in no one's
 * way. fd < 0: fails with errno as a "what" that could not be made. */
int cor_file_made(struct cor_file_restore *r, unsigned index, int fd, const char *what,
		  struct cor_error *err);

/* The lowest descriptor number of file index in table, -1: none. */
int cor_file_number(const Cor__Names__FileTable *table, unsigned index);

/* A second open file description of the inode behind fd, by /proc/self/fd. -errno. */
int cor_file_reopen(int fd, unsigned flags);

/* Does that host address move along with the task? */
bool cor_file_moves(const Cor__Names__FileTable *table, const struct cor_inet_addr *host);

/* Is this the source's own host and network namespace, and has the source's task
 * file index open? Then cor_files_park() makes its address free. */
bool cor_file_is_source(const struct cor_file_place *place, unsigned index);

/* File index of the table. */
static inline const Cor__Names__OpenFile *cor_file_at(const struct cor_file_place *place,
						      unsigned index)
{
	return place->table->files[index];
}

/* F_GETFL bits that open(2) may be given again; never creating or truncating. */
unsigned cor_file_open_flags(unsigned flags);
