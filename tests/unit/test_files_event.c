/* eventfd, timerfd, signalfd, epoll, pidfd, memory objects, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "files_fixture.h"
#include "libcor/names/file_eventfd.h"

static void make_eventfds(void)
{
	HOLDS(eventfd(41, 0) == 0);
	HOLDS(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK) == 1);
}

static void verify_eventfds(void)
{
	uint64_t value;

	HOLDS(read(0, &value, 8) == 8 && value == 41);
	for (int i = 0; i < 3; i++)
		HOLDS(read(1, &value, 8) == 8 && value == 1);
	HOLDS(read(1, &value, 8) == -1 && errno == EAGAIN);
}

/* As where fdinfo does not tell (before 6.5). */
static void test_eventfd_is_tried(void **state)
{
	static const uint64_t counts[] = { 0, 1, 2, 3, 41, UINT64_MAX - 1 };
	uint64_t value;

	for (unsigned i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		int plain = eventfd(0, EFD_NONBLOCK), semaphore = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE);

		if (counts[i]) {
			assert_int_equal(write(plain, &counts[i], 8), 8);
			assert_int_equal(write(semaphore, &counts[i], 8), 8);
		}
		assert_int_equal(cor_eventfd_try(plain, counts[i]), 0);
		assert_int_equal(cor_eventfd_try(semaphore, counts[i]), 1);
		/* and nothing has changed */
		assert_int_equal(read(plain, &value, 8), counts[i] ? 8 : -1);
		if (counts[i])
			assert_true(value == counts[i]);
		for (uint64_t n = 0; counts[i] < 100 && n < counts[i]; n++)
			assert_true(read(semaphore, &value, 8) == 8 && value == 1);
		if (counts[i] < 100)
			assert_int_equal(read(semaphore, &value, 8), -1);
		close(plain);
		close(semaphore);
	}
}

static void test_eventfd_keeps_counter_and_mode(void **state)
{
	round_trip(make_eventfds, verify_eventfds);
}

static void make_timers(void)
{
	struct itimerspec far = { .it_value = { 1000, 0 }, .it_interval = { 7, 5 } };
	struct itimerspec once = { .it_value = { 0, 1 } };
	struct itimerspec often = { .it_value = { 0, 1 }, .it_interval = { 0, 1000 } };
	struct itimerspec at = { 0 };
	struct timespec now;
	struct pollfd p = { .events = POLLIN };

	HOLDS(timerfd_create(CLOCK_MONOTONIC, 0) == 0);
	HOLDS(timerfd_settime(0, 0, &far, NULL) == 0);
	HOLDS(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK) == 1);
	HOLDS(timerfd_settime(1, 0, &once, NULL) == 0);
	p.fd = 1;
	HOLDS(poll(&p, 1, -1) == 1);
	HOLDS(timerfd_create(CLOCK_BOOTTIME, 0) == 2);
	HOLDS(timerfd_create(CLOCK_REALTIME, 0) == 3);
	clock_gettime(CLOCK_REALTIME, &now);
	at.it_value.tv_sec = now.tv_sec + 500;
	HOLDS(timerfd_settime(3, TFD_TIMER_ABSTIME, &at, NULL) == 0);
	HOLDS(timerfd_create(CLOCK_MONOTONIC, 0) == 4);
	HOLDS(timerfd_settime(4, 0, &often, NULL) == 0);
	p.fd = 4;
	HOLDS(poll(&p, 1, -1) == 1);
}

static void verify_timers(void)
{
	struct itimerspec its;
	uint64_t ticks;

	HOLDS(timerfd_gettime(0, &its) == 0);
	HOLDS(its.it_value.tv_sec >= 900 && its.it_value.tv_sec < 1000);
	HOLDS(its.it_interval.tv_sec == 7 && its.it_interval.tv_nsec == 5);
	HOLDS(read(1, &ticks, 8) == 8 && ticks == 1);
	HOLDS(read(1, &ticks, 8) == -1 && errno == EAGAIN);
	HOLDS(timerfd_gettime(2, &its) == 0 && its.it_value.tv_sec == 0);
	HOLDS(timerfd_gettime(3, &its) == 0);
	HOLDS(its.it_value.tv_sec > 400 && its.it_value.tv_sec <= 500);
	HOLDS(read(4, &ticks, 8) == 8 && ticks >= 2);
}

static void test_timers_go_on_with_what_was_left(void **state)
{
	round_trip(make_timers, verify_timers);
}

static void make_unset_timer(void)
{
	HOLDS(timerfd_create(CLOCK_MONOTONIC, 0) == 0);
}

static void set_timer_of(pid_t pid, long ns)
{
	const struct itimerspec soon = { .it_value = { 0, ns } };
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, 0, 0);

	assert_int_equal(timerfd_settime(fd, 0, &soon, NULL), 0);
	close(fd);
	close(pidfd);
}

/* The delays go over all the time that a capture takes. Its interrupt comes some 50 us after
 * its time: until then it has neither time left nor ticks, as one that is not set. */
static void test_a_timer_that_ends_just_now_ends_once(void **state)
{
	struct subject s = subject_start(make_unset_timer, NULL);
	unsigned lost = 0, twice = 0;

	for (long ns = 2000; ns < 800000; ns += 200) {
		struct cor_files_object *extra = NULL;
		Cor__Names__FileTable *table;
		unsigned nextra;

		set_timer_of(s.pid, ns);
		assert_int_equal(cor_files_capture(s.pid, true, NULL, 0, &extra, &nextra, &table,
						   NULL), 0);
		free(extra);
		lost += !table->files[0]->value_ns && !table->files[0]->ticks;
		twice += table->files[0]->value_ns && table->files[0]->ticks;
		cor__names__file_table__free_unpacked(table, NULL);
	}
	assert_int_equal(lost, 0);
	assert_int_equal(twice, 0);
	subject_kill(&s);
}

static void make_cancelled_timer(void)
{
	struct itimerspec at = { .it_value = { INT32_MAX, 0 } };

	HOLDS(timerfd_create(CLOCK_REALTIME, 0) == 0);
	HOLDS(timerfd_settime(0, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, NULL) == 0);
}

static void test_timer_cancelled_by_the_clock_is_refused(void **state)
{
	assert_mentions(refusal_of(make_cancelled_timer), "descriptor 0 is a timerfd");
}

static void make_signalfd(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, 64);
	HOLDS(signalfd(-1, &mask, SFD_NONBLOCK) == 0);
}

static void verify_signalfd(void)
{
	struct signalfd_siginfo info;
	sigset_t mask;

	sigfillset(&mask);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	HOLDS(raise(64) == 0);
	HOLDS(read(0, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == 64);
	HOLDS(raise(SIGUSR2) == 0);
	HOLDS(read(0, &info, sizeof(info)) == -1 && errno == EAGAIN);
}

static void test_signalfd_keeps_its_mask(void **state)
{
	round_trip(make_signalfd, verify_signalfd);
}

static void add(int epoll, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	HOLDS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void make_epoll(void)
{
	HOLDS(epoll_create1(0) == 0 && epoll_create1(0) == 1);
	HOLDS(eventfd(1, 0) == 2 && eventfd(0, 0) == 3);
	add(0, 2, EPOLLIN, 0x1122334455667788);
	add(1, 3, EPOLLIN | EPOLLET, 33);
	add(0, 1, EPOLLIN, 11);             /* nested */
	HOLDS(dup2(2, 8) == 8);
	add(0, 8, EPOLLOUT | EPOLLONESHOT, 88);
}

static void verify_epoll(void)
{
	struct epoll_event events[8];
	uint64_t one = 1;

	HOLDS(epoll_wait(0, events, 8, 0) == 2);
	HOLDS(events[0].data.u64 + events[1].data.u64 == 0x1122334455667788 + 88);
	HOLDS(epoll_wait(0, events, 8, 0) == 1);
	HOLDS(events[0].data.u64 == 0x1122334455667788 && events[0].events == EPOLLIN);
	HOLDS(write(3, &one, 8) == 8);
	HOLDS(epoll_wait(1, events, 8, 0) == 1 && events[0].data.u64 == 33);
	HOLDS(epoll_wait(1, events, 8, 0) == 0);
}

static void test_epoll_fires_with_its_data(void **state)
{
	round_trip(make_epoll, verify_epoll);
}

static void make_stale_epoll(void)
{
	HOLDS(epoll_create1(0) == 0 && eventfd(0, 0) == 1);
	add(0, 1, EPOLLIN, 1);
	HOLDS(dup2(1, 5) == 5);
	HOLDS(eventfd(0, 0) == 2 && dup2(2, 1) == 1);
}

static void test_epoll_item_whose_number_was_reused_is_refused(void **state)
{
	const char *text = delay_of(make_stale_epoll);

	assert_mentions(text, "descriptor 0 is an epoll set");
	assert_mentions(text, "descriptor 1 when it was added");
}

static void make_twice_stale_epoll(void)
{
	make_stale_epoll();
	add(0, 1, EPOLLIN, 2);
}

static void test_epoll_with_two_items_of_one_number_is_refused(void **state)
{
	assert_mentions(delay_of(make_twice_stale_epoll), "descriptor 0 is an epoll set");
}

static void make_pidfd(void)
{
	HOLDS(syscall(SYS_pidfd_open, getpid(), 0) == 0);
}

static void verify_pidfd(void)
{
	HOLDS(syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0) == 0);
	signal(SIGUSR1, SIG_IGN);
	HOLDS(syscall(SYS_pidfd_send_signal, 0, SIGUSR1, NULL, 0) == 0);
}

static void test_pidfd_of_the_task_itself(void **state)
{
	round_trip(make_pidfd, verify_pidfd);
}

static void make_parent_pidfd(void)
{
	HOLDS(syscall(SYS_pidfd_open, getppid(), 0) == 0);
}

static void test_pidfd_of_another_process_is_refused(void **state)
{
	assert_mentions(refusal_of(make_parent_pidfd), "descriptor 0 is a pidfd of process");
}

static void make_async(void)
{
	int ends[2];

	HOLDS(pipe(ends) == 0);
	HOLDS(fcntl(0, F_SETOWN, getpid()) == 0 && fcntl(0, F_SETSIG, SIGUSR1) == 0);
	HOLDS(fcntl(0, F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
}

static void verify_async(void)
{
	siginfo_t info;
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	HOLDS(fcntl(0, F_GETOWN) == getpid() && fcntl(0, F_GETSIG) == SIGUSR1);
	HOLDS(write(1, "x", 1) == 1);
	HOLDS(sigwaitinfo(&mask, &info) == SIGUSR1 && info.si_fd == 0);
}

static void test_owner_gets_its_signal(void **state)
{
	round_trip(make_async, verify_async);
}

static void make_memfd(void)
{
	HOLDS(memfd_create("shared", 0) == 0);
	HOLDS(write(0, "object", 6) == 6);
	HOLDS(open("/proc/self/fd/0", O_RDONLY) == 1);
	HOLDS(memfd_create("other", MFD_CLOEXEC) == 2);
}

static void test_memory_objects_get_ids(void **state)
{
	struct subject s = subject_start(make_memfd, NULL);
	struct cor_files_object known = { 0 }, *extra = NULL;
	Cor__Names__FileTable *table = capture(&s), *again = NULL;
	struct cor_error err = COR_ERROR_INIT;
	unsigned nextra = 0;

	assert_int_equal(table->files[0]->kind, COR__NAMES__FILE_KIND__MEMORY);
	assert_int_equal(table->files[0]->object, 1);
	assert_int_equal(table->files[1]->object, 1);
	assert_int_equal(table->files[2]->object, 2);
	known = (struct cor_files_object){ table->files[2]->dev, table->files[2]->ino, 4 };
	assert_int_equal(cor_files_capture(s.pid, true, &known, 1, &extra, &nextra, &again, &err), 0);
	assert_int_equal(again->files[2]->object, 4);
	assert_int_equal(again->files[0]->object, 5);
	assert_int_equal(nextra, 1);
	assert_int_equal(extra[0].id, 5);
	assert_int_equal(extra[0].ino, table->files[0]->ino);
	cor__names__file_table__free_unpacked(again, NULL);
	free(extra);
}

static void verify_memfd(void)
{
	char text[16];

	HOLDS(lseek(0, 0, SEEK_CUR) == 6);
	HOLDS(write(0, "!", 1) == 1);
	HOLDS(read(1, text, sizeof(text)) == 7 && memcmp(text, "object!", 7) == 0);
	HOLDS((fcntl(1, F_GETFL) & O_ACCMODE) == O_RDONLY);
	HOLDS(fcntl(2, F_GETFD) == FD_CLOEXEC);
	HOLDS(fcntl(3, F_GETFD) == -1);
}

static void test_memory_objects_are_opened_again(void **state)
{
	struct subject s = subject_start(make_memfd, NULL);
	Cor__Names__FileTable *table = capture(&s);
	int objects[2] = { memfd_create("shared", 0), memfd_create("other", 0) };

	assert_int_equal(write(objects[0], "object", 6), 6);
	subject_kill(&s);
	restore_with_objects(table, objects, 2, verify_memfd);
	close(objects[0]);
	close(objects[1]);
	assert_mentions(restore_refused(table, -ENOENT), "memory object 1");
}

static void test_event_inherited_by_another_process_is_refused(void **state)
{
	struct subject s = subject_start(make_eventfds, NULL);
	struct cor_error err = COR_ERROR_INIT;
	int copy = cor_files_duplicate(s.pid, 1, &err);
	const char *text;

	assert_true(copy >= 0);
	text = capture_refused(&s);
	close(copy);
	assert_mentions(text, "descriptor 1 is anon_inode:[eventfd] that process");
}

static void wait_for_ever(void)
{
	for (;;)
		pause();
}

static void test_running_task_is_read_without_content(void **state)
{
	struct subject s = subject_start(make_timers, wait_for_ever);
	struct cor_files_object *extra = NULL;
	Cor__Names__FileTable *table = NULL;
	struct cor_error err = COR_ERROR_INIT;
	unsigned nextra = 0;

	kill(s.pid, SIGCONT);
	assert_int_equal(cor_files_capture(s.pid, false, NULL, 0, &extra, &nextra, &table, &err), 0);
	assert_int_equal(table->n_files, 5);
	assert_int_equal(cor_files_max_fd(table), 4);
	cor__names__file_table__free_unpacked(table, NULL);
}

static void make_watches(void)
{
	int extra;

	HOLDS(inotify_init1(IN_NONBLOCK) == 0);
	HOLDS(inotify_add_watch(0, "/", IN_ATTRIB) == 1);
	extra = inotify_add_watch(0, "/usr", IN_ATTRIB);
	HOLDS(extra == 2 && inotify_rm_watch(0, 2) == 0 && inotify_rm_watch(0, 1) == 0);
	HOLDS(mkdir(fixture_path("watched dir"), 0700) == 0);
	HOLDS(inotify_add_watch(0, fixture_path("watched dir"), IN_CREATE | IN_ONESHOT) == 3);
	HOLDS(inotify_add_watch(0, fixture_path(""), IN_CREATE) == 4);
}

static void make_quiet_watches(void)
{
	char events[4096];

	make_watches();
	HOLDS(read(0, events, sizeof(events)) > 0);
}

static void verify_watches(void)
{
	union { struct inotify_event event; char room[4096]; } got;

	HOLDS(read(0, &got, sizeof(got)) == -1 && errno == EAGAIN);
	HOLDS(mkdir(fixture_path("watched dir/new"), 0700) == 0);
	HOLDS(read(0, &got, sizeof(got)) > 0);
	HOLDS(got.event.wd == 3 && strcmp(got.event.name, "new") == 0);
	HOLDS(mkdir(fixture_path("other"), 0700) == 0);
	HOLDS(read(0, &got, sizeof(got)) > 0);
	HOLDS(got.event.wd == 4 && strcmp(got.event.name, "other") == 0);
}

static void test_watches_keep_their_numbers(void **state)
{
	round_trip(make_quiet_watches, verify_watches);
}

static void test_unread_inotify_events_are_waited_for(void **state)
{
	assert_mentions(delay_of(make_watches), "descriptor 0 is an inotify instance with");
}

static void make_uffd(void)
{
	HOLDS(syscall(SYS_userfaultfd, 1) == 0);
}

static void test_unknown_kind_is_refused_by_its_link(void **state)
{
	assert_mentions(refusal_of(make_uffd), "descriptor 0 is anon_inode:[userfaultfd]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(test_eventfd_is_tried),
		FILES_TEST(test_eventfd_keeps_counter_and_mode),
		FILES_TEST(test_timers_go_on_with_what_was_left),
		FILES_TEST(test_a_timer_that_ends_just_now_ends_once),
		FILES_TEST(test_timer_cancelled_by_the_clock_is_refused),
		FILES_TEST(test_signalfd_keeps_its_mask),
		FILES_TEST(test_epoll_fires_with_its_data),
		FILES_TEST(test_epoll_item_whose_number_was_reused_is_refused),
		FILES_TEST(test_epoll_with_two_items_of_one_number_is_refused),
		FILES_TEST(test_pidfd_of_the_task_itself),
		FILES_TEST(test_pidfd_of_another_process_is_refused),
		FILES_TEST(test_owner_gets_its_signal),
		FILES_TEST(test_memory_objects_get_ids),
		FILES_TEST(test_memory_objects_are_opened_again),
		FILES_TEST(test_event_inherited_by_another_process_is_refused),
		FILES_TEST(test_running_task_is_read_without_content),
		FILES_TEST(test_watches_keep_their_numbers),
		FILES_TEST(test_unread_inotify_events_are_waited_for),
		FILES_TEST(test_unknown_kind_is_refused_by_its_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
