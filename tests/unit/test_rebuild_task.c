/* rebuild from an image made by hand: a few pages of machine code, whose source
 * is this process itself. What it finds out it tells by its exit status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/paging/pager.h"
#include "libcor/paging/server.h"
#include "libcor/task/layout.h"
#include "libcor/task/rebuild.h"
#include "libcor/task/vdso.h"
#include "tests/stream.h"

#define CODE   0x10000000ul
#define DATA   0x20000000ul
#define FILEAT 0x30000000ul
#define STACK  0x40000000ul     /* its top; 4 pages */
#define BRK    0x50000000ul
#define VDSO   0x600000000000ul
#define MAGIC  0x5ca1ab1e0ddba11ul

/* Entered with rdi: address of the first word in DATA; exits with 42 when all
 * is as it should be, else with the number of the check. */
extern const char test_task_code[], test_task_end[], test_thread_code[], test_vdso_return[];
__asm__(".section .rodata\n"
	".globl test_task_code\ntest_task_code:\n"
	"	movl $1, %ebx\n"
	"	movabs $0x5ca1ab1e0ddba11, %rax\n"
	"	cmpq %rax, (%rdi)\n"            /* 1: a lazy page */
	"	jne 9f\n"
	"	incl %ebx\n"
	"	cmpq $0, 0x1000(%rdi)\n"        /* 2: an untouched one */
	"	jne 9f\n"
	"	incl %ebx\n"
	"	cmpq %rax, (%rsi)\n"            /* 3: a written page of a file mapping */
	"	jne 9f\n"
	"	incl %ebx\n"
	"	pushq %rax\n"
	"	pushq %rdi\n"
	"	movl $39, %eax\n"               /* getpid */
	"	syscall\n"
	"	popq %rdi\n"
	"	cmpl %eax, 8(%rdi)\n"           /* 4: the PID */
	"	jne 9f\n"
	"	incl %ebx\n"
	"	pushq %rdi\n"
	"	subq $32, %rsp\n"
	"	movl $1, %edi\n"                /* CLOCK_MONOTONIC, by the vDSO */
	"	movq %rsp, %rsi\n"
	"	call *%rbp\n"
	"	addq $32, %rsp\n"
	"	popq %rdi\n"
	"	testl %eax, %eax\n"             /* 5: the vDSO */
	"	jne 9f\n"
	"	incl %ebx\n"
	"	pushq %rdi\n"
	"	movl $12, %eax\n"
	"	xorl %edi, %edi\n"
	"	syscall\n"
	"	popq %rdi\n"
	"	cmpq %rax, 16(%rdi)\n"          /* 6: brk */
	"	jne 9f\n"
	"	incl %ebx\n"
	"	movq %xmm1, %rax\n"
	"	cmpq %rax, (%rdi)\n"            /* 7: a vector register */
	"	jne 9f\n"
	"	movl $42, %ebx\n"
	"1:	cmpl $0, 24(%rdi)\n"            /* the other thread, where there is one */
	"	jne 1b\n"
	"9:	movl $231, %eax\n"
	"	movl %ebx, %edi\n"
	"	syscall\n"
	".globl test_thread_code\ntest_thread_code:\n"
	"	movl $186, %eax\n"              /* gettid */
	"	syscall\n"
	"	cmpl %eax, 28(%rdi)\n"
	"	jne 8f\n"
	"	movl $0, 24(%rdi)\n"
	"8:	movl $60, %eax\n"
	"	xorl %edi, %edi\n"
	"	syscall\n"
	".globl test_vdso_return\ntest_vdso_return:\n"
	"	leal 43(%rax), %edi\n"
	"	movl $231, %eax\n"
	"	syscall\n"
	".globl test_task_end\ntest_task_end:\n"
	".text\n");

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

static Cor__Task__Vma *add_vma(struct task *task, uint64_t start, uint64_t end, uint32_t prot,
			       Cor__Task__VmaKind kind)
{
	size_t i = task->memory.n_vmas++;

	task->vma[i] = (Cor__Task__Vma)COR__TASK__VMA__INIT;
	task->vma[i].start = start;
	task->vma[i].end = end;
	task->vma[i].prot = prot;
	task->vma[i].kind = kind;
	task->vmas[i] = &task->vma[i];
	return &task->vma[i];
}

static char *place(uint64_t at, size_t len)
{
	void *p = mmap((void *)at, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* The registers and extended state of a child of ours that does nothing. */
static void sample_state(struct task *task)
{
	struct iovec v = { task->xstate, sizeof(task->xstate) };
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	assert_int_equal(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &v), 0);
	assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, &task->regs[0]), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 2; i++) {
		task->thread[i].xstate.data = task->xstate;
		task->thread[i].xstate.len = v.iov_len;
	}
	/* xmm1, which is then in use */
	memcpy(task->xstate + 160 + 16, &(uint64_t){ MAGIC }, 8);
	task->xstate[512] |= 3;
}

static void add_vdso(struct task *task)
{
	struct cor_layout l = { 0 };
	uint64_t start = 0, end = 0;

	assert_int_equal(cor_layout_read(&l, getpid(), NULL), 0);
	assert_true(cor_layout_vdso(&l, &start, &end));
	for (size_t i = 0; i < l.n; i++) {
		const struct cor_range *r = &l.ranges[i];
		bool code = r->kind == COR_RANGE_VDSO;

		if (!code && r->kind != COR_RANGE_VVAR)
			continue;
		add_vma(task, VDSO + (r->start - start), VDSO + (r->end - start),
			code ? PROT_READ | PROT_EXEC : PROT_READ,
			code ? COR__TASK__VMA_KIND__VDSO : COR__TASK__VMA_KIND__VVAR);
		if (!code)
			continue;
		task->own_vdso = r->start;
		task->memory.vdso.data = (void *)r->start;
		task->memory.vdso.len = r->end - r->start;
	}
	cor_layout_clear(&l);
}

/* Of the vDSO's code from the beginning of its data. */
static uint64_t vdso_code_offset(struct task *task)
{
	struct cor_layout l = { 0 };
	uint64_t start = 0, end = 0;

	assert_int_equal(cor_layout_read(&l, getpid(), NULL), 0);
	assert_true(cor_layout_vdso(&l, &start, &end));
	cor_layout_clear(&l);
	return task->own_vdso - start;
}

/* clock_gettime as the task finds it, at the vDSO's old place. */
static uint64_t clock_gettime_at(struct task *task)
{
	struct cor_vdso_function f;
	struct cor_vdso v;

	assert_int_equal(cor_vdso_parse(&v, (void *)task->own_vdso, task->memory.vdso.len, NULL), 0);
	assert_true(cor_vdso_find(&v, "clock_gettime", &f));
	return VDSO + vdso_code_offset(task) + f.offset;
}

static void make_file(struct task *task)
{
	struct stat st;
	ssize_t n = readlink("/proc/self/exe", (char *)task->content, sizeof(task->content) - 1);

	assert_true(n > 0);
	task->content[n] = 0;
	assert_int_equal(stat((char *)task->content, &st), 0);
	task->file = (Cor__Task__File)COR__TASK__FILE__INIT;
	task->file.path = strdup((char *)task->content);
	task->file.size = (uint64_t)st.st_size;
	task->file.mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
	task->files[0] = &task->file;
	task->memory.files = task->files;
	task->memory.n_files = 1;
}

static void make_memory(struct task *task)
{
	struct data *data;
	Cor__Task__Vma *v;

	task->memory = (Cor__Task__Memory)COR__TASK__MEMORY__INIT;
	task->memory.vmas = task->vmas;
	memcpy(place(CODE, 4096), test_task_code, (size_t)(test_task_end - test_task_code));
	data = (struct data *)place(DATA, 16384);
	place(STACK - 16384, 16384);
	data->magic = MAGIC;
	data->pid = (uint32_t)task->identity.pid;
	data->brk = BRK + 8192;
	data->other_tid = data->pid + 1;
	make_file(task);

	add_vma(task, CODE, CODE + 4096, PROT_READ | PROT_EXEC, COR__TASK__VMA_KIND__ANON);
	add_vma(task, DATA, DATA + 16384, PROT_READ | PROT_WRITE, COR__TASK__VMA_KIND__ANON);
	add_vma(task, DATA + 16384, DATA + 32768, PROT_NONE, COR__TASK__VMA_KIND__ANON);
	v = add_vma(task, FILEAT, FILEAT + 8192, PROT_READ, COR__TASK__VMA_KIND__FILE_PRIVATE);
	task->run = (Cor__Task__Run)COR__TASK__RUN__INIT;
	task->run.start = FILEAT + 4096;
	task->run.npages = 1;
	task->runs[0] = &task->run;
	v->written = task->runs;
	v->n_written = 1;
	v = add_vma(task, STACK - 16384, STACK, PROT_READ | PROT_WRITE, COR__TASK__VMA_KIND__ANON);
	v->flags = COR__TASK__VMA_FLAG__GROWSDOWN;
	v->name = (char *)"[stack]";
	add_vma(task, BRK, BRK + 8192, PROT_READ | PROT_WRITE, COR__TASK__VMA_KIND__ANON);
	place(BRK, 8192);
	add_vdso(task);
	memcpy(task->content, &data->magic, 8);
	task->page = (Cor__Task__PageData)COR__TASK__PAGE_DATA__INIT;
	task->page.addr = FILEAT + 4096;
	task->page.data.data = task->content;
	task->page.data.len = 4096;
	task->pages[0] = &task->page;
	task->image.pages = task->pages;
	task->image.n_pages = 1;
	task->memory.start_code = task->memory.start_data = CODE;
	task->memory.end_code = task->memory.end_data = CODE + 4096;
	task->memory.start_brk = BRK;
	task->memory.brk = BRK + 8192;
	task->memory.start_stack = task->memory.arg_start = task->memory.arg_end = STACK - 4096;
	task->memory.env_start = task->memory.env_end = STACK - 4096;
}

static void make_threads(struct task *task)
{
	for (int i = 0; i < 2; i++) {
		task->thread[i] = (Cor__Task__Thread)COR__TASK__THREAD__INIT;
		task->threads[i] = &task->thread[i];
		task->thread[i].tid = task->identity.pid + i;
		task->thread[i].comm = (char *)(i ? "second" : "first");
		task->thread[i].sas_flags = SS_DISABLE;
	}
	sample_state(task);
	task->regs[0].orig_rax = (uint64_t)-1;
	task->regs[0].rip = CODE;
	task->regs[0].rsp = STACK - 64;
	task->regs[0].rdi = DATA;
	task->regs[0].rsi = FILEAT + 4096;
	task->regs[0].rbp = clock_gettime_at(task);
	task->regs[1] = task->regs[0];
	task->regs[1].rip = CODE + (uint64_t)(test_thread_code - test_task_code);
	task->regs[1].rsp = STACK - 8192;
	for (int i = 0; i < 2; i++) {
		task->thread[i].regs.data = (void *)&task->regs[i];
		task->thread[i].regs.len = sizeof(task->regs[i]);
	}
	task->image.threads = task->threads;
	task->image.n_threads = 1;
}

static int setup(void **state)
{
	struct task *task = calloc(1, sizeof(*task));

	*state = task;
	task->image = (Cor__Task__Image)COR__TASK__IMAGE__INIT;
	task->identity = (Cor__Task__Identity)COR__TASK__IDENTITY__INIT;
	task->image.identity = &task->identity;
	task->image.memory = &task->memory;
	task->identity.pid = 1234;
	task->identity.cwd = (char *)"/";
	task->identity.dumpable = 1;
	make_memory(task);
	make_threads(task);
	task->plan.skeleton = &task->image;
	task->plan.force_pid_ns = true;
	task->plan.max_fd = 10;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, task->report), 0);
	task->plan.report = task->report[1];
	task->plan.tty = task->plan.watch = task->plan.listen = task->plan.record = -1;
	task->file_ok = true;
	return cor_open(&task->ctx, NULL);
}

static int teardown(void **state)
{
	struct task *task = *state;

	cor_rebuild_abort(task->rb);
	cor_pager_free(task->pager);
	cor_page_server_free(task->server);
	cor_close(task->ctx);
	free(task->regions);
	free(task->file.path);
	close(task->report[0]);
	if (task->report[1] >= 0)
		close(task->report[1]);
	free(task);
	return 0;
}

/* A call that takes &err, and must work. */
#define OK(call) do { \
	if ((call) < 0) \
		fail_msg("%s: %s", #call, err.text); \
} while (0)

static void start_paging(struct task *task)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_source *source;
	int s[2];

	OK(cor_source_self(&source, NULL, 1ul << 47, &err));
	OK(cor_page_server_new(&task->server, source, &err));
	OK(cor_pager_new(&task->pager, task->ctx, &err));
	for (unsigned i = 0; i < task->nregions; i++)
		OK(cor_pager_add_region(task->pager, &task->regions[i], &err));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	OK(cor_page_server_add_lane(task->server, stream_of(s[0]), COR_CONN_DEMAND, &err));
	OK(cor_pager_add_lane(task->pager, stream_of(s[1]), COR_CONN_DEMAND, &err));
	OK(cor_pager_start(task->pager, cor_rebuild_take_uffd(task->rb), &err));
}

static void rebuild(struct task *task)
{
	struct cor_error err = COR_ERROR_INIT;

	OK(cor_rebuild_begin(&task->rb, &task->plan, &err));
	close(task->report[1]);
	task->report[1] = -1;
	OK(cor_rebuild_memory(task->rb, &task->image, &task->file_ok, NULL, 0, &task->regions,
			      &task->nregions, &err));
	start_paging(task);
	if (task->turns) {
		cor_rebuild_turns_ahead(task->rb, &task->image);
		cor_rebuild_turns_begin(task->rb);
	}
	OK(cor_rebuild_threads(task->rb, &task->image, &err));
}

static int run(struct task *task)
{
	struct cor_rebuild_exit e = { 0 };
	struct cor_error err = COR_ERROR_INIT;
	struct pollfd p = { .fd = task->report[0], .events = POLLIN };
	pid_t pid;

	rebuild(task);
	pid = cor_rebuild_pid(task->rb);
	OK(cor_rebuild_resume(task->rb, &task->let_go, &err));
	if (poll(&p, 1, 10000) != 1)
		fail_msg("the task does not end");
	assert_int_equal(cor_read_full(task->report[0], &e, sizeof(e)), 0);
	assert_int_equal(e.pid, pid);
	OK(cor_rebuild_release(task->rb, &err));
	task->rb = NULL;
	assert_true(WIFEXITED(e.status));
	return WEXITSTATUS(e.status);
}

static void task_finds_its_memory_and_registers(void **state)
{
	assert_int_equal(run(*state), 42);
}

static void old_vdso_is_redirected(void **state)
{
	struct task *task = *state;

	task->plan.force_foreign_vdso = true;
	assert_int_equal(run(task), 42);
}

/* It was stopped behind the first instruction of clock_gettime, where a jump is
 * written: what a return address on its stack leads to says how it went. */
static void thread_at_the_entry_of_an_old_vdso_function(void **state)
{
	struct task *task = *state;
	uint64_t offset = clock_gettime_at(task) - (VDSO + vdso_code_offset(task));
	const unsigned char *code = (void *)(task->own_vdso + offset);
	uint64_t *stack = (uint64_t *)(STACK - 64);

	/* "push %rbp", after endbr64 where there is one */
	if (!memcmp(code, "\xf3\x0f\x1e\xfa", 4)) {
		code += 4;
		offset += 4;
	}
	if (*code != 0x55)
		skip();
	stack[0] = task->regs[0].rbp;           /* as if pushed */
	stack[1] = CODE + (uint64_t)(test_vdso_return - test_task_code);
	task->regs[0].rip = VDSO + vdso_code_offset(task) + offset + 1;
	task->regs[0].rdi = 1;
	task->regs[0].rsi = DATA + 4096;
	task->plan.force_foreign_vdso = true;
	assert_int_equal(run(task), 43);
}

static void file_that_differs_is_fetched(void **state)
{
	struct task *task = *state;

	/* the source's bytes, instead of the file's */
	memcpy(place(FILEAT, 8192) + 4096, &(uint64_t){ MAGIC }, 8);
	task->file_ok = false;
	assert_int_equal(run(task), 42);
}

static void written_pages_can_be_lazy(void **state)
{
	struct task *task = *state;

	memcpy(place(FILEAT, 8192) + 4096, &(uint64_t){ MAGIC }, 8);
	task->vma[3].written_lazy = true;
	task->image.n_pages = 0;
	assert_int_equal(run(task), 42);
}

static void threads_have_their_tids(void **state)
{
	struct task *task = *state;

	((struct data *)DATA)->other_runs = 1;
	task->image.n_threads = 2;
	assert_int_equal(run(task), 42);
}

static void no_mapping_of_ours_remains(void **state)
{
	struct task *task = *state;
	struct cor_layout l = { 0 };

	rebuild(task);
	assert_int_equal(cor_layout_read(&l, cor_rebuild_pid(task->rb), NULL), 0);
	for (size_t i = 0; i < l.n; i++) {
		bool known = false;

		for (size_t k = 0; k < task->memory.n_vmas; k++)
			known |= task->vma[k].start <= l.ranges[i].start &&
				 l.ranges[i].start < task->vma[k].end;
		if (!known)
			fail_msg("stray mapping at %#lx", (unsigned long)l.ranges[i].start);
	}
	cor_layout_clear(&l);
}

static void no_descriptor_of_ours_remains(void **state)
{
	struct task *task = *state;
	char path[64];
	int n = 0;
	DIR *d;

	rebuild(task);
	snprintf(path, sizeof(path), "/proc/%d/fd", cor_rebuild_pid(task->rb));
	d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	assert_int_equal(n, 0);
}

/* Policy, nice value and processors of a thread are as the image's, and those are all that our
 * parent has: ours may be fewer for a while. */
static void assert_own_place(pid_t tid, int nice)
{
	cpu_set_t ours, its;

	assert_int_equal(sched_getscheduler(tid), SCHED_OTHER);
	assert_int_equal(getpriority(PRIO_PROCESS, (id_t)tid), nice);
	assert_int_equal(sched_getaffinity(getppid(), sizeof(ours), &ours), 0);
	assert_int_equal(sched_getaffinity(tid, sizeof(its), &its), 0);
	assert_true(CPU_EQUAL(&ours, &its));
}

/* In real time a thread has no timer slack. */
static void assert_slack(pid_t tid, const char *want)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/timerslack_ns", tid);
	assert_int_equal(cor_slurp(AT_FDCWD, path, &text, NULL), 0);
	assert_string_equal(text, want);
}

/* The other thread of the rebuilt one, as we see it. */
static pid_t other_thread(pid_t pid)
{
	char path[64];
	pid_t tid = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		if (atoi(e->d_name) != pid)
			tid = COR_MAX(tid, atoi(e->d_name));
	closedir(d);
	return tid;
}

static void turns_leave_no_trace(void **state)
{
	struct task *task = *state;

	task->image.n_threads = 2;
	task->thread[0].nice = 3;
	task->thread[1].nice = 4;
	task->thread[0].timerslack = 123456;
	task->thread[1].timerslack = 50000;
	task->turns = true;
	rebuild(task);
	if (sched_getscheduler(0) != SCHED_FIFO) {
		print_message("not in real time: not allowed here\n");
		skip();
	}
	assert_own_place(cor_rebuild_pid(task->rb), 3);
	assert_own_place(other_thread(cor_rebuild_pid(task->rb)), 4);
	assert_slack(cor_rebuild_pid(task->rb), "123456\n");
	assert_slack(other_thread(cor_rebuild_pid(task->rb)), "50000\n");
	cor_rebuild_turns_end(task->rb);
	assert_own_place(gettid(), 0);
	cor_rebuild_turns_end(task->rb);
}

static void abort_ends_turns(void **state)
{
	struct task *task = *state;

	task->turns = true;
	rebuild(task);
	cor_rebuild_abort(task->rb);
	task->rb = NULL;
	assert_own_place(gettid(), 0);
	/* who could not begin again after that still says that it is over */
	cor_rebuild_turns_end(task->rb);
}

/* SIGXCPU would tell the task of time that it has not used. */
static void no_turns_where_real_time_is_limited(void **state)
{
	const struct rlimit one = { 1000000, RLIM_INFINITY };
	struct task *task = *state;
	struct rlimit before;

	assert_int_equal(getrlimit(RLIMIT_RTTIME, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_RTTIME, &one), 0);
	task->turns = true;
	rebuild(task);
	setrlimit(RLIMIT_RTTIME, &before);
	assert_own_place(gettid(), 0);
}

static void abort_when_ready_leaves_nothing(void **state)
{
	struct task *task = *state;
	pid_t pid;

	task->image.n_threads = 2;
	rebuild(task);
	pid = cor_rebuild_pid(task->rb);
	cor_rebuild_abort(task->rb);
	task->rb = NULL;
	assert_int_equal(kill(pid, 0), -1);
}

/* Its threads cannot be looked up then; it hung. */
static void abort_needs_no_descriptor(void **state)
{
	struct task *task = *state;
	struct rlimit before, none;
	pid_t pid;

	task->image.n_threads = 2;
	rebuild(task);
	pid = cor_rebuild_pid(task->rb);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ 3, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	alarm(10);
	cor_rebuild_abort(task->rb);
	alarm(0);
	task->rb = NULL;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(kill(pid, 0), -1);
}

static void task_can_be_killed(void **state)
{
	struct task *task = *state;
	struct cor_error err = COR_ERROR_INIT;
	struct cor_rebuild_exit e;

	((struct data *)DATA)->other_runs = 1;  /* the leader waits for a thread that is not there */
	rebuild(task);
	OK(cor_rebuild_resume(task->rb, &task->let_go, &err));
	cor_rebuild_kill_task(task->rb);
	assert_int_equal(cor_read_full(task->report[0], &e, sizeof(e)), 0);
	assert_true(WIFSIGNALED(e.status));
	OK(cor_rebuild_release(task->rb, &err));
	task->rb = NULL;
}

static void stopped_task_arrives_stopped(void **state)
{
	struct task *task = *state;
	struct cor_error err = COR_ERROR_INIT;
	struct cor_rebuild_exit e;
	char path[64], *text = NULL;
	bool stopped = false;

	task->image.stopped = true;
	rebuild(task);
	OK(cor_rebuild_resume(task->rb, &task->let_go, &err));
	snprintf(path, sizeof(path), "/proc/%d/stat", cor_rebuild_pid(task->rb));
	for (int i = 0; i < 500 && !stopped; i++) {
		assert_int_equal(cor_slurp(AT_FDCWD, path, &text, NULL), 0);
		stopped = strstr(text, ") T ") != NULL;
		free(text);
		usleep(1000);
	}
	assert_true(stopped);
	kill(cor_rebuild_pid(task->rb), SIGCONT);
	assert_int_equal(cor_read_full(task->report[0], &e, sizeof(e)), 0);
	assert_int_equal(WEXITSTATUS(e.status), 42);
	OK(cor_rebuild_release(task->rb, &err));
	task->rb = NULL;
}

/* A line of the task's /proc/PID/status, tabs and all. */
static void assert_status(struct task *task, const char *line)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", cor_rebuild_pid(task->rb));
	assert_int_equal(cor_slurp(AT_FDCWD, path, &text, NULL), 0);
	if (!strstr(text, line))
		fail_msg("no '%s' in %s", line, text);
}

static void credentials_are_given_up(void **state)
{
	struct task *task = *state;
	Cor__Task__Credentials c = COR__TASK__CREDENTIALS__INIT;
	uint32_t groups[] = { 7, 1000 };

	c.uid = c.euid = c.fsuid = 65534;
	c.suid = 1000;
	c.gid = c.egid = c.sgid = c.fsgid = 65533;
	c.groups = groups;
	c.n_groups = 2;
	c.cap_permitted = c.cap_inheritable = c.cap_bounding = 1u << 10 | 1u << 13;
	c.cap_effective = c.cap_ambient = 1u << 10;
	c.no_new_privs = true;
	task->thread[0].creds = &c;
	task->thread[0].pdeathsig = SIGUSR1;
	rebuild(task);
	assert_status(task, "\nUid:\t65534\t65534\t1000\t65534\n");
	assert_status(task, "\nGid:\t65533\t65533\t65533\t65533\n");
	assert_status(task, "\nGroups:\t7 1000 ");
	assert_status(task, "\nCapInh:\t0000000000002400\n");
	assert_status(task, "\nCapPrm:\t0000000000002400\n");
	assert_status(task, "\nCapEff:\t0000000000000400\n");
	assert_status(task, "\nCapBnd:\t0000000000002400\n");
	assert_status(task, "\nCapAmb:\t0000000000000400\n");
	assert_status(task, "\nNoNewPrivs:\t1\n");
}

static uint64_t own_capabilities(void)
{
	_cleanup_free_ char *text = NULL;

	assert_int_equal(cor_slurp(AT_FDCWD, "/proc/self/status", &text, NULL), 0);
	return strtoull(strstr(text, "\nCapPrm:") + 8, NULL, 16);
}

static void credentials_are_never_gained(void **state)
{
	struct task *task = *state;
	Cor__Task__Credentials c = COR__TASK__CREDENTIALS__INIT;
	uint64_t own = own_capabilities();
	char line[64];

	c.cap_permitted = c.cap_effective = c.cap_bounding = c.cap_inheritable = ~0ull;
	task->thread[0].creds = &c;
	rebuild(task);
	snprintf(line, sizeof(line), "\nCapPrm:\t%016llx\n", (unsigned long long)own);
	assert_status(task, line);
	snprintf(line, sizeof(line), "\nCapEff:\t%016llx\n", (unsigned long long)own);
	assert_status(task, line);
}

static void malformed_image_is_refused(void **state)
{
	struct task *task = *state;
	struct cor_error err = COR_ERROR_INIT;

	task->vma[1].start = task->vma[0].start;
	OK(cor_rebuild_begin(&task->rb, &task->plan, &err));
	assert_int_equal(cor_rebuild_memory(task->rb, &task->image, &task->file_ok, NULL, 0,
					    &task->regions, &task->nregions, &err), -EPROTO);
	assert_null(task->regions);
}

static void files_are_compared(void **state)
{
	struct task *task = *state;
	bool ok = false;

	assert_int_equal(cor_rebuild_check_files(&task->memory, &ok, NULL), 0);
	assert_true(ok);
	task->file.mtime_ns++;
	assert_int_equal(cor_rebuild_check_files(&task->memory, &ok, NULL), 0);
	assert_false(ok);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(task_finds_its_memory_and_registers),
		T(old_vdso_is_redirected),
		T(thread_at_the_entry_of_an_old_vdso_function),
		T(file_that_differs_is_fetched),
		T(written_pages_can_be_lazy),
		T(threads_have_their_tids),
		T(no_mapping_of_ours_remains),
		T(no_descriptor_of_ours_remains),
		T(turns_leave_no_trace),
		T(abort_ends_turns),
		T(no_turns_where_real_time_is_limited),
		T(abort_when_ready_leaves_nothing),
		T(abort_needs_no_descriptor),
		T(task_can_be_killed),
		T(stopped_task_arrives_stopped),
		T(credentials_are_given_up),
		T(credentials_are_never_gained),
		T(malformed_image_is_refused),
		T(files_are_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
