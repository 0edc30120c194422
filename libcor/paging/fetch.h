/* A synchronous client of a page lane, for pages that are wanted before the lane
 * is handed to a pager. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/transport/stream.h"

/* Reads npages pages of object from offset on over lane with a few
 * requests in flight, and hands them to sink in ascending order without a
 * hole: data of npages pages, NULL where they are zero. sink returns 0, or a
 * negative errno to end it. check: each reply is checked (wire.h), and what comes
 * spoiled is asked for again, some times.
 *
 * 0; sink's error; -ENOENT: the source has no such memory; the source's error;
 * -EBADMSG (spoiled again and again), -EPROTO, -EPIPE, -errno of the stream: the lane
 * must then be closed. After the
 * other failures it can still be used (everything in flight was read). */
int cor_fetch(struct cor_stream *lane, uint16_t object, uint64_t offset, uint64_t npages,
	      bool check,
	      int (*sink)(void *arg, uint64_t offset, const void *data, uint32_t npages),
	      void *arg, struct cor_error *err);
