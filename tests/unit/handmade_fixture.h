/* An image made by hand: a few pages of machine code, whose source is this process itself. What
 * it finds out it tells by its exit status: 42 when all is as it should be. cmocka.h comes before
 * this. */
#pragma once

#include <cor/cor.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/user.h>

#include "libcor/paging/pager.h"
#include "libcor/paging/server.h"
#include "libcor/task/rebuild.h"

#define CODE   0x10000000ul
#define DATA   0x20000000ul
#define FILEAT 0x30000000ul
#define STACK  0x40000000ul     /* its top; 4 pages */
#define BRK    0x50000000ul
#define VDSO   0x600000000000ul
#define MAGIC  0x5ca1ab1e0ddba11ul

/* What is entered, and the second thread; where its clock_gettime can be made to return. */
extern const char test_task_code[], test_task_end[], test_thread_code[], test_vdso_return[];

struct data {
	uint64_t magic;
	uint32_t pid, pad;
	uint64_t brk;
	uint32_t other_runs;
	uint32_t other_tid;
};

struct task {
	Cor__Task__Image image;
	Cor__Task__Identity identity;
	Cor__Task__Memory memory;
	Cor__Task__Vma vma[16], *vmas[16];
	Cor__Task__File file, *files[1];
	Cor__Task__Thread thread[2], *threads[2];
	Cor__Task__PageData page, *pages[1];
	Cor__Task__Run run, *runs[1];
	struct user_regs_struct regs[2];
	unsigned char xstate[65536];
	unsigned char content[4096];
	_Atomic uint32_t let_go;
	bool turns;
	struct cor_rebuild_plan plan;
	struct cor_rebuild *rb;
	struct cor_region *regions;
	unsigned nregions;
	struct cor_ctx *ctx;
	struct cor_pager *pager;
	struct cor_page_server *server;
	int report[2];
	uint64_t own_vdso;
	bool file_ok;
};

/* A call that takes &err, and must work. */
#define OK(call) do { \
	if ((call) < 0) \
		fail_msg("%s: %s", #call, err.text); \
} while (0)

int handmade_setup(void **state);
int handmade_teardown(void **state);

/* Anonymous memory of this process, at that address. */
char *handmade_place(uint64_t at, size_t len);
/* Of the vDSO's code from the beginning of its data. */
uint64_t handmade_vdso_code_offset(struct task *task);
/* clock_gettime as the task finds it, at the vDSO's old place. */
uint64_t handmade_clock_gettime_at(struct task *task);

/* Up to READY. */
void handmade_rebuild(struct task *task);
/* All of it, to its end: its exit status. */
int handmade_run(struct task *task);
