/* capture: the image of a forked process says what the process set up. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/capture.h"
#include "libcor/task/mapped.h"
#include "tests/unit/victim.h"

#define PAGE 4096ul

/* What the victim tells about itself, in the shared page. */
struct facts {
	uint64_t anon, memfd, shared, file, text, altstack, handler, brk, tid_address;
	uint64_t magic;         /* address of a word of .data that was changed */
	int timer, tid, worker;
};

static struct victim v;
static struct cor_tracee *t;
static Cor__Task__Image *skeleton, *image;
static size_t changed_pages;    /* what the image held before it was put together */
static uint64_t magic = 1;
static int worker_tid;
static char file_path[64];
static bool ignore_traps;

static int setup(void **state)
{
	memset(&v, 0, sizeof(v));
	t = NULL;
	skeleton = image = NULL;
	ignore_traps = false;
	return 0;
}

static int teardown(void **state)
{
	if (skeleton)
		cor__task__image__free_unpacked(skeleton, NULL);
	if (image)
		cor__task__image__free_unpacked(image, NULL);
	cor_tracee_thaw(t);
	victim_end(&v);
	return 0;
}

static void on_signal(int sig, siginfo_t *info, void *uc)
{
}

static void map_things(struct facts *f)
{
	int fd = memfd_create("corner", 0);

	f->anon = (uintptr_t)mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise((void *)f->anon, 3 * PAGE, MADV_DONTFORK);
	if (ftruncate(fd, 5 * PAGE))
		_exit(50);
	f->memfd = (uintptr_t)mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)PAGE);
	f->shared = (uintptr_t)mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fd = open(file_path, O_RDONLY);
	f->file = (uintptr_t)mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	((char *)f->file)[PAGE] = 'w';          /* the second page is written */
	(void)*(volatile char *)(f->file + 2 * PAGE);   /* the third only read */
	close(fd);
}

static void set_signals(struct facts *f)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
	stack_t ss = { .ss_size = 64 * 1024 };
	union sigval val = { .sival_int = 4711 };

	f->handler = (uintptr_t)on_signal;
	sigaddset(&sa.sa_mask, SIGHUP);
	sigaction(SIGUSR1, &sa, NULL);
	signal(SIGUSR2, SIG_IGN);
	ss.ss_sp = malloc(ss.ss_size);
	f->altstack = (uintptr_t)ss.ss_sp;
	sigaltstack(&ss, NULL);
	sigqueue(getpid(), SIGRTMIN + 1, val);
	pthread_kill(pthread_self(), SIGUSR1);
}

static void set_timers(struct facts *f)
{
	struct itimerval it = { .it_value.tv_sec = 1000, .it_interval.tv_sec = 7 };
	struct itimerspec its = { .it_value.tv_sec = 500, .it_interval.tv_nsec = 5000 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2,
			       .sigev_value.sival_int = 99 };
	timer_t timer;

	setitimer(ITIMER_REAL, &it, NULL);
	timer_create(CLOCK_MONOTONIC, &ev, &timer);
	timer_settime(timer, 0, &its, NULL);
	f->timer = (int)(intptr_t)timer;
}

static void *worker(void *arg)
{
	prctl(PR_SET_NAME, "toiler");
	setpriority(PRIO_PROCESS, (id_t)gettid(), 5);
	__atomic_store_n(&worker_tid, (int)gettid(), __ATOMIC_SEQ_CST);
	syscall(SYS_futex, arg, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
	return NULL;
}

static int body(struct victim *self, void *arg)
{
	struct facts *f = self->shared;
	struct rlimit rl = { 77, 78 };
	sigset_t set;
	pthread_t th;
	char c;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);     /* in the worker as well */
	pthread_create(&th, NULL, worker, (char *)self->shared + PAGE / 2);
	while (!__atomic_load_n(&worker_tid, __ATOMIC_SEQ_CST))
		sched_yield();
	f->worker = worker_tid;
	f->tid = (int)gettid();
	map_things(f);
	if (ignore_traps)
		signal(SIGTRAP, SIG_IGN);
	set_signals(f);
	set_timers(f);
	magic = 0x1122334455667788;
	f->magic = (uintptr_t)&magic;
	setrlimit(RLIMIT_NPROC, &rl);
	umask(0123 & 0777);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "capturee");
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sbrk(4096);
	f->brk = (uintptr_t)sbrk(0);
	victim_ready(self);
	return read(self->to, &c, 1) == 1 ? 0 : 1;
}

/* Skeleton, stop, image: as a migration does it. */
static struct facts *capture_it(unsigned inline_max)
{
	struct cor_capture_options o = { .inline_written_max = inline_max };
	struct cor_error err = COR_ERROR_INIT;

	victim_start(&v, body, NULL);
	victim_await_sleep(v.pid);
	if (cor_capture_skeleton(v.pid, &o, &skeleton, &err))
		fail_msg("%s", err.text);
	if (cor_tracee_seize(&t, v.pid, &err) || cor_tracee_stop(t, 1000, &err))
		fail_msg("%s", err.text);
	if (cor_capture_image(t, &o, skeleton, &image, &err))
		fail_msg("%s", err.text);
	changed_pages = image->n_pages;
	if (cor_capture_complete(image, skeleton, &err))
		fail_msg("%s", err.text);
	return v.shared;
}

static const Cor__Task__Vma *vma_at(const Cor__Task__Image *i, uint64_t addr)
{
	for (size_t k = 0; k < i->memory->n_vmas; k++)
		if (addr >= i->memory->vmas[k]->start && addr < i->memory->vmas[k]->end)
			return i->memory->vmas[k];
	fail_msg("no mapping at %#lx", (unsigned long)addr);
	return NULL;
}

static void anonymous_memory_and_its_flags(void **state)
{
	struct facts *f = capture_it(64);
	const Cor__Task__Vma *m = vma_at(image, f->anon);

	assert_int_equal(m->kind, COR__TASK__VMA_KIND__ANON);
	assert_int_equal(m->prot, PROT_READ | PROT_WRITE);
	assert_true(vma_at(skeleton, f->anon)->flags & COR__TASK__VMA_FLAG__DONTFORK);
	assert_true(m->flags & COR__TASK__VMA_FLAG__DONTFORK);
}

static void stack_heap_and_vdso_are_known(void **state)
{
	bool stack = false, heap = false, vdso = false, vvar = false;

	capture_it(64);
	for (size_t i = 0; i < image->memory->n_vmas; i++) {
		const Cor__Task__Vma *m = image->memory->vmas[i];

		stack |= !strcmp(m->name, "[stack]") && m->flags & COR__TASK__VMA_FLAG__GROWSDOWN;
		heap |= !strcmp(m->name, "[heap]");
		vdso |= m->kind == COR__TASK__VMA_KIND__VDSO;
		vvar |= m->kind == COR__TASK__VMA_KIND__VVAR;
		assert_string_not_equal(m->name, "[vsyscall]");
	}
	assert_true(stack && heap && vdso && vvar);
	assert_memory_equal(image->memory->vdso.data, "\177ELF", 4);
	assert_int_equal(image->memory->vdso.len, skeleton->memory->vdso.len);
}

static void shared_objects_are_told_apart(void **state)
{
	struct facts *f = capture_it(64);
	const Cor__Task__Vma *m = vma_at(image, f->memfd), *s = vma_at(image, f->shared);
	const Cor__Task__Object *o = image->memory->objects[m->object - 1];

	assert_int_equal(m->kind, COR__TASK__VMA_KIND__SHMEM);
	assert_int_equal(m->pgoff, PAGE);
	assert_int_equal(o->kind, COR__TASK__OBJECT_KIND__OBJECT_MEMFD);
	assert_string_equal(o->name, "corner");
	assert_int_equal(o->size, 5 * PAGE);
	assert_true(o->has_descriptor);
	o = image->memory->objects[s->object - 1];
	assert_int_equal(o->id, s->object);
	assert_int_equal(o->kind, COR__TASK__OBJECT_KIND__OBJECT_ANON);
	assert_int_equal(o->size, 4 * PAGE);
	assert_false(o->has_descriptor);
}

static void objects_can_be_opened(void **state)
{
	struct facts *f = capture_it(64);
	struct cor_error err = COR_ERROR_INIT;
	_cleanup_close_ int fd = cor_capture_open_object(v.pid, image, vma_at(image, f->memfd)->object, &err);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 5 * PAGE);
	assert_int_equal(cor_capture_open_object(v.pid, image, 4711, &err), -ENOENT);
}

static void written_pages_of_files_travel(void **state)
{
	struct facts *f = capture_it(64);
	const Cor__Task__Vma *m = vma_at(image, f->file);
	const Cor__Task__PageData *page = NULL;

	assert_int_equal(m->kind, COR__TASK__VMA_KIND__FILE_PRIVATE);
	assert_string_equal(image->memory->files[m->file]->path, file_path);
	assert_int_equal(m->n_written, 1);
	assert_true(m->written[0]->start == f->file + PAGE);
	assert_int_equal(m->written[0]->npages, 1);
	assert_false(m->written_lazy);
	for (size_t i = 0; i < image->n_pages; i++)
		if (image->pages[i]->addr == f->file + PAGE)
			page = image->pages[i];
	assert_non_null(page);
	assert_int_equal(page->data.len, PAGE);
	assert_int_equal(page->data.data[0], 'w');
}

/* The victim waits between the skeleton and the image: little can have changed. */
static void pages_that_the_skeleton_has_are_left_out(void **state)
{
	size_t known = 0, whole = 0;

	capture_it(64);
	for (size_t i = 0; i < skeleton->n_pages; i++)
		known += skeleton->pages[i]->data.len;
	for (size_t i = 0; i < image->n_pages; i++)
		whole += image->pages[i]->data.len;
	assert_true(known >= PAGE);
	assert_true(whole >= known);
	assert_true(changed_pages <= 2);
}

static void many_written_pages_stay_lazy(void **state)
{
	struct facts *f = capture_it(0);
	const Cor__Task__Vma *m = vma_at(image, f->file);

	assert_true(m->written_lazy);
	assert_int_equal(m->n_written, 1);
	assert_int_equal(image->n_pages, 0);
}

static void written_data_of_the_program_is_found(void **state)
{
	struct facts *f = capture_it(1 << 16);
	uint64_t got = 0;

	for (size_t i = 0; i < image->n_pages; i++) {
		const Cor__Task__PageData *p = image->pages[i];

		if (f->magic - p->addr < p->data.len)
			memcpy(&got, p->data.data + (f->magic - p->addr), 8);
	}
	assert_true(got == 0x1122334455667788);
}

static void files_have_an_identity(void **state)
{
	char self[256] = "";
	const Cor__Task__File *exe;
	struct stat st;

	capture_it(64);
	exe = image->memory->files[image->memory->exe];
	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	assert_string_equal(exe->path, self);
	assert_int_equal(stat(self, &st), 0);
	assert_int_equal(exe->size, st.st_size);
	assert_true(exe->build_id.len == 20 || exe->build_id.len == 0);
	/* the skeleton's numbers hold in the image */
	for (size_t i = 0; i < skeleton->memory->n_files; i++)
		assert_string_equal(skeleton->memory->files[i]->path, image->memory->files[i]->path);
}

static void the_mm_is_described(void **state)
{
	struct facts *f = capture_it(64);
	const Cor__Task__Memory *m = image->memory;

	assert_true(m->brk == f->brk);
	assert_true(m->start_brk && m->start_brk <= m->brk);
	assert_true(m->start_stack && m->arg_start < m->arg_end && m->env_start <= m->env_end);
	assert_true(m->auxv.len >= 16 && m->auxv.len % 16 == 0);
	assert_true(m->start_code < m->end_code);
}

static void signal_actions_and_stacks(void **state)
{
	struct facts *f = capture_it(64);
	const Cor__Task__SigAction *a = image->actions[SIGUSR1 - 1];

	assert_int_equal(image->n_actions, 64);
	assert_true(a->handler == f->handler);
	assert_int_equal(a->flags & (SA_SIGINFO | SA_RESTART | SA_ONSTACK),
			 SA_SIGINFO | SA_RESTART | SA_ONSTACK);
	assert_true(a->mask >> (SIGHUP - 1) & 1);
	assert_int_equal(image->actions[SIGUSR2 - 1]->handler, 1);
	assert_true(image->threads[0]->sas_sp == f->altstack);
	assert_int_equal(image->threads[0]->sas_size, 64 * 1024);
	assert_true(image->threads[1]->sas_sp != f->altstack);
}

static void pending_signals_keep_their_values(void **state)
{
	siginfo_t info;

	capture_it(64);
	assert_int_equal(image->n_pending, 1);
	memcpy(&info, image->pending[0].data, sizeof(info));
	assert_int_equal(info.si_signo, SIGRTMIN + 1);
	assert_int_equal(info.si_value.sival_int, 4711);
	assert_int_equal(image->threads[0]->n_pending, 1);
	memcpy(&info, image->threads[0]->pending[0].data, sizeof(info));
	assert_int_equal(info.si_signo, SIGUSR1);
	assert_true(image->threads[0]->sigmask >> (SIGUSR1 - 1) & 1);
}

static void timers_are_running(void **state)
{
	struct facts *f = capture_it(64);
	const Cor__Task__PosixTimer *p;

	assert_int_equal(image->n_itimers, 3);
	assert_int_equal(image->itimers[0]->interval_us, 7000000);
	assert_true(image->itimers[0]->value_us > 900000000 && image->itimers[0]->value_us <= 1000000000);
	assert_int_equal(image->itimers[1]->value_us, 0);
	assert_int_equal(image->n_timers, 1);
	p = image->timers[0];
	assert_int_equal(p->id, f->timer);
	assert_int_equal(p->clock, CLOCK_MONOTONIC);
	assert_int_equal(p->notify, SIGEV_SIGNAL);
	assert_int_equal(p->signo, SIGRTMIN + 2);
	assert_int_equal((int)p->value, 99);
	assert_int_equal(p->interval_ns, 5000);
	assert_true(p->remaining_ns > 400000000000ull && p->remaining_ns <= 500000000000ull);
}

static void threads_are_described(void **state)
{
	struct facts *f = capture_it(64);
	const struct user_regs_struct *regs;

	assert_int_equal(image->n_threads, 2);
	assert_int_equal(image->threads[0]->tid, f->tid);
	assert_int_equal(image->threads[1]->tid, f->worker);
	assert_string_equal(image->threads[0]->comm, "capturee");
	assert_string_equal(image->threads[1]->comm, "toiler");
	assert_int_equal(image->threads[1]->nice, 5);
	assert_int_equal(image->threads[0]->pdeathsig, SIGTERM);
	assert_int_equal(image->threads[1]->pdeathsig, 0);
	assert_true(image->threads[0]->timerslack > 0);
	for (int i = 0; i < 2; i++) {
		const Cor__Task__Thread *th = image->threads[i];

		regs = (const void *)th->regs.data;
		assert_int_equal(th->regs.len, sizeof(*regs));
		assert_true(th->xstate.len >= 576);
		assert_true(th->clear_child_tid != 0);
		assert_true(th->rseq != 0);
		assert_int_equal(th->robust_len, 24);
		assert_true(th->affinity.len > 0);
		/* both sat in calls that rewind: read and futex */
		assert_true(regs->rax == (i ? SYS_futex : SYS_read));
		assert_true(regs->orig_rax == (unsigned long long)-1);
	}
	assert_int_equal(skeleton->n_threads, 2);
	assert_int_equal(skeleton->threads[0]->regs.len, 0);
}

static void credentials_and_identity(void **state)
{
	const Cor__Task__Identity *id;

	capture_it(64);
	id = image->identity;
	assert_int_equal(id->pid, v.pid);
	assert_int_equal(id->pgid, getpgid(v.pid));
	assert_int_equal(id->sid, getsid(v.pid));
	assert_int_equal(id->umask, 0123);
	assert_int_equal(id->child_subreaper, 1);
	assert_int_equal(id->dumpable, 1);
	assert_int_equal(id->n_limits, RLIM_NLIMITS);
	assert_int_equal(id->limits[RLIMIT_NPROC]->cur, 77);
	assert_int_equal(id->limits[RLIMIT_NPROC]->max, 78);
	assert_int_equal(image->threads[0]->creds->euid, geteuid());
	assert_true(strlen(id->hostname) > 0);
	assert_true(id->cwd[0] == '/');
	assert_int_equal(strlen(image->clock->boot_id), 36);
	assert_true(skeleton->cpu->n_words > 5);
}

#define GROWN 1500u

/* Touches one page more all the while, below a mapping that grows down. */
static int grow(struct victim *self, void *arg)
{
	struct facts *f = self->shared;
	char *top = mmap((void *)0x200000000000, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
	char c;

	if (top == MAP_FAILED)
		return 1;
	f->anon = (uintptr_t)top;
	victim_ready(self);
	for (unsigned i = 0; i < GROWN; i++) {
		top[-(long)(i * PAGE)] = 1;
		__atomic_store_n(&f->magic, i + 1, __ATOMIC_RELEASE);
		usleep(10);
	}
	return read(self->to, &c, 1) == 1 ? 0 : 1;
}

static void a_mapping_that_grows_keeps_its_flags(void **state)
{
	const struct cor_capture_options o = { .inline_written_max = 64 };
	struct cor_error err = COR_ERROR_INIT;
	const struct facts *f;
	unsigned n = 0;

	victim_start(&v, grow, NULL);
	f = v.shared;
	for (; __atomic_load_n(&f->magic, __ATOMIC_ACQUIRE) < GROWN; n++) {
		const Cor__Task__Vma *grows = NULL;

		if (cor_capture_skeleton(v.pid, &o, &skeleton, &err))
			fail_msg("%s", err.text);
		for (size_t i = 0; i < skeleton->memory->n_vmas; i++)
			if (skeleton->memory->vmas[i]->start <= f->anon &&
			    f->anon < skeleton->memory->vmas[i]->end)
				grows = skeleton->memory->vmas[i];
		assert_non_null(grows);
		assert_true(grows->flags & COR__TASK__VMA_FLAG__GROWSDOWN);
		cor__task__image__free_unpacked(skeleton, NULL);
		skeleton = NULL;
	}
	assert_true(n > 0);
}

static void eager_pages_hold_stack_and_tls(void **state)
{
	capture_it(64);
	for (size_t i = 0; i < image->n_threads; i++) {
		const struct user_regs_struct *regs = (const void *)image->threads[i]->regs.data;
		const uint64_t want[] = { regs->rsp, regs->fs_base, image->threads[i]->rseq,
					  image->threads[i]->clear_child_tid };

		for (unsigned k = 0; k < ARRAY_SIZE(want); k++) {
			unsigned found = 0;

			for (size_t e = 0; e < image->n_eager; e++)
				found += image->eager[e]->addr == (want[k] & ~(PAGE - 1));
			assert_int_equal(found, 1);
		}
	}
	for (size_t e = 0; e < image->n_eager; e++)
		assert_int_equal(image->eager[e]->data.len, PAGE);
	assert_true(image->n_hints > 2 && image->n_hints <= 256);
	assert_true(image->hints[0] == (image->memory->arg_start & ~(PAGE - 1)) ||
		    image->n_eager > 0);
}

static void the_image_survives_packing(void **state)
{
	_cleanup_free_ uint8_t *buf = NULL;
	Cor__Task__Image *copy;
	size_t n;

	capture_it(64);
	n = cor__task__image__get_packed_size(image);
	buf = malloc(n);
	assert_int_equal(cor__task__image__pack(image, buf), n);
	copy = cor__task__image__unpack(NULL, n, buf);
	assert_non_null(copy);
	assert_int_equal(copy->memory->n_vmas, image->memory->n_vmas);
	cor__task__image__free_unpacked(copy, NULL);
}

static void the_task_goes_on_afterwards(void **state)
{
	capture_it(64);
	cor_tracee_thaw(t);
	t = NULL;
	assert_int_equal(victim_finish(&v), 0);
}

static void ignored_signals_do_not_travel(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	siginfo_t info;

	capture_it(64);
	cor__task__image__free_unpacked(image, NULL);
	image = NULL;
	kill(v.pid, SIGUSR2);           /* set to SIG_IGN: only a traced process queues it */
	kill(v.pid, SIGWINCH);          /* ignored by default */
	kill(v.pid, SIGTERM);
	assert_int_equal(cor_capture_image(t, NULL, skeleton, &image, &err), 0);
	assert_int_equal(image->n_pending, 2);
	memcpy(&info, image->pending[1].data, sizeof(info));
	assert_int_equal(info.si_signo, SIGTERM);
}

static void a_task_that_ignores_traps_goes_on_doing_so(void **state)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	ignore_traps = true;
	capture_it(64);
	assert_int_equal(image->actions[SIGTRAP - 1]->handler, (uintptr_t)SIG_IGN);
	cor_tracee_thaw(t);
	t = NULL;
	snprintf(path, sizeof(path), "/proc/%d/status", v.pid);
	assert_int_equal(cor_slurp(AT_FDCWD, path, &text, NULL), 0);
	assert_true(strtoull(strstr(text, "SigIgn:") + 7, NULL, 16) >> (SIGTRAP - 1) & 1);
	assert_int_equal(victim_finish(&v), 0);
}

/* In budget terms: what the freeze adds must not depend on memory. */
static void an_image_takes_milliseconds_at_most(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	Cor__Task__Image *again = NULL;
	uint64_t best = UINT64_MAX;

	capture_it(64);
	for (int i = 0; i < 10; i++) {
		uint64_t start = cor_now_ns();

		assert_int_equal(cor_capture_image(t, NULL, skeleton, &again, &err), 0);
		best = COR_MIN(best, cor_now_ns() - start);
		cor__task__image__free_unpacked(again, NULL);
	}
	print_message("image: %lu us\n", (unsigned long)best / 1000);
	assert_true(best < 20000000);
}

static void this_host_admits_its_own_tasks(void **state)
{
	struct cor_error err = COR_ERROR_INIT;

	capture_it(64);
	if (cor_capture_admissible(skeleton, &err))
		fail_msg("%s", err.text);
}

static void a_missing_cpu_feature_is_named(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	Cor__Task__Cpu a = COR__TASK__CPU__INIT, b = COR__TASK__CPU__INIT;

	assert_int_equal(cor_cpu_describe(&a, &err), 0);
	assert_int_equal(cor_cpu_describe(&b, &err), 0);
	assert_int_equal(cor_cpu_check(&a, &b, &err), 0);
	b.words[0] &= ~(1u << 20);      /* leaf 1 ecx */
	assert_int_equal(cor_cpu_check(&a, &b, &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "sse4_2"));
	assert_int_equal(cor_cpu_check(&b, &a, &err), 0);
	b.words[0] = a.words[0];
	b.xcr0 = 3;
	a.xcr0 = 7;
	assert_int_equal(cor_cpu_check(&a, &b, &err), -ENOTSUP);
	free(a.words);
	free(b.words);
	free(a.vendor);
	free(b.vendor);
}

/* Maps the file anew all the while, as a program does that is being loaded. */
static int map_anew(struct victim *self, void *arg)
{
	int fd = open(file_path, O_RDONLY);

	victim_ready(self);
	for (unsigned i = 0; fd >= 0; i = !i)
		munmap(mmap(NULL, (1 + i) * PAGE, PROT_READ, MAP_PRIVATE, fd, 0), (1 + i) * PAGE);
	return 1;
}

static void mappings_that_change_are_no_refusal(void **state)
{
	unsigned changed = 0;

	victim_start(&v, map_anew, NULL);
	for (unsigned i = 0; i < 2000 && !changed; i++) {
		struct cor_error err = COR_ERROR_INIT;
		int r = cor_capture_skeleton(v.pid, NULL, &skeleton, &err);

		if (r == 0)
			cor__task__image__free_unpacked(take_ptr(skeleton), NULL);
		else if (r != -EAGAIN)
			fail_msg("%d: %s", r, err.text);
		changed += r != 0;
	}
	if (!changed)
		skip();         /* never looked at between two of its calls */
}

/* arg: the shared mapping's protection */
static int map_shared(struct victim *self, void *arg)
{
	int fd = open(file_path, O_RDWR);
	char *at = mmap(NULL, PAGE, (int)(intptr_t)arg, MAP_SHARED, fd, 0);

	if (fd < 0 || at == MAP_FAILED ||
	    mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, (off_t)PAGE) == MAP_FAILED)
		return 1;
	close(fd);
	victim_ready(self);
	for (;;)
		pause();
}

/* The file's entry in the skeleton, which has it once. */
static const Cor__Task__File *entry_of_file(void)
{
	const Cor__Task__File *found = NULL;

	for (size_t i = 0; i < skeleton->memory->n_files; i++) {
		if (strcmp(skeleton->memory->files[i]->path, file_path))
			continue;
		assert_null(found);
		found = skeleton->memory->files[i];
	}
	assert_non_null(found);
	return found;
}

static void a_file_that_is_mapped_for_others_to_see_is_noted(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	size_t objects;
	char pid[16];
	void *at;
	int fd;

	victim_start(&v, map_shared, (void *)(PROT_READ | PROT_WRITE));
	assert_int_equal(cor_capture_skeleton(v.pid, NULL, &skeleton, &err), 0);
	assert_int_equal(entry_of_file()->use, COR__TASK__FILE_USE__FILE_ITSELF);
	assert_true(cor_mapped_any(skeleton->memory));
	/* the victim shares a page with us */
	objects = skeleton->memory->n_objects;
	skeleton->memory->n_objects = 0;
	assert_int_equal(cor_capture_owns_memory(v.pid, skeleton, &err), 0);
	fd = open(file_path, O_RDONLY);
	at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(cor_capture_owns_memory(v.pid, skeleton, &err), -EOPNOTSUPP);
	skeleton->memory->n_objects = objects;
	munmap(at, PAGE);
	snprintf(pid, sizeof(pid), "%d", getpid());
	assert_non_null(strstr(err.text, pid));
	assert_non_null(strstr(err.text, file_path));
}

static void a_file_that_is_mapped_to_see_others_is_noted(void **state)
{
	struct cor_error err = COR_ERROR_INIT;

	victim_start(&v, map_shared, (void *)PROT_READ);
	assert_int_equal(cor_capture_skeleton(v.pid, NULL, &skeleton, &err), 0);
	assert_int_equal(entry_of_file()->use, COR__TASK__FILE_USE__FILE_FOLLOWED);
	assert_false(cor_mapped_any(skeleton->memory));
}

static int make_file(void **state)
{
	char page[4 * PAGE];
	int fd;

	strcpy(file_path, "/var/tmp/test-capture-XXXXXX");
	fd = mkstemp(file_path);
	memset(page, 'f', sizeof(page));
	if (fd < 0 || write(fd, page, sizeof(page)) != (ssize_t)sizeof(page))
		return 1;
	close(fd);
	return 0;
}

static int remove_file(void **state)
{
	unlink(file_path);
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(anonymous_memory_and_its_flags),
		T(stack_heap_and_vdso_are_known),
		T(shared_objects_are_told_apart),
		T(objects_can_be_opened),
		T(written_pages_of_files_travel),
		T(pages_that_the_skeleton_has_are_left_out),
		T(many_written_pages_stay_lazy),
		T(written_data_of_the_program_is_found),
		T(files_have_an_identity),
		T(the_mm_is_described),
		T(signal_actions_and_stacks),
		T(pending_signals_keep_their_values),
		T(timers_are_running),
		T(threads_are_described),
		T(credentials_and_identity),
		T(a_mapping_that_grows_keeps_its_flags),
		T(mappings_that_change_are_no_refusal),
		T(a_file_that_is_mapped_for_others_to_see_is_noted),
		T(a_file_that_is_mapped_to_see_others_is_noted),
		T(eager_pages_hold_stack_and_tls),
		T(the_image_survives_packing),
		T(the_task_goes_on_afterwards),
		T(ignored_signals_do_not_travel),
		T(a_task_that_ignores_traps_goes_on_doing_so),
		T(an_image_takes_milliseconds_at_most),
		T(this_host_admits_its_own_tasks),
		T(a_missing_cpu_feature_is_named),
	};

	if (geteuid())
		return 77;
	return cmocka_run_group_tests(tests, make_file, remove_file);
}
