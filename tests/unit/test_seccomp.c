/* Seccomp filters, read from a stopped process; and those that a peer names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/error.h"
#include "libcor/task/pb.h"
#include "libcor/task/seccomp.h"
#include "tests/unit/victim.h"

static struct victim v;
static struct cor_tracee *t;
static Cor__Task__Image image;
static Cor__Task__Thread *th;

static int setup(void **state)
{
	memset(&v, 0, sizeof(v));
	t = NULL;
	cor__task__image__init(&image);
	th = pb_add(&image.threads, &image.n_threads, Cor__Task__Thread, cor__task__thread__init);
	return th ? 0 : 1;
}

static int teardown(void **state)
{
	cor_tracee_thaw(t);
	victim_end(&v);
	for (size_t i = 0; i < image.n_filters; i++)
		cor__task__seccomp_filter__free_unpacked(image.filters[i], NULL);
	free(image.filters);
	cor__task__thread__free_unpacked(th, NULL);
	free(image.threads);
	return 0;
}

static int install(uint32_t action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_acct, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

/* arg: the actions of its filters, up to a 0. */
static int filtered(struct victim *self, void *arg)
{
	char c;

	for (const uint32_t *action = arg; *action; action++)
		if (install(*action))
			return 1;
	victim_ready(self);
	return read(self->to, &c, 1) < 0;
}

static void stop(const uint32_t *actions)
{
	if (cor_seccomp_possible(NULL) < 0)
		skip();
	victim_start(&v, filtered, (void *)actions);
	assert_int_equal(cor_tracee_seize(&t, v.pid, NULL), 0);
	assert_int_equal(cor_tracee_stop(t, 1000, NULL), 0);
}

static void filters_are_read_in_their_order_and_each_once(void **state)
{
	static const uint32_t actions[] = { SECCOMP_RET_ERRNO | 1, SECCOMP_RET_ERRNO | 2,
					    SECCOMP_RET_ERRNO | 1, 0 };
	const struct sock_filter *code;

	stop(actions);
	assert_int_equal(t->threads[0].seccomp, SECCOMP_MODE_FILTER);
	assert_int_equal(cor_seccomp_read(v.pid, &image, th, NULL), 0);
	assert_int_equal(th->n_filters, 3);
	assert_int_equal(image.n_filters, 2);
	assert_int_equal(th->filters[0], th->filters[2]);
	for (size_t i = 0; i < 3; i++) {
		code = (const struct sock_filter *)image.filters[th->filters[i]]->program.data;
		assert_int_equal(code[2].k, actions[i]);
	}
	assert_int_equal(cor_seccomp_check(&image, NULL), 0);
}

static void a_filter_that_asks_somebody_is_refused(void **state)
{
	static const uint32_t actions[] = { SECCOMP_RET_ERRNO | 1, SECCOMP_RET_USER_NOTIF, 0 };
	struct cor_error err = COR_ERROR_INIT;

	stop(actions);
	assert_int_equal(cor_seccomp_read(v.pid, &image, th, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "asks another process"));
	assert_int_equal(th->n_filters, 0);
}

static void a_thread_without_filters_has_none(void **state)
{
	static const uint32_t none[] = { 0 };

	stop(none);
	assert_int_equal(t->threads[0].seccomp, SECCOMP_MODE_DISABLED);
	assert_false(cor_seccomp_any(&image));
	/* nor is there anything to read */
	assert_int_equal(cor_seccomp_read(v.pid, &image, th, NULL), -EINVAL);
}

static void calls_of_ours_are_not_judged(void **state)
{
	static const uint32_t actions[] = { SECCOMP_RET_KILL_PROCESS, 0 };
	struct cor_call call = { .nr = SYS_acct };
	int64_t ret = 0;

	stop(actions);
	assert_int_equal(cor_step_call(v.pid, cor_find_syscall_insn(v.pid), &call, &ret, NULL), 0);
	cor_tracee_thaw(t);
	t = NULL;
	assert_int_equal(victim_finish(&v), 0);
}

/* Whether a child that is prepared so says that, of what it may do. */
static bool child_lacks(int (*prepare)(void), const char *word)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct cor_error err = COR_ERROR_INIT;

		_exit(prepare() || cor_seccomp_possible(&err) != -EPERM || !strstr(err.text, word));
	}
	return waitpid(pid, &status, 0) == pid && status == 0;
}

static int nobody(void)
{
	return setuid(65534);
}

static int with_a_filter(void)
{
	return install(SECCOMP_RET_ERRNO | 1);
}

static void what_is_lacking_is_named(void **state)
{
	if (cor_seccomp_possible(NULL) < 0)
		skip();
	assert_true(child_lacks(nobody, "CAP_SYS_ADMIN"));
	assert_true(child_lacks(with_a_filter, "a cord that has some"));
}

static void what_makes_no_sense_is_refused(void **state)
{
	uint64_t code = 0;
	Cor__Task__SeccompFilter *f = pb_add(&image.filters, &image.n_filters,
					     Cor__Task__SeccompFilter,
					     cor__task__seccomp_filter__init);

	assert_int_equal(cor_seccomp_check(&image, NULL), -EPROTO);     /* empty */
	assert_int_equal(pb_bytes(&f->program, &code, 7), 0);
	assert_int_equal(cor_seccomp_check(&image, NULL), -EPROTO);     /* not whole */
	assert_int_equal(pb_bytes(&f->program, &code, 8), 0);
	assert_int_equal(cor_seccomp_check(&image, NULL), 0);
	f->flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
	assert_int_equal(cor_seccomp_check(&image, NULL), -EPROTO);
	f->flags = 0;
	th->filters = calloc(1, sizeof(*th->filters));
	th->n_filters = 1;
	assert_int_equal(cor_seccomp_check(&image, NULL), 0);
	th->filters[0] = 1;
	assert_int_equal(cor_seccomp_check(&image, NULL), -EPROTO);     /* not there */
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(filters_are_read_in_their_order_and_each_once),
		T(a_filter_that_asks_somebody_is_refused),
		T(a_thread_without_filters_has_none),
		T(calls_of_ours_are_not_judged),
		T(what_is_lacking_is_named),
		T(what_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
