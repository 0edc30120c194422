/* Decorators that spoil what is received over a stream: for tests, which give them by
 * hand, or to programs built with --enable-fault-points by the environment:
 *
 *	COR_STREAM_FAULT=KIND:ACTION[@AT][+EVERY][=ARGUMENT][,...]
 *
 *	KIND       control, demand, bulk, all: which connections
 *	AT         behind how many received bytes it happens (default 0)
 *	EVERY      it happens again behind each so many more
 *	ACTION     corrupt       ARGUMENT bytes (1) are changed
 *	           drop          ARGUMENT bytes (1) vanish
 *	           duplicate     ARGUMENT bytes (1) come twice
 *	           cut           both directions end
 *	           truncate      the peer seems to have ended; it can be sent to
 *	           stall         nothing comes or goes any more, and no end either
 *	           delay         all that follows comes ARGUMENT microseconds (1000) late
 *
 *	COR_STREAM_FAULT=bulk:corrupt@100000+1000000,demand:delay=5000
 *
 * COR_WIRE_FAULT is the same below the encryption, where there is one.
 */
#pragma once

#include <cor/error.h>
#include <stdint.h>

#include "libcor/transport/preamble.h"
#include "libcor/transport/stream.h"

enum cor_fault_action {
	COR_FAULT_CORRUPT,
	COR_FAULT_DROP,
	COR_FAULT_DUPLICATE,
	COR_FAULT_CUT,
	COR_FAULT_TRUNCATE,
	COR_FAULT_STALL,
	COR_FAULT_DELAY,
};

struct cor_fault {
	enum cor_fault_action action;
	uint64_t at;
	uint64_t every;         /* 0: once */
	uint32_t argument;      /* bytes, at most COR_FAULT_BYTES_MAX; microseconds */
};

#define COR_FAULT_BYTES_MAX 65536u
#define COR_FAULTS_MAX      8u

/* What a decorator has seen. */
struct cor_fault_counts {
	uint64_t received, sent;        /* bytes, as its holder sees them */
	uint64_t faults;                /* actions done; those of a delay are not counted */
};

/* Decorates inner with n <= COR_FAULTS_MAX faults of any action but delay; 0: it only
 * counts. counts: NULL, or outlives the stream. Takes ownership of inner, also on
 * failure. */
int cor_stream_fault(struct cor_stream **out, struct cor_stream *inner,
		     const struct cor_fault *faults, unsigned n, struct cor_fault_counts *counts,
		     struct cor_error *err);

/* Decorates inner so that what comes behind at bytes comes delay_us late. Holds at most
 * some megabytes back. Takes ownership of inner, also on failure. */
int cor_stream_delay(struct cor_stream **out, struct cor_stream *inner, uint64_t at,
		     uint32_t delay_us, struct cor_error *err);

/* The faults of text (see above; NULL: none) that are for connections of this kind.
 * Their number, or -EINVAL. */
int cor_fault_parse(const char *text, enum cor_connection_kind kind,
		    struct cor_fault out[COR_FAULTS_MAX], struct cor_error *err);

/* Decorates *stream with what text says for its kind. On failure it has been closed. */
int cor_fault_apply(struct cor_stream **stream, const char *text, enum cor_connection_kind kind,
		    struct cor_error *err);
