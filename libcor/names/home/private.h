/* The file server's inner parts. From the bottom: home/rights.c and home/answer.c,
 * home/nodes.c, home/watch.c, home/owners.c, home/locks.c, then the requests (home/ops_data.c, home/ops.c),
 * then home/server.c (connections).
 *
 * Lock order: server.lock, then client.send. Neither is held while a request touches
 * the file system.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <uthash.h>

#include "libcor/names/home/server.h"
#include "libcor/names/home/wire.h"

/* What a node's content and attributes were when a client was last told. */
struct home_seen {
	struct timespec mtime, ctime;
	off_t size;
};

struct home_node {
	uint64_t id;
	int      fd;                    /* O_PATH */
	dev_t    dev;
	ino_t    ino;
	uint64_t refs;                  /* of clients, handles and requests */
	int      wd;                    /* inotify's; -1: not watched */
	uint64_t version;
	struct home_seen seen;
	bool     seen_any;
	unsigned opened;                /* handles */
	unsigned changing;              /* requests that change it: events are their own */
	UT_hash_handle by_id, by_inode, by_wd;
};

struct home_handle {
	uint64_t id;
	int      fd;
	struct home_node *node;
	struct home_client *client;     /* NULL: adopted, and not given to one yet */
	unsigned refs;
	bool     open;                  /* in the table */
	UT_hash_handle hh;
};

/* A client's references to a node. */
struct home_ref {
	uint64_t node, count;
	UT_hash_handle hh;
};

/* An open file description that holds locks, on one node. */
struct home_locker {
	int fd;
	unsigned refs;          /* of owners */
	unsigned holders;       /* owners in a table: the last one's end is that of the locks */
};

/* Who has locks on one node. Two have the same ones while a task is on its way: where it was
 * (passing), and where it arrives. */
struct home_owner {
	struct { uint64_t node, owner; } key;
	struct home_locker *locker;
	unsigned refs;          /* the table, and calls */
	bool passing;           /* the task is on its way to another client */
	bool passed;            /* and that one has the locks too */
	UT_hash_handle hh;
};

/* A lock that is waited for. */
struct home_waiter {
	uint64_t wait;                  /* its number in CANCEL */
	pthread_t thread;
	bool cancelled, done;
	struct home_waiter *prev, *next;
};

/* A request by its number: one that runs, or one whose reply is kept. */
struct home_known {
	uint64_t id;
	void    *reply;                 /* NULL: it runs still */
	UT_hash_handle hh;
};

struct home_client {
	uint64_t id;
	struct home_server *server;
	struct home_link *link;         /* its connection now; NULL: lost */
	pthread_mutex_t send;
	struct home_ref   *refs;
	struct home_owner *owners;
	struct home_known *known;
	struct home_waiter *waiters;
	uint64_t early[16];             /* waits that were cancelled before they began */
	unsigned nearly;
	uint64_t done;                  /* replies below are not kept */
	bool     ended;                 /* has said BYE */
	struct home_client *prev, *next;
};

/* A connection, and the threads that serve it. */
struct home_link {
	struct home_server *server;
	struct cor_stream  *stream;
	struct home_client *client;     /* NULL: has not attached yet */
	pthread_mutex_t     receive;
	unsigned threads;               /* under server.lock: the last frees it */
	bool     dead;
};

/* A change in a directory that a client asked for itself: no news to it. */
struct home_expected {
	const struct home_client *client;       /* compared only */
	uint64_t dir;
	char     name[HOME_NAME_MAX + 1];
	uint64_t until_ns;
	struct home_expected *next;
};

struct home_server {
	pthread_mutex_t lock;
	pthread_cond_t  changed;        /* clients come and go, links end */
	int  root, proc;
	const char *proc_path;          /* the same, for inotify(7): with a slash, or "" */
	int  inotify, stop;             /* stop: eventfd that ends the watcher */
	pthread_t watcher;
	pthread_mutex_t watching;       /* inotify's queue is read by one at a time; before lock */
	bool have_watcher, ending;
	uint64_t next_node, next_handle;
	struct home_node   *by_id, *by_inode, *by_wd;
	struct home_handle *handles;
	struct home_client *clients;
	struct home_expected *expected;
	struct home_owner *task;        /* what the task itself held, before its first move */
	unsigned passing;               /* owners, of clients or in task */
	unsigned links, waiters;
	uid_t uid;
	gid_t gid;
	struct home_server_stats stats;
};

/* One request under way. body is NUL-terminated beyond its len. */
struct home_call {
	struct home_server *server;
	struct home_client *client;
	const struct home_request *q;
	const char *body;
	size_t len;
	/* the answer */
	struct home_reply reply;
	void  *out;                     /* malloc, or NULL */
	size_t out_len;
	bool   later;                   /* a thread of home/locks.c answers */
	bool   twice;                   /* may be carried out again without harm */
};

/* ---- home/rights.c ---- */

/* Takes the rights of uid and gid, where the process may. 0 or -EACCES. */
int home_become(struct home_server *s, uint32_t uid, uint32_t gid);

/* ---- home/answer.c ---- */

/* To every client that is connected and knows node, but for the one (NULL: none) that it is no
 * news to. Are there any? lock held */
bool home_tell(struct home_server *s, const struct home_client *but, enum home_notice what,
	       uint64_t node, const char *name);
/* Room for the answer's bytes. */
void *home_give(struct home_call *c, size_t len);
/* 1: to be carried out; 0: it runs already, or was answered again. */
int  home_begin(struct home_client *c, const struct home_request *q);
/* Sends the call's answer, and keeps it where it must not be found anew. */
void home_answer(struct home_call *c);
/* Replies to requests below that number are not kept any more. lock held */
void home_known_forget(struct home_client *c, uint64_t below);

/* ---- home/nodes.c ---- */

/* The node of an O_PATH descriptor, which is taken; one reference is the caller's. NULL
 * with -errno in *code. */
struct home_node *home_node_of(struct home_server *s, int fd, int *code);
/* By number, with a reference; NULL. */
struct home_node *home_node_get(struct home_server *s, uint64_t id);
void home_node_put(struct home_server *s, struct home_node *n);
/* lock held */
void home_node_drop(struct home_server *s, struct home_node *n);

/* Gives the client a reference more (of its own), or takes count of them. */
int  home_ref_add(struct home_client *c, struct home_node *n);
void home_ref_forget(struct home_client *c, uint64_t node, uint64_t count);

/* The node's attributes as an answer, and what a client knows from here on. fd: an open
 * file of it or -1. Returns 0 or -errno. */
int  home_attr_of(struct home_server *s, struct home_node *n, int fd, struct home_attr *out);
void home_attr_fill(const struct stat *st, struct home_attr *out);
/* The answer: n's attributes. */
int  home_give_attr(struct home_call *c, struct home_node *n, int fd);
/* The same, with one more reference for the client. */
int  home_give_node(struct home_call *c, struct home_node *n);
/* Compares, and tells the clients if it is another. fd -1: stat by the node's own. */
void home_look_again(struct home_server *s, struct home_node *n, int fd);
/* Around a change that the call's client asked for, which is no news to it, but to all others.
 * What others have changed before is told. */
void home_change_begin(struct home_call *c, struct home_node *n, int fd);
void home_change_end(struct home_call *c, struct home_node *n, int fd);

/* Takes fd. NULL with *code. */
struct home_handle *home_handle_new(struct home_server *s, struct home_client *c,
				    struct home_node *n, int fd, int *code);
struct home_handle *home_handle_get(struct home_server *s, uint64_t id);
void home_handle_put(struct home_server *s, struct home_handle *h);
/* No request can find it any more. lock held */
void home_handle_shut(struct home_server *s, struct home_handle *h);

/* Opens what the O_PATH descriptor fd is: a new open file, or -errno. */
int home_reopen(const struct home_server *s, int fd, int flags);

/* ---- home/watch.c ---- */

int  home_watch_start(struct home_server *s, struct cor_error *err);
void home_watch_stop(struct home_server *s);
/* Tells of everything that has changed until now. */
void home_watch_drain(struct home_server *s);
/* A client is about to change name in dir. */
void home_expect(struct home_server *s, const struct home_client *c, uint64_t dir,
		 const char *name);

/* ---- home/owners.c ---- */

/* Whose locks on n these are, with a reference; made where there is none yet, h is the open file
 * that is used where the node cannot be opened again. NULL with *code. */
struct home_owner *home_owner_get(struct home_client *c, const struct home_node *n,
				  const struct home_handle *h, uint64_t owner, int *code);
void home_owner_put(struct home_client *c, struct home_owner *o);
/* The owner's locks on a node end. */
void home_owner_release(struct home_client *c, uint64_t node, uint64_t owner);
/* All of a table; lock held */
void home_owners_clear(struct home_server *s, struct home_owner **table);

/* ---- home/locks.c ---- */

struct flock;
/* As fcntl(2) takes it; -EINVAL: it is none. */
int  home_lock_range(const struct home_lock *l, struct flock *out);
/* wait 0: all. */
void home_cancel(struct home_client *c, uint64_t wait);

typedef int home_op_fn(struct home_call *c, struct home_node *n, struct home_handle *h);
home_op_fn home_op_flush, home_op_getlk, home_op_setlk, home_op_flock, home_op_locks,
	   home_op_pass;

/* ---- home/ops_data.c ---- */

home_op_fn home_op_open, home_op_read, home_op_write, home_op_release, home_op_fsync,
	   home_op_readdir, home_op_fallocate, home_op_lseek, home_op_adopt;

/* ---- home/ops.c ---- */

/* Carries a request out: 0 or -errno; fills the answer. */
int home_run(struct home_call *c);

/* ---- home/server.c ---- */

/* lock held; everything that is the client's */
void home_client_clear(struct home_client *c);
