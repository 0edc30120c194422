/* Answers to page requests: what a lane's thread makes of one request. Holds the
 * lane's working memory, so that answering allocates nothing. */
#pragma once

#include <cor/error.h>
#include <stdatomic.h>
#include <stdint.h>

#include "libcor/paging/source.h"
#include "libcor/paging/wire.h"
#include "libcor/transport/stream.h"

/* Shared by the lanes of a server. */
struct cor_answer_counters {
	_Atomic uint64_t pages_sent, pages_zero, pages_packed, bytes_sent;      /* packed: of sent */
};

struct cor_answer;

/* Answers go to lane, out of source; neither is owned. */
int cor_answer_new(struct cor_answer **out, struct cor_source *source, struct cor_stream *lane,
		   struct cor_answer_counters *counters, struct cor_error *err);
void cor_answer_free(struct cor_answer *a);

/* Sends all replies to one request. -EPROTO: the request is malformed and nothing
 * was sent; -errno of the lane. After a failure the lane must be closed. */
int cor_answer_request(struct cor_answer *a, const struct cor_page_request *q);
