/* The page server: answers a pager's requests out of a memory source.
 *
 * One thread per lane, so a demand request never waits for bulk data. A lane
 * is lost when its connection ends; the server stays and takes new lanes for
 * the same source (a reconnecting pager). Used by cord on a ghost and by
 * cor_export_* (include/cor/export.h) on any memory.
 */
#pragma once

#include <cor/error.h>
#include <stdint.h>

#include "libcor/paging/source.h"
#include "libcor/transport/preamble.h"
#include "libcor/transport/stream.h"

struct cor_page_server;

struct cor_page_server_stats {
	uint64_t requests_demand, requests_bulk;
	uint64_t pages_sent, pages_zero;
	uint64_t bytes_sent;         /* headers included */
	unsigned lanes;              /* connected now */
	unsigned lanes_demand, lanes_bulk; /* of them */
	unsigned lanes_fast;         /* of them all: of a better kind than TCP's */
};

/* Takes ownership of source (also on failure). */
int cor_page_server_new(struct cor_page_server **out, struct cor_source *source,
			struct cor_error *err);

/* Serves a lane (lane.h). Takes ownership of it, also on failure. kind:
 * COR_CONN_DEMAND or COR_CONN_BULK. */
int cor_page_server_add_lane(struct cor_page_server *ps, struct cor_stream *lane,
			     enum cor_connection_kind kind, struct cor_error *err);

/* Shuts all lanes down; those that come later are served. */
void cor_page_server_drop_lanes(struct cor_page_server *ps);

/* An eventfd that becomes readable when a lane has ended; owned by the server. */
int cor_page_server_event_fd(const struct cor_page_server *ps);

void cor_page_server_stats(struct cor_page_server *ps, struct cor_page_server_stats *out);

/* Shuts every lane down, joins the threads, frees the source. NULL allowed. */
void cor_page_server_free(struct cor_page_server *ps);
