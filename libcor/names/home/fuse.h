/* The file system that shows a home's tree where the task is: requests of the kernel
 * become requests to the home (home/remote.h), whose notices become invalidations of
 * what the kernel keeps. One process per file system, which ends with its last mount.
 */
#pragma once

#include <cor/error.h>

#include "libcor/names/home/home.h"
#include "libcor/names/home/remote.h"

struct home_fuse;

/* fuse: a descriptor of /dev/fuse, mounted or soon to be; the file system's. ops->connect
 * and arg are for home_remote_new(); its notice is not used. */
int  home_fuse_new(struct home_fuse **out, int fuse, const struct cor_home_info *info,
		   int (*connect)(void *arg, struct cor_stream **out, struct cor_error *err),
		   void *arg, unsigned reconnect_s, struct cor_error *err);
/* Serves until the last mount is gone. */
int  home_fuse_run(struct home_fuse *f);
void home_fuse_stats(struct home_fuse *f, struct home_remote_stats *out);
void home_fuse_free(struct home_fuse *f);
