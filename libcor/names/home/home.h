/* Files that stay at home, as the sessions use them: a file server at the home
 * (home/process.c), a FUSE file system where the task is (home/fuse.c, home/mount.c),
 * each a process of its own, and what is asked of a file on such a file system by
 * ioctl(2). The protocol between the two is home/wire.h; docs/names.md tells the whole.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#include "libcor/names/home/wire.h"

#define COR_HOME_FSTYPE   "fuse.cor"
#define COR_HOME_LOCKS    64
#define COR_HOME_HOSTS    "cor-hosts"   /* source of the mount at /cor */

/* Which tree of which home this is, and how another host gets to it. */
struct cor_home_info {
	uint8_t  id[16], secret[32];    /* of the tree: what its server is known by */
	char     boot_id[40];           /* the home's: dev and ino there mean its own files */
	char     host[64];              /* its cord's name */
	char     address[256];          /* its cord's ADDR:PORT, as the asked host knows it */
	uint64_t requests, received, sent;
	uint32_t connected, reconnects;
};

/* An open file of it. */
struct cor_home_file {
	uint64_t handle;                /* at the home */
	uint64_t dev, ino, size;        /* likewise */
	int64_t  mtime;
	uint32_t mtime_ns, nlink;
	uint32_t nlocks, reserved;
	struct home_lock locks[COR_HOME_LOCKS];
};

/* The next open of path is to be this handle of the home's. */
struct cor_home_expect {
	uint64_t handle;
	char     path[4096];
};

/* For root alone. On any file of the file system, but for FILE, which is the open file's. */
#define COR_HOME_INFO   _IOR('c', 0x41, struct cor_home_info)
#define COR_HOME_FILE   _IOR('c', 0x42, struct cor_home_file)
#define COR_HOME_EXPECT _IOW('c', 0x43, struct cor_home_expect)
#define COR_HOME_SYNC   _IO('c', 0x44)
/* On a file: enum home_pass for the locks that the task has on it. ENOTTY: its home does not know
 * how to. */
#define COR_HOME_PASS   _IOW('c', 0x45, uint32_t)
