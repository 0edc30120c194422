/* refuse: each thing that cannot be carried is named. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcor/task/capture.h"
#include "libcor/task/label.h"
#include "tests/unit/victim.h"

#define SKIPPED 98      /* the victim could not do it here */

static struct victim v;

static int setup(void **state)
{
	memset(&v, 0, sizeof(v));
	return 0;
}

static int teardown(void **state)
{
	victim_end(&v);
	return 0;
}

/* Runs prepare in a victim, which must then be refused with a sentence that
 * holds word and its PID. */
static int body(struct victim *self, void *arg)
{
	int ok = ((int (*)(void))arg)();
	char c;

	*(int *)self->shared = ok ? 0 : SKIPPED;
	victim_ready(self);
	return read(self->to, &c, 1) == 1 ? 0 : 1;
}

static void expect_code(int (*prepare)(void), int code, const char *word)
{
	struct cor_error err = COR_ERROR_INIT;
	Cor__Task__Image *image = NULL;
	char pid[16];
	int r;

	victim_start(&v, body, (void *)prepare);
	if (*(int *)v.shared == SKIPPED)
		skip();
	r = cor_capture_skeleton(v.pid, NULL, &image, &err);
	assert_int_equal(r, code);
	assert_null(image);
	assert_int_equal(err.code, r);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not say '%s'", err.text, word);
	snprintf(pid, sizeof(pid), "%d", v.pid);
	assert_non_null(strstr(err.text, pid));
}

static void expect(int (*prepare)(void), const char *word)
{
	expect_code(prepare, -EOPNOTSUPP, word);
}

static int nothing(void)
{
	return 1;
}

static void a_plain_process_is_accepted(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	Cor__Task__Image *image = NULL;

	victim_start(&v, body, (void *)nothing);
	if (cor_capture_skeleton(v.pid, NULL, &image, &err))
		fail_msg("%s", err.text);
	cor__task__image__free_unpacked(image, NULL);
}

/* A child that dies with its parent, which waits until that is arranged. */
static int has_child(void)
{
	int up[2];
	char c;

	if (pipe(up))
		return 0;
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, "offspring");
		if (write(up[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	return read(up[0], &c, 1) == 1;
}

static void children(void **state)
{
	/* it may soon be gone: the caller tries again */
	expect_code(has_child, -EAGAIN, "offspring");
}

static int has_zombie(void)
{
	siginfo_t info;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0;
}

static void zombies_of_its_own(void **state)
{
	expect_code(has_zombie, -EAGAIN, "ended but not waited for");
}

static void labels_that_confine(void **state)
{
	static const char cord[] = "system_u:system_r:unconfined_service_t:s0";

	assert_false(cor_label_confines("", ""));
	assert_false(cor_label_confines("unconfined", "unconfined"));
	assert_false(cor_label_confines("docker-default (enforce)", "docker-default (enforce)"));
	assert_false(cor_label_confines("/usr/bin/man (complain)", "unconfined"));
	assert_false(cor_label_confines("chrome (unconfined)", "unconfined"));
	assert_false(cor_label_confines("unconfined_u:unconfined_r:unconfined_t:s0", cord));
	assert_true(cor_label_confines("/usr/sbin/mysqld (enforce)", "unconfined"));
	assert_true(cor_label_confines("system_u:system_r:redis_t:s0", cord));
	assert_true(cor_label_confines("unlabelled", ""));
}

static int strict(void)
{
	/* what it does next is _exit(2), or waiting in read(2) */
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0;
}

/* read(2) and write(2) is what it may do. */
static void *be_strict(void *up)
{
	char c = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0;
	int *fd = up;

	(void)!write(fd[1], &c, 1);
	while (read(fd[2], &c, 1) != 0)
		;
	return NULL;
}

static int has_strict_thread(void)
{
	static int fd[4];
	pthread_t thread;
	char c = 0;

	return !pipe(fd) && !pipe(fd + 2) && !pthread_create(&thread, NULL, be_strict, fd) &&
	       read(fd[0], &c, 1) == 1 && c;
}

static void strict_mode_of_a_thread(void **state)
{
	expect(has_strict_thread, "strict mode");
}

static void strict_mode(void **state)
{
	expect(strict, "strict mode");
}

static int maps_uring(void)
{
	struct io_uring_params p = { 0 };
	long fd = syscall(SYS_io_uring_setup, 4, &p);

	return fd >= 0 && mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0) != MAP_FAILED;
}

static void io_uring(void **state)
{
	expect(maps_uring, "io_uring");
}

static int maps_aio(void)
{
	unsigned long ctx = 0;

	return syscall(SYS_io_setup, 4, &ctx) == 0;
}

static void aio(void **state)
{
	expect(maps_aio, "aio");
}

static int maps_sysv(void)
{
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	void *p = id < 0 ? (void *)-1 : shmat(id, NULL, 0);

	if (id >= 0)
		shmctl(id, IPC_RMID, NULL);
	return p != (void *)-1;
}

static void sysv_memory(void **state)
{
	expect(maps_sysv, "System V");
}

static int maps_device(void)
{
	int fd = open("/dev/mem", O_RDONLY);

	if (fd < 0)
		return 0;
	return mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED;
}

static void devices(void **state)
{
	expect(maps_device, "device");
}

static int uses_pkey(void)
{
	long key = syscall(SYS_pkey_alloc, 0, 0);
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return key >= 0 && syscall(SYS_pkey_mprotect, p, 4096, PROT_READ | PROT_WRITE, key) == 0;
}

static void protection_keys(void **state)
{
	expect(uses_pkey, "protection key");
}

static int maps_hugetlb(void)
{
	return mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static void huge_pages(void **state)
{
	expect(maps_hugetlb, "huge");
}

static int other_net(void)
{
	return unshare(CLONE_NEWNET) == 0;
}

static int other_ipc(void)
{
	return unshare(CLONE_NEWIPC) == 0;
}

static int other_user(void)
{
	return unshare(CLONE_NEWUSER) == 0;
}

static void net_namespace(void **state)
{
	expect(other_net, "net namespace");
}

static void ipc_namespace(void **state)
{
	expect(other_ipc, "ipc namespace");
}

static void user_namespace(void **state)
{
	expect(other_user, "user namespace");
}

static int other_root(void)
{
	return chroot("/var/tmp") == 0;
}

static void root_directory(void **state)
{
	expect(other_root, "root directory, /var/tmp");
}

static void refuse_pid(pid_t pid, int code, const char *word)
{
	struct cor_error err = COR_ERROR_INIT;
	Cor__Task__Image *image = NULL;

	assert_int_equal(cor_capture_skeleton(pid, NULL, &image, &err), code);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not say '%s'", err.text, word);
}

static void kernel_threads(void **state)
{
	refuse_pid(2, -EOPNOTSUPP, "kernel thread");
}

static void itself(void **state)
{
	refuse_pid(getpid(), -EOPNOTSUPP, "itself");
}

static void nobody(void **state)
{
	refuse_pid(4194000, -ESRCH, "4194000");
}

static void zombies(void **state)
{
	siginfo_t info;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	refuse_pid(pid, -EOPNOTSUPP, "has ended");
	waitpid(pid, NULL, 0);
}

static void a_tracer_is_named(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	Cor__Task__Image *image = NULL;
	char me[16];

	victim_start(&v, body, (void *)nothing);
	victim_seize(v.pid);
	assert_int_equal(cor_capture_skeleton(v.pid, NULL, &image, &err), -EOPNOTSUPP);
	snprintf(me, sizeof(me), "%d", getpid());
	assert_non_null(strstr(err.text, me));
}

static void *forks_here(void *arg)
{
	int *done = arg;

	__atomic_store_n(done, has_child() ? 1 : -1, __ATOMIC_RELEASE);
	while (pause() < 0)
		;
	return NULL;
}

/* arg: NULL: its first thread forks; else another one. */
static int body_forks_late(struct victim *self, void *arg)
{
	static int done;
	pthread_t other;
	char c;

	victim_ready(self);
	if (read(self->to, &c, 1) != 1)
		return 1;
	if (arg && pthread_create(&other, NULL, forks_here, &done))
		return 3;
	while (arg && !__atomic_load_n(&done, __ATOMIC_ACQUIRE))
		usleep(100);
	if (arg ? done < 0 : !has_child())
		return 2;
	victim_ready(self);
	for (;;)
		pause();
}

static void refuse_late_child(void *of_other_thread)
{
	struct cor_error err = COR_ERROR_INIT;
	Cor__Task__Image *skeleton = NULL, *image = NULL;
	struct cor_tracee *t = NULL;
	char c;
	int r;

	victim_start(&v, body_forks_late, of_other_thread);
	assert_int_equal(cor_capture_skeleton(v.pid, NULL, &skeleton, &err), 0);
	assert_int_equal(write(v.to, "x", 1), 1);
	assert_int_equal(read(v.from, &c, 1), 1);
	assert_int_equal(cor_tracee_seize(&t, v.pid, &err), 0);
	assert_int_equal(cor_tracee_stop(t, 1000, &err), 0);
	r = cor_capture_image(t, NULL, skeleton, &image, &err);
	/* whatever it says: a victim that stays stopped cannot be ended */
	cor_tracee_thaw(t);
	cor__task__image__free_unpacked(skeleton, NULL);
	assert_int_equal(r, -EAGAIN);
	assert_non_null(strstr(err.text, "child"));
	assert_non_null(strstr(err.text, "offspring"));
}

static void a_child_born_after_the_skeleton(void **state)
{
	refuse_late_child(NULL);
}

static void a_child_of_another_thread_born_after_the_skeleton(void **state)
{
	refuse_late_child("other");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_plain_process_is_accepted),
		T(children),
		T(zombies_of_its_own),
		T(strict_mode),
		T(strict_mode_of_a_thread),
		T(labels_that_confine),
		T(io_uring),
		T(aio),
		T(sysv_memory),
		T(devices),
		T(protection_keys),
		T(huge_pages),
		T(net_namespace),
		T(ipc_namespace),
		T(user_namespace),
		T(root_directory),
		T(kernel_threads),
		T(itself),
		T(nobody),
		T(zombies),
		T(a_tracer_is_named),
		T(a_child_born_after_the_skeleton),
		T(a_child_of_another_thread_born_after_the_skeleton),
	};

	if (geteuid())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
