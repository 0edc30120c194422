/* The home protocol, version 1: files that stay on a task's home, served elsewhere.
 *
 * A connection (preamble kind COR_CONN_HOME; session and secret are the tree's)
 * carries requests of the client, which is where the task is, and the server's replies
 * and notices. Requests are answered in any order; a request's number is the client's
 * choice, ascending. Both directions are messages of a fixed header and a body.
 * All integers little-endian.
 *
 * A lost connection is replaced: ATTACH with the same client number goes on where the
 * last one ended, and the client says again what was not answered. What must not be
 * done twice is known by its number: its reply is kept until the client has told, in
 * "done", that it has it.
 *
 * Nodes are files, directories and so on of the home, 1 is the root of the tree; they
 * live as long as the client has not forgotten as many references as LOOKUP and its
 * likes gave it. Handles are open files of the home.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define COR_HOME_VERSION 1

#define HOME_DATA_MAX    (1u << 20)     /* of one READ or WRITE */
#define HOME_NAME_MAX    255
#define HOME_BODY_MAX    (HOME_DATA_MAX + 4096)
#define HOME_ROOT        1              /* the node of "/" */

enum home_op {
	/* op            node    handle  arg[0..3]                      body            answer */
	HOME_ATTACH = 1,   /*                client              attr of the root; arg[0]: enum home_can */
	HOME_BYE,          /* the client has ended: all that is its own goes with it     nothing */
	HOME_SYNC,         /* notices of all that has changed until now come before the answer */
	HOME_CANCEL,       /*                wait: that lock is not waited for any more; no answer */
	HOME_FORGET,       /*                                {node, count} pairs           no answer */
	HOME_LOOKUP,       /* parent                                 name                 attr */
	HOME_GETATTR,      /* node   or 0                                                 attr */
	HOME_SETATTR,      /* node   or 0    (body: struct home_setattr)                  attr */
	HOME_READLINK,     /* node                                                        text */
	HOME_SYMLINK,      /* parent                                 name, target         attr */
	HOME_MKNOD,        /* parent         mode, rdev              name                 attr */
	HOME_MKDIR,        /* parent         mode                    name                 attr */
	HOME_UNLINK,       /* parent                                 name                 nothing */
	HOME_RMDIR,        /* parent                                 name                 nothing */
	HOME_RENAME,       /* parent         new parent, flags       name, new name       nothing */
	HOME_LINK,         /* node           new parent              name                 attr */
	HOME_OPEN,         /* node           flags                                        attr; arg[0]: handle */
	HOME_CREATE,       /* parent         flags, mode             name                 attr; arg[0]: handle */
	HOME_READ,         /* node   handle  offset, size                                 bytes */
	HOME_WRITE,        /* node   handle  offset                  bytes                arg[0]: count */
	HOME_FLUSH,        /* node   handle  lock owner: its locks on the node end        nothing */
	HOME_RELEASE,      /* node   handle  lock owner or 0                              nothing */
	HOME_FSYNC,        /* node   handle  data only                                    nothing */
	HOME_READDIR,      /* node   handle  offset, size                                 struct home_dirent's */
	HOME_STATFS,       /* node                                                        struct home_statfs */
	HOME_GETXATTR,     /* node           size                    name                 bytes, or arg[0]: size */
	HOME_LISTXATTR,    /* node           size                                         bytes, or arg[0]: size */
	HOME_SETXATTR,     /* node           flags                   name, bytes          nothing */
	HOME_REMOVEXATTR,  /* node                                   name                 nothing */
	HOME_GETLK,        /* node   handle  owner; body: struct home_lock                struct home_lock */
	HOME_SETLK,        /* node   handle  owner, wait?, wait; body: struct home_lock   attr */
	HOME_FLOCK,        /* node   handle  LOCK_* of flock(2), wait?, wait              attr */
	HOME_FALLOCATE,    /* node   handle  mode, offset, length                         attr */
	HOME_LSEEK,        /* node   handle  offset, whence                               arg[0]: offset */
	HOME_ADOPT,        /*        handle: one that is open at the home already         attr; arg[0]: handle */
	HOME_LOCKS,        /* node   handle                                               attr, struct home_lock's */
	HOME_PASS,         /* node           enum home_pass: what the client's locks do    nothing */
	HOME_OPS
};

/* What a server can do beyond the first version's operations. */
enum home_can {
	HOME_CAN_PASS = 1,      /* HOME_PASS */
};

/* The locks on a node, of a client whose task moves to another one. */
enum home_pass {
	HOME_PASS_STAYS,        /* it stays after all */
	HOME_PASS_GOING,        /* the next client that locks the node has them then */
	HOME_PASS_GONE,         /* it has left: they are this client's no more */
};

/* Requests. */
struct home_request {
	uint32_t length;        /* header and body */
	uint16_t op;            /* enum home_op */
	uint16_t reserved;
	uint64_t id;            /* not 0 */
	uint64_t done;          /* every request below this one has been answered */
	uint64_t node;
	uint64_t handle;
	uint32_t uid, gid;      /* who asks; taken up only where the task may be that */
	uint64_t arg[4];
} __attribute__((packed));
static_assert(sizeof(struct home_request) == 80, "request header is 80 bytes");
static_assert(offsetof(struct home_request, arg) == 48, "arguments at 48");

/* Replies, and notices (id 0). */
struct home_reply {
	uint32_t length;
	int32_t  status;        /* 0 or -errno; of a notice: enum home_notice */
	uint64_t id;
	uint64_t arg[2];
} __attribute__((packed));
static_assert(sizeof(struct home_reply) == 32, "reply header is 32 bytes");

enum home_notice {
	HOME_CHANGED = 1,       /* arg[0]: node whose content and attributes are others now */
	HOME_TOUCHED,           /* arg[0]: node whose attributes alone are */
	HOME_RENAMED,           /* arg[0]: directory in which the name in the body leads elsewhere */
};

enum home_attr_flags {
	HOME_ATTR_WATCHED = 1,  /* a notice will tell of changes: may be kept until then */
};

struct home_attr {
	uint64_t node;          /* 0: no such name (LOOKUP); flags say whether that may be kept */
	uint64_t version;       /* of the content: another one, other content */
	uint64_t dev, ino;      /* at the home */
	uint64_t size, blocks;
	uint64_t rdev;
	int64_t  atime, mtime, ctime;
	uint32_t atime_ns, mtime_ns, ctime_ns;
	uint32_t mode, nlink, uid, gid, blksize;
	uint32_t flags;         /* enum home_attr_flags */
	uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct home_attr) == 120, "attributes are 120 bytes");

enum home_set {
	HOME_SET_MODE = 1, HOME_SET_UID = 2, HOME_SET_GID = 4, HOME_SET_SIZE = 8,
	HOME_SET_ATIME = 16, HOME_SET_MTIME = 32, HOME_SET_ATIME_NOW = 64, HOME_SET_MTIME_NOW = 128,
};

struct home_setattr {
	uint32_t what;          /* enum home_set */
	uint32_t mode, uid, gid;
	uint64_t size;
	int64_t  atime, mtime;
	uint32_t atime_ns, mtime_ns;
} __attribute__((packed));
static_assert(sizeof(struct home_setattr) == 48, "changes are 48 bytes");

struct home_dirent {
	uint64_t ino, off;
	uint16_t length;        /* of the name that follows, without a NUL */
	uint8_t  type;          /* DT_* */
} __attribute__((packed));
static_assert(sizeof(struct home_dirent) == 19, "directory entries begin with 19 bytes");

struct home_statfs {
	uint64_t bsize, frsize, blocks, bfree, bavail, files, ffree, favail, namemax;
} __attribute__((packed));

struct home_lock {
	uint64_t start, length; /* length 0: to the end */
	int32_t  type;          /* F_RDLCK, F_WRLCK, F_UNLCK */
	int32_t  pid;           /* GETLK: who holds it at the home; 0: not known */
	uint32_t kind;          /* LOCKS: enum home_lock_kind */
	uint32_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct home_lock) == 32, "locks are 32 bytes");

enum home_lock_kind {
	HOME_LOCK_POSIX,        /* the owner's: must be taken again by another client */
	HOME_LOCK_OWN,          /* the open file's: goes with the handle */
};

struct home_forget { uint64_t node, count; } __attribute__((packed));
