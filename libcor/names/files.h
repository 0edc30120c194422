/* The descriptors of a task: what they are on the source, whether the
 * destination can have them, and how they are made again.
 *
 * One ops struct (struct cor_file_ops, file_ops.h), one file per kind. A
 * descriptor that no kind can carry is refused with one sentence that names its
 * number, its kind and its peer: "descriptor 5 is a TCP connection from
 * 10.0.0.1:6379 to 10.0.0.2:51112: established connections are not carried yet".
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/names/files.pb-c.h"
#include "libcor/names/mechanism.h"
#include "libcor/names/trees.pb-c.h"
#include "libcor/task/tracee.h"

#define COR_DESCRIPTORS_VERSION 1       /* of the table (files.proto) */
#define COR_FILES_VERSION 1             /* of the mechanism "files" */

/* Shared memory objects that the memory capture has found, so that a descriptor
 * of one is carried as that object: by device and inode. */
struct cor_files_object { uint64_t dev, ino; uint32_t id; };

struct cor_departure;
/* The pumps of a task (pump/pump.h), for its capture. */
struct cor_files_pumps {
	Cor__Names__PumpLink **links;   /* of its away pumps, as those describe them; with the
					   channels' states if the task stands still */
	unsigned nlinks;
	/* Something was found that none of them knows: they describe themselves anew. NULL:
	 * they cannot. */
	void (*refresh)(void *arg);
	void *arg;
	const Cor__Names__PumpLink *fresh;      /* what leads outside and is pumped by none yet
					   becomes a channel of this link, which has none here. It is
					   in the table if it is used, or has the task's channel, */
	bool expected;                          /* or if this is set: something may */
};

/* Reads the descriptor table of pid, running or stopped; reads nothing
 * destructively: unread bytes are peeked (tee, MSG_PEEK). with_content: also
 * the unread bytes, counters and remaining times (the stopped task); without it
 * only what the destination must be able to provide.
 * A memfd or nameless tmpfs file whose object is not in objects is given the next
 * id, reported through *extra (malloc; the caller's), so the caller can serve it
 * too; a named tmpfs file that is not mapped is a regular file.
 * Not carried, and not refused: datagrams that wait in a UDP socket, and multicast
 * memberships, which no interface tells. -EOPNOTSUPP: a descriptor cannot be
 * carried. -EAGAIN: the running task changes its descriptors all the time.
 * Free with cor__names__file_table__free_unpacked(table, NULL). */
int cor_files_capture(pid_t pid, bool with_content,
		      const struct cor_files_object *objects, unsigned nobjects,
		      struct cor_files_object **extra, unsigned *nextra,
		      Cor__Names__FileTable **out, struct cor_error *err);

/* How a capture is made. */
struct cor_files_options {
	bool with_content;
	/* The task is not stopped: -EBUSY, and nothing is duplicated, where it could notice
	 * that (files_table.h). */
	bool running;
	/* It runs, or will run on: what waits in sockets is left out. */
	bool ahead;
	/* An earlier capture of the same task, while it ran; NULL: none. Who shares a pipe or
	 * a socket with the task was found out then, by a walk over every process's
	 * descriptors, which is too long for a freeze: now only processes born since are
	 * looked at, where no new pipe or socket has come. */
	const Cor__Names__FileTable *before;
	/* What the session has; a descriptor that needs one that is off is refused by its
	 * name. NULL: all. */
	const struct cor_mechanisms *mechanisms;
	/* How TCP connections move; NULL: none does. */
	struct cor_departure *departure;
	const struct cor_files_object *objects;
	unsigned nobjects;
	/* The task's pumps; NULL: what leads to other processes is refused. */
	const struct cor_files_pumps *pumps;
	/* Which files are the home's where the task goes; NULL: none. */
	const Cor__Names__Plan *plan;
	/* Hands an open file to this host's file server, for plan: dup is a duplicate of the
	 * task's descriptor fd. The same open file gets the same handle each time. */
	int  (*adopt)(void *arg, int fd, int dup, uint64_t *handle, struct cor_error *err);
	void  *arg;
};

/* As cor_files_capture(), in full. */
int cor_files_capture_with(pid_t pid, const struct cor_files_options *options,
			   struct cor_files_object **extra, unsigned *nextra,
			   Cor__Names__FileTable **out, struct cor_error *err);

/* A duplicate of the task's descriptor fd, here (pidfd_getfd). */
int cor_files_duplicate(pid_t pid, int fd, struct cor_error *err);

/* Is everything that table needs on in this session? -EOPNOTSUPP with the descriptor
 * and the mechanism. mechanisms NULL: all are. */
int cor_files_permitted(const Cor__Names__FileTable *table,
			const struct cor_mechanisms *mechanisms, struct cor_error *err);

/* On the destination, in cord: can all of it be had here? Opens and closes.
 * -ENOENT, -EADDRNOTAVAIL, -ESTALE (the file differs), ... with the name; or, where there is
 * a doubt, calls that for each such file (its index in table) instead, and goes on: a task that
 * runs may have closed it since. */
typedef void (*cor_files_doubt)(void *arg, unsigned file, const struct cor_error *why);
int cor_files_check(const Cor__Names__FileTable *table, cor_files_doubt doubt, void *arg,
		    struct cor_error *err);
/* On the source: does the task still have this file of table, by the name it had? */
bool cor_files_still(const Cor__Names__FileTable *table, pid_t pid, unsigned file);

/* In the stub: makes every descriptor at its number. fds, which are taken, are object 1 and so on, then
 * the task's side of every channel of table's links (cor_pump_channel_index()).
 * Descriptors at or above keep_from are the stub's own and are left alone; all others
 * are closed first. */
int cor_files_restore(const Cor__Names__FileTable *table, const int *fds, unsigned nfds,
		      int keep_from, struct cor_error *err);

/* How many channels the table's links have altogether; and the number among them of the
 * one that a file of kind PUMPED leads to, -1: there is none. */
/* Are the same channels there, to be made in the same way? */
bool cor_pump_channels_same(const Cor__Names__FileTable *a, const Cor__Names__FileTable *b);
/* Of all channels, the one that is the task's controlling terminal; NULL: it has none. */
const Cor__Names__PumpChannel *cor_pump_terminal(const Cor__Names__FileTable *table,
						 unsigned *index);
unsigned cor_pump_channels(const Cor__Names__FileTable *table);
int cor_pump_channel_index(const Cor__Names__FileTable *table, const Cor__Names__OpenFile *file);

/* May these descriptors be made on the destination while the task still runs and has
 * them? Not so where others would notice (a socket's name, a lock) or where the
 * making itself leaves a trace (inotify events). */
bool cor_files_early(const Cor__Names__FileTable *table);

/* On the destination: the process pid has the descriptors of built, which was
 * captured with_content from the running task; now is what the stopped task has.
 * Moves offsets on. -ESTALE: more than offsets has changed; nothing is done then. */
int cor_files_update(pid_t pid, const Cor__Names__FileTable *built,
		     const Cor__Names__FileTable *now, struct cor_error *err);

/* On the source, between the last capture and the destination's restore: the
 * stopped task gives up the addresses that its sockets have, so that the destination
 * can take them where it sees the same ones. Socket files are moved aside; where the
 * destination is in the same network namespace (same_netns) TCP listeners stop
 * listening, and keep the port. -errno: nothing is parked then. */
int cor_files_park(pid_t pid, const Cor__Names__FileTable *table, bool same_netns,
		   struct cor_error *err);

/* Undoes it, before a thaw; what the destination had made must be closed. -errno of
 * the first that could not be had back; the others are. */
int cor_files_unpark(pid_t pid, const Cor__Names__FileTable *table, struct cor_error *err);

/* After the commit: the parked socket files are removed, and clients of what listened
 * here are refused. */
void cor_files_bury(pid_t pid, const Cor__Names__FileTable *table);

/* The same for the locks that the stopped task holds: where both hosts see the same file, the
 * destination could not take them otherwise. POSIX locks on files that stay at home pass to the
 * destination without being anybody else's in between; on the home itself to a guard, an open
 * file description for each file. */
struct cor_lock_guard {
	uint64_t dev, ino;
	int fd;
};
struct cor_lock_passing {
	/* Gives the file server what holds the locks of file f from here on (guard stays the
	 * caller's). NULL: none was started here. -errno: the locks are the task's again. */
	int (*pass)(void *arg, const Cor__Names__OpenFile *f, int guard);
	void *arg;
	struct cor_lock_guard *guards;  /* as long as it is not decided */
	unsigned n;
};
/* A process's (fcntl(2), F_SETLK), and not an open file description's. */
static inline bool cor_lock_is_posix(const Cor__Names__LockRecord *lock)
{
	return !lock->flock && !lock->ofd;
}

/* In a process that came by a fork, and has no part in it. */
void cor_lock_guards_close(struct cor_lock_passing *passing);
/* passing NULL: what passed to a guard has none any more. */
int cor_files_park_locks(struct cor_tracee *t, const Cor__Names__FileTable *table,
			 struct cor_lock_passing *passing, struct cor_error *err);
int cor_files_unpark_locks(struct cor_tracee *t, const Cor__Names__FileTable *table,
			   struct cor_lock_passing *passing, struct cor_error *err);
/* After the commit, pid being the ghost. */
void cor_files_bury_locks(pid_t pid, const Cor__Names__FileTable *table,
			  struct cor_lock_passing *passing);

/* On the destination: is our network namespace the one that table was captured in? */
bool cor_files_same_netns(const Cor__Names__FileTable *table);

/* The highest descriptor number in the table, or -1. */
int cor_files_max_fd(const Cor__Names__FileTable *table);
