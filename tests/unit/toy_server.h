/* A page server for tests: answers lanes out of a buffer, and misbehaves on
 * request. One thread per lane. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/transport/preamble.h"

#define TOY_LANES 8

struct toy;

struct toy_lane {
	struct toy *toy;
	int sock;
	enum cor_connection_kind kind;
	pthread_t thread;
};

/* data holds npages pages, named by offsets from base on. */
struct toy {
	const unsigned char *data;
	uint64_t base;
	uint64_t npages;
	bool (*holds)(uint64_t page);     /* presence; NULL: everything is data */
	/* faults, by kind of lane where that matters */
	atomic_int cut_after;             /* close a lane instead of answer number n; 0: never */
	atomic_int cut_kind;
	atomic_int error_page;            /* page + 1 that cannot be read */
	atomic_uint error;                /* what is said then; 0: EIO */
	atomic_int bad_page;              /* page + 1 that is answered with nonsense */
	atomic_int gone_page;             /* page + 1 that does not exist */
	bool huge;                        /* all of it lies in huge pages */
	atomic_bool hold_demand;          /* demand requests wait while set */
	/* what was asked */
	atomic_uint reads[4];             /* requests by kind */
	atomic_uint presences;            /* presence requests */
	atomic_uchar *asked;              /* by page: how often on a demand lane */
	struct toy_lane lanes[TOY_LANES];
	unsigned nlanes;
};

void toy_init(struct toy *t, const unsigned char *data, uint64_t base, uint64_t npages);
/* Returns the client's end of a new lane. */
int  toy_connect(struct toy *t, enum cor_connection_kind kind);
/* Waits for the lanes' threads: their clients must have closed before. */
void toy_end(struct toy *t);
