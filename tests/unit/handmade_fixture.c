/* See handmade_fixture.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/io.h"
#include "libcor/task/layout.h"
#include "libcor/task/vdso.h"
#include "tests/stream.h"
#include "tests/unit/handmade_fixture.h"

/* Entered with rdi: address of the first word in DATA; exits with 42 when all
 * is as it should be, else with the number of the check. */
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

char *handmade_place(uint64_t at, size_t len)
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

uint64_t handmade_vdso_code_offset(struct task *task)
{
	struct cor_layout l = { 0 };
	uint64_t start = 0, end = 0;

	assert_int_equal(cor_layout_read(&l, getpid(), NULL), 0);
	assert_true(cor_layout_vdso(&l, &start, &end));
	cor_layout_clear(&l);
	return task->own_vdso - start;
}

uint64_t handmade_clock_gettime_at(struct task *task)
{
	struct cor_vdso_function f;
	struct cor_vdso v;

	assert_int_equal(cor_vdso_parse(&v, (void *)task->own_vdso, task->memory.vdso.len, NULL), 0);
	assert_true(cor_vdso_find(&v, "clock_gettime", &f));
	return VDSO + handmade_vdso_code_offset(task) + f.offset;
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
	memcpy(handmade_place(CODE, 4096), test_task_code, (size_t)(test_task_end - test_task_code));
	data = (struct data *)handmade_place(DATA, 16384);
	handmade_place(STACK - 16384, 16384);
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
	handmade_place(BRK, 8192);
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
	task->regs[0].rbp = handmade_clock_gettime_at(task);
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

int handmade_setup(void **state)
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

int handmade_teardown(void **state)
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

void handmade_rebuild(struct task *task)
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

int handmade_run(struct task *task)
{
	struct cor_rebuild_exit e = { 0 };
	struct cor_error err = COR_ERROR_INIT;
	struct pollfd p = { .fd = task->report[0], .events = POLLIN };
	pid_t pid;

	handmade_rebuild(task);
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
