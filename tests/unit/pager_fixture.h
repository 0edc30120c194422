/* Lazy memory in this process, a pager for it and a toy server behind it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libcor/paging/pager.h"
#include "tests/unit/toy_server.h"

#define P 4096ull
#define NPAGES 1024ull
#define SOURCE_BASE 0x500000000000ull

struct lazy {
	struct cor_ctx *ctx;
	struct cor_pager *pager;
	struct toy toy;
	unsigned char *truth;        /* what the pages hold at the source */
	unsigned char *mem;          /* NPAGES lazy pages */
};

/* cmocka setup and teardown; setup leaves the pager with both lanes, not started. */
int lazy_setup(void **state);
/* The same with what is wrong with the lanes (stream_fault.h; NULL: nothing). */
int lazy_setup_spoiled(void **state, const char *faults);
/* The same with lanes whose descriptors wake nobody who has not asked for it since they
 * woke him last, as those of queue pairs (rdma.h). */
int lazy_setup_drowsy(void **state);
int lazy_teardown(void **state);

/* Starts the pager over l->mem (or shared: a memfd mapping, when set up so). */
void lazy_start(struct lazy *l);
/* A userfaultfd of this process, handshaken. */
int  lazy_uffd(void);

/* Waits until the pager reaches state; fails the test after five seconds. */
void lazy_await(struct lazy *l, enum cor_pager_state state);
void lazy_await_lanes(struct lazy *l, enum cor_connection_kind kind, unsigned n);
/* Lets b spin until it is at least n; fails the test after five seconds. */
void await_count(atomic_uint *b, unsigned n);

/* Does page i of mem hold page j of the source? Returns 0 or 1: for children too. */
int  page_is(const struct lazy *l, const unsigned char *mem, uint64_t i, uint64_t j);
int  page_is_zero(const unsigned char *mem, uint64_t i);
struct cor_paging_stats lazy_stats(struct lazy *l);

/* Forks; the child leaves with what run returns. The parent gets it back. */
int  in_child(int (*run)(struct lazy *l), struct lazy *l);
