/* What the parts of the file system share. From the bottom: home/fuse_ask.c and
 * home/fuse_known.c, home/fuse_tell.c, home/fuse_expect.c, then the kernel's requests
 * (home/fuse_names.c, home/fuse_files.c), then home/fuse.c (life, news, ioctl).
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <uthash.h>

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

#include "libcor/names/home/fuse.h"

#define HOME_KEPT_S   3600.0            /* until a notice says otherwise */
#define HOME_BRIEF_S  1.0               /* where none would come */

/* A node that the kernel knows. */
struct home_fnode {
	uint64_t id, parent;
	uint64_t lookups;               /* the kernel's references */
	uint64_t version;               /* of the content that the kernel may have kept */
	bool     watched, locked;       /* locked: there was a lock: FLUSH must tell the home */
	char    *name;                  /* by which it was found last */
	UT_hash_handle hh;
};

/* Work for the thread that tells the kernel: it may have to wait for requests of the
 * kernel's own, which others answer meanwhile. In order. */
enum home_work_kind {
	WORK_CHANGED, WORK_TOUCHED, WORK_RENAMED, WORK_DELETED, WORK_REPLY, WORK_REPLY_IOCTL,
};

struct home_work {
	enum home_work_kind kind;
	uint64_t node, child;
	fuse_req_t req;                 /* WORK_REPLY* */
	int      error;
	struct home_work *prev, *next;
	char     name[];
};

struct home_fuse {
	struct cor_home_info info;
	struct home_remote  *remote;
	struct fuse_session *session;
	int  fd;
	int (*connect)(void *arg, struct cor_stream **out, struct cor_error *err);
	void *connect_arg;

	pthread_mutex_t lock;
	pthread_cond_t  more;
	struct home_fnode *nodes;
	struct home_work  *work;
	pthread_t worker;
	bool have_worker, ending, expire;

	/* COR_HOME_EXPECT */
	struct {
		bool pending, found;
		uint64_t handle;        /* ours, of the adopted file */
		struct home_attr attr;
		char path[4096];
	} expect;
	uint64_t last_wait;             /* number of a wait for a lock; atomic */
};

/* A request of the kernel's that the home is asked for. */
struct home_asked {
	struct home_fuse *f;
	fuse_req_t req;
	uint64_t node;                  /* parent, where there is a name */
	struct fuse_file_info fi;
	size_t   size;                  /* of READDIR, xattrs */
	char     name[];
};

/* ---- home/fuse_ask.c ---- */

struct home_fuse *home_fuse_of(fuse_req_t req);

/* name NULL: none. NULL: out of memory, and the request was answered so. */
struct home_asked *home_ask_new(fuse_req_t req, uint64_t node, const char *name);
/* Sends q for it; done is called when it was carried out; a failure is answered without. */
void home_ask(struct home_asked *a, struct home_request *q, const struct iovec *body, unsigned n,
	      home_answer_fn *done);
/* The common beginning of an answer function: 0, or the failure was answered and a freed. */
int  home_asked_failed(struct home_asked *a, const struct home_reply *reply, int status);
void home_asked_free(struct home_asked *a);
/* The attributes that an answer is to consist of; false: it does not. */
bool home_take_attr(const char *body, size_t len, struct home_attr *out);
/* Answers that carry nothing. */
home_answer_fn home_answer_nothing;

/* ---- home/fuse_known.c ---- */

/* Attributes as the kernel wants them, and for how long they may be kept. */
void   home_fuse_stat(const struct home_attr *a, struct stat *st);
double home_fuse_kept(const struct home_attr *a);
/* The kernel is about to be told of the node: one reference more. */
void home_fuse_seen(struct home_fuse *f, const struct home_attr *a, uint64_t parent,
		    const char *name);
bool home_fuse_watched(struct home_fuse *f, uint64_t node);
/* Is what the kernel has kept of the content still right? It is from here on. */
bool home_fuse_current(struct home_fuse *f, const struct home_attr *a);
void home_fuse_set_locked(struct home_fuse *f, uint64_t node);
bool home_fuse_was_locked(struct home_fuse *f, uint64_t node);
/* How an open file is to be used: in the answer to its open(2). */
void home_fuse_fill_open(struct home_fuse *f, const struct home_attr *a,
			 struct fuse_file_info *fi);
/* lock held; NULL */
struct home_fnode *home_fuse_find(struct home_fuse *f, uint64_t id);

/* ---- home/fuse_tell.c ---- */

/* Queues work; req NULL but for WORK_REPLY*. */
void home_fuse_work(struct home_fuse *f, enum home_work_kind kind, uint64_t node, uint64_t child,
		    const char *name, fuse_req_t req, int error);
/* The thread that does it (arg: struct home_fuse), until ending. */
void *home_fuse_tell(void *arg);

/* ---- home/fuse_expect.c ---- */

/* COR_HOME_EXPECT. */
void home_fuse_expect(fuse_req_t req, const struct cor_home_expect *e);
/* Does the lookup of name in parent lead to the expected file? Answers it then. */
bool home_fuse_expected_name(struct home_fuse *f, fuse_req_t req, uint64_t parent,
			     const char *name);
/* Is an open of node the expected one? 1: answered; 0: no; -ESTALE: another is expected. */
int  home_fuse_expected_open(struct home_fuse *f, fuse_req_t req, uint64_t node,
			     struct fuse_file_info *fi);

/* ---- home/fuse_names.c, home/fuse_files.c ---- */

void home_fuse_names(struct fuse_lowlevel_ops *ops);
void home_fuse_files(struct fuse_lowlevel_ops *ops);
