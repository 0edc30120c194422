/* A task's own view of the files where it arrives: the home's tree, and over it what is
 * the destination's own or common to both hosts. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>

#include "libcor/names/trees.pb-c.h"

struct cor_home_mount_options {
	const Cor__Names__Home *home;
	unsigned connect_s, silence_s, reconnect_s;
	bool encrypted;                 /* by the tree's secret (lane.h) */
	const char *dir;                /* where it writes how it does, for cor status; NULL: not */
};

/* Can this process mount a home's tree at all: is there FUSE, and may it be used? */
bool cor_home_possible(void);

/* Connects to the home and starts the process that serves its tree here, which ends with
 * the last mount of it (or when it is closed unused). A detached mount's descriptor, or
 * -errno: -ENOSYS, -EPERM (no FUSE here), the connection's. */
int cor_home_mount(const struct cor_home_mount_options *o, struct cor_error *err);

/* Gives this process a mount namespace of its own, in which the homes' trees wait for
 * cor_home_assemble(): what is mounted elsewhere later still shows up. */
int cor_home_own_mounts(struct cor_error *err);
/* Puts the detached mount of home number i below staging, a directory; and away again. */
int  cor_home_attach(int mount, const char *staging, unsigned i, struct cor_error *err);
void cor_home_detach(const char *staging, unsigned i);

/* In a copy of that namespace: puts the trees of plan in place. Changes the process's root
 * where "/" is the home's. May be done any number of times, in a new copy each. here, NULL
 * allowed: this host's name; the tree of every home is then at /cor/HOME too, and this
 * host's own at /cor/HERE, where the task's tree has a directory /cor. */
int cor_home_assemble(const Cor__Names__Plan *plan, const char *staging, const char *here,
		      struct cor_error *err);

/* Before anything runs on it: nothing kept from earlier is wrong now. path: any of the
 * home's tree. */
int cor_home_sync(int fd);
