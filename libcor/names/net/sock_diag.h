/* UNIX sockets as sock_diag(7) tells them: peers, queues, names. In our own
 * network namespace. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cor_unix_socket {
	uint32_t ino;
	uint32_t peer;          /* inode of the peer; 0: none, gone, or not accepted yet */
	uint32_t waiting;       /* listening: connections not accepted */
	uint32_t backlog;       /* listening */
	uint32_t vfs_ino;       /* of the socket file it is bound to, 0: none */
	uint32_t vfs_dev;       /* in the kernel's own encoding: 12 bits of major, 20 of minor */
	unsigned shutdown;      /* 1: reading is shut down, 2: writing */
	char     name[110];     /* printable: path, or "@" and the abstract name; "": none */
};

/* The socket with that inode. -ENOENT: there is none. */
int cor_unix_diag(uint32_t ino, struct cor_unix_socket *out, struct cor_error *err);

/* Is there a socket bound to the file with that device and inode? 1, 0, -errno. */
int cor_unix_diag_is_bound(dev_t dev, ino_t ino);
