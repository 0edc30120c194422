/* Timers that end while their task is captured (libcor/task/capture_timers.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "libcor/task/capture.h"
#include "libcor/task/tracee.h"
#include "victim.h"

#define SIGNAL (SIGRTMIN + 2)

/* From before the stop until behind the capture. */
#define FIRST_US 100
#define LAST_US  4000
#define STEP_US  6

static struct victim v;
static struct cor_tracee *t;
static Cor__Task__Image *image;

static void set_both(timer_t timer, long us)
{
	const struct itimerval value = { .it_value.tv_usec = us };
	const struct itimerspec its = { .it_value.tv_nsec = us * 1000 };

	setitimer(ITIMER_REAL, &value, NULL);
	timer_settime(timer, 0, &its, NULL);
}

/* Sets both timers when it is told how far, having forgotten of the last ones. */
static int body(struct victim *self, void *arg)
{
	const struct timespec at_once = { 0, 0 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGNAL };
	timer_t timer;
	sigset_t set;
	long us;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGNAL);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer))
		return 1;
	victim_ready(self);
	while (read(self->to, &us, sizeof(us)) == sizeof(us)) {
		set_both(timer, 0);
		while (sigtimedwait(&set, NULL, &at_once) > 0)
			;
		set_both(timer, us);
		if (write(self->from, "s", 1) != 1)
			return 1;
	}
	return 0;
}

static int setup(void **state)
{
	memset(&v, 0, sizeof(v));
	t = NULL;
	image = NULL;
	return 0;
}

static int teardown(void **state)
{
	if (image)
		cor__task__image__free_unpacked(image, NULL);
	cor_tracee_thaw(t);
	victim_end(&v);
	return 0;
}

static void capture_with(long us)
{
	struct cor_capture_options o = { 0 };
	struct cor_error err = COR_ERROR_INIT;
	char set;

	assert_int_equal(write(v.to, &us, sizeof(us)), sizeof(us));
	assert_int_equal(read(v.from, &set, 1), 1);
	if (cor_tracee_seize(&t, v.pid, &err) || cor_tracee_stop(t, 1000, &err) ||
	    cor_capture_image(t, &o, NULL, &image, &err))
		fail_msg("%s", err.text);
}

static void let_go(void)
{
	cor__task__image__free_unpacked(image, NULL);
	image = NULL;
	cor_tracee_thaw(t);
	t = NULL;
}

static unsigned pending(int signo)
{
	unsigned n = 0;

	for (size_t i = 0; i < image->n_pending; i++)
		n += ((const siginfo_t *)image->pending[i].data)->si_signo == signo;
	return n;
}

static void each_ends_once(void **state)
{
	victim_start(&v, body, NULL);
	for (long us = FIRST_US; us < LAST_US; us += STEP_US) {
		capture_with(us);
		if ((image->itimers[ITIMER_REAL]->value_us != 0) + pending(SIGALRM) != 1)
			fail_msg("set for %ld us: %lu us are left, %u signals are pending", us,
				 (unsigned long)image->itimers[ITIMER_REAL]->value_us,
				 pending(SIGALRM));
		if ((image->timers[0]->remaining_ns != 0) + pending(SIGNAL) != 1)
			fail_msg("set for %ld us: %lu ns are left, %u signals are pending", us,
				 (unsigned long)image->timers[0]->remaining_ns, pending(SIGNAL));
		let_go();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_ends_once, setup, teardown),
	};

	return cmocka_run_group_tests_name("capture_timers", tests, NULL, NULL);
}
