/* End to end, in one process tree: a running task is frozen, captured, made again
 * elsewhere, its pages fetched, and goes on; it checks itself all the while. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/clone_fixture.h"

static void move_and_check(struct clone *c, const char *program, const char *const *argv)
{
	clone_start(c, program, argv);
	clone_move(c);
	clone_await_rounds(c, 2);
	if (c->bulk)
		clone_drain(c);
	clone_await_rounds(c, 2);
	clone_finish(c);
}

static void threads(void **state)
{
	move_and_check(*state, "threads", NULL);
}

static void registers(void **state)
{
	move_and_check(*state, "registers", NULL);
}

static void tls(void **state)
{
	move_and_check(*state, "tls", NULL);
}

static void robust(void **state)
{
	move_and_check(*state, "robust", NULL);
}

static void syscalls(void **state)
{
	move_and_check(*state, "syscalls", NULL);
}

/* Not "dev-shm": its name is in use on this host, by the source. */
#define MEMORY "anonymous", "sparse", "zero", "heap", "stack", "growsdown", "file-clean", \
	"file-written", "file-shared", "shared-anonymous", "memfd", "memfd-closed", \
	"memfd-private", "guard", "protections", "advice", "named", "jit", "vdso"

static void memory(void **state)
{
	static const char *const argv[] = { MEMORY, "layout", NULL };

	move_and_check(*state, "memory", argv);
}

static void memory_with_a_name_in_use(void **state)
{
	static const char *const argv[] = { "dev-shm", NULL };

	move_and_check(*state, "memory", argv);
}

static void memory_of_files_that_are_not_here(void **state)
{
	struct clone *c = *state;
	static const char *const argv[] = { "anonymous", "heap", "stack", "file-clean", "file-written",
					    "jit", NULL };

	c->without_files = true;
	move_and_check(c, "memory", argv);
}

static void memory_with_written_pages_inline(void **state)
{
	struct clone *c = *state;

	static const char *const argv[] = { MEMORY, "layout", NULL };

	c->inline_written_max = 100000;
	move_and_check(c, "memory", argv);
}

static void memory_with_written_pages_lazy(void **state)
{
	struct clone *c = *state;

	static const char *const argv[] = { MEMORY, NULL };

	c->inline_written_max = 0;
	move_and_check(c, "memory", argv);
}

static void memory_on_demand_only(void **state)
{
	struct clone *c = *state;

	static const char *const argv[] = { MEMORY, "layout", NULL };

	c->bulk = false;
	move_and_check(c, "memory", argv);
}

static void signals(void **state)
{
	move_and_check(*state, "signals", NULL);
}

static void timers(void **state)
{
	move_and_check(*state, "timers", NULL);
}

static void timers_of_a_kernel_that_numbers_them(void **state)
{
	struct clone *c = *state;

	c->plan.force_timers_in_turn = true;
	move_and_check(c, "timers", NULL);
}

static void clocks(void **state)
{
	move_and_check(*state, "clock", NULL);
}

static void clocks_with_another_vdso(void **state)
{
	struct clone *c = *state;

	c->plan.force_foreign_vdso = true;
	move_and_check(c, "clock", NULL);
}

static void clocks_in_a_time_namespace(void **state)
{
	struct clone *c = *state;

	c->plan.time_ns = true;
	move_and_check(c, "clock", NULL);
}

static void identity(void **state)
{
	move_and_check(*state, "identity", NULL);
}

static void descriptors(void **state)
{
	/* memory objects that are not mapped are the session's affair */
	static const char *const argv[] = { "regular", "append", "dup", "directory", "devices",
					    "socketpair", "eventfd", "timerfd", "signalfd", "epoll",
					    NULL };

	move_and_check(*state, "files", argv);
}

static void churn(void **state)
{
	move_and_check(*state, "churn", NULL);
}

static void plain(void **state)
{
	move_and_check(*state, "plain", NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, clone_setup, clone_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(plain),
		T(threads),
		T(registers),
		T(tls),
		T(robust),
		T(syscalls),
		T(memory),
		T(memory_with_a_name_in_use),
		T(memory_of_files_that_are_not_here),
		T(memory_with_written_pages_inline),
		T(memory_with_written_pages_lazy),
		T(memory_on_demand_only),
		T(signals),
		T(timers),
		T(timers_of_a_kernel_that_numbers_them),
		T(clocks),
		T(clocks_with_another_vdso),
		T(clocks_in_a_time_namespace),
		T(identity),
		T(descriptors),
		T(churn),
	};

	/* an argument picks one */
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
